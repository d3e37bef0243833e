package server

import (
	"net/http"
	"strings"

	"chancery/server/api"
)

// CheckETag applies the request's If-Match and If-None-Match (RFC 9110, 13.1) to what is
// there, whose entity tag is etag; to be called where something is there, since nothing
// has no tag. The error is what the handler returns: 412 PreconditionFailed, 304 without a
// body (If-None-Match on GET, HEAD and DELETE), or 400 InvalidHeaderValue for fields that
// do not parse or that are both there. Forms and texts are those of CCF's C++ samples:
// tags are strong, and a list may end in a comma.
func (c *Call) CheckETag(etag string) error {
	match, none := c.Header["If-Match"], c.Header["If-None-Match"]
	switch {
	case match != nil && none != nil:
		return api.Errorf(http.StatusBadRequest, api.InvalidHeaderValue, "Cannot have both If-Match and If-None-Match headers.")
	case match != nil:
		found, err := matches(match[0], etag)
		if err != nil || found {
			return err
		}
	case none != nil:
		found, err := matches(none[0], etag)
		if err != nil || !found {
			return err
		}
		switch c.Method {
		case http.MethodGet, http.MethodHead, http.MethodDelete:
			return &api.Error{Status: http.StatusNotModified}
		}
	default:
		return nil
	}
	return api.Errorf(http.StatusPreconditionFailed, api.PreconditionFailed, "Resource has changed.")
}

// matches says whether a field is "*" or lists the tag.
func matches(field, etag string) (bool, error) {
	if field == "*" {
		return true, nil
	}
	found := false
	for rest := field; ; {
		quoted, ok := strings.CutPrefix(rest, `"`)
		tag, after, closed := strings.Cut(quoted, `"`)
		if !ok || !closed || tag == "" {
			return false, api.Errorf(http.StatusBadRequest, api.InvalidHeaderValue, "Invalid If-Match header")
		}
		found = found || tag == etag
		after = strings.TrimLeft(strings.TrimPrefix(after, ","), " \t\n\v\f\r")
		if after == "" {
			return found, nil
		}
		rest = after
	}
}

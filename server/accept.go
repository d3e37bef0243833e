package server

import (
	"net/http"
	"strconv"
	"strings"

	"chancery/server/api"
)

// checkAccept says whether JSON is acceptable under an Accept header. It is asked once
// there is a document to send, and its refusal discards the transaction. q-factors
// must be numbers and are not weighed, as there is only one type to choose.
func checkAccept(values []string) error {
	if len(values) == 0 {
		return nil
	}
	matched := false
	for _, option := range strings.Split(strings.ReplaceAll(values[0], " ", ""), ",") {
		types, q, hasQ := strings.Cut(option, ";q=")
		major, minor, _ := strings.Cut(types, "/")
		if major == "" || minor == "" {
			return api.Errorf(http.StatusBadRequest, api.InvalidHeaderValue, "Entry in Accept header is not a valid MIME type: %s", option)
		}
		if _, err := strconv.ParseFloat(q, 32); hasQ && q != "" && err != nil {
			return api.Errorf(http.StatusBadRequest, api.InvalidHeaderValue, "Could not parse q-factor from MIME type in Accept header: %s", option)
		}
		if (major == "*" || major == "application") && (minor == "*" || minor == "json") {
			matched = true
		}
	}
	if matched {
		return nil
	}
	return api.Errorf(http.StatusNotAcceptable, api.UnsupportedContentType, "No supported content type in accept header: %s\nOnly application/json is currently supported", values[0])
}

package js

import (
	"reflect"
	"strings"

	"github.com/dop251/goja"
)

// Response is what an endpoint answered.
type Response struct {
	// Status is the HTTP status, 200 to 599.
	Status int
	// Header holds the header fields by lower-case name, content-type included.
	Header map[string]string
	// Body is the body; nil: none.
	Body []byte
	// ApplyWrites is what setApplyWrites asked for; nil: a 2xx status decides.
	ApplyWrites *bool
	// Claims is the claims digest for the ledger entry; nil: none.
	Claims *[32]byte
	// Quiet: the application wants no line in the log about its execution
	// (enableMetricsLogging).
	Quiet bool
}

// The content types that bodies have when no header says otherwise.
const (
	typeBytes = "application/octet-stream"
	typeText  = "text/plain"
	typeJSON  = "application/json"
)

// invalid is CCF's text for a return value that is no response.
func invalid(why string) error {
	return &abort{"Invalid endpoint function return value (" + why + ")."}
}

// response reads what the endpoint's function returned, in CCF's order: body, headers,
// status. Getters and toString of the application run here, inside its limits.
func (s *sandbox) response(v goja.Value) (*Response, error) {
	o, ok := v.(*goja.Object)
	if !ok {
		return nil, invalid("not an object")
	}
	r := &Response{Status: 200}
	if err := s.responseBody(r, o.Get("body")); err != nil {
		return nil, err
	}
	if headers, ok := o.Get("headers").(*goja.Object); ok {
		if err := s.responseHeaders(r, headers); err != nil {
			return nil, err
		}
	}
	return r, responseStatus(r, o.Get("statusCode"))
}

func (s *sandbox) responseBody(r *Response, v goja.Value) error {
	if v == nil || goja.IsUndefined(v) {
		return nil
	}
	if b, ok := s.binary(v); ok {
		return r.body(typeBytes, b)
	}
	if goja.IsString(v) {
		return r.body(typeText, []byte(v.String()))
	}
	var text string
	if err := s.try(func() { text = s.stringify(v).String() }); err != nil {
		if s.cause.Load() != nil {
			return err // interrupted, not a failed conversion
		}
		return invalid("error during JSON conversion of body")
	}
	return r.body(typeJSON, []byte(text))
}

func (r *Response) body(contentType string, b []byte) error {
	r.Body = b
	r.Header = map[string]string{"content-type": contentType}
	return nil
}

// binary returns a copy of the bytes of an ArrayBuffer, or of the part of one that a
// typed array shows.
func (s *sandbox) binary(v goja.Value) ([]byte, bool) {
	if b, ok := buffer(v); ok {
		return clone(b), true
	}
	o, ok := v.(*goja.Object)
	if !ok || !isTypedArray(o) {
		return nil, false
	}
	var view []byte
	if err := s.vm.ExportTo(v, &view); err != nil {
		return nil, false
	}
	return clone(view), true
}

func isTypedArray(o *goja.Object) bool {
	t := o.ExportType()
	if t == nil || t.Kind() != reflect.Slice {
		return false
	}
	k := t.Elem().Kind()
	return k >= reflect.Int && k <= reflect.Float64
}

func (s *sandbox) responseHeaders(r *Response, headers *goja.Object) error {
	for _, name := range headers.Keys() {
		v := headers.Get(name)
		if _, ok := v.(*goja.Symbol); ok {
			return invalid("header value type")
		}
		value := v.String()
		if !validName(name) || !validValue(value) {
			return invalid("header " + strings.ToValidUTF8(name, "?") + " is not valid in HTTP")
		}
		if r.Header == nil {
			r.Header = make(map[string]string)
		}
		r.Header[strings.ToLower(name)] = value
	}
	return nil
}

// validName reports whether a header name is a token of RFC 9110.
func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		alnum := c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != ""
}

// validValue reports whether a header value has no control characters, which could
// begin another header.
func validValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < 0x20 && c != '\t' || c == 0x7F {
			return false
		}
	}
	return true
}

// responseStatus reads statusCode, which must be an integer and a status that HTTP can
// carry as a final answer: CCF's node ends where it is not.
func responseStatus(r *Response, v goja.Value) error {
	if v == nil || goja.IsUndefined(v) || goja.IsNull(v) {
		return nil
	}
	if !goja.IsNumber(v) || v.ToFloat() != float64(v.ToInteger()) {
		return invalid("status code type")
	}
	n := v.ToInteger()
	if n < 200 || n > 599 {
		return invalid("status code is not between 200 and 599")
	}
	r.Status = int(n)
	return nil
}

package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"chancery/server/api"
)

// maxJSONDepth is CCF's bound on the nesting of JSON documents.
const maxJSONDepth = 64

func decodeJSON(body []byte, v any) error {
	if err := checkJSON(body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "%s", err)
	}
	return nil
}

// checkJSON checks that body is one JSON document of bounded depth. The message for
// a document that ends or begins wrongly has the form that CCF's clients know.
func checkJSON(body []byte) error {
	depth, inString, escaped := 0, false, false
	for _, b := range body {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped = b == '\\'
			inString = b != '"'
		case b == '"':
			inString = true
		case b == '[' || b == '{':
			if depth++; depth > maxJSONDepth {
				return api.Errorf(http.StatusBadRequest, api.InvalidInput, "JSON nests more than %d levels", maxJSONDepth)
			}
		case b == ']' || b == '}':
			depth--
		}
	}
	if !json.Valid(body) {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "%s", describeJSONError(body))
	}
	if what := illFormed(body); what != "" {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "%s", what)
	}
	return nil
}

// illFormed says what CCF's parser refuses in a document that encoding/json takes: bytes
// that are no UTF-8, halves of surrogate pairs, numbers that no double holds. Each would
// be read as something else than was sent.
func illFormed(body []byte) string {
	if !utf8.Valid(body) {
		return "invalid string: ill-formed UTF-8 byte"
	}
	inString := false
	for i := 0; i < len(body); i++ {
		switch b := body[i]; {
		case inString && b == '\\':
			units := 1
			if body[i+1] == 'u' {
				if units = surrogates(body[i:]); units == 0 {
					return "invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF"
				}
				units = 6*units - 1
			}
			i += units
		case b == '"':
			inString = !inString
		case !inString && (b == '-' || '0' <= b && b <= '9'):
			end := i
			for end < len(body) && bytes.IndexByte([]byte("+-.eE0123456789"), body[end]) >= 0 {
				end++
			}
			if _, err := strconv.ParseFloat(string(body[i:end]), 64); err != nil {
				return "number overflow parsing '" + string(body[i:min(end, i+40)]) + "'"
			}
			i = end - 1
		}
	}
	return ""
}

// surrogates looks at the escape \uXXXX at the start of a valid string's rest, and returns
// how many escapes make one character: 1 or 2, or 0 for half a pair.
func surrogates(rest []byte) int {
	unit := func(at int) rune {
		if len(rest) < at+6 || rest[at] != '\\' || rest[at+1] != 'u' {
			return 0
		}
		n, err := strconv.ParseUint(string(rest[at+2:at+6]), 16, 16)
		if err != nil { // a valid document has four hex digits there
			return 0
		}
		return rune(n)
	}
	first := unit(0)
	switch {
	case !utf16.IsSurrogate(first):
		return 1
	case utf16.DecodeRune(first, unit(6)) != utf8.RuneError:
		return 2
	}
	return 0
}

// describeJSONError words a syntax error as CCF's JSON parser does, as far as the
// position and the kind go.
func describeJSONError(body []byte) string {
	const form = "[json.exception.parse_error.101] parse error at line %d, column %d: syntax error while parsing value - %s"
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(trimmed) == 0 {
		line, column := position(body, len(body))
		return fmt.Sprintf(form, line, column+1, "unexpected end of input; expected '[', '{', or a literal")
	}
	var at int
	err := json.Unmarshal(body, new(json.RawMessage))
	if se, ok := err.(*json.SyntaxError); ok {
		at = int(se.Offset)
	}
	if at >= len(body) && strings.Contains(err.Error(), "unexpected end") {
		line, column := position(body, len(body))
		return fmt.Sprintf(form, line, column+1, "unexpected end of input")
	}
	at = max(at, 1)
	line, column := position(body, at)
	start := bytes.LastIndexAny(body[:at-1], " \t\r\n,:[]{}") + 1
	last := strings.ToValidUTF8(string(body[start:at]), string(utf8.RuneError))
	return fmt.Sprintf(form, line, column, "invalid literal; last read: '"+last+"'")
}

// position returns line and column, from 1, of the byte before offset.
func position(body []byte, offset int) (line, column int) {
	before := body[:offset]
	return 1 + bytes.Count(before, []byte{'\n'}), offset - (bytes.LastIndexByte(before, '\n') + 1)
}

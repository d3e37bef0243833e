package tables

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxDepth is the deepest nesting of arrays and objects that [Unmarshal] takes, CCF's
// limit for JSON.
const MaxDepth = 64

// Marshal encodes v as CCF's serialiser does: compact, members sorted bytewise by name,
// text in UTF-8 with only quote, backslash and control characters escaped.
// v is anything that encoding/json encodes.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding JSON: %w", err)
	}
	var tree any
	dec := json.NewDecoder(&b)
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("encoding JSON: %w", err)
	}
	return appendJSON(nil, tree), nil
}

// Unmarshal decodes one JSON document into v. Members that v does not have are
// ignored, of members with the same name the last one counts, nothing but white space
// may follow, and nesting deeper than [MaxDepth] is refused.
func Unmarshal(data []byte, v any) error {
	if err := checkDepth(data); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("decoding JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("decoding JSON: more than one value")
	}
	return nil
}

// checkDepth scans data for nesting beyond MaxDepth without decoding it.
func checkDepth(data []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return fmt.Errorf("decoding JSON: nested deeper than %d", MaxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// appendJSON appends a tree of nil, bool, json.Number, string, []any and
// map[string]any, the values that a json.Decoder with UseNumber makes.
func appendJSON(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		if v {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	case json.Number:
		return append(dst, v...)
	case string:
		return appendString(dst, v)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, e)
		}
		return append(dst, ']')
	case map[string]any:
		return appendObject(dst, v)
	}
	panic(fmt.Sprintf("tables: %T is no decoded JSON value", v))
}

func appendObject(dst []byte, m map[string]any) []byte {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = append(dst, '{')
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, k), ':')
		dst = appendJSON(dst, m[k])
	}
	return append(dst, '}')
}

func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		case c == '\b':
			dst = append(dst, '\\', 'b')
		case c == '\f':
			dst = append(dst, '\\', 'f')
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, '"')
}

// Data is free-form JSON that a consortium attaches to a member, user, node or service.
// Nil and the JSON null mean that there is none.
type Data json.RawMessage

// IsZero says that there is no data; encoding/json leaves such members out.
func (d Data) IsZero() bool { return len(d) == 0 || string(d) == "null" }

// MarshalJSON gives the data as it is, null when there is none.
func (d Data) MarshalJSON() ([]byte, error) {
	if d.IsZero() {
		return []byte("null"), nil
	}
	return d, nil
}

// UnmarshalJSON keeps a copy of the text.
func (d *Data) UnmarshalJSON(b []byte) error {
	*d = slices.Clone(b)
	return nil
}

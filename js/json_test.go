package js

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// parsed is what parseJSON makes of a text, by way of JSON.stringify.
func parsed(s *sandbox, text string) (out string, err error) {
	err = s.call(context.Background(), &Env{}, func() error {
		out = s.stringify(s.parseJSON(text)).String()
		return nil
	}, nil)
	return out, err
}

// TestJSONMessages are QuickJS's words.
func TestJSONMessages(t *testing.T) {
	s := newSandbox(false, ccfTable)
	for text, want := range map[string]string{
		"":              "unexpected end of input",
		"{":             "expecting property name",
		`{"a"`:          "expecting ':'",
		`{"a":1`:        "expecting '}'",
		"[1":            "expecting ']'",
		"[1,]":          "unexpected token: ']'",
		"nope":          "unexpected token: 'nope'",
		"1 2":           "unexpected data at the end",
		"\ufffd":        "unexpected character",
		"'a'":           "unexpected character",
		"01":            "unexpected token: '01'",
		"1.":            "unterminated fractional number",
		"1e":            "missing digit after exponent character",
		`"a`:            "unexpected end of string",
		"\"a\nb\"":      "invalid character in a JSON string",
		`"\x"`:          "invalid escape sequence in string",
		`"\u12"`:        "unexpected end of string",
		"true false":    "unexpected data at the end",
		"undefined":     "unexpected token: 'undefined'",
		"{a:1}":         "expecting property name",
		"[" + nested(1): "",
	} {
		if want == "" {
			continue
		}
		_, err := parsed(s, text)
		if err == nil || err.Error() != "SyntaxError: "+want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := parsed(s, nested(maxJSONDepth)); err != nil {
		t.Errorf("%d levels: %v", maxJSONDepth, err)
	}
	if _, err := parsed(s, nested(maxJSONDepth+2)); err == nil {
		t.Errorf("%d levels are accepted", maxJSONDepth+2)
	}
}

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// TestProtoKey: a member named __proto__ is data.
func TestProtoKey(t *testing.T) {
	v, err := call(t, Env{}, `export function f() { const o = JSON.parse('{"__proto__": {"x": 1}}'); return {keys: Object.keys(o).join(), x: o.x === undefined}; }`, "f")
	if err != nil {
		t.Fatal(err)
	}
	if keys, _ := v.Field("keys").Text(); keys != "__proto__" || !v.Field("x").IsTrue() {
		t.Errorf("got %+v", v)
	}
}

// FuzzJSON compares with encoding/json: the same texts are accepted, and mean the same.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5e3,-0,"\u00e9\ud83d\ude00\n"],"b":{"c":null,"d":true}}`, `[1e400]`, `"\ud800"`, "[]", " 1 ", `{"a":1,"a":2}`, "-", `"\/"`, "1E-2"} {
		f.Add(seed)
	}
	s := newSandbox(false, ccfTable)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ToValidUTF8(text, "?") != text {
			return // texts are decoded before they are parsed
		}
		var want any
		d := json.Unmarshal([]byte(text), &want)
		out, err := parsed(s, text)
		if (d == nil) != (err == nil) {
			if d != nil && strings.Contains(d.Error(), "exceeded max depth") || d != nil && strings.Contains(d.Error(), "cannot unmarshal number") || err != nil && strings.Contains(err.Error(), "nests more") {
				return // bounds differ; JavaScript has Infinity
			}
			t.Fatalf("%q: encoding/json %v, ours %v", text, d, err)
		}
		if err != nil {
			return
		}
		var got any
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%q: our result %q: %v", text, out, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %v, want %v", text, got, want)
		}
	})
}

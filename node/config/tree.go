package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth is the nesting that a configuration file may have; the structs need 6.
const maxDepth = 64

// SyntaxError says that the file is not one JSON value.
type SyntaxError struct {
	// Line and Column, from 1, are where it went wrong.
	Line, Column int
	// Incomplete says that the text ended too early, as in a file that is being written.
	Incomplete bool
	// Reason is what went wrong.
	Reason string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Reason)
}

// object is a JSON object in the order of the file.
type object struct {
	keys     []string
	values   map[string]any // object, []any, string, json.Number, bool, nil
	twice    []string       // keys that stand in the file more than once
	from, to int64          // where the object stands in the text
}

// parseTree reads one JSON value and nothing after it.
func parseTree(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err == nil {
		if _, tail := d.Token(); tail != io.EOF {
			err = errors.New("there is text after the configuration")
		}
	}
	if err != nil {
		return nil, syntaxError(data, d.InputOffset(), err)
	}
	return v, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth++; depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels of nesting", maxDepth)
	}
	if delim == '[' {
		return parseArray(d, depth)
	}
	return parseObject(d, depth)
}

func parseArray(d *json.Decoder, depth int) (any, error) {
	list := []any{}
	for d.More() {
		v, err := parseValue(d, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.Token() // the closing bracket
	return list, err
}

func parseObject(d *json.Decoder, depth int) (any, error) {
	o := &object{values: map[string]any{}, from: d.InputOffset() - 1}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, errors.New("a key is not a string")
		}
		v, err := parseValue(d, depth)
		if err != nil {
			return nil, err
		}
		if _, seen := o.values[key]; seen {
			o.twice = append(o.twice, key)
		} else {
			o.keys = append(o.keys, key)
		}
		o.values[key] = v
	}
	_, err := d.Token() // the closing brace
	o.to = d.InputOffset()
	return o, err
}

// syntaxError places an error of the decoder in the text.
func syntaxError(data []byte, offset int64, err error) *SyntaxError {
	e := &SyntaxError{Reason: err.Error()}
	var s *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		offset, e.Incomplete, e.Reason = int64(len(data)), true, "the text ends too early"
	case errors.As(err, &s):
		offset = s.Offset
		if strings.Contains(s.Error(), "unexpected end") {
			e.Incomplete = true
		}
	}
	before := data[:min(max(offset, 0), int64(len(data)))]
	e.Line = 1 + bytes.Count(before, []byte{'\n'})
	e.Column = len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	if e.Column == 0 {
		e.Column = 1
	}
	return e
}

package js

import (
	"encoding/json"
	"fmt"

	"github.com/dop251/goja"
)

// Object is a JavaScript object given to a script: its properties in order.
type Object []Property

// Property is one property of an Object.
type Property struct {
	Name  string
	Value any
}

// value turns a Go value into one of the script. Byte slices are copied.
func (s *sandbox) value(v any) goja.Value {
	switch v := v.(type) {
	case nil:
		return goja.Null()
	case goja.Value:
		return v
	case []byte:
		return s.copied(v)
	case json.RawMessage:
		return s.parseJSON(string(v))
	case Object:
		o := s.vm.NewObject()
		for _, p := range v {
			_ = o.Set(p.Name, s.value(p.Value))
		}
		return o
	case *Caller:
		return s.value(v.object())
	case []string:
		items := make([]any, len(v))
		for i, x := range v {
			items[i] = x
		}
		return s.vm.NewArray(items...)
	case []any:
		items := make([]any, len(v))
		for i, x := range v {
			items[i] = s.value(x)
		}
		return s.vm.NewArray(items...)
	case bool, string, int, int64, uint64, float64:
		return s.vm.ToValue(v)
	}
	panic(fmt.Sprintf("js: argument of type %T", v)) // a programming error of the caller
}

// Value is what a function of a script returned, read out before its interpreter was
// dropped. Property getters and proxies ran inside the limits of the call.
type Value struct {
	kind   kind
	text   string
	number float64
	yes    bool
	bytes  []byte
	fields map[string]Value
	items  []Value
}

type kind uint8

const (
	undefined kind = iota
	null
	boolean
	number
	text
	bytesKind
	object
	array
	function
	other
)

// IsUndefined reports whether the function returned nothing.
func (v Value) IsUndefined() bool { return v.kind == undefined }

// IsNull reports whether v is null.
func (v Value) IsNull() bool { return v.kind == null }

// IsTrue reports whether v is the boolean true; nothing else counts.
func (v Value) IsTrue() bool { return v.kind == boolean && v.yes }

// Bool returns the boolean; ok is false for any other type.
func (v Value) Bool() (b, ok bool) { return v.yes, v.kind == boolean }

// Text returns the string; ok is false for any other type.
func (v Value) Text() (t string, ok bool) { return v.text, v.kind == text }

// Number returns the number; ok is false for any other type.
func (v Value) Number() (n float64, ok bool) { return v.number, v.kind == number }

// Bytes returns the content of an ArrayBuffer; ok is false for any other type.
func (v Value) Bytes() (b []byte, ok bool) { return v.bytes, v.kind == bytesKind }

// IsObject reports whether v is an object of any kind, as typeof does, functions and
// null excluded.
func (v Value) IsObject() bool { return v.kind == object || v.kind == array || v.kind == bytesKind }

// Field returns an own enumerable property of an object, undefined where there is none.
func (v Value) Field(name string) Value { return v.fields[name] }

// Items returns the elements of an array.
func (v Value) Items() []Value { return v.items }

// String is the value as JavaScript's String shows primitive values.
func (v Value) String() string { return v.text }

// Bounds of what is read out of a result.
const (
	maxResultDepth = 16
	maxResultItems = 100_000
)

// exported reads v out of the interpreter.
func (s *sandbox) exported(v goja.Value) Value {
	left := maxResultItems
	return s.read(v, 0, &left)
}

func (s *sandbox) read(v goja.Value, depth int, left *int) Value {
	if *left--; *left < 0 || depth > maxResultDepth {
		s.throwRange("result is too large")
	}
	switch {
	case v == nil || goja.IsUndefined(v):
		return Value{text: "undefined"}
	case goja.IsNull(v):
		return Value{kind: null, text: "null"}
	case goja.IsString(v):
		return Value{kind: text, text: v.String()}
	case goja.IsNumber(v):
		return Value{kind: number, number: v.ToFloat(), text: v.String()}
	}
	o, ok := v.(*goja.Object)
	if !ok {
		if b, isBool := v.Export().(bool); isBool {
			return Value{kind: boolean, yes: b, text: v.String()}
		}
		return Value{kind: other, text: v.String()}
	}
	return s.readObject(o, depth, left)
}

func (s *sandbox) readObject(o *goja.Object, depth int, left *int) Value {
	if b, ok := buffer(o); ok {
		return Value{kind: bytesKind, bytes: clone(b)}
	}
	if _, ok := goja.AssertFunction(o); ok {
		return Value{kind: function}
	}
	if o.ClassName() == "Array" {
		out := Value{kind: array}
		n := o.Get("length").ToInteger()
		for i := range n {
			out.items = append(out.items, s.read(o.Get(fmt.Sprint(i)), depth+1, left))
		}
		return out
	}
	out := Value{kind: object, fields: make(map[string]Value)}
	for _, k := range o.Keys() {
		out.fields[k] = s.read(o.Get(k), depth+1, left)
	}
	return out
}

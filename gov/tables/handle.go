package tables

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"chancery/kv"
)

// SingletonKey is the key of the one value of a single-valued table: eight zero bytes.
var SingletonKey = make([]byte, 8)

// Reader is what a handle reads from. A *kv.Tx is one, [View] makes one of a *kv.State.
type Reader interface {
	Get(table string, key []byte) ([]byte, bool)
	Range(table string, b kv.Bounds) iter.Seq2[[]byte, []byte]
}

// Writer is what a handle writes to: a *kv.Tx.
type Writer interface {
	Reader
	Put(table string, key, value []byte)
	Delete(table string, key []byte)
	Clear(table string)
}

// View reads a state as a Reader.
func View(s *kv.State) Reader { return view{s} }

type view struct{ s *kv.State }

func (v view) Get(table string, key []byte) ([]byte, bool) {
	value, _, ok := v.s.Get(table, key)
	return value, ok
}

func (v view) Range(table string, b kv.Bounds) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		for k, item := range v.s.Range(table, b) {
			if !yield(k, item.Value) {
				return
			}
		}
	}
}

// codec turns values into bytes and back.
type codec[V any] struct {
	encode func(V) ([]byte, error)
	decode func([]byte) (V, error)
}

func jsonCodec[V any]() codec[V] {
	return codec[V]{
		encode: func(v V) ([]byte, error) { return Marshal(v) },
		decode: func(b []byte) (v V, err error) { return v, Unmarshal(b, &v) },
	}
}

// rawText is for PEM, source text and other values stored without any encoding.
func rawText() codec[string] {
	return codec[string]{
		encode: func(s string) ([]byte, error) { return []byte(s), nil },
		decode: func(b []byte) (string, error) { return string(b), nil },
	}
}

func rawBytes() codec[[]byte] {
	return codec[[]byte]{
		encode: func(b []byte) ([]byte, error) { return b, nil },
		decode: func(b []byte) ([]byte, error) { return slices.Clone(b), nil },
	}
}

// jsonText is for JSON kept as it was written, since its writer's order matters.
func jsonText() codec[json.RawMessage] {
	return codec[json.RawMessage]{
		encode: func(b json.RawMessage) ([]byte, error) { return b, nil },
		decode: func(b []byte) (json.RawMessage, error) { return slices.Clone(b), nil },
	}
}

// Unit is the value of a set: eight zero bytes.
type Unit struct{}

func unit() codec[Unit] {
	return codec[Unit]{
		encode: func(Unit) ([]byte, error) { return make([]byte, 8), nil },
		decode: func([]byte) (Unit, error) { return Unit{}, nil },
	}
}

// Map is a table from text keys to values of one type.
type Map[V any] struct {
	name  string
	codec codec[V]
}

// Entry is one row of a Map.
type Entry[V any] struct {
	Key   string
	Value V
}

// Name returns the name of the table.
func (m Map[V]) Name() string { return m.name }

// Get reads the value of key; the bool says whether there is one.
// An error means that the bytes there are no V.
func (m Map[V]) Get(r Reader, key string) (V, bool, error) {
	b, ok := r.Get(m.name, []byte(key))
	if !ok {
		var none V
		return none, false, nil
	}
	v, err := m.codec.decode(b)
	if err != nil {
		return v, true, fmt.Errorf("reading %s[%q]: %w", m.name, key, err)
	}
	return v, true, nil
}

// Has says whether there is a value for key.
func (m Map[V]) Has(r Reader, key string) bool {
	_, ok := r.Get(m.name, []byte(key))
	return ok
}

// All returns every row in the order of its key.
func (m Map[V]) All(r Reader) ([]Entry[V], error) {
	var out []Entry[V]
	for k, b := range r.Range(m.name, kv.Bounds{}) {
		v, err := m.codec.decode(b)
		if err != nil {
			return nil, fmt.Errorf("reading %s[%q]: %w", m.name, k, err)
		}
		out = append(out, Entry[V]{string(k), v})
	}
	return out, nil
}

// Keys returns every key, sorted.
func (m Map[V]) Keys(r Reader) []string {
	var out []string
	for k := range r.Range(m.name, kv.Bounds{}) {
		out = append(out, string(k))
	}
	return out
}

// Put writes the value of key.
func (m Map[V]) Put(w Writer, key string, v V) error {
	b, err := m.codec.encode(v)
	if err != nil {
		return fmt.Errorf("writing %s[%q]: %w", m.name, key, err)
	}
	w.Put(m.name, []byte(key), b)
	return nil
}

// Delete removes key. As in CCF the removal of a key that is not there is recorded too.
func (m Map[V]) Delete(w Writer, key string) { w.Delete(m.name, []byte(key)) }

// Clear removes every key.
func (m Map[V]) Clear(w Writer) { w.Clear(m.name) }

// Value is a table with one value, under [SingletonKey].
type Value[V any] struct{ m Map[V] }

// Name returns the name of the table.
func (v Value[V]) Name() string { return v.m.name }

// Get reads the value; the bool says whether there is one.
func (v Value[V]) Get(r Reader) (V, bool, error) { return v.m.Get(r, string(SingletonKey)) }

// Put writes the value.
func (v Value[V]) Put(w Writer, value V) error { return v.m.Put(w, string(SingletonKey), value) }

// Delete removes the value.
func (v Value[V]) Delete(w Writer) { v.m.Delete(w, string(SingletonKey)) }

func jsonMap[V any](name string) Map[V]     { return Map[V]{name, jsonCodec[V]()} }
func jsonValue[V any](name string) Value[V] { return Value[V]{jsonMap[V](name)} }
func textMap(name string) Map[string]       { return Map[string]{name, rawText()} }
func textValue(name string) Value[string]   { return Value[string]{textMap(name)} }

package js

import (
	"bytes"

	"github.com/dop251/goja"

	"chancery/kv"
)

// ccf.chancery.kv walks over maps in the order of their keys, which CCF's maps do not
// offer. The functions take a handle, of the present or of the past, so that handles
// have CCF's members and no others.
//
//	range(map, options?) -> {entries: [{key, value}, ...], cursor?}
//	keys(map, options?)  -> {keys: [key, ...], cursor?}
//
// Keys are compared bytewise. The options, each of which may be left out:
//
//	from, to   ArrayBuffer: the first key, and the one before which it ends
//	prefix     ArrayBuffer: what the keys begin with
//	reverse    boolean: from the greatest key to the least
//	limit      how many entries at most, from 1 on
//	cursor     ArrayBuffer: go on behind this key, as the answer before said
//
// cursor is in the answer when the limit ended it. What was walked over, and no more, is
// what the transaction has read.

// walk is what a call asks for.
type walk struct {
	bounds kv.Bounds
	limit  int // 0: none
}

// maxLimit is the largest limit; more entries than this do not fit a heap.
const maxLimit = 1<<31 - 1

func (s *sandbox) orderedRange(c goja.FunctionCall) goja.Value {
	return s.walk(c, "range", "entries", func(k, v []byte) goja.Value {
		o := s.vm.NewObject()
		_ = o.Set("key", s.copied(k))
		_ = o.Set("value", s.copied(v))
		return o
	})
}

func (s *sandbox) orderedKeys(c goja.FunctionCall) goja.Value {
	return s.walk(c, "keys", "keys", func(k, _ []byte) goja.Value { return s.copied(k) })
}

// walk collects what item makes of the entries that a call asks for.
func (s *sandbox) walk(c goja.FunctionCall, method, list string, item func(k, v []byte) goja.Value) goja.Value {
	if n := len(c.Arguments); n != 1 && n != 2 {
		s.throwType("Passed %d arguments, but expected 1 or 2", n)
	}
	h := s.allowed(c.Arguments[0], method, mayRead)
	w := s.walkOptions(c.Argument(1))
	var items []any
	var last []byte
	more := false
	for k, v := range s.reader(h).Range(h.table, w.bounds) {
		s.checkTime()
		if more = w.limit > 0 && len(items) == w.limit; more {
			break
		}
		items, last = append(items, item(k, v)), k
	}
	out := s.vm.NewObject()
	_ = out.Set(list, s.vm.NewArray(items...))
	if more {
		_ = out.Set("cursor", s.copied(last))
	}
	return out
}

// walkOptions reads the options. A name that is none is refused: it would be a mistake
// that changes what is found.
func (s *sandbox) walkOptions(v goja.Value) walk {
	var w walk
	if goja.IsUndefined(v) {
		return w
	}
	o, ok := v.(*goja.Object)
	if !ok {
		s.throwType("The options must be an object")
	}
	var cursor []byte
	for _, name := range o.Keys() {
		value := o.Get(name)
		if goja.IsUndefined(value) {
			continue
		}
		switch name {
		case "from":
			w.bounds = within(w.bounds, kv.Bounds{From: s.option(name, value)})
		case "to":
			w.bounds = within(w.bounds, kv.Bounds{To: s.option(name, value)})
		case "prefix":
			w.bounds = within(w.bounds, kv.Prefix(s.option(name, value)))
		case "cursor":
			cursor = s.option(name, value)
		case "reverse":
			w.bounds.Reverse = value.ToBoolean()
		case "limit":
			if n := value.ToInteger(); n >= 1 && n <= maxLimit && value.ToFloat() == float64(n) {
				w.limit = int(n)
				continue
			}
			s.throwRange("limit must be a whole number from 1 to %d", maxLimit)
		default:
			s.throwType("Unknown option %q; there are from, to, prefix, reverse, limit and cursor", name)
		}
	}
	switch {
	case cursor == nil:
	case w.bounds.Reverse:
		w.bounds = within(w.bounds, kv.Bounds{To: cursor})
	default:
		w.bounds = within(w.bounds, kv.Bounds{From: append(cursor, 0)})
	}
	return w
}

// option is a copy of an ArrayBuffer among the options.
func (s *sandbox) option(name string, v goja.Value) []byte {
	b, ok := buffer(v)
	if !ok {
		s.throwType("%s must be an ArrayBuffer", name)
	}
	return clone(b)
}

// within is the part of a that lies in b.
func within(a, b kv.Bounds) kv.Bounds {
	if bytes.Compare(b.From, a.From) > 0 {
		a.From = b.From
	}
	if b.To != nil && (a.To == nil || bytes.Compare(b.To, a.To) < 0) {
		a.To = b.To
	}
	return a
}

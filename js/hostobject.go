package js

import (
	"slices"

	"github.com/dop251/goja"
)

// native is a host function.
type native = func(goja.FunctionCall) goja.Value

// member is one property of a host object: a function, an object of its own, or, in the
// object of a request, a value of it.
type member struct {
	name   string
	f      func(*sandbox, goja.FunctionCall) goja.Value
	object func(*sandbox) *goja.Object
	value  func(*sandbox, *requestState) goja.Value
}

// hostTable lists the members of a kind of host object. It is made once and shared by
// all interpreters.
type hostTable struct {
	members []member
	index   map[string]int
}

func newTable(members ...member) *hostTable {
	t := &hostTable{members: members, index: make(map[string]int, len(members))}
	for i, m := range members {
		t.index[m.name] = i
	}
	return t
}

// hostObject is an object of the host whose members are made when they are first used:
// most requests use few of them. Scripts see a plain object; what they assign to it
// lives as long as the object, which in a hardened interpreter is one call.
type hostObject struct {
	s       *sandbox
	table   *hostTable
	request *requestState         // whose values the members are, in the object of a request
	own     map[string]goja.Value // assigned or made; a nil value: deleted
	added   []string              // names that are not in the table
}

// hostObject returns a new host object.
func (s *sandbox) hostObject(t *hostTable) *goja.Object {
	return s.vm.NewDynamicObject(&hostObject{s: s, table: t})
}

// Get implements goja.DynamicObject.
func (h *hostObject) Get(name string) goja.Value {
	if v, ok := h.own[name]; ok {
		return v
	}
	i, ok := h.table.index[name]
	if !ok {
		return nil
	}
	m := &h.table.members[i]
	if m.f != nil {
		return h.s.function(m)
	}
	var v goja.Value
	if m.value != nil {
		v = m.value(h.s, h.request)
	} else {
		v = m.object(h.s)
	}
	h.put(name, v)
	return v
}

// Has implements goja.DynamicObject.
func (h *hostObject) Has(name string) bool {
	if v, ok := h.own[name]; ok {
		return v != nil
	}
	_, ok := h.table.index[name]
	return ok
}

// Set implements goja.DynamicObject.
func (h *hostObject) Set(name string, v goja.Value) bool {
	if _, ok := h.table.index[name]; !ok && !slices.Contains(h.added, name) {
		h.added = append(h.added, name)
	}
	h.put(name, v)
	return true
}

// Delete implements goja.DynamicObject.
func (h *hostObject) Delete(name string) bool {
	if h.Has(name) {
		h.put(name, nil)
	}
	return true
}

// Keys implements goja.DynamicObject.
func (h *hostObject) Keys() []string {
	var out []string
	for _, m := range h.table.members {
		if h.Has(m.name) {
			out = append(out, m.name)
		}
	}
	for _, name := range h.added {
		if h.Has(name) {
			out = append(out, name)
		}
	}
	return out
}

func (h *hostObject) put(name string, v goja.Value) {
	if h.own == nil {
		h.own = make(map[string]goja.Value)
	}
	h.own[name] = v
}

// function returns the function object of a member: one for each interpreter, frozen
// where interpreters are hardened, since it outlives the call.
func (s *sandbox) function(m *member) goja.Value {
	if f := s.functions[m]; f != nil {
		return f
	}
	f := s.vm.ToValue(func(c goja.FunctionCall) goja.Value { return m.f(s, c) }).(*goja.Object)
	_ = f.DefineDataProperty("name", s.vm.ToValue(m.name), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	s.settle(f)
	s.functions[m] = f
	return f
}

// settle freezes an object that outlives a call of a hardened interpreter.
func (s *sandbox) settle(o *goja.Object) {
	if s.hardened {
		if _, err := s.intrinsics.freeze(goja.Undefined(), o); err != nil {
			panic(err)
		}
	}
}

package js

import (
	"reflect"

	"github.com/dop251/goja"

	"chancery/kv"
)

// handle is one map as a script sees it: an object with CCF's members. The table that
// it stands for is in the Go value, where the script cannot change it.
type handle struct {
	s     *sandbox
	table string
	past  Reader // the transaction of the past that it reads; nil: the current one
}

// kvMembers are the methods of a handle.
var kvMembers = []member{
	{name: "has", f: (*sandbox).kvHas}, {name: "get", f: (*sandbox).kvGet},
	{name: "getVersionOfPreviousWrite", f: (*sandbox).kvVersion},
	{name: "set", f: (*sandbox).kvSet}, {name: "delete", f: (*sandbox).kvDelete},
	{name: "clear", f: (*sandbox).kvClear}, {name: "forEach", f: (*sandbox).kvForEach},
}

// Get returns an own property of the handle.
func (h *handle) Get(name string) goja.Value {
	if i, ok := kvTable.index[name]; ok {
		return h.s.function(&kvTable.members[i])
	}
	if name == "_map_name" {
		return h.s.vm.ToValue(h.table)
	}
	return nil
}

// Keys lists the own properties.
func (h *handle) Keys() []string {
	out := []string{"_map_name"}
	for _, m := range kvTable.members {
		out = append(out, m.name)
	}
	return out
}

// Has, Set and Delete make the handle an object that cannot be changed.
func (h *handle) Has(name string) bool        { return h.Get(name) != nil }
func (h *handle) Set(string, goja.Value) bool { return false }
func (h *handle) Delete(string) bool          { return false }

// kvObject is ccf.kv: every name is a handle, made when it is asked for.
type kvObject struct {
	s     *sandbox
	past  Reader
	known map[string]*goja.Object
}

func (k *kvObject) Get(table string) goja.Value {
	if o := k.known[table]; o != nil {
		return o
	}
	o := k.s.newHandle(table, k.past)
	if k.known == nil {
		k.known = make(map[string]*goja.Object)
	}
	k.known[table] = o
	return o
}

// Has, Set, Delete and Keys are those of an object without properties of its own.
func (k *kvObject) Has(string) bool             { return false }
func (k *kvObject) Set(string, goja.Value) bool { return false }
func (k *kvObject) Delete(string) bool          { return false }
func (k *kvObject) Keys() []string              { return nil }

// newHandle returns a handle of the map, or ends the execution for a reserved name.
func (s *sandbox) newHandle(table string, past Reader) *goja.Object {
	if s.env == nil {
		s.throwType("Internal: No map name stored on handle")
	}
	if _, ok := s.env.Access.rightsOf(table); !ok {
		s.abort(&abort{reservedName(table)})
	}
	o := s.vm.NewDynamicObject(&handle{s: s, table: table, past: past})
	_ = o.SetPrototype(s.handleProto())
	return o
}

// handleProto is the prototype of the handles, with the size getter.
func (s *sandbox) handleProto() *goja.Object {
	if s.kvProto == nil {
		s.kvProto = s.vm.NewObject()
		readOnly := s.vm.ToValue(func(goja.FunctionCall) goja.Value {
			s.throwType("no setter for property")
			return nil
		}).(*goja.Object)
		get := s.vm.ToValue(s.kvSize).(*goja.Object)
		_ = s.kvProto.DefineAccessorProperty("size", get, readOnly, goja.FLAG_TRUE, goja.FLAG_FALSE)
		s.settle(get)
		s.settle(readOnly)
		s.settle(s.kvProto)
	}
	return s.kvProto
}

var handleType = reflect.TypeFor[*handle]()

// target returns the handle that a method is called on, once the method is allowed.
func (s *sandbox) target(c goja.FunctionCall, method string, need rights) *handle {
	return s.allowed(c.This, method, need)
}

// allowed returns the handle that v is, once the method is allowed on it.
func (s *sandbox) allowed(v goja.Value, method string, need rights) *handle {
	var h *handle
	if o, ok := v.(*goja.Object); ok && o.ExportType() == handleType {
		h, _ = o.Export().(*handle)
	}
	if h == nil || s.env == nil {
		s.throwType("Internal: No map name stored on handle")
	}
	// A handle that outlived the call that made it (interpreter_reuse) has the rights
	// of the current one.
	r, _ := s.env.Access.rightsOf(h.table)
	why, refused := s.env.Restrict.refuses(h.table, need)
	switch {
	case refused && r&need != 0:
		s.throwType("Cannot call %q on table named %s. %s", method, h.table, why)
	case r&need != 0 && (h.past == nil || need == mayRead):
	case h.table == "":
		s.throwType("Internal: No map name stored on handle")
	case h.past != nil && need == mayWrite && r != inaccessible:
		s.throwType("%s", historicalRefusal(method, h.table))
	default:
		s.throwType("%s", refusal(method, h.table, r, s.env.Access))
	}
	return h
}

// reader returns what the handle reads from.
func (s *sandbox) reader(h *handle) Reader {
	if h.past != nil {
		return h.past
	}
	return s.env.Tx
}

// key returns the only argument of a call, which must be an ArrayBuffer.
func (s *sandbox) key(c goja.FunctionCall) []byte {
	s.arity(c, 1)
	b, ok := buffer(c.Arguments[0])
	if !ok {
		s.throwType("Argument must be an ArrayBuffer")
	}
	return b
}

func (s *sandbox) kvHas(c goja.FunctionCall) goja.Value {
	h := s.target(c, "has", mayRead)
	return s.vm.ToValue(s.reader(h).Has(h.table, s.key(c)))
}

func (s *sandbox) kvGet(c goja.FunctionCall) goja.Value {
	h := s.target(c, "get", mayRead)
	v, ok := s.reader(h).Get(h.table, s.key(c))
	if !ok {
		return goja.Undefined()
	}
	return s.copied(v)
}

func (s *sandbox) kvVersion(c goja.FunctionCall) goja.Value {
	h := s.target(c, "getVersionOfPreviousWrite", mayRead)
	v, ok := s.reader(h).VersionOfPreviousWrite(h.table, s.key(c))
	if !ok {
		return goja.Undefined()
	}
	return s.vm.ToValue(v)
}

func (s *sandbox) kvSet(c goja.FunctionCall) goja.Value {
	h := s.target(c, "set", mayWrite)
	s.arity(c, 2)
	k, okKey := buffer(c.Arguments[0])
	v, okValue := buffer(c.Arguments[1])
	if !okKey || !okValue {
		s.throwType("Arguments must be ArrayBuffers")
	}
	s.env.Tx.Put(h.table, clone(k), clone(v))
	return c.This
}

func (s *sandbox) kvDelete(c goja.FunctionCall) goja.Value {
	h := s.target(c, "delete", mayWrite)
	s.env.Tx.Delete(h.table, clone(s.key(c)))
	return goja.Undefined()
}

func (s *sandbox) kvClear(c goja.FunctionCall) goja.Value {
	h := s.target(c, "clear", mayWrite)
	s.arity(c, 0)
	s.env.Tx.Clear(h.table)
	return goja.Undefined()
}

func (s *sandbox) kvSize(c goja.FunctionCall) goja.Value {
	h := s.target(c, "size", mayRead)
	return s.vm.ToValue(s.reader(h).Len(h.table))
}

func (s *sandbox) kvForEach(c goja.FunctionCall) goja.Value {
	h := s.target(c, "forEach", mayRead)
	s.arity(c, 1)
	f, ok := goja.AssertFunction(c.Arguments[0])
	if !ok {
		s.throwType("Argument must be a function")
	}
	for k, v := range s.reader(h).Range(h.table, kv.Bounds{}) {
		s.checkTime()
		if _, err := f(goja.Undefined(), s.copied(v), s.copied(k), c.This); err != nil {
			panic(err)
		}
	}
	return goja.Undefined()
}

// copied returns a new ArrayBuffer with the bytes of b.
func (s *sandbox) copied(b []byte) goja.Value { return s.newBuffer(clone(b)) }

// clone is a copy of b that is never nil.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

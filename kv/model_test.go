package kv_test

import (
	"maps"
	"slices"

	"chancery/kv"
	"chancery/kv/writeset"
)

// The model is the second implementation of the package, written to be obvious:
// a state is a map of maps that is copied whole for every commit, and a
// transaction keeps a list of what it has looked at.

type cell struct {
	value   string
	version uint64
}

type modelState struct {
	id     kv.TxID
	tables map[string]map[string]cell
}

func (s *modelState) clone(id kv.TxID) *modelState {
	c := &modelState{id: id, tables: make(map[string]map[string]cell)}
	for name, t := range s.tables {
		c.tables[name] = maps.Clone(t)
	}
	return c
}

func (s *modelState) put(table, key, value string) {
	if s.tables[table] == nil {
		s.tables[table] = make(map[string]cell)
	}
	s.tables[table][key] = cell{value, s.id.Seqno}
}

func (s *modelState) remove(table, key string) {
	delete(s.tables[table], key)
	if len(s.tables[table]) == 0 {
		delete(s.tables, table)
	}
}

// keys returns the keys of a table within the bounds, in order.
func keysWithin[V any](t map[string]V, b kv.Bounds) []string {
	var out []string
	for k := range t {
		if k >= string(b.From) && (b.To == nil || k < string(b.To)) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	if b.Reverse {
		slices.Reverse(out)
	}
	return out
}

// modelStore keeps every ancestor of the head, those before the committed state
// too, so that "was it rolled back?" is a search.
type modelStore struct {
	states    []*modelState // ascending, the head last
	committed int           // index in states
}

func newModelStore() *modelStore {
	return &modelStore{states: []*modelState{{tables: map[string]map[string]cell{}}}}
}

func (m *modelStore) head() *modelState { return m.states[len(m.states)-1] }

// rangeSeen is a part of a table that a walk went through: from is in it, to is
// not, and a nil to is the end of the table.
type rangeSeen struct {
	from string
	to   *string
}

func (r rangeSeen) contains(key string) bool {
	return key >= r.from && (r.to == nil || key < *r.to)
}

// modelTable is a transaction's side of one table.
type modelTable struct {
	writes map[string]*string // nil for a removal
	points map[string]bool
	ranges []rangeSeen
	sized  bool
}

type modelTx struct {
	base   *modelState
	tables map[string]*modelTable
}

func newModelTx(base *modelState) *modelTx {
	return &modelTx{base: base, tables: make(map[string]*modelTable)}
}

func (tx *modelTx) table(name string) *modelTable {
	if tx.tables[name] == nil {
		tx.tables[name] = &modelTable{writes: make(map[string]*string), points: make(map[string]bool)}
	}
	return tx.tables[name]
}

// view returns the contents of a table as the transaction sees them.
func (tx *modelTx) view(name string) map[string]string {
	out := make(map[string]string)
	for k, c := range tx.base.tables[name] {
		out[k] = c.value
	}
	for k, v := range tx.table(name).writes {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = *v
		}
	}
	return out
}

func (tx *modelTx) get(name, key string) (string, bool) {
	t := tx.table(name)
	if _, own := t.writes[key]; !own {
		t.points[key] = true
	}
	v, ok := tx.view(name)[key]
	return v, ok
}

func (tx *modelTx) version(name, key string) (uint64, bool) {
	tx.table(name).points[key] = true
	c, ok := tx.base.tables[name][key]
	return c.version, ok
}

func (tx *modelTx) write(name, key string, value *string) {
	tx.table(name).writes[key] = value
}

func (tx *modelTx) clear(name string) {
	for k := range tx.view(name) {
		tx.write(name, k, nil)
	}
	tx.table(name).ranges = append(tx.table(name).ranges, rangeSeen{})
}

func (tx *modelTx) size(name string) int {
	tx.table(name).sized = true
	return len(tx.view(name))
}

func (tx *modelTx) dirty() bool {
	for _, t := range tx.tables {
		if len(t.writes) > 0 {
			return true
		}
	}
	return false
}

// conflicts compares everything that was looked at, in the base and in the
// head. A transaction on a lost state conflicts in any case.
func (tx *modelTx) conflicts(m *modelStore) bool {
	if !slices.Contains(m.states, tx.base) {
		return true
	}
	for name, t := range tx.tables {
		before, now := tx.base.tables[name], m.head().tables[name]
		if t.sized && len(before) != len(now) {
			return true
		}
		keys := maps.Clone(before)
		if keys == nil {
			keys = make(map[string]cell)
		}
		maps.Copy(keys, now)
		for k := range keys {
			_, written := t.writes[k]
			read := t.points[k] || t.sized && written
			for _, r := range t.ranges {
				read = read || r.contains(k)
			}
			if read && before[k] != now[k] {
				return true
			}
		}
	}
	return false
}

// commit adds the state that the transaction makes of the head.
func (tx *modelTx) commit(m *modelStore, id kv.TxID) {
	next := m.head().clone(id)
	for name, t := range tx.tables {
		for k, v := range t.writes {
			if v == nil {
				next.remove(name, k)
			} else {
				next.put(name, k, *v)
			}
		}
	}
	m.states = append(m.states, next)
}

// writeSet returns the transaction's writes in canonical order.
func (tx *modelTx) writeSet() writeset.WriteSet {
	var ws writeset.WriteSet
	for _, name := range slices.Sorted(maps.Keys(tx.tables)) {
		m := writeset.MapWrites{Name: name}
		t := tx.tables[name]
		for _, k := range slices.Sorted(maps.Keys(t.writes)) {
			if v := t.writes[k]; v == nil {
				m.Removes = append(m.Removes, []byte(k))
			} else {
				m.Writes = append(m.Writes, writeset.Write{Key: []byte(k), Value: []byte(*v)})
			}
		}
		if len(t.writes) > 0 {
			ws = append(ws, m)
		}
	}
	return ws
}

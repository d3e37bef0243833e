package kv_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"chancery/kv"
	"chancery/kv/writeset"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestMachine runs a store and its model side by side: several transactions
// open at once, commits, applied write sets, compaction, rollback with the same
// seqnos used again. Each answer must be the model's, in both directions: a
// transaction conflicts if and only if something that it has looked at has
// changed. Beside that, whatever is committed is run once more, operation by
// operation, on the head that it was committed to, and must see what it saw.
func TestMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		t.Repeat(map[string]func(*rapid.T){
			"begin":    m.begin,
			"get":      m.get,
			"version":  m.versionOf,
			"put":      m.put,
			"delete":   m.remove,
			"clear":    m.clear,
			"len":      m.size,
			"range":    m.walk,
			"commit":   m.commit,
			"discard":  m.discard,
			"apply":    m.apply,
			"bulk":     m.bulk,
			"compact":  m.compact,
			"rollback": m.rollback,
			"keep":     m.keep,
			"":         m.check,
		})
	})
}

// maxOpen bounds the transactions that are open at a time.
const maxOpen = 5

type machine struct {
	store *kv.Store
	model *modelStore
	keys  int
	view  uint64
	open  []*both
	kept  []keptState // states taken at some time, which must never change
}

type keptState struct {
	state *kv.State
	model *modelState
}

// both is one transaction in the store and in the model, and what it did.
type both struct {
	tx    *kv.Tx
	model *modelTx
	log   []func(*kv.Tx) string // each returns what it saw
	saw   []string
}

// do runs one operation and remembers it with what it saw.
func (b *both) do(op func(*kv.Tx) string) string {
	saw := op(b.tx)
	b.log, b.saw = append(b.log, op), append(b.saw, saw)
	return saw
}

func newMachine(t *rapid.T) *machine {
	m := &machine{store: kv.NewStore(), model: newModelStore(), view: 2}
	// Few keys make conflicts likely; many make trees of several levels.
	m.keys = rapid.SampledFrom([]int{3, 12, 100, 1500}).Draw(t, "keys")
	if rapid.Bool().Draw(t, "begin with keys") {
		ws := writeset.WriteSet{{Name: tableNames[0]}}
		for i := 0; i < m.keys; i += 2 {
			ws[0].Writes = append(ws[0].Writes, writeset.Write{Key: []byte(keyOf(i)), Value: []byte("first")})
		}
		m.applyBoth(t, ws)
	}
	return m
}

var tableNames = []string{"public:a", "b", "b.c"}

func keyOf(n int) string { return fmt.Sprintf("k%03x", n)[:2+n%3] }

func drawTable(t *rapid.T) string { return rapid.SampledFrom(tableNames).Draw(t, "table") }

func (m *machine) drawKey(t *rapid.T) string {
	return keyOf(rapid.IntRange(0, m.keys-1).Draw(t, "key"))
}

func (m *machine) drawBounds(t *rapid.T) kv.Bounds {
	b := kv.Bounds{Reverse: rapid.Bool().Draw(t, "reverse")}
	if rapid.Bool().Draw(t, "has from") {
		b.From = []byte(m.drawKey(t))
	}
	if rapid.Bool().Draw(t, "has to") {
		b.To = []byte(m.drawKey(t))
	}
	return b
}

// nextID is the position after the model's head.
func (m *machine) nextID() kv.TxID {
	return kv.TxID{View: m.view, Seqno: m.model.head().id.Seqno + 1}
}

// drawOpen returns one of the open transactions.
func (m *machine) drawOpen(t *rapid.T) *both {
	if len(m.open) == 0 {
		t.Skip("no transaction is open")
	}
	return m.open[rapid.IntRange(0, len(m.open)-1).Draw(t, "tx")]
}

func (m *machine) close(b *both) {
	m.open = slices.DeleteFunc(m.open, func(o *both) bool { return o == b })
}

func (m *machine) begin(t *rapid.T) {
	if len(m.open) == maxOpen {
		t.Skip("enough are open")
	}
	b := &both{tx: m.store.Begin(), model: newModelTx(m.model.head())}
	if rapid.Bool().Draw(t, "on the committed state") {
		b.tx = m.store.Committed().Begin()
		b.model = newModelTx(m.model.states[m.model.committed])
	}
	if got, want := b.tx.ReadTxID(), b.model.base.id; got != want {
		t.Fatalf("ReadTxID() = %v, want %v", got, want)
	}
	if b.tx.Touched() || b.tx.Dirty() {
		t.Fatal("a new transaction is touched or dirty")
	}
	m.open = append(m.open, b)
}

func (m *machine) get(t *rapid.T) {
	b, table, key := m.drawOpen(t), drawTable(t), m.drawKey(t)
	got := b.do(func(tx *kv.Tx) string {
		v, ok := tx.Get(table, []byte(key))
		if has := tx.Has(table, []byte(key)); has != ok {
			t.Fatalf("Get finds %q: %t, Has: %t", key, ok, has)
		}
		return fmt.Sprint(string(v), ok)
	})
	v, ok := b.model.get(table, key)
	if want := fmt.Sprint(v, ok); got != want {
		t.Fatalf("Get(%s, %s) = %s, want %s", table, key, got, want)
	}
}

func (m *machine) versionOf(t *rapid.T) {
	b, table, key := m.drawOpen(t), drawTable(t), m.drawKey(t)
	got := b.do(func(tx *kv.Tx) string {
		return fmt.Sprint(tx.VersionOfPreviousWrite(table, []byte(key)))
	})
	if want := fmt.Sprint(b.model.version(table, key)); got != want {
		t.Fatalf("VersionOfPreviousWrite(%s, %s) = %s, want %s", table, key, got, want)
	}
}

func (m *machine) put(t *rapid.T) {
	b, table, key := m.drawOpen(t), drawTable(t), m.drawKey(t)
	value := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "value")
	b.do(func(tx *kv.Tx) string {
		k, v := []byte(key), []byte(value)
		tx.Put(table, k, v)
		scribble(k, v)
		return ""
	})
	b.model.write(table, key, &value)
}

func (m *machine) remove(t *rapid.T) {
	b, table, key := m.drawOpen(t), drawTable(t), m.drawKey(t)
	b.do(func(tx *kv.Tx) string {
		k := []byte(key)
		tx.Delete(table, k)
		scribble(k)
		return ""
	})
	b.model.write(table, key, nil)
}

// scribble overwrites what a caller has handed in, as a caller may.
func scribble(bs ...[]byte) {
	for _, b := range bs {
		for i := range b {
			b[i] = '!'
		}
	}
}

func (m *machine) clear(t *rapid.T) {
	b, table := m.drawOpen(t), drawTable(t)
	b.do(func(tx *kv.Tx) string { tx.Clear(table); return "" })
	b.model.clear(table)
}

func (m *machine) size(t *rapid.T) {
	b, table := m.drawOpen(t), drawTable(t)
	got := b.do(func(tx *kv.Tx) string { return fmt.Sprint(tx.Len(table)) })
	if want := fmt.Sprint(b.model.size(table)); got != want {
		t.Fatalf("Len(%s) = %s, want %s", table, got, want)
	}
}

// walk ranges over a table, writes to it between the call and the walk and
// during the walk, and may break it off.
func (m *machine) walk(t *rapid.T) {
	b, table, bounds := m.drawOpen(t), drawTable(t), m.drawBounds(t)
	limit := rapid.IntRange(1, m.keys+1).Draw(t, "break off after")
	first, during := m.drawKey(t), m.drawKey(t)
	writes := rapid.Bool().Draw(t, "write meanwhile")

	view := b.model.view(table)
	keys := keysWithin(view, bounds)
	seen := rangeSeen{from: string(bounds.From)}
	if bounds.To != nil {
		seen.to = new(string(bounds.To))
	}
	if len(keys) >= limit {
		keys = keys[:limit]
		if last := keys[limit-1]; bounds.Reverse {
			seen.from = last
		} else {
			seen.to = new(last + "\x00")
		}
	}
	got := b.do(func(tx *kv.Tx) string {
		all := tx.Range(table, bounds)
		if writes {
			tx.Put(table, []byte(first), []byte("between"))
		}
		var out strings.Builder
		n := 0
		for k, v := range all {
			fmt.Fprintf(&out, "%s=%s ", k, v)
			if writes {
				tx.Delete(table, []byte(during))
			}
			if n++; n == limit {
				break
			}
		}
		return out.String()
	})
	var want strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&want, "%s=%s ", k, view[k])
	}
	if got != want.String() {
		t.Fatalf("Range(%s, %v) = %s, want %s", table, bounds, got, want.String())
	}

	mt := b.model.table(table)
	mt.ranges = append(mt.ranges, seen)
	if writes {
		b.model.write(table, first, new("between"))
		if len(keys) > 0 {
			b.model.write(table, during, nil)
		}
	}
}

func (m *machine) commit(t *rapid.T) {
	b := m.drawOpen(t)
	m.close(b)
	if got, want := b.tx.Dirty(), b.model.dirty(); got != want {
		t.Fatalf("Dirty() = %t, want %t", got, want)
	}
	if got, want := b.tx.Touched(), len(b.model.tables) > 0; got != want {
		t.Fatalf("Touched() = %t, want %t", got, want)
	}
	want := b.model.writeSet()
	if diff := cmp.Diff(want, b.tx.WriteSet()); diff != "" {
		t.Fatalf("WriteSet (-want +got):\n%s", diff)
	}
	head, id := m.store.Head(), m.nextID()
	ws, err := m.store.Commit(b.tx, id)
	switch {
	case !b.model.dirty():
		if ws != nil || err != nil || m.store.Head() != head {
			t.Fatalf("committing without writes = %v, %v; head was %v and is %v", ws, err, head.TxID(), m.store.Head().TxID())
		}
	case b.model.conflicts(m.model):
		if !errors.Is(err, kv.ErrConflict) || m.store.Head() != head {
			t.Fatalf("commit = %v, want a conflict; head was %v and is %v", err, head.TxID(), m.store.Head().TxID())
		}
	default:
		if err != nil {
			t.Fatalf("commit = %v, but nothing that was read has changed", err)
		}
		if diff := cmp.Diff(want, ws); diff != "" {
			t.Fatalf("committed writes (-want +got):\n%s", diff)
		}
		replay := head.Begin()
		for i, op := range b.log {
			if now := op(replay); now != b.saw[i] {
				t.Fatalf("operation %d of the committed transaction saw %q, and sees %q at the head", i, b.saw[i], now)
			}
		}
		b.model.commit(m.model, id)
	}
	if _, err := m.store.Commit(b.tx, m.nextID()); err == nil || errors.Is(err, kv.ErrConflict) {
		t.Fatalf("committing a second time = %v, want an error of its own", err)
	}
}

func (m *machine) discard(t *rapid.T) {
	b := m.drawOpen(t)
	m.close(b)
	b.tx.Discard()
	if _, err := m.store.Commit(b.tx, m.nextID()); err == nil {
		t.Fatal("a discarded transaction was committed")
	}
}

func (m *machine) apply(t *rapid.T) { m.applyBoth(t, m.drawWrites(t)) }

func (m *machine) drawWrites(t *rapid.T) writeset.WriteSet {
	var ws writeset.WriteSet
	for _, name := range tableNames {
		mw := writeset.MapWrites{Name: name}
		for range rapid.IntRange(0, 3).Draw(t, "writes") {
			k, v := m.drawKey(t), rapid.SampledFrom([]string{"", "z"}).Draw(t, "value")
			if rapid.Bool().Draw(t, "remove") {
				mw.Removes = append(mw.Removes, []byte(k))
			} else {
				mw.Writes = append(mw.Writes, writeset.Write{Key: []byte(k), Value: []byte(v)})
			}
		}
		if len(mw.Writes)+len(mw.Removes) > 0 {
			ws = append(ws, mw)
		}
	}
	return ws
}

// bulk applies some write sets to one state, which becomes the committed one.
func (m *machine) bulk(t *rapid.T) {
	b, next := m.store.Bulk(), m.model.head()
	for i := range rapid.IntRange(0, 4).Draw(t, "transactions") {
		id := m.nextID()
		id.Seqno += uint64(i)
		ws := m.drawWrites(t)
		next = modelApply(next, id, ws)
		if err := b.Apply(id, ws); err != nil {
			t.Fatal(err)
		}
		scribbleAll(ws)
		if err := b.Apply(id, ws); err == nil {
			t.Fatalf("%v was applied twice", id)
		}
	}
	if next == m.model.head() {
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		return
	}
	if rapid.Bool().Draw(t, "the head moves") {
		m.applyBoth(t, nil)
		if err := b.Commit(); err == nil {
			t.Fatal("Commit behind a head that has moved succeeded")
		}
		return
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	m.model.states = append(m.model.states, next)
	m.model.committed = len(m.model.states) - 1
}

// modelApply returns the model's state after the writes of ws at id.
func modelApply(s *modelState, id kv.TxID, ws writeset.WriteSet) *modelState {
	next := s.clone(id)
	for _, mw := range ws {
		for _, w := range mw.Writes {
			next.put(mw.Name, string(w.Key), string(w.Value))
		}
		for _, k := range mw.Removes {
			next.remove(mw.Name, string(k))
		}
	}
	return next
}

// scribbleAll overwrites the bytes of ws, which were to be copied.
func scribbleAll(ws writeset.WriteSet) {
	for _, mw := range ws {
		for _, w := range mw.Writes {
			scribble(w.Key, w.Value)
		}
		scribble(mw.Removes...)
	}
}

func (m *machine) applyBoth(t *rapid.T, ws writeset.WriteSet) {
	id := m.nextID()
	next := modelApply(m.model.head(), id, ws)
	st, err := m.store.Apply(id, ws)
	if err != nil || st != m.store.Head() {
		t.Fatalf("Apply(%v) = %v, %v; head is %v", id, st, err, m.store.Head().TxID())
	}
	m.model.states = append(m.model.states, next)
	scribbleAll(ws)
}

func (m *machine) compact(t *rapid.T) {
	to := rapid.IntRange(0, len(m.model.states)-1).Draw(t, "compact to")
	if err := m.store.Compact(m.model.states[to].id.Seqno); err != nil {
		t.Fatal(err)
	}
	m.model.committed = max(m.model.committed, to)
	head := m.model.head().id.Seqno
	if err := m.store.Compact(head + 1); err == nil {
		t.Fatalf("Compact(%d) beyond the head succeeded", head+1)
	}
}

// rollback goes back to any state that is kept, and may begin a new view, as a
// change of leadership does.
func (m *machine) rollback(t *rapid.T) {
	to := rapid.IntRange(m.model.committed, len(m.model.states)-1).Draw(t, "roll back to")
	if err := m.store.Rollback(m.model.states[to].id.Seqno); err != nil {
		t.Fatal(err)
	}
	m.model.states = slices.Clone(m.model.states[:to+1])
	if rapid.Bool().Draw(t, "new view") {
		m.view++
	}
	committed := m.model.states[m.model.committed].id.Seqno
	for _, bad := range []uint64{committed - 1, m.model.head().id.Seqno + 1} {
		if err := m.store.Rollback(bad); err == nil {
			t.Fatalf("Rollback(%d) with committed %d and head %v succeeded", bad, committed, m.model.head().id)
		}
	}
}

// keep holds on to the head, to see that it stays what it is.
func (m *machine) keep(t *rapid.T) {
	if len(m.kept) < 10 {
		m.kept = append(m.kept, keptState{m.store.Head(), m.model.head()})
	}
}

func (m *machine) check(t *rapid.T) {
	states := append([]keptState{
		{m.store.Head(), m.model.head()},
		{m.store.Committed(), m.model.states[m.model.committed]},
	}, m.kept...)
	for _, s := range states {
		if err := sameState(s.state, s.model); err != nil {
			t.Fatalf("state %v: %v", s.model.id, err)
		}
	}
}

// sameState compares a state with a model's through every way of reading it.
func sameState(s *kv.State, want *modelState) error {
	if s.TxID() != want.id {
		return fmt.Errorf("TxID() = %v", s.TxID())
	}
	names := slices.Sorted(maps.Keys(want.tables))
	if got := slices.Collect(s.Tables()); !slices.Equal(got, names) {
		return fmt.Errorf("tables are %q, want %q", got, names)
	}
	for _, name := range tableNames {
		t := want.tables[name]
		if got := s.Len(name); got != len(t) {
			return fmt.Errorf("Len(%s) = %d, want %d", name, got, len(t))
		}
		keys := keysWithin(t, kv.Bounds{})
		i := 0
		for k, it := range s.Range(name, kv.Bounds{}) {
			if i == len(keys) || string(k) != keys[i] || (cell{string(it.Value), it.Version}) != t[keys[i]] {
				return fmt.Errorf("key %d of %s is %q with %q at %d", i, name, k, it.Value, it.Version)
			}
			i++
		}
		if i != len(keys) {
			return fmt.Errorf("Range(%s) gave %d keys, want %d", name, i, len(keys))
		}
		if i > 0 {
			v, version, ok := s.Get(name, []byte(keys[i/2]))
			if !ok || (cell{string(v), version}) != t[keys[i/2]] {
				return fmt.Errorf("Get(%s, %s) = %q, %d, %t", name, keys[i/2], v, version, ok)
			}
		}
	}
	return nil
}

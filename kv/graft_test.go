package kv

import (
	"errors"
	"fmt"
	"testing"

	"chancery/kv/writeset"
)

func wrote(table, key, value string) writeset.WriteSet {
	return writeset.WriteSet{{Name: table, Writes: []writeset.Write{{Key: []byte(key), Value: []byte(value)}}}}
}

// TestGraft: a table that is grafted is in the committed state, the head, and what
// follows; the states that others hold are as they were.
func TestGraft(t *testing.T) {
	private, s := NewStore(), NewStore()
	for seqno := uint64(1); seqno <= 3; seqno++ {
		id, hidden := TxID{View: 2, Seqno: seqno}, writeset.WriteSet(nil)
		if seqno != 2 {
			hidden = wrote("secret", "k", fmt.Sprint("v", seqno))
		}
		if _, err := private.Apply(id, hidden); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Apply(id, wrote("public:a", "k", "v")); err != nil {
			t.Fatal(err)
		}
	}
	for _, store := range []*Store{s, private} {
		if err := store.Compact(2); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Graft(NewStore()); err == nil {
		t.Error("from a store that does not reach as far")
	}
	before, open := s.Head(), s.Begin()
	open.Put("public:b", []byte("k"), []byte("v"))
	if err := s.Graft(private); err != nil {
		t.Fatal(err)
	}
	for want, st := range map[uint64]*State{1: s.Committed(), 3: s.Head()} {
		if v, version, ok := st.Get("secret", []byte("k")); !ok || string(v) != fmt.Sprint("v", want) || version != want {
			t.Errorf("%v: %q %d %v", st.TxID(), v, version, ok)
		}
		if _, _, ok := st.Get("public:a", []byte("k")); !ok {
			t.Errorf("%v: what was there is gone", st.TxID())
		}
	}
	if _, _, ok := before.Get("secret", []byte("k")); ok {
		t.Error("a state that was handed out has changed")
	}
	if _, err := s.Commit(open, TxID{View: 2, Seqno: 4}); err != nil {
		t.Errorf("a transaction that was open: %v", err)
	}
	if _, _, ok := s.Head().Get("secret", []byte("k")); !ok {
		t.Error("what follows is without it")
	}
	if _, err := private.Apply(TxID{View: 2, Seqno: 4}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Graft(private); !errors.Is(err, ErrTableThere) {
		t.Errorf("twice: %v", err)
	}
	if err := s.Rollback(3); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := s.Head().Get("secret", []byte("k")); !ok {
		t.Error("rolled back to a state without it")
	}
}

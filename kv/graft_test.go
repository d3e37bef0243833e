package kv

import (
	"errors"
	"testing"

	"chancery/kv/writeset"
)

func wrote(table, key, value string) writeset.WriteSet {
	return writeset.WriteSet{{Name: table, Writes: []writeset.Write{{Key: []byte(key), Value: []byte(value)}}}}
}

// TestGraft: a table that is grafted is in the committed state, the head, and what
// follows; the states that others hold are as they were.
func TestGraft(t *testing.T) {
	private := NewStore()
	if _, err := private.Apply(TxID{View: 2, Seqno: 1}, wrote("secret", "k", "v")); err != nil {
		t.Fatal(err)
	}
	s := NewStore()
	for seqno := uint64(1); seqno <= 3; seqno++ {
		if _, err := s.Apply(TxID{View: 2, Seqno: seqno}, wrote("public:a", "k", "v")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Compact(2); err != nil {
		t.Fatal(err)
	}
	before, open := s.Head(), s.Begin()
	open.Put("public:b", []byte("k"), []byte("v"))
	if err := s.Graft(private.Head()); err != nil {
		t.Fatal(err)
	}
	for name, st := range map[string]*State{"committed": s.Committed(), "head": s.Head()} {
		if v, version, ok := st.Get("secret", []byte("k")); !ok || string(v) != "v" || version != 1 {
			t.Errorf("%s: %q %d %v", name, v, version, ok)
		}
		if _, _, ok := st.Get("public:a", []byte("k")); !ok {
			t.Errorf("%s: what was there is gone", name)
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
	if err := s.Graft(private.Head()); !errors.Is(err, ErrTableThere) {
		t.Errorf("twice: %v", err)
	}
	if err := s.Rollback(3); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := s.Head().Get("secret", []byte("k")); !ok {
		t.Error("rolled back to a state without it")
	}
}

package kv_test

import (
	"errors"
	"testing"

	"chancery/kv"
)

func TestSmoke(t *testing.T) {
	s := kv.NewStore()
	tx := s.Begin()
	tx.Put("a", []byte("k"), []byte("v"))
	other := s.Begin()
	other.Get("a", []byte("k"))
	other.Put("b", []byte("k"), nil)
	ws, err := s.Commit(tx, kv.TxID{View: 2, Seqno: 1})
	if err != nil || len(ws) != 1 {
		t.Fatal(ws, err)
	}
	if _, err := s.Commit(other, kv.TxID{View: 2, Seqno: 2}); !errors.Is(err, kv.ErrConflict) {
		t.Fatal(err)
	}
}

package node

import (
	"testing"

	"chancery/gov/tables"
	"chancery/kv"
)

// TestRestoredIn: a row of encrypted secrets that the life before left, from its own
// recovery, is none of this one.
func TestRestoredIn(t *testing.T) {
	s, from := kv.NewStore(), uint64(1)
	for seqno := uint64(1); seqno <= 2; seqno++ {
		tx := s.Begin()
		row := map[string][]tables.EncryptedSecret{"node": {{Version: &from}}}
		if err := tables.EncryptedSecrets.Put(tx, row); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Commit(tx, kv.TxID{View: 2, Seqno: seqno}); err != nil {
			t.Fatal(err)
		}
		for target, want := range map[uint64]bool{seqno - 1: true, seqno: false} {
			if row, err := restoredIn(s.Head(), target); err != nil || (row != nil) != want {
				t.Errorf("at %d, recovered through %d: %v, %v", seqno, target, row, err)
			}
		}
	}
}

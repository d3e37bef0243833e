package kv_test

import (
	"errors"
	"testing"

	"chancery/kv"
)

// The tables below begin with the keys b, d, f, h in table "t", value and
// version alike for all, and another table "u" with the key b.
func newConflictStore(t *testing.T) *kv.Store {
	t.Helper()
	s := kv.NewStore()
	commit(t, s, 2, func(tx *kv.Tx) {
		for _, k := range []string{"b", "d", "f", "h"} {
			put(tx, "t", k, "0")
		}
		put(tx, "u", "b", "0")
	})
	return s
}

func put(tx *kv.Tx, table, key, value string) { tx.Put(table, []byte(key), []byte(value)) }
func del(tx *kv.Tx, table, key string)        { tx.Delete(table, []byte(key)) }
func get(tx *kv.Tx, table, key string)        { tx.Get(table, []byte(key)) }

// take walks over at most n keys.
func take(tx *kv.Tx, table string, b kv.Bounds, n int) {
	for range tx.Range(table, b) {
		if n--; n == 0 {
			return
		}
	}
}

// next returns the position after the head, in the given view.
func next(s *kv.Store, view uint64) kv.TxID {
	return kv.TxID{View: view, Seqno: s.Head().TxID().Seqno + 1}
}

// commit runs one transaction that must succeed.
func commit(t *testing.T, s *kv.Store, view uint64, f func(*kv.Tx)) {
	t.Helper()
	tx := s.Begin()
	f(tx)
	if _, err := s.Commit(tx, next(s, view)); err != nil {
		t.Fatal(err)
	}
}

func between(from, to string) kv.Bounds { return kv.Bounds{From: []byte(from), To: []byte(to)} }

func backwards(b kv.Bounds) kv.Bounds { b.Reverse = true; return b }

// TestConflict states which reads of one transaction stand in the way of which
// writes of another that is committed before it. Both begin on the same head;
// the first also writes to a table that nobody else uses.
func TestConflict(t *testing.T) {
	type ops = func(*kv.Tx)
	nothing := func(*kv.Tx) {}
	tests := []struct {
		name     string
		tx       ops
		other    ops
		conflict bool
	}{
		{"nothing read", nothing, func(tx *kv.Tx) { put(tx, "t", "b", "1") }, false},
		{"same key written twice, unread", func(tx *kv.Tx) { put(tx, "t", "b", "1") }, func(tx *kv.Tx) { put(tx, "t", "b", "2") }, false},
		{"deleted unread, and written", func(tx *kv.Tx) { del(tx, "t", "b") }, func(tx *kv.Tx) { put(tx, "t", "b", "2") }, false},

		{"get, key changed", func(tx *kv.Tx) { get(tx, "t", "b") }, func(tx *kv.Tx) { put(tx, "t", "b", "1") }, true},
		{"get, key written with the same value", func(tx *kv.Tx) { get(tx, "t", "b") }, func(tx *kv.Tx) { put(tx, "t", "b", "0") }, true},
		{"get, key removed", func(tx *kv.Tx) { get(tx, "t", "b") }, func(tx *kv.Tx) { del(tx, "t", "b") }, true},
		{"get of an absent key, added", func(tx *kv.Tx) { get(tx, "t", "c") }, func(tx *kv.Tx) { put(tx, "t", "c", "1") }, true},
		{"get of an absent key, removed", func(tx *kv.Tx) { get(tx, "t", "c") }, func(tx *kv.Tx) { del(tx, "t", "c") }, false},
		{"get in an absent table, added", func(tx *kv.Tx) { get(tx, "v", "c") }, func(tx *kv.Tx) { put(tx, "v", "c", "1") }, true},
		{"get of another key", func(tx *kv.Tx) { get(tx, "t", "b") }, func(tx *kv.Tx) { put(tx, "t", "d", "1") }, false},
		{"get of the same key in another table", func(tx *kv.Tx) { get(tx, "t", "b") }, func(tx *kv.Tx) { put(tx, "u", "b", "1") }, false},
		{"has", func(tx *kv.Tx) { tx.Has("t", []byte("b")) }, func(tx *kv.Tx) { del(tx, "t", "b") }, true},
		{"get after own put", func(tx *kv.Tx) { put(tx, "t", "b", "1"); get(tx, "t", "b") }, func(tx *kv.Tx) { put(tx, "t", "b", "2") }, false},
		{"get before own put", func(tx *kv.Tx) { get(tx, "t", "b"); put(tx, "t", "b", "1") }, func(tx *kv.Tx) { put(tx, "t", "b", "2") }, true},
		{"version after own put", func(tx *kv.Tx) { put(tx, "t", "b", "1"); tx.VersionOfPreviousWrite("t", []byte("b")) },
			func(tx *kv.Tx) { put(tx, "t", "b", "2") }, true},
		{"version of an absent key", func(tx *kv.Tx) { tx.VersionOfPreviousWrite("t", []byte("c")) }, func(tx *kv.Tx) { put(tx, "t", "c", "2") }, true},

		{"range, added within", func(tx *kv.Tx) { take(tx, "t", between("c", "g"), 9) }, func(tx *kv.Tx) { put(tx, "t", "e", "1") }, true},
		{"range, added at its start", func(tx *kv.Tx) { take(tx, "t", between("c", "g"), 9) }, func(tx *kv.Tx) { put(tx, "t", "c", "1") }, true},
		{"range, added at its end", func(tx *kv.Tx) { take(tx, "t", between("c", "g"), 9) }, func(tx *kv.Tx) { put(tx, "t", "g", "1") }, false},
		{"range, added just below its end", func(tx *kv.Tx) { take(tx, "t", between("c", "g"), 9) }, func(tx *kv.Tx) { put(tx, "t", "fzz", "1") }, true},
		{"range, added just below its start", func(tx *kv.Tx) { take(tx, "t", between("c", "g"), 9) }, func(tx *kv.Tx) { put(tx, "t", "bzz", "1") }, false},
		{"range, changed within", func(tx *kv.Tx) { take(tx, "t", between("c", "g"), 9) }, func(tx *kv.Tx) { put(tx, "t", "d", "1") }, true},
		{"range, removed within", func(tx *kv.Tx) { take(tx, "t", between("c", "g"), 9) }, func(tx *kv.Tx) { del(tx, "t", "f") }, true},
		{"range, changed outside", func(tx *kv.Tx) { take(tx, "t", between("c", "g"), 9) }, func(tx *kv.Tx) { put(tx, "t", "b", "1"); del(tx, "t", "h") }, false},
		{"empty range, added", func(tx *kv.Tx) { take(tx, "t", between("i", "k"), 9) }, func(tx *kv.Tx) { put(tx, "t", "j", "1") }, true},
		{"range of an absent table, added", func(tx *kv.Tx) { take(tx, "v", kv.Bounds{}, 9) }, func(tx *kv.Tx) { put(tx, "v", "j", "1") }, true},
		{"range to the open end, added", func(tx *kv.Tx) { take(tx, "t", kv.Bounds{From: []byte("g")}, 9) }, func(tx *kv.Tx) { put(tx, "t", "z", "1") }, true},
		{"range broken off, changed where it ended", func(tx *kv.Tx) { take(tx, "t", kv.Bounds{}, 2) }, func(tx *kv.Tx) { put(tx, "t", "d", "1") }, true},
		{"range broken off, added behind", func(tx *kv.Tx) { take(tx, "t", kv.Bounds{}, 2) }, func(tx *kv.Tx) { put(tx, "t", "c", "1") }, true},
		{"range broken off, added right after", func(tx *kv.Tx) { take(tx, "t", kv.Bounds{}, 2) }, func(tx *kv.Tx) { put(tx, "t", "d\x00", "1") }, false},
		{"range broken off backwards, changed where it ended", func(tx *kv.Tx) { take(tx, "t", backwards(kv.Bounds{}), 2) }, func(tx *kv.Tx) { put(tx, "t", "f", "1") }, true},
		{"range broken off backwards, added ahead", func(tx *kv.Tx) { take(tx, "t", backwards(kv.Bounds{}), 2) }, func(tx *kv.Tx) { put(tx, "t", "e", "1") }, false},
		{"range never walked", func(tx *kv.Tx) { tx.Range("t", kv.Bounds{}) }, func(tx *kv.Tx) { put(tx, "t", "b", "1") }, false},
		{"range over own writes only", func(tx *kv.Tx) { put(tx, "t", "j", "1"); take(tx, "t", between("i", "k"), 9) }, func(tx *kv.Tx) { put(tx, "t", "jj", "1") }, true},
		{"a wide range after a narrow one", func(tx *kv.Tx) { take(tx, "t", between("c", "e"), 9); take(tx, "t", kv.Bounds{}, 9) }, func(tx *kv.Tx) { put(tx, "t", "z", "1") }, true},
		{"a narrow range after a wide one", func(tx *kv.Tx) { take(tx, "t", kv.Bounds{}, 9); take(tx, "t", between("c", "e"), 9) }, func(tx *kv.Tx) { put(tx, "t", "z", "1") }, true},
		{"the first of two ranges apart", func(tx *kv.Tx) { take(tx, "t", between("a", "c"), 9); take(tx, "t", between("g", "i"), 9) }, func(tx *kv.Tx) { put(tx, "t", "a", "1") }, true},
		{"the second of two ranges apart", func(tx *kv.Tx) { take(tx, "t", between("a", "c"), 9); take(tx, "t", between("g", "i"), 9) }, func(tx *kv.Tx) { put(tx, "t", "g", "1") }, true},
		{"between two ranges", func(tx *kv.Tx) { take(tx, "t", between("a", "c"), 9); take(tx, "t", between("g", "i"), 9) }, func(tx *kv.Tx) { put(tx, "t", "e", "1") }, false},

		{"len, added", func(tx *kv.Tx) { tx.Len("t") }, func(tx *kv.Tx) { put(tx, "t", "z", "1") }, true},
		{"len, removed", func(tx *kv.Tx) { tx.Len("t") }, func(tx *kv.Tx) { del(tx, "t", "b") }, true},
		{"len, removed from the middle of another table", func(tx *kv.Tx) { tx.Len("t") }, func(tx *kv.Tx) { del(tx, "u", "b") }, false},
		{"len, changed", func(tx *kv.Tx) { tx.Len("t") }, func(tx *kv.Tx) { put(tx, "t", "b", "1") }, false},
		{"len, one added and one removed", func(tx *kv.Tx) { tx.Len("t") }, func(tx *kv.Tx) { put(tx, "t", "z", "1"); del(tx, "t", "b") }, false},
		{"len of an absent table, added", func(tx *kv.Tx) { tx.Len("v") }, func(tx *kv.Tx) { put(tx, "v", "b", "1") }, true},
		// With z written by both, the second would find one key fewer than it saw.
		{"len with an own key that the other adds, for another", func(tx *kv.Tx) { put(tx, "t", "z", "1"); tx.Len("t") },
			func(tx *kv.Tx) { put(tx, "t", "z", "1"); del(tx, "t", "b") }, true},
		{"len, then an own key that the other adds, for another", func(tx *kv.Tx) { tx.Len("t"); put(tx, "t", "z", "1"); tx.Len("t") },
			func(tx *kv.Tx) { put(tx, "t", "z", "1"); del(tx, "t", "b") }, true},

		{"clear, added", func(tx *kv.Tx) { tx.Clear("t") }, func(tx *kv.Tx) { put(tx, "t", "z", "1") }, true},
		{"clear, removed", func(tx *kv.Tx) { tx.Clear("t") }, func(tx *kv.Tx) { del(tx, "t", "b") }, true},
		{"clear of an absent table, added", func(tx *kv.Tx) { tx.Clear("v") }, func(tx *kv.Tx) { put(tx, "v", "z", "1") }, true},
		{"clear of another table", func(tx *kv.Tx) { tx.Clear("u") }, func(tx *kv.Tx) { put(tx, "t", "z", "1") }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newConflictStore(t)
			tx := s.Begin()
			test.tx(tx)
			put(tx, "own", "k", "1")
			commit(t, s, 2, test.other)
			_, err := s.Commit(tx, next(s, 2))
			if got := errors.Is(err, kv.ErrConflict); got != test.conflict || err != nil && !got {
				t.Errorf("Commit = %v, want a conflict: %t", err, test.conflict)
			}

			// A transaction that only reads never conflicts.
			s = newConflictStore(t)
			tx = s.Begin()
			if test.tx(tx); tx.Dirty() {
				return
			}
			commit(t, s, 2, test.other)
			if _, err := s.Commit(tx, next(s, 2)); err != nil {
				t.Errorf("Commit without writes = %v", err)
			}
		})
	}
}

// TestConflictAfterPanic holds that a walk that a panic ends, as an exception
// in JavaScript does, counts as far as it went.
func TestConflictAfterPanic(t *testing.T) {
	for _, test := range []struct {
		key      string
		conflict bool
	}{{"a", true}, {"b", true}, {"c", false}} {
		s := newConflictStore(t)
		tx := s.Begin()
		func() {
			defer func() { recover() }()
			for range tx.Range("t", kv.Bounds{}) {
				panic("thrown in a callback")
			}
		}()
		put(tx, "own", "k", "1")
		commit(t, s, 2, func(tx *kv.Tx) { put(tx, "t", test.key, "1") })
		if _, err := s.Commit(tx, next(s, 2)); errors.Is(err, kv.ErrConflict) != test.conflict {
			t.Errorf("key %s changed: Commit = %v, want a conflict: %t", test.key, err, test.conflict)
		}
	}
}

// TestConflictAfterRollback rolls back to seqno 2 of 4 and uses the seqnos 3
// and 4 again, with writes to a table that no transaction looks at. What was
// begun on a lost state conflicts; what was begun on a kept one does not.
func TestConflictAfterRollback(t *testing.T) {
	write := func(tx *kv.Tx) { put(tx, "t", "b", "1") }
	for _, test := range []struct {
		name    string
		compact bool
	}{{"kept history", false}, {"compacted history", true}} {
		t.Run(test.name, func(t *testing.T) {
			s := kv.NewStore()
			var txs []*kv.Tx // txs[i] is begun at seqno i
			begin := func() {
				tx := s.Begin()
				put(tx, "own", "k", "1")
				txs = append(txs, tx)
			}
			for range 4 {
				begin()
				commit(t, s, 2, write)
			}
			begin()
			if err := s.Rollback(2); err != nil {
				t.Fatal(err)
			}
			// Twice: the second loses nothing but a run without states.
			commit(t, s, 3, func(tx *kv.Tx) { put(tx, "u", "b", "1") })
			if err := s.Rollback(2); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				commit(t, s, 4, func(tx *kv.Tx) { put(tx, "u", "b", "1") })
			}
			if test.compact {
				if err := s.Compact(s.Head().TxID().Seqno); err != nil {
					t.Fatal(err)
				}
			}
			for i, tx := range txs {
				_, err := s.Commit(tx, next(s, 4))
				if got, want := errors.Is(err, kv.ErrConflict), i > 2; got != want || err != nil && !got {
					t.Errorf("begun at seqno %d: Commit = %v, want a conflict: %t", i, err, want)
				}
			}
		})
	}
}

// TestCommitRefused lists the mistakes of a caller. None of them is a conflict,
// since running the transaction again does not help, and none moves the head.
func TestCommitRefused(t *testing.T) {
	tests := []struct {
		name string
		id   kv.TxID
		tx   func(s *kv.Store) *kv.Tx
	}{
		{"zero position", kv.TxID{}, (*kv.Store).Begin},
		{"seqno of the head", kv.TxID{View: 2, Seqno: 1}, (*kv.Store).Begin},
		{"seqno beyond the next", kv.TxID{View: 2, Seqno: 3}, (*kv.Store).Begin},
		{"view before the head's", kv.TxID{View: 1, Seqno: 2}, (*kv.Store).Begin},
		{"another store's", kv.TxID{View: 2, Seqno: 2}, func(*kv.Store) *kv.Tx { return kv.NewStore().Begin() }},
		{"discarded", kv.TxID{View: 2, Seqno: 2}, func(s *kv.Store) *kv.Tx { tx := s.Begin(); tx.Discard(); return tx }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newConflictStore(t)
			head := s.Head()
			tx := test.tx(s)
			put(tx, "t", "b", "1")
			ws, err := s.Commit(tx, test.id)
			if ws != nil || err == nil || errors.Is(err, kv.ErrConflict) {
				t.Errorf("Commit = %v, %v; want an error that is no conflict", ws, err)
			}
			if s.Head() != head {
				t.Errorf("the head moved to %v", s.Head().TxID())
			}
		})
	}
}

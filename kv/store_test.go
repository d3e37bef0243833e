package kv_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"chancery/kv"
	"chancery/kv/writeset"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// oneWrite is a write set with a single key.
func oneWrite(table, key, value string) writeset.WriteSet {
	return writeset.WriteSet{{Name: table, Writes: []writeset.Write{{Key: []byte(key), Value: []byte(value)}}}}
}

// contents renders a state for comparison.
func contents(s *kv.State) []string {
	var out []string
	for name := range s.Tables() {
		for k, it := range s.Range(name, kv.Bounds{}) {
			out = append(out, fmt.Sprintf("%s[%s]=%s@%d", name, k, it.Value, it.Version))
		}
	}
	return out
}

func TestStoreEmpty(t *testing.T) {
	s := kv.NewStore()
	if s.Head() != s.Committed() || !s.Head().TxID().IsZero() {
		t.Errorf("head %v and committed %v of a new store", s.Head().TxID(), s.Committed().TxID())
	}
	if v, version, ok := s.Head().Get("t", []byte("k")); v != nil || version != 0 || ok {
		t.Errorf("Get = %q, %d, %t", v, version, ok)
	}
	if n := s.Head().Len("t"); n != 0 {
		t.Errorf("Len = %d", n)
	}
	if got := contents(s.Head()); got != nil {
		t.Errorf("contents %v", got)
	}
}

// TestApply replays write sets as a replica does, one of them in the order
// that a hand-made entry might have: removes of keys that are not there, a map
// twice, a key written and then removed.
func TestApply(t *testing.T) {
	s := kv.NewStore()
	key := func(k string) []byte { return []byte(k) }
	sets := []writeset.WriteSet{
		{{Name: "t", Writes: []writeset.Write{{Key: key("b"), Value: key("1")}, {Key: key("a"), Value: key("1")}}}},
		nil, // a transaction may write nothing that is left: it still has a position
		{
			{Name: "t", Writes: []writeset.Write{{Key: key("a"), Value: key("3")}}, Removes: [][]byte{key("b"), key("x")}},
			{Name: "u", Removes: [][]byte{key("x")}},
			{Name: "u", Writes: []writeset.Write{{Key: key("k"), Value: nil}, {Key: key("l"), Value: key("3")}}, Removes: [][]byte{key("l")}},
			{Name: "t", Writes: []writeset.Write{{Key: key("c"), Value: key("3")}}},
		},
	}
	want := [][]string{{"t[a]=1@1", "t[b]=1@1"}, {"t[a]=1@1", "t[b]=1@1"}, {"t[a]=3@3", "t[c]=3@3", "u[k]=@3"}}
	var states []*kv.State
	for i, ws := range sets {
		st, err := s.Apply(kv.TxID{View: 2, Seqno: uint64(i + 1)}, ws)
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, st)
	}
	for i, st := range states {
		if diff := cmp.Diff(want[i], contents(st)); diff != "" {
			t.Errorf("state %d (-want +got):\n%s", i+1, diff)
		}
	}
}

func TestApplyPosition(t *testing.T) {
	s := kv.NewStore()
	// A single write set out of the middle of a ledger, to be looked at.
	if _, err := s.Apply(kv.TxID{View: 5, Seqno: 77}, oneWrite("t", "k", "v")); err != nil {
		t.Fatal(err)
	}
	head := s.Head()
	for _, id := range []kv.TxID{{}, {View: 5}, {Seqno: 78}, {View: 5, Seqno: 77}, {View: 5, Seqno: 79}, {View: 4, Seqno: 78}} {
		if st, err := s.Apply(id, nil); err == nil || st != nil || s.Head() != head {
			t.Errorf("Apply(%v) = %v, %v; head is %v", id, st, err, s.Head().TxID())
		}
	}
	if _, err := s.Apply(kv.TxID{View: 9, Seqno: 78}, nil); err != nil {
		t.Errorf("in a higher view: %v", err)
	}
}

// TestReplica checks that a primary that commits transactions and a replica
// that applies the write sets which come out of that hold the same state.
func TestReplica(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		primary, replica := kv.NewStore(), kv.NewStore()
		for seqno := range uint64(rapid.IntRange(1, 10).Draw(t, "transactions")) {
			tx := primary.Begin()
			for range rapid.IntRange(1, 10).Draw(t, "operations") {
				table, key := drawTable(t), []byte(keyOf(rapid.IntRange(0, 30).Draw(t, "key")))
				switch rapid.IntRange(0, 5).Draw(t, "operation") {
				case 0:
					tx.Clear(table)
				case 1, 2:
					tx.Delete(table, key)
				default:
					tx.Put(table, key, fmt.Append(nil, seqno))
				}
			}
			if !tx.Dirty() {
				tx.Put("b", nil, nil)
			}
			id := kv.TxID{View: 2, Seqno: seqno + 1}
			ws, err := primary.Commit(tx, id)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := writeset.ParseMaps(writeset.AppendMaps(nil, ws))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := replica.Apply(id, parsed); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(contents(primary.Head()), contents(replica.Head())); diff != "" {
			t.Fatalf("replica (-primary +replica):\n%s", diff)
		}
	})
}

// TestBuilder takes a state through a snapshot and goes on from there.
func TestBuilder(t *testing.T) {
	s := newConflictStore(t)
	commit(t, s, 3, func(tx *kv.Tx) { put(tx, "t", "d", "1"); put(tx, "u", "", "2") })

	b := kv.NewBuilder()
	for name := range s.Head().Tables() {
		for k, it := range s.Head().Range(name, kv.Bounds{Reverse: true}) {
			k, v := slices.Clone(k), slices.Clone(it.Value)
			b.Put(name, k, v, it.Version)
			scribble(k, v)
		}
	}
	restored, err := b.Store(s.Head().TxID())
	if err != nil {
		t.Fatal(err)
	}
	if restored.Head() != restored.Committed() || restored.Head().TxID() != s.Head().TxID() {
		t.Errorf("head %v and committed %v, want %v", restored.Head().TxID(), restored.Committed().TxID(), s.Head().TxID())
	}
	if diff := cmp.Diff(contents(s.Head()), contents(restored.Head())); diff != "" {
		t.Errorf("restored state (-want +got):\n%s", diff)
	}
	commit(t, restored, 3, func(tx *kv.Tx) { get(tx, "t", "d"); put(tx, "t", "d", "3") })
	if err := restored.Rollback(1); err == nil {
		t.Error("rolled back to before the snapshot")
	}
	if err := restored.Rollback(2); err != nil {
		t.Error(err)
	}
}

func TestBuilderRefused(t *testing.T) {
	type key struct {
		table, key string
		version    uint64
	}
	tests := []struct {
		name  string
		keys  []key
		id    kv.TxID
		cause string
	}{
		{"zero position", nil, kv.TxID{}, "not a position"},
		{"version beyond the position", []key{{"t", "a", 1}, {"t", "b", 8}}, kv.TxID{View: 2, Seqno: 7}, "version 8"},
		{"version zero", []key{{"t", "a", 0}, {"t", "b", 9}}, kv.TxID{View: 2, Seqno: 7}, "version 0"},
		{"key twice", []key{{"t", "a", 1}, {"u", "a", 1}, {"t", "a", 2}}, kv.TxID{View: 2, Seqno: 7}, "twice"},
		{"key twice in the table without a name", []key{{"", "", 1}, {"", "", 1}}, kv.TxID{View: 2, Seqno: 7}, "twice"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := kv.NewBuilder()
			for _, k := range test.keys {
				b.Put(k.table, []byte(k.key), nil, k.version)
			}
			s, err := b.Store(test.id)
			if err == nil || s != nil || !strings.Contains(err.Error(), test.cause) {
				t.Errorf("Store = %v, %v; want an error with %q", s, err, test.cause)
			}
		})
	}
}

func TestPrefix(t *testing.T) {
	keys := []string{"", "\x00", "a", "a\x00", "a\xff", "a\xff\xff", "b", "\xff", "\xff\x00", "\xff\xff", "\xff\xffx"}
	s := kv.NewStore()
	commit(t, s, 2, func(tx *kv.Tx) {
		for _, k := range keys {
			put(tx, "t", k, "")
		}
	})
	for _, p := range append(keys, "c", "aa") {
		var want, got []string
		for _, k := range slices.Sorted(slices.Values(keys)) {
			if strings.HasPrefix(k, p) {
				want = append(want, k)
			}
		}
		for k := range s.Head().Range("t", kv.Prefix([]byte(p))) {
			got = append(got, string(k))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("prefix %q (-want +got):\n%s", p, diff)
		}
	}
	for k := range s.Head().Range("t", kv.Bounds{To: []byte{}}) {
		t.Errorf("the range before the empty key has key %q", k)
	}
}

// TestConcurrent moves amounts between accounts on several goroutines while
// others read, a third party applies and rolls back its own entries, and the
// committed state follows. No state that anyone sees has lost or made money,
// by any way of reading. Run it with -race.
func TestConcurrent(t *testing.T) {
	const accounts, movers, moves, readers = 40, 4, 150, 3
	account := func(i int) []byte { return fmt.Appendf(nil, "%02d", i) }
	s := kv.NewStore()
	commit(t, s, 2, func(tx *kv.Tx) {
		for i := range accounts {
			tx.Put("accounts", account(i), []byte{100})
		}
	})
	if err := s.Compact(1); err != nil {
		t.Fatal(err)
	}

	var order sync.Mutex // the sequencer: one position at a time
	view := uint64(2)
	sequence := func(tx *kv.Tx, undo bool) error {
		order.Lock()
		defer order.Unlock()
		before := s.Head().TxID().Seqno
		_, err := s.Commit(tx, kv.TxID{View: view, Seqno: before + 1})
		switch {
		case err != nil:
			return err
		case undo:
			view++
			if err := s.Rollback(before); err != nil {
				return err
			}
			return kv.ErrConflict
		case before%10 == 0:
			return s.Compact(before)
		}
		return nil
	}
	move := func(rng *rand.Rand) error {
		tx := s.Begin()
		from, to := account(rng.IntN(accounts)), account(rng.IntN(accounts))
		a, _ := tx.Get("accounts", from)
		if a[0] == 0 {
			return nil
		}
		tx.Put("accounts", from, []byte{a[0] - 1})
		b, _ := tx.Get("accounts", to)
		tx.Put("accounts", to, []byte{b[0] + 1})
		return sequence(tx, rng.IntN(10) == 0)
	}
	audit := func(tx *kv.Tx) error {
		sum, n := 0, 0
		for _, v := range tx.Range("accounts", kv.Bounds{}) {
			sum += int(v[0])
			n++
		}
		if sum != 100*accounts || n != tx.Len("accounts") {
			return fmt.Errorf("at %v: %d in %d accounts", tx.ReadTxID(), sum, n)
		}
		return nil
	}

	var work, watch sync.WaitGroup
	var done atomic.Bool
	for i := range movers {
		work.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for n := 0; n < moves; {
				switch err := move(rng); {
				case err == nil:
					n++
				case !errors.Is(err, kv.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	for range readers {
		watch.Go(func() {
			for !done.Load() {
				for _, tx := range []*kv.Tx{s.Begin(), s.Committed().Begin()} {
					if err := audit(tx); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	work.Wait()
	done.Store(true)
	watch.Wait()
	if err := audit(s.Begin()); err != nil {
		t.Error(err)
	}
}

package kv_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"chancery/kv"
)

const million = 1_000_000

// benchKey is a key of 16 bytes whose order has nothing to do with i.
func benchKey(i int) []byte {
	b := make([]byte, 16)
	binary.BigEndian.PutUint64(b, uint64(i)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(b[8:], uint64(i))
	return b
}

// newMillion returns a store with a million keys and values of 100 bytes, in
// one table.
func newMillion() *kv.Store {
	b := kv.NewBuilder()
	value := make([]byte, 100)
	for i := range million {
		b.Put("records", benchKey(i), value, 1)
	}
	s, err := b.Store(kv.TxID{View: 2, Seqno: 1})
	if err != nil {
		panic(err)
	}
	return s
}

// millionState is what the benchmarks that only read share.
var millionState = sync.OnceValue(func() *kv.State { return newMillion().Head() })

type benchmark struct {
	store *kv.Store
	rng   *rand.Rand
}

func newBenchmark() *benchmark {
	return &benchmark{store: newMillion(), rng: rand.New(rand.NewPCG(1, 2))}
}

func (m *benchmark) key() []byte { return benchKey(m.rng.IntN(million)) }

// commit gives the transaction the next position, and keeps the history as
// short as a node under load does.
func (m *benchmark) commit(b *testing.B, tx *kv.Tx) {
	seqno := m.store.Head().TxID().Seqno + 1
	if _, err := m.store.Commit(tx, kv.TxID{View: 2, Seqno: seqno}); err != nil {
		b.Fatal(err)
	}
	if seqno%100 == 0 {
		if err := m.store.Compact(seqno); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStateGet(b *testing.B) {
	s, rng := millionState(), rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := s.Get("records", benchKey(rng.IntN(million))); !ok {
			b.Fatal("a key is missing")
		}
	}
}

func BenchmarkBeginGet(b *testing.B) {
	s, rng := millionState(), rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Begin().Get("records", benchKey(rng.IntN(million))); !ok {
			b.Fatal("a key is missing")
		}
	}
}

// BenchmarkRange100 reports the time for a walk over a hundred keys.
func BenchmarkRange100(b *testing.B) {
	s, rng := millionState(), rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		take(s.Begin(), "records", kv.Bounds{From: benchKey(rng.IntN(million))}, 100)
	}
}

// BenchmarkCommit is the whole life of a transaction that writes n keys, the
// first of them after reading it.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("writes=%d", n), func(b *testing.B) {
			m, value := newBenchmark(), make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				tx := m.store.Begin()
				first := m.key()
				tx.Get("records", first)
				tx.Put("records", first, value)
				for range n - 1 {
					tx.Put("records", m.key(), value)
				}
				m.commit(b, tx)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/write")
		})
	}
}

// BenchmarkCommitValidated is a commit of a transaction whose base is ten
// commits old, with one read key and a range of a thousand keys to check.
func BenchmarkCommitValidated(b *testing.B) {
	m, value := newBenchmark(), make([]byte, 100)
	b.ReportAllocs()
	conflicts := 0
	for b.Loop() {
		tx := m.store.Begin()
		tx.Get("records", m.key())
		take(tx, "records", kv.Bounds{From: m.key()}, 1000)
		tx.Put("other", []byte("k"), value)
		for range 10 {
			other := m.store.Begin()
			other.Put("records", m.key(), value)
			m.commit(b, other)
		}
		if _, err := m.store.Commit(tx, kv.TxID{View: 2, Seqno: m.store.Head().TxID().Seqno + 1}); err != nil {
			conflicts++
		}
	}
	b.ReportMetric(float64(conflicts)/float64(b.N), "conflicts/op")
}

// BenchmarkDelete removes a key and puts it back.
func BenchmarkDelete(b *testing.B) {
	m, value := newBenchmark(), make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		key := m.key()
		tx := m.store.Begin()
		tx.Delete("records", key)
		m.commit(b, tx)
		tx = m.store.Begin()
		tx.Put("records", key, value)
		m.commit(b, tx)
	}
}

// BenchmarkNewTables commits to a table of its own each time, as applications
// do that keep one table per user.
func BenchmarkNewTables(b *testing.B) {
	m := &benchmark{store: kv.NewStore()}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		tx := m.store.Begin()
		tx.Put(fmt.Sprintf("public:records-%d", i), []byte("k"), []byte("v"))
		m.commit(b, tx)
		i++
	}
}

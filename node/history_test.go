package node

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"chancery/kv/writeset"
)

// TestHistoryCache compares the cache with a list of what was asked for last.
func TestHistoryCache(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 4000
		h := newHistoryCache(limit)
		var recent []uint64 // the latest first
		size := map[uint64]int64{}
		touch := func(seqno uint64) {
			kept := []uint64{seqno}
			for _, s := range recent {
				if s != seqno {
					kept = append(kept, s)
				}
			}
			recent = kept
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			seqno := rapid.Uint64Range(1, 12).Draw(t, "seqno")
			if rapid.Bool().Draw(t, "get") {
				got := h.get(seqno)
				if _, kept := size[seqno]; kept != (got.writes != nil) {
					t.Fatalf("seqno %d: kept %t, got %v", seqno, kept, got)
				} else if kept {
					touch(seqno)
				}
				continue
			}
			value := bytes.Repeat([]byte("x"), rapid.IntRange(0, 5000).Draw(t, "size"))
			tx := pastTx{seqno: seqno, writes: writeset.WriteSet{{Name: "t", Writes: []writeset.Write{{Value: value}}}}}
			h.put(tx)
			touch(seqno)
			size[seqno] = tx.estimate()
			total := int64(0)
			for i, s := range recent {
				if total += size[s]; total > limit {
					for _, gone := range recent[i:] {
						delete(size, gone)
					}
					recent = recent[:i]
					break
				}
			}
			total = 0
			for _, s := range size {
				total += s
			}
			if h.bytes() != total || h.bytes() > limit || h.order.Len() != len(size) || len(h.at) != len(size) {
				t.Fatalf("%d bytes of %d transactions; want %d of %d", h.bytes(), h.order.Len(), total, len(size))
			}
		}
	})
}

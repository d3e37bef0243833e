package js

import (
	"bytes"
	"iter"
	"slices"

	"chancery/kv"
	"chancery/kv/writeset"
)

// pastReader shows one transaction of the past: only what that transaction wrote is
// there, with its seqno as version, as in CCF.
type pastReader struct {
	seqno  uint64
	tables map[string][]writeset.Write // sorted by key
}

func newPastReader(h *HistoricalState) *pastReader {
	p := &pastReader{seqno: h.ID.Seqno, tables: make(map[string][]writeset.Write)}
	for _, m := range h.Writes {
		w := slices.Clone(m.Writes)
		slices.SortFunc(w, func(a, b writeset.Write) int { return bytes.Compare(a.Key, b.Key) })
		p.tables[m.Name] = w
	}
	return p
}

func (p *pastReader) find(table string, key []byte) (int, bool) {
	return slices.BinarySearchFunc(p.tables[table], key, func(w writeset.Write, k []byte) int { return bytes.Compare(w.Key, k) })
}

func (p *pastReader) Get(table string, key []byte) ([]byte, bool) {
	i, ok := p.find(table, key)
	if !ok {
		return nil, false
	}
	return p.tables[table][i].Value, true
}

func (p *pastReader) Has(table string, key []byte) bool {
	_, ok := p.find(table, key)
	return ok
}

func (p *pastReader) VersionOfPreviousWrite(table string, key []byte) (uint64, bool) {
	return p.seqno, p.Has(table, key)
}

func (p *pastReader) Len(table string) int { return len(p.tables[table]) }

func (p *pastReader) Range(table string, b kv.Bounds) iter.Seq2[[]byte, []byte] {
	rows := p.tables[table]
	return func(yield func([]byte, []byte) bool) {
		for i := range rows {
			w := rows[i]
			if b.Reverse {
				w = rows[len(rows)-1-i]
			}
			inside := bytes.Compare(w.Key, b.From) >= 0 && (b.To == nil || bytes.Compare(w.Key, b.To) < 0)
			if inside && !yield(w.Key, w.Value) {
				return
			}
		}
	}
}

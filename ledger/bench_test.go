package ledger

import (
	"bytes"
	"crypto/elliptic"
	"testing"

	"chancery/internal/durable"
	"chancery/kv/writeset"
)

func smallWrite() writeset.WriteSet {
	return writeset.WriteSet{{Name: "records", Writes: []writeset.Write{{Key: []byte("key-0001"), Value: bytes.Repeat([]byte{'x'}, 100)}}}}
}

func BenchmarkSeal(b *testing.B) {
	s, ws := newSecret(b, 1), smallWrite()
	b.ReportAllocs()
	var seqno uint64
	for b.Loop() {
		seqno++
		if _, err := Seal(s, TxID{View: 2, Seqno: seqno}, ws, Digest{}, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAndOpen(b *testing.B) {
	s := newSecret(b, 1)
	e, err := Seal(s, TxID{View: 2, Seqno: 5}, smallWrite(), Digest{}, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p, err := ParseEntry(e.Raw)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Open(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	h := newHistory(b, elliptic.P384())
	root, tree := h.tree.Root(), h.tree.AppendTo(nil, 0)
	for b.Loop() {
		if _, err := h.signer.Sign(TxID{View: 2, Seqno: 1}, root, tree); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendSigned(b *testing.B) {
	h := newHistory(b, elliptic.P384())
	d, err := OpenDir(durable.OS(), b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	sig, err := h.signer.Sign(TxID{View: 2, Seqno: 1}, h.tree.Root(), h.tree.AppendTo(nil, 0))
	if err != nil {
		b.Fatal(err)
	}
	var next uint64
	for b.Loop() {
		next++
		e, err := Seal(h.secret, TxID{View: 2, Seqno: next}, sig, Digest{}, 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.AppendSigned([]*Entry{e}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify audits a ledger of 20 000 entries, one signature per 100.
func BenchmarkVerify(b *testing.B) {
	h := newService(b, elliptic.P384())
	for i := range 200 {
		h.span(99, Flags(i%50/49)*ForceChunkAfter)
	}
	dir := b.TempDir()
	d, err := OpenDir(durable.OS(), dir, nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := drive(d, h.spans()); err != nil {
		b.Fatal(err)
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	for name, secrets := range map[string]*Secrets{"decrypting": h.secrets(), "without secrets": nil} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := Verify(b.Context(), durable.OS(), []string{dir}, VerifyOptions{Secrets: secrets})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(r.Bytes)
			}
			b.ReportMetric(float64(len(h.entries))*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

package ledger

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"testing"
	"time"

	"chancery/kv/writeset"
	"chancery/ledger/merkle"
)

// history writes a ledger in memory, the way a primary does.
type history struct {
	t       testing.TB
	secret  *Secret
	signer  *Signer
	tree    *merkle.Tree
	view    uint64
	signed  uint64 // seqno of the last signature
	entries []*Entry
}

func ecKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSecret(t testing.TB, fill byte) *Secret {
	t.Helper()
	raw := make([]byte, SecretSize)
	for i := range raw {
		raw[i] = fill
	}
	s, err := NewSecret(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newHistory(t testing.TB) *history {
	t.Helper()
	node, service := ecKey(t, elliptic.P384()), ecKey(t, elliptic.P384())
	id, err := keyID(node.Public())
	if err != nil {
		t.Fatal(err)
	}
	h := &history{t: t, secret: newSecret(t, 7), tree: merkle.New(), view: 2, signer: &Signer{
		NodeID: id, NodeCertPEM: "no certificate", Node: node, Service: service,
		Issuer: "issuer", Subject: "subject", Now: func() time.Time { return time.Unix(1761669641, 0) },
	}}
	h.tree.Append(merkle.Hash{})
	return h
}

func (h *history) id() TxID { return TxID{View: h.view, Seqno: h.tree.Size()} }

// write seals a transaction with one public and one private write.
func (h *history) write(flags Flags) *Entry {
	key := binary.LittleEndian.AppendUint64(nil, h.tree.Size())
	return h.seal(writeset.WriteSet{
		{Name: "private", Writes: []writeset.Write{{Key: key, Value: []byte("a private value")}}, Removes: [][]byte{{1}}},
		{Name: "public:open", Writes: []writeset.Write{{Key: key, Value: []byte("a public value")}}},
	}, flags)
}

func (h *history) seal(ws writeset.WriteSet, flags Flags) *Entry {
	h.t.Helper()
	e, err := Seal(h.secret, h.id(), ws, Digest{}, flags)
	if err != nil {
		h.t.Fatal(err)
	}
	h.tree.Append(e.Leaf())
	h.entries = append(h.entries, e)
	return e
}

func (h *history) sign(flags Flags) *Entry {
	h.t.Helper()
	ws, err := h.signer.Sign(h.id(), h.tree.Root(), h.tree.AppendTo(nil, h.signed))
	if err != nil {
		h.t.Fatal(err)
	}
	h.signed = h.tree.Size()
	return h.seal(ws, flags)
}

// span returns n writes and a signature.
func (h *history) span(n int, flags Flags) []*Entry {
	h.t.Helper()
	from := len(h.entries)
	for range n {
		h.write(0)
	}
	h.sign(flags)
	return h.entries[from:]
}

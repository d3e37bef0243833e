package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// TestVectorReceipts verifies every receipt that the vectors hold, JSON and
// COSE, and demands that encoding it again gives the same bytes.
func TestVectorReceipts(t *testing.T) {
	var jsons, coses, endorsed, signatures int
	for name, v := range receiptVectors(t) {
		t.Run(name, func(t *testing.T) {
			r := verifyVectorJSON(t, v)
			jsons++
			if len(r.Endorsements) > 0 {
				endorsed++
			}
			if r.Kind == ReceiptSignature {
				signatures++
			}
			if v.COSE != "" {
				coses++
				verifyVectorCOSE(t, v)
			}
		})
	}
	t.Logf("%d JSON receipts (%d over service endorsements, %d of signatures), %d COSE receipts", jsons, endorsed, signatures, coses)
	if jsons == 0 || coses == 0 || endorsed == 0 || signatures == 0 {
		t.Error("the vectors lack a form")
	}
}

func verifyVectorJSON(t *testing.T, v receiptVector) *Receipt {
	data := v.bytesAsServed(t)
	r, err := ParseReceipt(data)
	if err != nil {
		t.Fatal(err)
	}
	var want []Expectation
	if r.Kind == ReceiptWrite {
		want = append(want, ExpectTx(mustTxID(t, v.TxID)))
	}
	if v.Claims != "" {
		want = append(want, ExpectClaims(Digest(mustHex(t, v.Claims))))
	}
	if err := r.Verify(v.service(t), want...); err != nil {
		t.Fatal(err)
	}
	root, leaf := r.Root(), r.LeafDigest()
	if got := hex.EncodeToString(root[:]); got != v.Root {
		t.Errorf("root %s, want %s", got, v.Root)
	}
	if got := hex.EncodeToString(leaf[:]); got != v.Leaf {
		t.Errorf("leaf %s, want %s", got, v.Leaf)
	}
	again, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, data) {
		t.Errorf("encoded again:\n%s\nwant\n%s", again, data)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, data, "", "  "); err != nil {
		t.Fatal(err)
	}
	for _, ok := range [][]byte{append(data, '\n'), pretty.Bytes(), append(pretty.Bytes(), '\n')} {
		if _, err := ParseReceipt(ok); err != nil {
			t.Errorf("refused a permitted spelling: %v", err)
		}
	}
	return r
}

func verifyVectorCOSE(t *testing.T, v receiptVector) {
	data := mustHex(t, v.COSE)
	service := mustCert(t, v.ServiceCert) // stays the key of the identity that signed
	want := []Expectation{ExpectTx(mustTxID(t, v.TxID))}
	if v.Claims != "" {
		want = append(want, ExpectClaims(Digest(mustHex(t, v.Claims))))
	}
	r, err := VerifyCOSEReceipt(data, service, want...)
	if err != nil {
		t.Fatal(err)
	}
	if root := r.Proofs[0].Root(); hex.EncodeToString(root[:]) != v.Root {
		t.Errorf("root %x, want %s", root, v.Root)
	}
	p := r.Proofs[0]
	bare := *r.message
	bare.Unprotected = nil
	again, err := BuildCOSEReceipt(bare.Encode(), p.Leaf, p.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, data) {
		t.Errorf("built again:\n%x\nwant\n%x", again, data)
	}
}

// TestSnapshotReceipts reads the receipts at the end of snapshots: bytes of CCF
// as they were written, JSON in old ones, COSE since 7.0.
func TestSnapshotReceipts(t *testing.T) {
	for _, file := range [][]string{
		{"eol_service", "snapshots", "snapshot_493_494.committed"},
		{"expired_service", "snapshots", "snapshot_61_62.committed"},
		{"synthetic", "snapshots", "snapshot_7_8.committed"},
		{"seven_service", "snapshots", "snapshot_19_20.committed"},
		{"seven_service", "snapshots", "snapshot_88_89.committed"},
	} {
		t.Run(file[0]+"/"+file[2], func(t *testing.T) {
			data, err := os.ReadFile(vectorFile(t, file...))
			if err != nil {
				t.Fatal(err)
			}
			size, err := EntrySize(data)
			if err != nil {
				t.Fatal(err)
			}
			receipt := data[size:]
			if receipt[0] == '{' {
				r, err := ParseReceipt(receipt)
				if err != nil {
					t.Fatal(err)
				}
				if claims, _ := r.Claims(); claims != sha256Sum(data[:size]) {
					t.Errorf("claims %x are not the snapshot's digest", claims)
				}
				return
			}
			r, err := VerifyCOSEReceipt(receipt, mustCert(t, readPEM(t, "seven_service", "common", "service_cert_0.pem")))
			if err != nil {
				t.Fatal(err)
			}
			if r.Claims() != sha256Sum(data[:size]) {
				t.Errorf("claims %x are not the snapshot's digest", r.Claims())
			}
		})
	}
}

// TestReceiptLinks breaks each link of a receipt in turn and demands the
// sentinel that names it, and no other failed check before it.
func TestReceiptLinks(t *testing.T) {
	s := newTestService(t)
	other := newTestService(t)
	claims := Digest{1, 2, 3}
	tests := []struct {
		name  string
		alter func(*Receipt)
		want  []Expectation
		err   error
	}{
		{name: "nothing"},
		{name: "expected transaction", want: []Expectation{ExpectTx(TxID{View: 2, Seqno: 5})}},
		{name: "another transaction", want: []Expectation{ExpectTx(TxID{View: 2, Seqno: 6})}, err: ErrWrongTx},
		{name: "another view", want: []Expectation{ExpectTx(TxID{View: 3, Seqno: 5})}, err: ErrWrongTx},
		{name: "expected claims", want: []Expectation{ExpectClaims(claims)}},
		{name: "other claims", want: []Expectation{ExpectClaims(Digest{9})}, err: ErrWrongClaims},
		{name: "validity", want: []Expectation{ExpectValidAt(s.now)}},
		{name: "expired", want: []Expectation{ExpectValidAt(s.now.AddDate(2, 0, 0))}, err: ErrExpired},
		{name: "node id", alter: func(r *Receipt) { r.NodeID = other.nodeID }, err: ErrWrongNode},
		{name: "node of another service", alter: func(r *Receipt) { r.NodeID, r.NodeCert = other.nodeID, other.nodePEM }, err: ErrNotEndorsed},
		{name: "self-signed node", alter: func(r *Receipt) { r.NodeCert = s.selfSignedNode }, err: ErrNotEndorsed},
		{name: "foreign endorsement", alter: func(r *Receipt) { r.Endorsements = []string{other.pem} }, err: ErrNotEndorsed},
		{name: "node as authority", alter: func(r *Receipt) { r.Endorsements = []string{s.nodePEM} }, err: ErrNotEndorsed},
		{name: "step left out", alter: func(r *Receipt) { r.Path = r.Path[1:] }, err: ErrWrongPath},
		{name: "step turned", alter: func(r *Receipt) { r.Path[0].Left = !r.Path[0].Left }, err: ErrWrongPath},
		{name: "path too long", alter: func(r *Receipt) { r.Path = append(r.Path, make([]step, 64)...) }, err: ErrWrongPath},
		{name: "sibling changed", alter: func(r *Receipt) { r.Path[1].Hash[7] ^= 1 }, err: ErrBadSignature},
		{name: "write set changed", alter: func(r *Receipt) { r.Leaf.WriteSet[0] ^= 1 }, err: ErrBadSignature},
		{name: "claims changed", alter: func(r *Receipt) { r.Leaf.Claims = &Digest{9} }, err: ErrBadSignature},
		{name: "claims left out", alter: func(r *Receipt) { r.Leaf.Claims = nil }, err: ErrBadSignature},
		{name: "signature of another root", alter: func(r *Receipt) { r.Signature = s.signRoot(t, Digest{1}) }, err: ErrBadSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := s.receipt(t, 5, claims)
			if tt.alter != nil {
				tt.alter(r)
			}
			err := r.Verify(s.cert, tt.want...)
			if !errors.Is(err, tt.err) {
				t.Fatalf("Verify: %v, want %v", err, tt.err)
			}
			failed := 0
			for _, c := range r.Explain(s.cert, tt.want...) {
				if c.Err != nil {
					failed++
				}
				if (c.Err == nil) == (c.Detail == "") || c.Name == "" {
					t.Errorf("check %+v: want a name, and either an error or a detail", c)
				}
			}
			if (failed > 0) != (tt.err != nil) {
				t.Errorf("%d checks failed", failed)
			}
		})
	}
	if err := s.receipt(t, 5, claims).Verify(other.cert); !errors.Is(err, ErrNotEndorsed) {
		t.Errorf("under another service: %v", err)
	}
	if err := s.receipt(t, 5, claims).Verify(nil); !errors.Is(err, ErrNotEndorsed) {
		t.Errorf("without a service: %v", err)
	}
}

// TestReceiptForms builds each form and reads it back.
func TestReceiptForms(t *testing.T) {
	s := newTestService(t)
	for name, r := range map[string]*Receipt{
		"write":     s.receipt(t, 4, Digest{}),
		"last leaf": s.receipt(t, s.tree.Size()-1, Digest{}),
		"signature": s.signatureReceipt(t),
		"1.x":       s.bareReceipt(t, 3),
		"endorsed":  s.afterRecovery(t, 4),
	} {
		t.Run(name, func(t *testing.T) {
			data, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseReceipt(data)
			if err != nil {
				t.Fatal(err)
			}
			service := s.cert
			if name == "endorsed" {
				service = s.next.cert
			}
			if err := got.Verify(service); err != nil {
				t.Error(err)
			}
			if name != "endorsed" {
				return
			}
			if err := got.Verify(s.cert); err != nil {
				t.Errorf("under the identity that is past: %v", err)
			}
			if err := got.Verify(newTestService(t).cert); !errors.Is(err, ErrNotEndorsed) {
				t.Errorf("under another identity: %v", err)
			}
		})
	}
}

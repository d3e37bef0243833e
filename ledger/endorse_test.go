package ledger

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"chancery/internal/cose"
)

func mustSPKI(t testing.TB, key *ecdsa.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// identities makes n service keys and the endorsements that n-1 recoveries of a
// ledger leave behind, in the order in which they are written: first the
// self-endorsement, then one for each recovery. Identity k signs seqnos
// 100k+1 to 100k+100 in view 2+2k.
func identities(t testing.TB, n int) ([]*ecdsa.PrivateKey, []*IdentityEndorsement) {
	t.Helper()
	at := time.Unix(1_795_576_220, 0)
	keys := []*ecdsa.PrivateKey{newKey(t)}
	raw, err := EndorseIdentity(keys[0], mustSPKI(t, &keys[0].PublicKey), Epoch{Begin: TxID{View: 2, Seqno: 1}}, at)
	if err != nil {
		t.Fatal(err)
	}
	all := []*IdentityEndorsement{mustEndorsement(t, raw)}
	for k := uint64(0); k < uint64(n-1); k++ {
		key := newKey(t)
		epoch := Epoch{Begin: TxID{View: 2 + 2*k, Seqno: 100*k + 1}, End: TxID{View: 2 + 2*k, Seqno: 100*k + 100}, Root: Digest{byte(k)}}
		raw, err := EndorseIdentity(key, mustSPKI(t, &keys[k].PublicKey), epoch, at)
		if err != nil {
			t.Fatal(err)
		}
		keys, all = append(keys, key), append(all, mustEndorsement(t, raw))
	}
	return keys, all
}

func mustEndorsement(t testing.TB, raw []byte) *IdentityEndorsement {
	t.Helper()
	e, err := ParseIdentityEndorsement(raw)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestEndorsedKey walks from the newest of four identities to each of them.
func TestEndorsedKey(t *testing.T) {
	keys, written := identities(t, 4)
	present := &keys[3].PublicKey
	for k := range keys {
		for _, offset := range []uint64{1, 50, 100} {
			id := TxID{View: 2 + 2*uint64(k), Seqno: 100*uint64(k) + offset}
			chain, err := EndorsementsFor(written, id)
			if err != nil {
				t.Fatalf("%v: %v", id, err)
			}
			if len(chain) != 3-k {
				t.Errorf("%v: chain of %d, want %d", id, len(chain), 3-k)
			}
			key, err := EndorsedKey(present, chain, id)
			if err != nil {
				t.Fatalf("%v: %v", id, err)
			}
			if !key.Equal(&keys[k].PublicKey) {
				t.Errorf("%v: not the key of identity %d", id, k)
			}
		}
	}
}

// TestEndorsedKeyRefuses breaks a chain in each way that it can be broken.
func TestEndorsedKeyRefuses(t *testing.T) {
	keys, written := identities(t, 4)
	present := &keys[3].PublicKey
	early, _ := EndorsementsFor(written, TxID{View: 2, Seqno: 5})
	gap := func(epoch Epoch) *IdentityEndorsement {
		raw, err := EndorseIdentity(keys[2], mustSPKI(t, &keys[1].PublicKey), epoch, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		return mustEndorsement(t, raw)
	}
	for name, tt := range map[string]struct {
		present *ecdsa.PublicKey
		chain   []*IdentityEndorsement
		id      TxID
	}{
		"foreign present key":  {&newKey(t).PublicKey, early, TxID{View: 2, Seqno: 5}},
		"link left out":        {present, []*IdentityEndorsement{early[0], early[2]}, TxID{View: 2, Seqno: 5}},
		"oldest first":         {present, []*IdentityEndorsement{early[2], early[1], early[0]}, TxID{View: 2, Seqno: 5}},
		"id after the epoch":   {present, early, TxID{View: 2, Seqno: 101}},
		"id in another view":   {present, early, TxID{View: 4, Seqno: 5}},
		"self-endorsement":     {&keys[0].PublicKey, written[:1], TxID{View: 2, Seqno: 5}},
		"gap in seqnos":        {present, []*IdentityEndorsement{early[0], gap(Epoch{Begin: TxID{View: 4, Seqno: 101}, End: TxID{View: 4, Seqno: 199}})}, TxID{View: 4, Seqno: 150}},
		"overlap":              {present, []*IdentityEndorsement{early[0], gap(Epoch{Begin: TxID{View: 4, Seqno: 101}, End: TxID{View: 4, Seqno: 201}})}, TxID{View: 4, Seqno: 150}},
		"view that was missed": {present, []*IdentityEndorsement{early[0], gap(Epoch{Begin: TxID{View: 4, Seqno: 101}, End: TxID{View: 5, Seqno: 200}})}, TxID{View: 4, Seqno: 150}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := EndorsedKey(tt.present, tt.chain, tt.id); !errors.Is(err, ErrNotEndorsed) {
				t.Errorf("error %v, want ErrNotEndorsed", err)
			}
		})
	}
	if _, err := EndorsementsFor(written[2:], TxID{View: 2, Seqno: 5}); !errors.Is(err, ErrNotEndorsed) {
		t.Errorf("chain that does not reach back: %v", err)
	}
	if _, err := EndorseIdentity(keys[0], nil, Epoch{Begin: TxID{View: 4, Seqno: 9}, End: TxID{View: 4, Seqno: 8}}, time.Unix(1, 0)); err == nil {
		t.Error("endorsed an epoch that ends before it begins")
	}
}

// TestCOSEReceiptOfEarlierIdentity verifies a receipt under the key of the
// service that recovered the one that signed it.
func TestCOSEReceiptOfEarlierIdentity(t *testing.T) {
	s := newTestService(t)
	keys, _ := identities(t, 1)
	epoch := Epoch{Begin: TxID{View: 2, Seqno: 1}, End: TxID{View: 2, Seqno: testLeaves}, Root: s.tree.Root()}
	raw, err := EndorseIdentity(keys[0], mustSPKI(t, &s.key.PublicKey), epoch, s.now)
	if err != nil {
		t.Fatal(err)
	}
	chain := []*IdentityEndorsement{mustEndorsement(t, raw)}
	r, err := ParseCOSEReceipt(s.coseReceipt(t, 5))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.VerifyWithEndorsements(&keys[0].PublicKey, chain, ExpectTx(TxID{View: 2, Seqno: 5})); err != nil {
		t.Error(err)
	}
	if err := r.VerifyWithEndorsements(&keys[0].PublicKey, nil); !errors.Is(err, ErrWrongService) {
		t.Errorf("without the chain: %v", err)
	}
}

// endorsementRow is the JSON in previous_service_identity_endorsement.
type endorsementRow struct {
	TxID        string `json:"txid"`
	Endorsement []byte `json:"endorsement"`
	Key         []byte `json:"endorsing_key"`
	Begin       string `json:"endorsement_epoch_begin"`
	End         string `json:"endorsement_epoch_end"`
}

// TestVectorEndorsements reads the endorsements that CCF 7.0.2 wrote, verifies
// them, and encodes their headers again.
func TestVectorEndorsements(t *testing.T) {
	var seven struct {
		Endorsements []endorsementRow `json:"endorsements"`
	}
	readVector(t, &seven, "seven_service.json")
	var written []*IdentityEndorsement
	var present *ecdsa.PublicKey
	for _, row := range seven.Endorsements {
		e := mustEndorsement(t, row.Endorsement)
		written = append(written, e)
		key, err := x509.ParsePKIXPublicKey(row.Key)
		if err != nil {
			t.Fatal(err)
		}
		present = key.(*ecdsa.PublicKey)
		if err := e.Verify(present); err != nil {
			t.Errorf("%s: %v", row.TxID, err)
		}
		if got := e.Epoch.Begin.String(); got != row.Begin {
			t.Errorf("%s: begins %s, want %s", row.TxID, got, row.Begin)
		}
		if row.End != "" && e.Epoch.End.String() != row.End {
			t.Errorf("%s: ends %v, want %s", row.TxID, e.Epoch.End, row.End)
		}
		again, err := encodeEpoch(e.message.Header.Alg, e.Epoch, e.IssuedAt)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, e.message.Protected) {
			t.Errorf("%s: encoded again:\n%x\nwant\n%x", row.TxID, again, e.message.Protected)
		}
	}
	if len(written) != 2 {
		t.Fatalf("%d endorsements, want 2", len(written))
	}
	verifyOldReceipts(t, present, written)
}

// verifyOldReceipts verifies the COSE receipts of the first life under the
// identity of the second.
func verifyOldReceipts(t *testing.T, present *ecdsa.PublicKey, written []*IdentityEndorsement) {
	n := 0
	for name, v := range receiptVectors(t) {
		if v.ServedBy == "" || v.COSE == "" {
			continue
		}
		n++
		r, err := ParseCOSEReceipt(mustHex(t, v.COSE))
		if err != nil {
			t.Fatal(err)
		}
		chain, err := EndorsementsFor(written, r.TxID())
		if err != nil {
			t.Fatal(err)
		}
		if len(chain) != 1-v.Written {
			t.Errorf("%s: chain of %d", name, len(chain))
		}
		if err := r.VerifyWithEndorsements(present, chain, ExpectTx(mustTxID(t, v.TxID))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n == 0 {
		t.Error("no COSE receipts")
	}
}

// TestMalformedEndorsementIsReadable makes an endorsement whose epoch runs
// backwards: reading passes over it, verifying refuses it, and the one before
// it still leads to the first service.
func TestMalformedEndorsementIsReadable(t *testing.T) {
	keys, written := identities(t, 2)
	backwards := Epoch{Begin: TxID{View: 4, Seqno: 484}, End: TxID{View: 2, Seqno: 483}}
	protected, err := encodeEpoch(written[1].message.Header.Alg, backwards, 1)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := cose.SignAttached(keys[1], protected, mustSPKI(t, &keys[1].PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	e := mustEndorsement(t, raw)
	if err := e.Verify(&keys[1].PublicKey); !errors.Is(err, ErrNotEndorsed) {
		t.Errorf("Verify: %v, want ErrNotEndorsed", err)
	}
	id := TxID{View: 2, Seqno: 5}
	chain, err := EndorsementsFor(append(written, e), id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := EndorsedKey(&keys[1].PublicKey, chain, id); err != nil {
		t.Error(err)
	}
}

// ledgerEndorsements reads the endorsements out of the chunk files of a service.
func ledgerEndorsements(t testing.TB, service string) (rows []endorsementRow) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectorFile(t, service, "ledger"), "ledger_*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		end := int64(binary.LittleEndian.Uint64(data))
		if end == 0 {
			end = int64(len(data))
		}
		for at := int64(8); at < end; {
			size, err := EntrySize(data[at:])
			if err != nil {
				t.Fatal(err)
			}
			e, err := ParseEntry(data[at : at+size])
			if err != nil {
				t.Fatal(err)
			}
			at += size
			m := e.Public.Map("public:ccf.internal.previous_service_identity_endorsement")
			if m == nil {
				continue
			}
			row := endorsementRow{TxID: e.ID.String()}
			if err := json.Unmarshal(m.Writes[0].Value, &row); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b endorsementRow) int {
		return int(mustTxID(t, a.TxID).Seqno) - int(mustTxID(t, b.TxID).Seqno)
	})
	return rows
}

// TestDoubleSealedEndorsements reads the ledger in which an old fault of CCF
// left a third endorsement of the epoch 4.484 to 2.483, of its own key.
func TestDoubleSealedEndorsements(t *testing.T) {
	rows := ledgerEndorsements(t, "double_sealed_service")
	var written []*IdentityEndorsement
	var verified []bool
	var present *ecdsa.PublicKey
	for _, row := range rows {
		key, err := x509.ParsePKIXPublicKey(row.Key)
		if err != nil {
			t.Fatal(err)
		}
		present = key.(*ecdsa.PublicKey)
		e := mustEndorsement(t, row.Endorsement)
		t.Logf("%s: %v", row.TxID, e)
		written = append(written, e)
		verified = append(verified, e.Verify(present) == nil)
	}
	if want := []bool{true, true, false}; !slices.Equal(verified, want) {
		t.Fatalf("verified %v, want %v", verified, want)
	}
	id := TxID{View: 2, Seqno: 253}
	chain, err := EndorsementsFor(written, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := EndorsedKey(present, chain, id); err != nil {
		t.Error(err)
	}
}

// FuzzParseIdentityEndorsement looks for a panic, and for an error of another
// kind.
func FuzzParseIdentityEndorsement(f *testing.F) {
	_, written := identities(f, 2)
	for _, e := range written {
		f.Add(e.Raw)
	}
	b, err := base64.StdEncoding.DecodeString("0oRYKqMBOCIPoQYaawZRnGZjY2YudjGhcGVwb2NoLnN0YXJ0LnR4aWRjMi4xoEDA")
	if err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseIdentityEndorsement(data)
		if err != nil {
			if !errors.Is(err, ErrMalformedReceipt) {
				t.Errorf("error %v does not wrap ErrMalformedReceipt", err)
			}
			return
		}
		_ = e.String()
		_ = e.self()
	})
}

package ledger

import (
	"encoding/hex"
	"path/filepath"
	"testing"

	"chancery/internal/ccftest"
	"chancery/internal/durable"
	"chancery/kv/writeset"
	"chancery/ledger/merkle"
)

// each calls use with every entry of a vector, and the root of the tree before it.
func (v vector) each(t *testing.T, use func(e *Entry, root Digest)) {
	t.Helper()
	files, err := listChunks(durable.OS(), v.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var tree merkle.Frontier
	tree.Append(merkle.Hash{})
	for _, f := range files {
		err := scanEntries(durable.OS(), f.path, f.name, nil, func(e *Entry, _ int64) error {
			use(e, tree.Root())
			tree.Append(e.Leaf())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// private decrypts the private domain of e.
func (v vector) private(t *testing.T, secrets *Secrets, e *Entry) writeset.WriteSet {
	t.Helper()
	secret, err := secrets.At(e.ID.Seqno)
	if err != nil {
		t.Fatal(err)
	}
	ws, err := e.Open(secret)
	if err != nil {
		t.Fatalf("opening %v: %v", e.ID, err)
	}
	_, private := ws.Split()
	return private
}

// TestVectorDigests compares roots and digests with what CCF's tool computed.
func TestVectorDigests(t *testing.T) {
	type sample struct {
		TxID     string `json:"txid"`
		Type     string `json:"entry_type"`
		Flags    uint8  `json:"flags"`
		Size     int    `json:"size"`
		Private  int    `json:"private_size"`
		WriteSet string `json:"write_set_digest"`
		Claims   string `json:"claims_digest"`
		Evidence string `json:"commit_evidence_digest"`
		Leaf     string `json:"tx_digest"`
	}
	types := map[EntryType]string{
		WriteSet: "WRITE_SET", WriteSetWithEvidence: "WRITE_SET_WITH_COMMIT_EVIDENCE",
		WriteSetWithEvidenceAndClaims: "WRITE_SET_WITH_COMMIT_EVIDENCE_AND_CLAIMS",
	}
	digest := func(there bool, d Digest) string {
		if !there {
			return ""
		}
		return hex.EncodeToString(d[:])
	}
	for _, v := range vectors(t)[:4] {
		var known struct {
			All struct {
				toolReport
				Samples []sample `json:"sample_transactions"`
			} `json:"with_uncommitted"`
		}
		readJSON(t, filepath.Join(ccftest.Vectors(t), v.name+".json"), &known)
		samples := map[string]sample{}
		for _, s := range known.All.Samples {
			samples[s.TxID] = s
		}
		roots := map[string]string{}
		for _, r := range known.All.Roots {
			roots[r.TxID] = r.Computed
		}
		v.each(t, func(e *Entry, root Digest) {
			id := e.ID.String()
			if want, ok := roots[id]; ok != IsSignature(e.Public) || ok && want != hex.EncodeToString(root[:]) {
				t.Errorf("%s %s: root %x, want %s", v.name, id, root, want)
			}
			want, ok := samples[id]
			if !ok {
				return
			}
			delete(samples, id)
			got := sample{
				TxID: id, Type: types[e.Type], Flags: uint8(e.Flags), Size: e.Size(), Private: len(e.Raw) - e.publicEnd,
				WriteSet: digest(true, e.WriteSetDigest()), Leaf: digest(true, e.Leaf()),
				Claims: digest(e.Type.hasClaims(), e.Claims), Evidence: digest(e.Type.hasEvidence(), e.CommitEvidence),
			}
			if got != want {
				t.Errorf("%s: got %+v, want %+v", v.name, got, want)
			}
		})
		if len(samples) != 0 {
			t.Errorf("%s: not seen: %v", v.name, samples)
		}
	}
}

// TestVectorPlaintexts compares what is decrypted with what is known of it.
func TestVectorPlaintexts(t *testing.T) {
	var known struct {
		Samples map[string][]struct {
			TxID      string `json:"txid"`
			Plaintext string `json:"plaintext_hex"`
		} `json:"private_samples"`
	}
	readJSON(t, filepath.Join(ccftest.Vectors(t), "secrets.json"), &known)
	all := vectors(t)
	for _, v := range all[:4] {
		want := map[string]string{}
		for _, s := range known.Samples[v.name] {
			want[s.TxID] = s.Plaintext
		}
		secrets := v.open(t)
		v.each(t, func(e *Entry, _ Digest) {
			text, ok := want[e.ID.String()]
			if !ok {
				return
			}
			delete(want, e.ID.String())
			if got := hex.EncodeToString(writeset.AppendMaps(nil, v.private(t, secrets, e))); got != text {
				t.Errorf("%s %v: %s, want %s", v.name, e.ID, got, text)
			}
		})
		if len(want) != 0 {
			t.Errorf("%s: not seen: %v", v.name, want)
		}
	}
}

// TestSevenPrivateValues: every private write of the service of CCF 7.0.2, and no other.
func TestSevenPrivateValues(t *testing.T) {
	type row struct {
		TxID  string  `json:"txid"`
		Map   string  `json:"map"`
		Key   string  `json:"key"`
		Value *string `json:"value"` // nil: deleted
	}
	var known struct {
		Values []row `json:"private_values"`
	}
	readJSON(t, filepath.Join(ccftest.Vectors(t), "seven_service.json"), &known)
	name := func(id, m, key, value string) string { return id + " " + m + " " + key + " " + value }
	want := map[string]bool{}
	for _, r := range known.Values {
		value := "deleted"
		if r.Value != nil {
			value = *r.Value
		}
		want[name(r.TxID, r.Map, r.Key, value)] = true
	}
	v := vectors(t)[6]
	secrets := v.open(t)
	v.each(t, func(e *Entry, _ Digest) {
		for _, m := range v.private(t, secrets, e) {
			for _, w := range m.Writes {
				seen(t, want, name(e.ID.String(), m.Name, hex.EncodeToString(w.Key), hex.EncodeToString(w.Value)))
			}
			for _, k := range m.Removes {
				seen(t, want, name(e.ID.String(), m.Name, hex.EncodeToString(k), "deleted"))
			}
		}
	})
	for missing := range want {
		t.Errorf("not found: %s", missing)
	}
}

// seen ticks off one expected write.
func seen(t *testing.T, want map[string]bool, name string) {
	t.Helper()
	if !want[name] {
		t.Errorf("unexpected: %s", name)
	}
	delete(want, name)
}

package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"chancery/internal/ccftest"
	"chancery/internal/durable"
	"chancery/kv/writeset"
	"chancery/ledger/merkle"
)

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// vector is one ledger directory with what is known of it.
type vector struct {
	name    string
	dir     string
	secrets map[string]string // hex, by first seqno
	entries int
	files   int
}

func vectors(t testing.TB) []vector {
	dir := ccftest.Vectors(t)
	var known struct {
		LedgerSecrets map[string]map[string]string `json:"ledger_secrets"`
	}
	readJSON(t, filepath.Join(dir, "secrets.json"), &known)
	var synthetic struct {
		Secret string `json:"ledger_secret_hex"`
	}
	readJSON(t, filepath.Join(dir, "synthetic", "expected.json"), &synthetic)
	var seven struct {
		LedgerSecrets map[string]string `json:"ledger_secrets"`
	}
	readJSON(t, filepath.Join(dir, "seven_service.json"), &seven)
	out := []vector{
		{"acme_containing_service", "acme_containing_service/ledger", nil, 22, 4},
		{"double_sealed_service", "double_sealed_service/ledger", nil, 509, 33},
		{"eol_service", "eol_service/ledger", nil, 500, 49},
		{"expired_service", "expired_service/ledger", nil, 74, 8},
		{"synthetic", "synthetic/ledger", map[string]string{"1": synthetic.Secret}, 9, 3},
		{"seven_service", "seven_service/ledger", seven.LedgerSecrets, 262, 14},
		{"seven_service recovered", "seven_service/ledger_recovered", seven.LedgerSecrets, 343, 19},
	}
	for i := range out {
		v := &out[i]
		v.dir = filepath.Join(dir, filepath.FromSlash(v.dir))
		if v.secrets == nil {
			v.secrets = known.LedgerSecrets[v.name]
		}
	}
	return out
}

// open returns the vector's ledger secrets.
func (v vector) open(t testing.TB) *Secrets {
	t.Helper()
	s := new(Secrets)
	for from, text := range v.secrets {
		n, err := strconv.ParseUint(from, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := NewSecret(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Add(n, secret); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// reseal writes the entry anew from its parts.
func reseal(t testing.TB, s *Secret, e *Entry) *Entry {
	t.Helper()
	ws, err := e.Open(s)
	if err != nil {
		t.Fatalf("opening %v: %v", e.ID, err)
	}
	evidence := CommitEvidenceDigest(s, e.ID)
	if e.Type.hasEvidence() && evidence != e.CommitEvidence {
		t.Errorf("%v: another commit evidence", e.ID)
	}
	if e.Type == WriteSetWithEvidenceAndClaims && e.MaxConflictVersion == 0 {
		again, err := Seal(s, e.ID, ws, e.Claims, e.Flags)
		if err != nil {
			t.Fatal(err)
		}
		return again
	}
	again := &Entry{ID: e.ID, Flags: e.Flags, Type: e.Type, Claims: e.Claims, MaxConflictVersion: e.MaxConflictVersion}
	if e.Type.hasEvidence() {
		again.CommitEvidence = evidence
	}
	var private writeset.WriteSet
	again.Public, private = ws.Split()
	if err := again.encode(s, private); err != nil {
		t.Fatal(err)
	}
	return again
}

// TestVectorsByteIdentical decrypts every entry of every ledger, seals it again and
// writes the files anew: each must come out as CCF wrote it.
func TestVectorsByteIdentical(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			secrets := v.open(t)
			files, err := listChunks(durable.OS(), v.dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(files) != v.files {
				t.Errorf("%d chunk files, want %d", len(files), v.files)
			}
			tree, count, roots := merkle.New(), 0, 0
			tree.Append(merkle.Hash{})
			for _, f := range files {
				want, err := os.ReadFile(f.path)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, chunkHeaderSize)
				var positions []uint32
				err = scanEntries(durable.OS(), f.path, f.name, nil, func(e *Entry, _ int64) error {
					count++
					if IsSignature(e.Public) {
						roots++
						checkSignature(t, tree, e)
					}
					tree.Append(e.Leaf())
					secret, err := secrets.At(e.ID.Seqno)
					if err != nil {
						return err
					}
					again := reseal(t, secret, e)
					if !bytes.Equal(again.Raw, e.Raw) {
						t.Errorf("%v is sealed otherwise", e.ID)
					}
					if again.Leaf() != e.Leaf() {
						t.Errorf("%v has another leaf", e.ID)
					}
					positions = append(positions, uint32(len(got)))
					got = append(got, again.Raw...)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if f.name.committed || want[0] != 0 || want[1] != 0 {
					copy(got, appendPositions(nil, []uint32{uint32(len(got)), 0}))
					got = appendPositions(got, positions)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s is written otherwise", f.name)
				}
			}
			if count != v.entries {
				t.Errorf("%d entries, want %d", count, v.entries)
			}
			t.Logf("%d files, %d entries, %d signatures", len(files), count, roots)
		})
	}
}

// checkSignature compares what a signature transaction says of the tree with tree,
// which ends before it.
func checkSignature(t *testing.T, tree *merkle.Tree, e *Entry) {
	t.Helper()
	s, err := ParseSignature(e)
	if err != nil {
		t.Error(err)
		return
	}
	if s.Root != tree.Root() {
		t.Errorf("%v signs another root", e.ID)
	}
	if got := tree.AppendTo(nil, s.Tree.Flushed); !bytes.Equal(got, s.Tree.AppendTo(nil)) {
		t.Errorf("%v records another tree", e.ID)
	}
}

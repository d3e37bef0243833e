package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/durable"
)

// TestDocExample computes the worked example of the package comment.
func TestDocExample(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	v := vectors(t)[0]
	d := filepath.Join(v.dir, "ledger_1-2.committed")
	name, _ := parseChunkName(filepath.Base(d))
	var e *Entry
	err = scanEntries(durable.OS(), d, name, nil, func(x *Entry, _ int64) error {
		if x.ID.Seqno == 1 {
			e = x
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := v.open(t).At(1)
	if err != nil {
		t.Fatal(err)
	}
	evidence := CommitEvidence(secret, e.ID)
	if sha256.Sum256([]byte(evidence)) != e.CommitEvidence {
		t.Error("another commit evidence")
	}
	h := func(b []byte) string { return hex.EncodeToString(b) }
	leaf, digest := e.Leaf(), e.WriteSetDigest()
	for _, want := range []string{
		"of 66093", h(e.Raw[:8]) + " " + h(e.Raw[8:24]), h(e.Raw[24:32]) + " " + h(e.Raw[32:36]) + " " + h(e.Raw[36:44]),
		h(digest[:]), evidence, h(e.Claims[:]), h(leaf[:]),
	} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("the package comment does not say %s", want)
		}
	}
	if e.Size() != 66093 {
		t.Errorf("the entry has %d bytes", e.Size())
	}
}

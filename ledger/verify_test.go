package ledger

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chancery/internal/ccftest"
	"chancery/internal/durable"
)

// toolReport is what CCF's own tool said of a ledger.
type toolReport struct {
	Chunks       int            `json:"chunks"`
	Transactions int            `json:"transactions"`
	LastTxID     string         `json:"last_txid"`
	Signatures   int            `json:"signatures"`
	LastVerified string         `json:"last_verified_txid"`
	Status       string         `json:"service_status"`
	Tables       map[string]int `json:"tables"`
	Roots        []struct {
		TxID     string `json:"txid"`
		Computed string `json:"computed"`
		Root     string `json:"root"`
	} `json:"roots_at_signatures"`
}

func (r toolReport) roots() map[string]string {
	out := map[string]string{}
	for _, x := range r.Roots {
		out[x.TxID] = x.Computed + x.Root
	}
	return out
}

func verify(t testing.TB, dir string, opts VerifyOptions) (*Report, error) {
	t.Helper()
	return Verify(context.Background(), durable.OS(), []string{dir}, opts)
}

// TestVerifyVectors holds Verify's report of the first four services against that of
// CCF's tool.
func TestVerifyVectors(t *testing.T) {
	for _, v := range vectors(t)[:4] {
		var want struct {
			Committed toolReport `json:"committed_only"`
			All       toolReport `json:"with_uncommitted"`
		}
		readJSON(t, filepath.Join(ccftest.Vectors(t), v.name+".json"), &want)
		for name, w := range map[string]toolReport{"committed": want.Committed, "all": want.All} {
			t.Run(v.name+"/"+name, func(t *testing.T) {
				opts := VerifyOptions{Secrets: v.open(t), CommittedOnly: name == "committed"}
				opts.Service = mustCert(t, readPEM(t, v.name, "common", "service_cert.pem"))
				got, err := verify(t, v.dir, opts)
				if err != nil {
					t.Fatal(err)
				}
				compareReport(t, got, w)
				if got.Opened != w.Transactions {
					t.Errorf("%d entries opened, want %d", got.Opened, w.Transactions)
				}
				if name == "all" {
					if d := cmp.Diff(w.Tables, got.Tables); d != "" {
						t.Errorf("tables: %s", d)
					}
				}
				checkFindings(t, v.name, got.Findings)
			})
		}
	}
}

// checkFindings: the faults of an old CCF that one of the services suffered are
// reported, and nothing else is.
func checkFindings(t *testing.T, service string, got []Finding) {
	t.Helper()
	var want []string
	if service == "double_sealed_service" {
		want = []string{"ends before it begins", "sealed a second time"}
	}
	if len(got) != len(want) {
		t.Fatalf("findings %v, want %v", got, want)
	}
	for i, f := range got {
		if f.ID.String() != "5.503" || !strings.Contains(f.Text, want[i]) {
			t.Errorf("finding %v: %s, want %q at 5.503", f.ID, f.Text, want[i])
		}
	}
}

func compareReport(t *testing.T, got *Report, w toolReport) {
	t.Helper()
	have := toolReport{
		Chunks: got.Files, Transactions: got.Entries, Signatures: got.Signatures,
		LastTxID: got.Last.String(), LastVerified: got.LastSigned.String(),
		Status: got.Services[len(got.Services)-1].Status,
	}
	want := toolReport{
		Chunks: w.Chunks, Transactions: w.Transactions, Signatures: w.Signatures,
		LastTxID: w.LastTxID, LastVerified: w.LastVerified, Status: w.Status,
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
	if root, ok := w.roots()[got.LastSigned.String()]; ok && root != hex.EncodeToString(got.Root[:]) {
		t.Errorf("root %x at %v, want %s", got.Root, got.LastSigned, root)
	}
}

// TestVerifySeven does the same for the two lives of the service that CCF 7.0.2 wrote.
func TestVerifySeven(t *testing.T) {
	var known struct {
		Lives map[string]struct {
			Entries int            `json:"entries"`
			Last    string         `json:"last_txid"`
			Sigs    int            `json:"signatures"`
			Tables  map[string]int `json:"tables"`
			RootsAt []struct {
				TxID string `json:"txid"`
				Root string `json:"root"`
			} `json:"roots_at_signatures"`
			Ledger string     `json:"ledger"`
			Cert   string     `json:"service_cert"`
			Files  []struct{} `json:"ledger_files"`
		} `json:"lives"`
	}
	readJSON(t, filepath.Join(ccftest.Vectors(t), "seven_service.json"), &known)
	secrets := vectors(t)[5].open(t)
	for name, w := range known.Lives {
		t.Run("life "+name, func(t *testing.T) {
			got, err := verify(t, filepath.Join(ccftest.Vectors(t), "seven_service", w.Ledger), VerifyOptions{
				Secrets: secrets, Service: mustCert(t, readPEM(t, "seven_service", "common", w.Cert)),
			})
			if err != nil {
				t.Fatal(err)
			}
			last := w.RootsAt[len(w.RootsAt)-1]
			if got.Entries != w.Entries || got.Opened != w.Entries || got.Files != len(w.Files) ||
				got.Last.String() != w.Last || got.Signatures != w.Sigs || got.NodeSignatures != w.Sigs || got.COSESignatures != w.Sigs ||
				got.LastSigned.String() != last.TxID || hex.EncodeToString(got.Root[:]) != last.Root {
				t.Errorf("got %+v, want %+v", got, w)
			}
			if d := cmp.Diff(w.Tables, got.Tables); d != "" {
				t.Errorf("tables: %s", d)
			}
			if len(got.Findings) != 0 || got.Tail != nil || got.Unsigned != 0 {
				t.Errorf("findings %v, tail %v, %d unsigned", got.Findings, got.Tail, got.Unsigned)
			}
		})
	}
}

func TestVerifySynthetic(t *testing.T) {
	v := vectors(t)[4]
	got, err := verify(t, v.dir, VerifyOptions{Secrets: v.open(t)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Signatures != 4 || got.LastSigned.String() != "2.9" || got.Entries != 9 || got.Opened != 9 {
		t.Errorf("got %+v", got)
	}
}

// TestVerifyForeignService: a certificate of another service, or of an earlier life.
func TestVerifyForeignService(t *testing.T) {
	v := vectors(t)[6]
	for _, cert := range [][]string{
		{"acme_containing_service", "common", "service_cert.pem"},
		{"seven_service", "common", "service_cert_0.pem"},
	} {
		_, err := verify(t, v.dir, VerifyOptions{Service: mustCert(t, readPEM(t, cert...))})
		if !errors.Is(err, ErrUntrusted) {
			t.Errorf("under the certificate %v: %v, want ErrUntrusted", cert, err)
		}
	}
}

// TestVerifyBehind audits entries that are in no file yet, as if they were in one.
func TestVerifyBehind(t *testing.T) {
	whole := filepath.Join(ccftest.Vectors(t), "seven_service", "ledger")
	d, err := OpenDir(durable.OS(), whole, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var behind []*Entry
	for e, err := range d.Entries(242) {
		if err != nil {
			t.Fatal(err)
		}
		behind = append(behind, e)
	}
	service := mustCert(t, readPEM(t, "seven_service", "common", "service_cert_0.pem"))
	short := t.TempDir()
	if err := os.CopyFS(short, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(short, "ledger_242")); err != nil {
		t.Fatal(err)
	}
	got, err := verify(t, short, VerifyOptions{Service: service, Behind: behind})
	if err != nil || got.LastSigned.String() != "2.262" || got.Unsigned != 0 {
		t.Errorf("through %v, %d unsigned: %v", got.LastSigned, got.Unsigned, err)
	}
	raw := bytes.Clone(behind[1].Raw)
	raw[8] ^= 1 // of the tag
	if behind[1], err = ParseEntry(raw); err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, short, VerifyOptions{Service: service, Behind: behind}); err == nil {
		t.Error("entries of which one is changed verify")
	}
}

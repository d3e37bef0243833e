package node

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/ccftest"
	"chancery/internal/cose"
	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/node/config"
	"chancery/server"
)

// sevenService is what is known of a service that CCF 7.0.2 wrote and recovered once.
type sevenService struct {
	Share struct {
		Members map[string]string `json:"members"`
		Shares  map[string]string `json:"decrypted_shares_hex"`
	} `json:"share_example"`
	Private []struct {
		TxID, Map, Key string
		Value          *string
	} `json:"private_values"`
	Receipts []struct {
		TxID   string
		JSON   json.RawMessage `json:"json_receipt"`
		Status int             `json:"json_status"`
	}
}

// TestRecoverCCF recovers a service of CCF's own from its files: with shares that CCF
// dealt, every private value is there, and the receipts of both its lives verify under
// the identity of the third.
func TestRecoverCCF(t *testing.T) {
	newest := func(dir string) string {
		found, err := ledger.ListSnapshots(durable.OS(), filepath.Join(dir, "snapshots"))
		if err != nil || len(found) == 0 {
			t.Fatalf("snapshots %v, %v", found, err)
		}
		return found[0].Path
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		from    bool // a snapshot is used
		middle  bool // the ledger begins behind it
	}{
		"from the ledger":   {prepare: func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "snapshots")) }},
		"from a snapshot":   {prepare: func(*testing.T, string) {}, from: true},
		"the newest is bad": {prepare: func(t *testing.T, dir string) { spoil(t, newest(dir)) }, from: true},
		"only an earlier life's": {prepare: func(t *testing.T, dir string) {
			for _, name := range []string{"snapshot_276_277.committed", "snapshot_331_332.committed"} {
				remove(t, filepath.Join(dir, "snapshots", name))
			}
		}},
		"from a snapshot and what follows": {prepare: func(t *testing.T, dir string) {
			s, _ := ledger.ParseSnapshotName(filepath.Base(newest(dir)))
			chunks, err := filepath.Glob(filepath.Join(dir, "ledger", "ledger_*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range chunks {
				if _, last, ok := ledger.IsCommittedChunk(filepath.Base(path)); ok && last <= s.Seqno {
					remove(t, path)
				}
			}
		}, from: true, middle: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			vectors := filepath.Join(ccftest.Vectors(t), "seven_service")
			for from, to := range map[string]string{"ledger_recovered": "ledger", "snapshots_recovered": "snapshots"} {
				if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(filepath.Join(vectors, from))); err != nil {
					t.Fatal(err)
				}
			}
			c.prepare(t, dir)
			n := recoverCCF(t, dir)
			if (n.startup != 0) != c.from || (n.ledger.First() != 1) != c.middle {
				t.Errorf("begun at %d, with the ledger from %d", n.startup, n.ledger.First())
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func spoil(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := os.Stat(path + ".ignored"); err != nil {
			t.Errorf("the snapshot is not set aside: %v", err)
		}
	})
}

func recoverCCF(t *testing.T, dir string) *Node {
	vectors := ccftest.Vectors(t)
	var seven sevenService
	text, err := os.ReadFile(filepath.Join(vectors, "seven_service.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &seven); err != nil {
		t.Fatal(err)
	}
	n, end := recoverIn(t, dir, filepath.Join(vectors, "seven_service", "common", "service_cert_1.pem"))
	defer end()
	await(t, "the public state is open", func() bool { return n.state.Load() == statePublic })

	awaitShares(t, n, func(*kv.Tx) error { return nil })
	for _, member := range []string{"member0", "member2"} {
		id, share := seven.Share.Members[member], unhex(t, seven.Share.Shares[member])
		payload, err := json.Marshal(map[string]string{"share": base64.StdEncoding.EncodeToString(share)})
		if err != nil {
			t.Fatal(err)
		}
		err = n.transact(t.Context(), func(tx *kv.Tx) error {
			_, err := gov.SubmitShare(tx, &effects{n: n, tx: tx}, gov.Signed{Member: id, Envelope: &cose.Sign1{Payload: payload}}, id)
			return err
		})
		if err != nil {
			t.Fatalf("share of %s: %v", member, err)
		}
	}
	await(t, "the service is open again", func() bool { return n.state.Load() == statePartOfNetwork })

	last := map[[2]string]*string{}
	for _, w := range seven.Private {
		last[[2]string{w.Map, w.Key}] = w.Value
	}
	if len(last) == 0 {
		t.Fatal("no private values are known")
	}
	tx := n.Begin()
	defer tx.Discard()
	for at, want := range last {
		got, ok := tx.Get(at[0], unhex(t, at[1]))
		if ok != (want != nil) || ok && !bytes.Equal(got, unhex(t, *want)) {
			t.Errorf("%s[%s]: got %x, %v; want %v", at[0], at[1], got, ok, want)
		}
	}
	if n.ledger.First() == 1 {
		checkEarlierReceipts(t, n, seven)
	}
	return n
}

// awaitShares has a recovered service wait for its members' shares, whose signing keys are
// not at hand: what their proposal does is done directly, and also what comes with it.
func awaitShares(t *testing.T, n *Node, also func(*kv.Tx) error) {
	t.Helper()
	err := n.transact(t.Context(), func(tx *kv.Tx) error {
		s, _, err := tables.ServiceInfo.Get(tx)
		if err != nil {
			return err
		}
		s.Status = tables.ServiceWaiting
		return errors.Join(tables.ServiceInfo.Put(tx, s), also(tx))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkEarlierReceipts has the node issue the receipts that CCF issued, and verifies them.
func checkEarlierReceipts(t *testing.T, n *Node, seven sevenService) {
	t.Helper()
	service, err := n.serviceCert()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, r := range seven.Receipts {
		if r.Status != 200 {
			continue
		}
		id, err := writeset.ParseTxID(r.TxID)
		if err != nil {
			t.Fatal(err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, r.JSON); err != nil {
			t.Fatal(err)
		}
		want, err := ledger.ParseReceipt(compact.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		var got *ledger.Receipt
		await(t, "receipt of "+r.TxID, func() bool { got, err = n.Receipt(t.Context(), id); return err == nil })
		if got.LeafDigest() != want.LeafDigest() || got.Root() != want.Root() || !bytes.Equal(got.Signature, want.Signature) {
			t.Errorf("receipt of %s: another than CCF's", r.TxID)
		}
		if err := got.Verify(service); err != nil {
			t.Errorf("receipt of %s: %v", r.TxID, err)
		}
		checkChain(t, n, id)
		got.Endorsements = got.Endorsements[:len(got.Endorsements)-1]
		if err := got.Verify(service); err == nil {
			t.Errorf("receipt of %s verifies with an endorsement missing", r.TxID)
		}
		checked++
	}
	if checked < 30 {
		t.Errorf("%d receipts were checked", checked)
	}
}

// checkChain verifies a COSE receipt with the endorsements that the lives of the service
// wrote about each other: CCF two of them, and this node the last.
func checkChain(t *testing.T, n *Node, id writeset.TxID) {
	t.Helper()
	data, err := n.COSEReceipt(t.Context(), id)
	if errors.Is(err, server.ErrNoReceipt) {
		return // of a signature
	}
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := ledger.ParseCOSEReceipt(data)
	if err != nil {
		t.Fatal(err)
	}
	all, err := n.Endorsements(t.Context())
	if err != nil || len(all) != 3 || !all[0].Epoch.Open() {
		t.Fatalf("endorsements %v, %v", all, err)
	}
	chain, err := ledger.EndorsementsFor(all, id)
	if err != nil || len(chain) == 0 {
		t.Fatalf("from %v to the present identity: %v, %v", id, chain, err)
	}
	if err := receipt.VerifyWithEndorsements(n.keys.service.Public().(*ecdsa.PublicKey), chain); err != nil {
		t.Errorf("COSE receipt of %v: %v", id, err)
	}
}

// recoverIn begins a recovery of the ledger in dir. The returned function stops the node.
func recoverIn(t *testing.T, dir, previous string) (*Node, func()) {
	t.Helper()
	face := map[string]any{"bind_address": "127.0.0.1:0"}
	text, err := json.Marshal(map[string]any{
		"network": map[string]any{"node_to_node_interface": face, "rpc_interfaces": map[string]any{"main": face}},
		"command": map[string]any{
			"type": "Recover", "service_certificate_file": filepath.Join(dir, "service.pem"),
			"recover": map[string]any{"previous_service_identity_file": previous},
		},
		"ledger":       map[string]any{"directory": filepath.Join(dir, "ledger")},
		"snapshots":    map[string]any{"directory": filepath.Join(dir, "snapshots")},
		"output_files": map[string]any{"node_certificate_file": filepath.Join(dir, "node.pem")},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	n, err := open(t.Context(), cfg, Options{Log: slog.New(slog.DiscardHandler), Version: "test", FS: durable.OS(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return n, runNode(t, n)
}

// runNode runs a node. The returned function stops it.
func runNode(t *testing.T, n *Node) func() {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the node ended: %v", err)
		}
		if err := n.ledger.Close(); err != nil {
			t.Error(err)
		}
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestIdentitiesOfOlderCCF recovers services of CCF 2 to 5, whose identities state little or
// nothing about one another: every signer in their ledgers is led to the new identity.
func TestIdentitiesOfOlderCCF(t *testing.T) {
	var known struct {
		Secrets map[string]map[string]string `json:"ledger_secrets"`
	}
	text, err := os.ReadFile(filepath.Join(ccftest.Vectors(t), "secrets.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &known); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"expired_service", "eol_service", "double_sealed_service"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			from := filepath.Join(ccftest.Vectors(t), name)
			if err := os.CopyFS(filepath.Join(dir, "ledger"), os.DirFS(filepath.Join(from, "ledger"))); err != nil {
				t.Fatal(err)
			}
			n, end := recoverIn(t, dir, filepath.Join(from, "common", "service_cert.pem"))
			defer end()
			await(t, "the public state is open", func() bool { return n.state.Load() == statePublic })
			// Its members' shares are not at hand, but what they would open is.
			var secrets []tables.EncryptedSecret
			for seqno, secret := range known.Secrets[name] {
				version, err := strconv.ParseUint(seqno, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				wrapped, err := identity.WrapFor(&n.keys.encryption.PublicKey, unhex(t, secret))
				if err != nil {
					t.Fatal(err)
				}
				secrets = append(secrets, tables.EncryptedSecret{Version: &version, EncryptedSecret: wrapped})
			}
			slices.SortFunc(secrets, func(a, b tables.EncryptedSecret) int { return cmp.Compare(*a.Version, *b.Version) })
			awaitShares(t, n, func(tx *kv.Tx) error {
				return tables.EncryptedSecrets.Put(tx, map[string][]tables.EncryptedSecret{n.keys.id: secrets})
			})
			await(t, "the service is open again", func() bool { return n.state.Load() == statePartOfNetwork })
			service, err := n.serviceCert()
			if err != nil {
				t.Fatal(err)
			}
			led := 0
			for seqno := uint64(1); seqno <= n.store.Committed().TxID().Seqno; seqno++ {
				var by struct{ Cert string }
				ok, err := n.writtenAt(t.Context(), seqno, ledger.SignaturesMap, &by)
				id := n.committedAt(seqno)
				if err != nil {
					t.Fatalf("%v: %v", id, err)
				}
				if !ok || by.Cert == "" {
					continue // 1.x did not write the certificate with the signature
				}
				signer, err := identity.ParseCertificate([]byte(by.Cert))
				if err != nil {
					t.Fatalf("%v: %v", id, err)
				}
				issuer := service
				if chain, err := n.endorsedFor(t.Context(), id); err != nil {
					t.Fatalf("%v: %v", id, err)
				} else if len(chain) > 0 {
					led++
					if issuer, err = identity.ParseCertificate([]byte(chain[0])); err != nil {
						t.Fatal(err)
					}
					if err := identity.IssuedBy(issuer, service); err != nil {
						t.Errorf("%v: the present identity does not vouch: %v", id, err)
					}
				}
				if err := identity.IssuedBy(signer, issuer); err != nil {
					t.Errorf("%v: another identity than the signer's: %v", id, err)
				}
			}
			if led < 10 {
				t.Errorf("%d signatures of earlier lives", led)
			}
		})
	}
}

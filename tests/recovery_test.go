package tests

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"chancery/client"
	"chancery/ledger"
)

// TestRecovery has a service lose its node, and three members bring it back from the
// ledger files with two shares: private data is there, receipts of the earlier life
// verify under the new certificate, and it goes on; then the same again.
func TestRecovery(t *testing.T) {
	c := newConsortium(t)
	c.agree("gov add-user keys/user_cert.pem")
	c.agree("gov open service_cert.pem")
	c.deploy()
	c.agree("gov rekey")
	first := c.log(1, "before the disaster")
	c.receipt(first, "first.json")
	c.sh("bin/chancery recover share get --enc-key keys/alice_enc_privk.pem -o stale.b64" + c.flags("alice"))
	c.agree("gov rekey")
	c.log(2, "under another secret")
	// From the second life on it is a node with an application in Go, which has endpoints
	// about the service's identities.
	c.install("logging")
	c.sh("mv bin/logging bin/chanceryd")
	for life := 1; life <= 2; life++ {
		c.node.kill()
		before := c.sh("cd workspace/sandbox_0; sha256sum ledger/*.committed")
		if life == 2 { // the node ended just after the service was open, before its files had their names
			c.sh("cd workspace/sandbox_0/ledger; for f in ledger_*; do test ${f%%-*} = ledger_1 || mv $f $f.recovery; done; ls | grep recovery")
		}
		c.recover(life)
		c.sh("cd workspace/sandbox_0; sha256sum -c <<'EOF'\n" + before + "EOF")
		for id, want := range map[string]string{"1": "before the disaster", "2": "under another secret"} {
			c.says(c.asks("/app/log/private?id="+id), want)
		}
		second := c.log(10+life, "in a new life")
		c.receipt(second, "second.json")
		c.receipt(first, "again.json") // of the first life, endorsed by the present one
		c.sh("bin/chancery receipt verify again.json --service-cert service_0.pem")
		c.sh("bin/chancery receipt get " + first + " --cose -o again.cose" + c.flags("alice"))
		for i, cert := range []string{"service_0.pem", "service_cert.pem"} {
			out := c.sh("bin/chancery receipt verify again.cose --service-cert " + cert + " --tx " + first)
			if n := strings.Count(out, "ok    service identity: "); n != i*life {
				c.t.Errorf("under %s, %d identities in\n%s", cert, n, out)
			}
		}
		c.says(c.sh("bin/chancery receipt verify again.cose --service-cert keys/user_cert.pem && exit 1 || test $? = 5"), "FAIL")
		c.says(c.sh("bin/chancery receipt verify again.cose --service-cert service_cert.pem --endorsements /dev/null && exit 1 || test $? = 5"))
		c.sh("bin/chancery receipt verify first.json --service-cert service_cert.pem && exit 1 || test $? = 5")
		c.sh("bin/chancery receipt verify first.json --service-cert service_0.pem")
		c.identities(life, first, second)
		c.agree("gov rekey")
	}
	c.node.stop()
	c.resume()
	c.says(c.asks("/app/log/private?id=1"), "before the disaster")
	c.says(c.asks("/app/log/private?id=12"), "in a new life")
	c.receipt(first, "again.json")
	c.says(c.node.log(), "starting from a snapshot")
	c.node.stop()
	c.says(c.sh("bin/chancery ledger verify workspace/sandbox_0/ledger --service-cert service_cert.pem"), "the ledger is good")
	c.says(c.sh("bin/chancery gov audit workspace/sandbox_0/ledger"), "the service is Recovering", "each holds")
	c.alone()
}

// alone recovers the service from its newest snapshot, without any file of the ledger.
func (c *consortium) alone() {
	c.t.Helper()
	c.sh("mv service_cert.pem service_2.pem; cd workspace/sandbox_0 && mv ledger lost && mkdir ledger")
	c.refuses("service_2.pem", filepath.Join(c.dir, "first.json"), "is empty: chancery.recover_expect can't be checked")
	c.sh("cd workspace/sandbox_0 && mv snapshots away && mkdir snapshots")
	c.commandRecover("service_2.pem")
	c.says(c.run(), "holds no signed transaction, and ", " no valid snapshot")
	c.sh("cd workspace/sandbox_0 && rmdir snapshots && mv away snapshots")
	c.beginRecovery("service_2.pem")
	c.says(c.node.log(), "the service is recovered as of its snapshot, and what was committed behind it is lost")
	c.agree("gov open service_cert.pem --previous service_2.pem")
	c.says(c.as("alice", "recover share submit --enc-key keys/alice_enc_privk.pem"), "1/2 recovery shares")
	c.says(c.as("bob", "recover share submit --enc-key keys/bob_enc_privk.pem"), "End of recovery procedure initiated")
	until(c.t, "the service is open", func() bool { return strings.Contains(c.as("alice", "recover status"), "service Open") })
	c.says(c.asks("/app/log/private?id=1"), "before the disaster")
	last := c.log(30, "behind a snapshot")
	c.receipt(last, "last.json")
	c.node.stop()
	c.resume()
	c.says(c.asks("/app/log/private?id=1"), "before the disaster")
	c.says(c.asks("/app/log/private?id=30"), "behind a snapshot")
	c.node.stop()
}

func (c *consortium) curl(args string) string {
	return c.sh("curl -sS --cacert service_cert.pem --cert keys/user_cert.pem --key keys/user_privk.pem " + args)
}

func (c *consortium) asks(path string) string {
	return c.curl("'https://127.0.0.1:" + c.port + path + "'")
}

// log stores a record and returns its transaction, committed.
func (c *consortium) log(id int, msg string) string {
	c.t.Helper()
	body, err := json.Marshal(map[string]any{"id": id, "msg": msg})
	if err != nil {
		c.t.Fatal(err)
	}
	out := c.curl("-i -H 'prefer: wait=commit' -H 'content-type: application/json' -d '" + string(body) + "' https://127.0.0.1:" + c.port + "/app/log/private")
	m := txHeader.FindStringSubmatch(out)
	if m == nil {
		c.t.Fatalf("no transaction id in:\n%s", out)
	}
	return m[1]
}

// receipt fetches a receipt and verifies it under the present service certificate.
func (c *consortium) receipt(tx, file string) {
	c.t.Helper()
	c.sh("bin/chancery receipt get " + tx + " -o " + file + c.flags("alice") + "\nbin/chancery receipt verify " + file + " --service-cert service_cert.pem --tx " + tx)
}

// identities asks the application about the service's keys: all of them, the chain that
// leads to the first life's, and whether its receipts hold.
func (c *consortium) identities(life int, first, second string) {
	c.t.Helper()
	about := func(tx, path string) string {
		return c.curl("-H 'x-ms-ccf-transaction-id: " + tx + "' 'https://127.0.0.1:" + c.port + "/app/log/public/" + path + "'")
	}
	var jwks struct{ Keys []struct{ KID string } }
	if err := json.Unmarshal([]byte(about(first, "trusted_keys")), &jwks); err != nil || len(jwks.Keys) != life+1 {
		c.t.Errorf("life %d: trusted keys %v, %v", life, jwks, err)
	}
	var endorsed struct{ Endorsements [][]byte }
	if err := json.Unmarshal([]byte(about(first, "cose_endorsements")), &endorsed); err != nil || len(endorsed.Endorsements) != life {
		c.t.Fatalf("life %d: endorsements %v, %v", life, endorsed, err)
	}
	var chain []*ledger.IdentityEndorsement
	for _, raw := range endorsed.Endorsements {
		e, err := ledger.ParseIdentityEndorsement(raw)
		if err != nil {
			c.t.Fatal(err)
		}
		chain = append(chain, e)
	}
	c.curl("-f -o first.cose 'https://127.0.0.1:" + c.port + "/app/receipt/cose?transaction_id=" + first + "'")
	bytes, err := os.ReadFile(filepath.Join(c.dir, "first.cose"))
	if err != nil {
		c.t.Fatal(err)
	}
	receipt, err := ledger.ParseCOSEReceipt(bytes)
	if err != nil {
		c.t.Fatal(err)
	}
	present := c.certificate("service_cert.pem").PublicKey.(*ecdsa.PublicKey)
	if err := receipt.VerifyWithEndorsements(present, chain); err != nil {
		c.t.Errorf("life %d: the first life's receipt: %v", life, err)
	}
	if receipt.KeyID != jwks.Keys[0].KID {
		c.t.Errorf("life %d: the receipt names key %s, the first of the trusted is %s", life, receipt.KeyID, jwks.Keys[0].KID)
	}
	verify := "-o /dev/null -w '%{http_code}' -X GET -H 'content-type: application/cose' --data-binary @first.cose https://127.0.0.1:" + c.port + "/app/log/public/verify_cose_receipt"
	c.says(c.curl(verify), "204")
	c.says(about(second, "cose_endorsements"), "No COSE endorsements available for this transaction")
}

func (c *consortium) certificate(file string) *x509.Certificate {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, file))
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := client.ParseCertificate(text)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert
}

// recover starts a node over the ledger that is left, and takes the service to open. The
// second time, its machine fails while it waits for shares.
func (c *consortium) recover(life int) {
	c.t.Helper()
	previous := "service_" + string(rune('0'+life-1)) + ".pem"
	c.sh("mv service_cert.pem " + previous)
	if life == 1 {
		before := c.sh("cd workspace/sandbox_0; sha256sum ledger/* ledger.raft/raft.db")
		c.refuses(previous, "2.99999", "before the expected transaction 2.99999: it is an older copy; recover from a copy that holds it")
		c.refuses(previous, "3.7", " stands where 3.7 is expected: it is another history; recover from a copy that holds it")
		receipt, err := os.ReadFile(filepath.Join(c.dir, "first.json"))
		must(c.t, err)
		forged := regexp.MustCompile(`("write_set_digest": *")[0-9a-f]{8}`).ReplaceAll(receipt, []byte("${1}00000000"))
		c.write("forged.json", string(forged))
		c.refuses(previous, filepath.Join(c.dir, "forged.json"), "it is another history; recover from a copy that holds it")
		c.sh("cd workspace/sandbox_0; sha256sum -c <<'EOF'\n" + before + "EOF")
	}
	c.commandRecover(previous)
	c.configure(func(config map[string]any) {
		config["chancery"].(map[string]any)["recover_expect"] = filepath.Join(c.dir, "first.json")
	})
	c.launch()
	if life == 2 {
		c.agree("gov open service_cert.pem --previous " + previous)
		c.says(c.as("alice", "recover share submit --enc-key keys/alice_enc_privk.pem"), "1/2 recovery shares successfully submitted")
		c.node.kill()
		c.says(c.sh("cd workspace/sandbox_0; ls ledger"), ".recovery")
		c.command(map[string]any{"type": "Resume"})
		c.says(c.run(), "is of a recovery that was cut off; begin it again with command Recover")
		c.beginRecovery(previous)
	}
	page := c.page("../docs/recovery.md", previous)
	c.says(c.sh(page[0]), "service Recovering, recovered ", "node PartOfPublicNetwork", "2 recovery share(s) are needed")
	c.says(c.asks("/app/log/private?id=1"), "FrontendNotOpen")
	c.says(c.sh(page[1]), "Accepted")
	// Strangers, in numbers: each is sent away, and nothing is counted.
	flood := c.curl("-o /dev/null -w '%{http_code}\\n' -d '{}' 'https://127.0.0.1:" + c.port + "/gov/recovery/members/" + strings.Repeat("0", 64) + ":recover?api-version=2024-07-01&n=[1-200]'")
	if strings.Count(flood, "401\n") != 200 {
		c.t.Errorf("200 submissions without a signature: %s", flood)
	}
	c.says(c.as("bob", "recover status"), "service WaitingForRecoveryShares", "ends at "+strconv.Itoa(2*life)+".", "0 submitted, 2 missing", "(Participant): no share yet")
	c.sh("bin/chancery recover share submit --enc-key keys/carol_enc_privk.pem" + c.flags("alice") + " && exit 1 || true")
	if life == 1 { // a share from before a rekey: the set does not open anything, and is forgotten
		c.says(c.sh("bin/chancery recover share submit --share stale.b64"+c.flags("alice")), "1/2 recovery shares")
		c.says(c.sh("bin/chancery recover share submit --enc-key keys/bob_enc_privk.pem"+c.flags("bob")+" 2>&1 && exit 1 || true"),
			"do not open the ledger secret together; all are forgotten, submit them anew")
		c.says(c.as("bob", "recover status"), "0 submitted, 2 missing")
	}
	c.says(c.sh("rm -f share.b64\n"+page[2]), "1/2 recovery shares successfully submitted", "End of recovery procedure initiated")
	until(c.t, "the service is open", func() bool {
		if c.node.gone() {
			c.t.Fatalf("the node ended:\n%s", c.node.log())
		}
		return strings.Contains(c.as("alice", "recover status"), "service Open")
	})
	until(c.t, "the files have the names of the service's own", func() bool {
		leftovers, err := filepath.Glob(filepath.Join(c.home(), "ledger", "*.recovery"))
		return err == nil && len(leftovers) == 0
	})
}

// command changes what the node is started with. It keeps its keys in a file.
func (c *consortium) command(command map[string]any) {
	c.configure(func(config map[string]any) {
		command["service_certificate_file"] = filepath.Join(c.dir, "service_cert.pem")
		config["command"] = command
		config["chancery"] = map[string]any{"key_file": filepath.Join(c.home(), "keys.json")}
	})
}

// refuses begins a recovery that expects a transaction, and wants it refused.
func (c *consortium) refuses(previous, expect, why string) {
	c.t.Helper()
	c.commandRecover(previous)
	c.configure(func(config map[string]any) { config["chancery"].(map[string]any)["recover_expect"] = expect })
	c.says(c.run(), why)
}

// run runs a node that is to end by itself, and returns its log.
func (c *consortium) run() string {
	c.t.Helper()
	return c.sh("cd workspace/sandbox_0 && rm -f node.pid && ../../bin/chanceryd --config config.json 2>&1 && exit 1 || true")
}

func (c *consortium) beginRecovery(previous string) {
	c.t.Helper()
	c.commandRecover(previous)
	c.launch()
}

func (c *consortium) commandRecover(previous string) {
	c.command(map[string]any{"type": "Recover", "recover": map[string]any{
		"initial_service_certificate_validity_days": 90, "previous_service_identity_file": filepath.Join(c.dir, previous),
	}})
}

// resume starts the node again after an orderly end.
func (c *consortium) resume() {
	c.t.Helper()
	c.command(map[string]any{"type": "Resume"})
	c.launch()
}

// launch starts the node, and returns when it answers.
func (c *consortium) launch() {
	c.t.Helper()
	c.node = c.start()
	until(c.t, "the node answers", func() bool {
		if c.node.gone() {
			c.t.Fatalf("the node ended:\n%s", c.node.log())
		}
		return strings.Contains(c.sh("bin/chancery recover status"+c.flags("alice")+" 2>&1 || true"), "node PartOf")
	})
}

// page are the commands of a page of the documentation, for this consortium's files.
func (c *consortium) page(path, previous string) []string {
	c.t.Helper()
	blocks := shellBlocks(c.t, path, 4)
	for i, text := range blocks {
		text = strings.NewReplacer("chancery ", "bin/chancery ", "127.0.0.1:8000", "127.0.0.1:"+c.port, "previous_cert.pem", previous,
			"--member ", "--member keys/", "--ledger ledger", "--ledger workspace/sandbox_0/ledger", " alice_", " keys/alice_", " bob_", " keys/bob_").Replace(text)
		blocks[i] = "set -e\n" + text
	}
	return blocks
}

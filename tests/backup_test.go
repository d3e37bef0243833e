package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/internal/durable"
	"chancery/ledger"
)

// TestBackup backs up a service that goes on, with the commands of docs/backup.md, and
// recovers it as it was at a point in time, beside the one that runs.
func TestBackup(t *testing.T) {
	blocks := shellBlocks(t, "../docs/backup.md", 3)
	s := newSandbox(t)
	s.up()
	c := s.client()
	defer c.Close()
	point := s.fill(c, 5, "as it was")
	resp, err := c.Do(t.Context(), put(0, "before"))
	must(t, err)
	point[0] = "before"
	says(t, s.sh(blocks[0]), "backup ", "files copied", "the ledger is backed up through", "the backup is good")
	s.fill(c, 8, "as it became")
	out := s.sh(blocks[0])
	says(t, out, "backup ", "files copied", "of 2:")
	says(t, s.sh("bin/chancery backup create elsewhere --ledger workspace/sandbox_0/ledger --snapshots workspace/sandbox_0/snapshots -o json"), `"new": true`)
	s.sh("diff -r backups/ledger elsewhere/ledger; for f in backups/ledger/*; do cmp $f workspace/sandbox_0/ledger/${f##*/}; done")
	before := s.sh("sha256sum $(find backups -type f) workspace/sandbox_0/ledger/*.committed")

	// The transaction is of a record; the signature behind it is the point.
	tx := signatureFrom(t, filepath.Join(s.home(), "ledger"), resp.TxID.Seqno)
	says(t, s.sh("TX="+tx.String()+"\n"+blocks[1]), "through "+tx.String()+", signed at ", "Recover it there")
	r := &restored{sandbox: s, dir: filepath.Join(s.dir, "restored"), port: freePort(t)}
	s.sh("sed -i s/127.0.0.1:8100/127.0.0.1:" + r.port + "/ restored/config.json")
	r.recover(blocks[2])
	r.holds(point)
	must(t, r.cmd.Process.Kill())
	s.sh("sha256sum -c <<'EOF'\n" + before + "EOF")
	s.holds(c, map[int]string{1: "as it became", 8: "as it became"})
}

// says wants texts in what was printed.
func says(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("no %q in\n%s", text, out)
		}
	}
}

// signatureFrom is the first signature at a seqno or behind it.
func signatureFrom(t *testing.T, dir string, seqno uint64) ledger.TxID {
	t.Helper()
	for e, err := range ledger.ReadEntries(durable.OS(), dir, seqno) {
		must(t, err)
		if ledger.IsSignature(e.Public) {
			return e.ID
		}
	}
	t.Fatalf("no signature behind %d", seqno)
	return ledger.TxID{}
}

// restored is a service that is recovered from a backup of a sandbox, by its members.
type restored struct {
	*sandbox
	dir, port string
	cmd       *exec.Cmd
}

// recover starts the node by a command, and takes the service to open with the member's share.
func (r *restored) recover(command string) {
	r.t.Helper()
	log := &output{}
	// Without the parentheses it is this process that becomes the node.
	r.cmd = exec.Command("bash", "-c", strings.Trim(command, "()\n"))
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr, r.cmd.WaitDelay = r.sandbox.dir, log, log, time.Second
	must(r.t, r.cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- r.cmd.Wait() }()
	r.t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-ended
		if r.t.Failed() {
			r.t.Logf("the recovering node's log:\n%s", log.text())
		}
	})
	cli := func(args, more string) string {
		const common = "workspace/sandbox_common/"
		return r.sh("bin/chancery " + args + " --url https://127.0.0.1:" + r.port + " --service-cert restored/service_cert.pem --cert " + common + "member0_cert.pem --key " + common + "member0_privk.pem 2>&1" + more)
	}
	until(r.t, "the public state is there", func() bool {
		_, err := os.Stat(filepath.Join(r.dir, "service_cert.pem"))
		return err == nil || r.cmd.ProcessState != nil
	})
	until(r.t, "the node answers", func() bool { return strings.Contains(cli("recover status", " || true"), "PartOfPublicNetwork") })
	cli("gov open restored/service_cert.pem --previous restored/previous_service_cert.pem", "")
	cli("recover share submit --enc-key workspace/sandbox_common/member0_enc_privk.pem", "")
	until(r.t, "the service is open", func() bool { return strings.Contains(cli("recover status", ""), "service Open") })
}

// holds wants the records that were there at the point, and none that came later.
func (r *restored) holds(want map[int]string) {
	r.t.Helper()
	for id := range 9 {
		out := r.sh(fmt.Sprintf("curl -sS --cacert restored/service_cert.pem --cert workspace/sandbox_common/user0_cert.pem --key workspace/sandbox_common/user0_privk.pem 'https://127.0.0.1:%s/app/log/private?id=%d'", r.port, id))
		if msg, ok := want[id]; ok && !strings.Contains(out, msg) || !ok && !strings.Contains(out, "No such record") {
			r.t.Errorf("record %d: %s, want %q", id, out, msg)
		}
	}
}

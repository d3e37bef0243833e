package tests

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"chancery/internal/durable"
	"chancery/ledger"
)

// TestBackup backs up a service that goes on, with the commands of docs/backup.md, and
// recovers it as it was at a point in time, beside the one that runs.
func TestBackup(t *testing.T) {
	blocks := shellBlocks(t, "../docs/backup.md", 7)
	s := newSandbox(t)
	s.up()
	c := s.client()
	defer c.Close()
	point := s.fill(c, 5, "as it was")
	resp, err := c.Do(t.Context(), put(0, "before"))
	must(t, err)
	point[0] = "before"
	says(t, s.sh(blocks[0]), "backup ", "files copied", "the ledger is backed up through", "the backup is good", "no drill has shown")
	s.fill(c, 8, "as it became")
	says(t, s.sh(blocks[0]), "backup ", "files copied", "of 2:")
	s.sh("! grep -rq 'as it ' backups # which is private")
	says(t, s.sh("bin/chancery receipt get "+resp.TxID.String()+" -o receipt.json && bin/chancery backup verify backups --expect receipt.json"), "the backup is good")
	says(t, s.sh("bin/chancery backup verify backups --expect 9.9 2>&1 || test $? = 5"), "stands where 9.9 is expected")
	says(t, s.sh("bin/chancery backup create elsewhere --ledger workspace/sandbox_0/ledger --snapshots workspace/sandbox_0/snapshots -o json"), `"new": true`)
	s.sh("diff -r backups/ledger elsewhere/ledger; for f in backups/ledger/*; do cmp $f workspace/sandbox_0/ledger/${f##*/}; done")
	before := s.sh("sha256sum $(find backups -type f) workspace/sandbox_0/ledger/*.committed")

	// The transaction is of a record; the signature behind it is the point.
	tx := signatureFrom(t, filepath.Join(s.home(), "ledger"), resp.TxID.Seqno)
	setup := "TX=" + tx.String() + "\n"
	says(t, s.sh(setup+blocks[1]), "through "+tx.String()+", signed at ", "Recover it there")
	says(t, s.sh("bin/chancery backup restore elsewhere configured --config workspace/sandbox_0/config.json --address 127.0.0.1:8100 && cd configured && ../bin/chancery config check config.json"), "config.json is valid")
	port := freePort(t)
	s.sh("sed -i s/127.0.0.1:8100/127.0.0.1:" + port + "/ restored/config.json")
	r := &restored{sandbox: s, port: port, cert: "restored/service_cert.pem"}
	r.start(blocks[2])
	r.recover("restored/previous_service_cert.pem")
	r.holds(point)
	r.end()
	r = &restored{sandbox: s, port: port, cert: "beside/service/node/service_cert.pem"}
	r.start("exec " + strings.ReplaceAll(strings.ReplaceAll(blocks[3], "$TX", tx.String()), "8100", port))
	r.opens()
	r.holds(point)
	r.end()

	out := s.sh(blocks[4])
	says(t, out, "ok    the public state is there", "every private write through", "the drill is good", "was restored and recovered")
	if n := strings.Count(out, "the drill is good"); n != 2 {
		t.Errorf("%d drills are good, want 2:\n%s", n, out)
	}
	s.sh("sha256sum -c <<'EOF'\n" + before + "EOF")
	s.holds(c, map[int]string{1: "as it became", 8: "as it became"})
	if out := s.sh(blocks[6]); strings.Contains(out, "drill") || !strings.Contains(out, "backed up    ") {
		t.Errorf("status of a store in which all is well:\n%s", out)
	}
	says(t, s.sh("bin/chancery status --backups backups --backup-age 1ns --drill-age 1ns"), "the newest backup is ", "the last drill is ")
	says(t, s.sh("bin/chancery status --backups elsewhere"), "no drill has shown that a backup in elsewhere")
	says(t, s.sh("bin/chancery status --backups nowhere"), "there is no backup in nowhere")
	s.refusedDrills()
	says(t, s.sh("bin/chancery status --backups backups -o json"), "the last drill, at ")
	s.objectStore()

	s.sh(strings.ReplaceAll(blocks[5], "127.0.0.1:9465", "127.0.0.1:"+freePort(t)))
	until(t, "the schedule that came while the service runs is kept", func() bool {
		return strings.Contains(s.sh("bin/chancery backup schedule"), "last good drill ")
	})
	if out := s.sh("bin/chancery status"); strings.Contains(out, "drill") || strings.Contains(out, "failed") || !strings.Contains(out, "backed up    ") {
		t.Errorf("status, when all is well:\n%s", out)
	}
}

// objectStore does with a bucket of an S3 server in this process what was done with a directory.
func (s *sandbox) objectStore() {
	s.t.Helper()
	backend := s3mem.New()
	must(s.t, backend.CreateBucket("bucket"))
	server := httptest.NewServer(gofakes3.New(backend).Server())
	defer server.Close()
	const secret = "a-secret-key"
	out := s.sh("mkdir temporary; export TMPDIR=$PWD/temporary AWS_ACCESS_KEY_ID=an-id AWS_SECRET_ACCESS_KEY=" + secret + " AWS_ENDPOINT_URL=" + server.URL + `
bin/chancery backup create s3://bucket/ledger --snapshot --keep 2
bin/chancery backup verify s3://bucket/ledger --service-cert workspace/sandbox_common/service_cert.pem
bin/chancery backup drill s3://bucket/ledger
bin/chancery backup list s3://bucket/ledger
bin/chancery backup restore s3://bucket/ledger fetched
bin/chancery ledger verify fetched/ledger --service-cert workspace/sandbox_common/service_cert.pem
AWS_ENDPOINT_URL=http://127.0.0.1:1 bin/chancery backup create s3://bucket/ledger --s3-timeout 1s 2>&1 && exit 1 || test $? = 1`)
	says(s.t, out, "the backup is good", "the drill is good", "was restored and recovered", "fetched holds the ledger", "the ledger is good", "connection refused")
	if strings.Contains(out, secret) {
		s.t.Errorf("the secret key is shown:\n%s", out)
	}
}

// refusedDrills holds drills that can't go well, and sees that they say so.
func (s *sandbox) refusedDrills() {
	s.t.Helper()
	left := s.sh("ls ${TMPDIR:-/tmp}")
	s.sh("bin/chancery key gen stranger --enc --dir keys && cp -r backups damaged && rm damaged/ledger/$(ls damaged/ledger | head -1)")
	for args, c := range map[string]struct {
		code int
		text string
	}{
		"damaged":                        {1, "no such file"},
		"backups --member keys/stranger": {1, "do not open the service"},
		"backups --service-cert workspace/sandbox_common/user0_cert.pem": {5, "of another service"},
		"backups --to 9.9999":       {5, "reaches"},
		"nowhere":                   {1, "holds no backup"},
		"backups --node /bin/false": {1, "the node ended"},
		"backups --within 1ms":      {1, "longer than --within"},
	} {
		out := s.sh(fmt.Sprintf("code=0; bin/chancery backup drill %s 2>&1 || code=$?; echo exit code $code", args))
		says(s.t, out, fmt.Sprint("exit code ", c.code), c.text)
	}
	says(s.t, s.sh("bin/chancery backup list backups"), "note: the last drill, ", "failed")
	for line := range strings.Lines(s.sh("ls ${TMPDIR:-/tmp}")) {
		if strings.HasPrefix(line, "chancery-drill-") && !strings.Contains(left, line) {
			s.t.Errorf("a drill left %s", line)
		}
	}
}

// TestBackupSchedule has a service of three nodes under load back itself up and hold drills
// by a schedule, and restores it as it was at a time, beside the one that runs. Then the
// store fails, and status and figures say so until it is mended.
func TestBackupSchedule(t *testing.T) {
	s := newSandbox(t)
	s.up("--nodes", "3")
	c := s.anyNode()
	figures := "127.0.0.1:" + freePort(t)
	const schedule = "bin/chancery backup schedule backups --interval 2s --drills 3s --keep 3 --member workspace/sandbox_common/member0 --metrics "
	s.sh(schedule + figures)
	says(t, s.sh("bin/chancery status"), "no drill has shown yet")
	point := map[int]string{}
	for id := range 5 {
		point[id] = "as it was"
		_, err := c.Do(t.Context(), put(id, point[id]))
		must(t, err)
	}
	at := time.Now().Add(time.Second).UTC().Truncate(time.Second) // signatures say it to the second
	until(t, "the time has passed", func() bool { return time.Now().After(at.Add(time.Second)) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	defer load.Wait()
	defer cancel()
	load.Go(func() {
		for id := 0; ctx.Err() == nil; id = (id + 1) % 9 {
			if _, err := c.Do(ctx, put(id, "as it became")); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	good := func(what string) bool {
		f, _ := scrape(t, figures)
		age, ok := f.sum("chancery_ledger_backup_age_seconds", "what="+what)
		well, _ := f.sum("chancery_ledger_backup_good", "what="+what)
		runs, _ := f.sum("chancery_ledger_backup_runs_total", "what="+what, "outcome=good")
		return ok && age < 60 && well == 1 && runs >= 2
	}
	until(t, "two backups and two drills went well", func() bool { return good("backup") && good("drill") })
	f, _ := scrape(t, figures)
	if f.value(t, "chancery_ledger_backup_drill_private") != 1 || f.value(t, "chancery_ledger_backup_through_seqno") < 10 || f.value(t, "chancery_ledger_backup_bytes") < 1000 {
		t.Errorf("figures: %v", f)
	}
	says(t, s.sh("bin/chancery backup verify backups --service-cert workspace/sandbox_common/service_cert.pem"), "the backup is good")

	r := &restored{sandbox: s, port: freePort(t), cert: "then/service/node/service_cert.pem"}
	r.start("exec bin/chancery backup restore backups then --to " + at.Format(time.RFC3339) + " --start --member workspace/sandbox_common/member0 --address 127.0.0.1:" + r.port)
	r.opens()
	r.holds(point)
	r.end()

	// The store fails: backups is a file.
	// One that runs now makes the directory again: until nothing does, the file is not there.
	s.sh("mv backups aside; until rm -rf backups && touch backups && test -f backups; do :; done")
	until(t, "the backup that failed is noted", func() bool {
		return strings.Contains(s.sh("bin/chancery status"), "note         the last backup failed")
	})
	f, _ = scrape(t, figures)
	if f.value(t, "chancery_ledger_backup_good", "what=backup") != 0 {
		t.Error("the figures do not show that the backup failed")
	}
	s.sh("until rm -rf backups && mv -T aside backups; do :; done")
	until(t, "backups go on", func() bool { return !strings.Contains(s.sh("bin/chancery status"), "the last backup failed") })
	s.sh("bin/chancery backup schedule --off")
	says(t, s.sh("bin/chancery backup schedule"), "no backups are scheduled")
	cancel()
	load.Wait()
	s.interrupt()
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
	port, cert string
	cmd        *exec.Cmd
	log        *output
	ended      chan struct{}
}

// start runs a command that becomes the node, or runs it.
func (r *restored) start(command string) {
	r.t.Helper()
	r.log, r.ended = &output{}, make(chan struct{})
	// Without the parentheses it is this process that becomes the node.
	r.cmd = exec.Command("bash", "-c", strings.Trim(command, "()\n"))
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr, r.cmd.WaitDelay = r.sandbox.dir, r.log, r.log, time.Second
	must(r.t, r.cmd.Start())
	go func() {
		_ = r.cmd.Wait()
		close(r.ended)
	}()
	r.t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.ended
		if r.t.Failed() {
			r.t.Logf("%s:\n%s", command, r.log.text())
		}
	})
}

func (r *restored) end() {
	r.t.Helper()
	must(r.t, r.cmd.Process.Signal(os.Interrupt))
	<-r.ended
}

// cli runs a command as the member.
func (r *restored) cli(args, more string) string {
	r.t.Helper()
	const common = "workspace/sandbox_common/"
	return r.sh("bin/chancery " + args + " --url https://127.0.0.1:" + r.port + " --service-cert " + r.cert + " --cert " + common + "member0_cert.pem --key " + common + "member0_privk.pem 2>&1" + more)
}

// recover takes the service to open with the member's share.
func (r *restored) recover(previous string) {
	r.t.Helper()
	r.until("the public state is there", func() bool {
		return exists(filepath.Join(r.sandbox.dir, r.cert)) && strings.Contains(r.cli("recover status", " || true"), "PartOfPublicNetwork")
	})
	r.cli("gov open "+r.cert+" --previous "+previous, "")
	r.cli("recover share submit --enc-key workspace/sandbox_common/member0_enc_privk.pem", "")
	r.opens()
}

func (r *restored) opens() {
	r.t.Helper()
	r.until("the service is open", func() bool {
		return exists(filepath.Join(r.sandbox.dir, r.cert)) && strings.Contains(r.cli("recover status", " || true"), "service Open")
	})
}

// until waits for a condition, or for the node to end.
func (r *restored) until(what string, holds func() bool) {
	r.t.Helper()
	until(r.t, what, func() bool {
		select {
		case <-r.ended:
			r.t.Fatalf("it ended before %s", what)
		default:
		}
		return holds()
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// holds wants the records that were there at the point, and none that came later.
func (r *restored) holds(want map[int]string) {
	r.t.Helper()
	for id := range 9 {
		out := r.sh(fmt.Sprintf("curl -sS --cacert %s --cert workspace/sandbox_common/user0_cert.pem --key workspace/sandbox_common/user0_privk.pem 'https://127.0.0.1:%s/app/log/private?id=%d'", r.cert, r.port, id))
		if msg, ok := want[id]; ok && !strings.Contains(out, msg) || !ok && !strings.Contains(out, "No such record") {
			r.t.Errorf("record %d: %s, want %q", id, out, msg)
		}
	}
}

package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKillRecovery kills a recovery at random moments behind each of its steps, and has the
// same command end it: the service is open with everything in it, or recovered anew (rows 9
// and 10 of the fault matrix).
func TestKillRecovery(t *testing.T) {
	c := newConsortium(t)
	c.agree("gov add-user keys/user_cert.pem")
	c.agree("gov open service_cert.pem")
	c.deploy()
	c.log(1, "before the disaster")
	c.agree("gov rekey")
	c.log(2, "under another secret")
	c.node.kill()
	c.sh("mv service_cert.pem previous_cert.pem")
	resumed := 0
	steps := []string{"reads its public state", "alice proposes", "Accepted", "the share of alice", "the share of bob", "Ctrl-C stops it"}
	for round := range max(len(steps), kills(t)/4) {
		workspace := fmt.Sprint("recovery_", round)
		run := []string{"recover", "run", "--ledger", "workspace/sandbox_0/ledger", "--snapshots", "workspace/sandbox_0/snapshots", "--previous-service-cert", "previous_cert.pem", "--member", "keys/alice", "--member", "keys/bob", "--workspace", workspace}
		c.serveUntil(steps[round%len(steps)], run...)
		<-time.After(time.Duration(rand.IntN(100)) * time.Millisecond) // the random moment
		pid, err := os.ReadFile(filepath.Join(c.dir, workspace, "node", "node.pid"))
		if err == nil {
			id, err := strconv.Atoi(strings.TrimSpace(string(pid)))
			must(t, err)
			must(t, syscall.Kill(id, syscall.SIGKILL))
			c.awaitEnd(id)
		}
		_ = c.cmd.Process.Kill() // it may have ended with its node
		c.awaitEnd(c.cmd.Process.Pid)
		c.serve(run...)
		if strings.Contains(c.out.text(), "its node is resumed") {
			resumed++
		}
		c.sh("cp " + workspace + "/node/service_cert.pem .")
		c.says(c.asks("/app/log/private?id=1"), "before the disaster")
		c.says(c.asks("/app/log/private?id=2"), "under another secret")
		c.log(3, "afterwards")
		c.interrupt()
		c.sh("bin/chancery ledger verify " + workspace + "/node/ledger --service-cert service_cert.pem")
	}
	t.Logf("%d recoveries were resumed, the others began again", resumed)
}

// TestRecoverRun has one command recover a service: stopped while it waits for another
// member, then with the keys that it needs, then resumed. The files that it was given stay.
func TestRecoverRun(t *testing.T) {
	c := newConsortium(t)
	c.agree("gov add-user keys/user_cert.pem")
	c.agree("gov open service_cert.pem")
	c.deploy()
	first := c.log(1, "before the disaster")
	c.agree("gov rekey")
	c.log(2, "under another secret")
	c.node.kill()
	c.sh("mv service_cert.pem service_0.pem; rm workspace/sandbox_0/node.pid")
	before := c.sh("cd workspace/sandbox_0; sha256sum ledger/* ledger.raft/*")
	command := strings.Fields(c.page("../docs/recovery.md", "service_0.pem")[3])
	run := command[3:] // set -e bin/chancery
	if run[0] != "recover" || run[1] != "run" {
		t.Fatalf("the page's last command is %q", command)
	}

	if out := c.sh("bin/chancery recover run --ledger workspace/sandbox_0/ledger --previous-service-cert keys/user_cert.pem --workspace wrong --port " + c.port + " 2>&1 && exit 1 || test $? = 1"); !strings.Contains(out, "does not verify") {
		t.Errorf("with another certificate: %s", out)
	}
	c.serveUntil("waiting for the votes of other members", run[:len(run)-2]...)
	c.says(c.out.text(), "alice votes yes")
	c.interrupt()
	c.serve(run...)
	c.says(c.out.text(), "the earlier service's ledger ends at 2.", "bob votes yes", "End of recovery procedure initiated")
	read := func() {
		t.Helper()
		c.sh("cp recovery/node/service_cert.pem .")
		c.says(c.asks("/app/log/private?id=1"), "before the disaster")
		c.says(c.asks("/app/log/private?id=2"), "under another secret")
	}
	read()
	c.log(3, "afterwards")
	c.receipt(first, "again.json")
	c.interrupt()
	c.serve(run...)
	c.says(c.out.text(), "the service was recovered before; its node is resumed")
	read()
	c.says(c.asks("/app/log/private?id=3"), "afterwards")
	c.interrupt()
	c.sh("cd workspace/sandbox_0; sha256sum -c <<'EOF'\n" + before + "EOF")
	must(t, os.Rename(c.dir+"/app", c.dir+"/elsewhere"))
	c.says(c.sh("bin/chancery recover run --ledger elsewhere --previous-service-cert service_0.pem 2>&1 && exit 1 || true"), "is of the recovery of")
}

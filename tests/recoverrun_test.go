package tests

import (
	"os"
	"strings"
	"testing"
)

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
	c.says(c.out.text(), "the earlier service's ledger ends at seqno", "bob votes yes", "End of recovery procedure initiated")
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

package tests

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/gov/tables"
	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/kv/writeset"
)

// TestDisaster kills all three nodes at once while clients write, loses the disks of the
// primary and of one backup, and recovers from the other backup's files: everything that
// was acknowledged as committed is there. Then the recovered service loses its node as well.
func TestDisaster(t *testing.T) {
	w := newNetwork(t, 3)
	w.threeMembers()
	h := &history{committed: map[int]writeset.TxID{}, executed: map[int]writeset.TxID{}}
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		c := w.client()
		var writers sync.WaitGroup
		for i := range 8 {
			writers.Go(func() { h.write(ctx, c, i%4 != 0) })
		}
		h.await(t, len(h.snapshot().committed)+200)
		<-time.After(time.Duration(rand.IntN(100)) * time.Millisecond) // the random moment
		lead := w.primary()
		left := lead
		for _, n := range w.nodes {
			must(t, n.cmd.Process.Kill())
			if n != lead {
				left = n
			}
		}
		for _, n := range w.nodes {
			<-n.ended
		}
		cancel()
		writers.Wait()
		c.Close()
		for _, n := range w.nodes {
			if n != left {
				must(t, os.RemoveAll(n.dir))
			}
		}
		w.nodes = nil
		w.recover(left, "member1", "member2")
		h.check(w)
		h.checkReceipts(w)
	}
}

// TestJoinRecovery has nodes join a service that is being recovered, one before it waits
// for shares and one meanwhile. In one run the node that began the recovery dies then, and
// another one takes the shares; in the other a backup sleeps until the service is open, has
// new secrets and is written to. All that is left comes to have everything.
func TestJoinRecovery(t *testing.T) {
	t.Run("the first dies", func(t *testing.T) { testJoinRecovery(t, false) })
	t.Run("one sleeps", func(t *testing.T) { testJoinRecovery(t, true) })
}

func testJoinRecovery(t *testing.T, sleeps bool) {
	w := newNetwork(t, 1)
	h := &history{committed: map[int]writeset.TxID{}, executed: map[int]writeset.TxID{}}
	load := func(n int) {
		ctx, cancel := context.WithCancel(t.Context())
		c := w.client()
		defer c.Close()
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() { h.write(ctx, c, true) })
		}
		h.await(t, len(h.snapshot().committed)+n)
		cancel()
		writers.Wait()
	}
	rekey := func() {
		c := w.client()
		defer c.Close()
		w.propose(w.asMember(c), action{"trigger_ledger_rekey", nil})
	}
	load(100)
	rekey()
	load(100)
	dead := w.nodes[0]
	dead.ends(os.Kill)
	w.nodes = nil

	first := w.beginRecovery(dead)
	early := w.place() // with a copy of the lost service's files
	must(t, os.CopyFS(filepath.Join(early.dir, "ledger"), os.DirFS(filepath.Join(dead.dir, "ledger"))))
	w.launch(early, w.config(early, "127.0.0.1:"+first.ports[rpc]))
	w.until("a node takes part in the recovery", func() error { return early.says("/node/state", `"PartOfPublicNetwork"`) })
	w.hasVote(early)
	w.cli(first, "gov", "open", "service_cert.pem", "--previous", "previous_cert.pem")
	late := w.start("127.0.0.1:" + early.ports[rpc])
	w.admit(late)
	w.until("another one does", func() error { return late.says("/node/state", `"PartOfPublicNetwork"`) })
	w.hasVote(late)
	leftovers, err := filepath.Glob(filepath.Join(late.dir, "ledger", "*.recovery"))
	must(t, err)
	if len(leftovers) == 0 {
		t.Error("the files of a node that joined look like those of an open service")
	}
	if code, body, err := late.get(own, "/app/log/private?id=1"); code != http.StatusNotFound || !bytes.Contains(body, []byte("FrontendNotOpen")) {
		t.Errorf("before the shares are there: %d %s %v", code, body, err)
	}
	if sleeps {
		must(t, late.cmd.Process.Signal(syscall.SIGSTOP))
		w.nodes = []*netNode{first, early}
	} else {
		first.ends(os.Kill)
		w.nodes = []*netNode{early, late}
	}
	w.cli(w.primary(), "recover", "share", "submit", "--enc-key", "member0_enc_privk.pem")
	for _, n := range w.nodes {
		w.recovered(n)
	}
	h.check(w)
	rekey()
	load(50)
	if sleeps {
		must(t, late.cmd.Process.Signal(syscall.SIGCONT))
		w.nodes = []*netNode{first, early, late}
		w.recovered(late)
	}
	w.agree(w.nodes...)
	w.join()
	h.check(w)
	for _, n := range w.nodes {
		n.ends(os.Interrupt)
		out, err := exec.Command(binary(t, "chancery"), "ledger", "verify", filepath.Join(n.dir, "ledger"), "--service-cert", filepath.Join(w.dir, "service_cert.pem")).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", n.name, err, out)
		}
	}
}

// checkReceipts verifies, under the present certificate, a receipt of either form of each
// record, whichever life of the service it is of.
func (h *history) checkReceipts(w *network) {
	w.t.Helper()
	c := w.client()
	defer c.Close()
	for _, tx := range h.snapshot().committed {
		if _, err := c.Receipt(w.t.Context(), tx); err != nil {
			w.t.Fatal(err)
		}
		if _, _, err := c.COSEReceipt(w.t.Context(), tx); err != nil {
			w.t.Fatal(err)
		}
	}
}

// threeMembers gives the service two members beside member0; two of their shares recover it.
func (w *network) threeMembers() {
	w.t.Helper()
	c := w.client()
	defer c.Close()
	curve, err := identity.CurveByName("secp384r1")
	must(w.t, err)
	for _, name := range []string{"member1", "member2"} {
		m, err := identity.NewParticipant(name, curve, time.Now(), 90, true)
		must(w.t, err)
		must(w.t, m.Save(durable.OS(), w.dir, name))
		pub, err := os.ReadFile(filepath.Join(w.dir, name+"_enc_pubk.pem"))
		must(w.t, err)
		w.propose(w.asMember(c), action{"set_member", map[string]any{"cert": string(m.Cert), "encryption_pub_key": string(pub)}})
		w.cliAs(name, w.primary(), "gov", "activate")
	}
	w.propose(w.asMember(c), action{"set_recovery_threshold", map[string]any{"recovery_threshold": 2}})
}

// recover starts a node over another one's files, and takes the service to open with the
// shares of some members.
func (w *network) recover(dead *netNode, members ...string) {
	w.t.Helper()
	n := w.beginRecovery(dead)
	w.cli(n, "gov", "open", "service_cert.pem", "--previous", "previous_cert.pem")
	for _, name := range members {
		w.cliAs(name, n, "recover", "share", "submit", "--enc-key", name+"_enc_privk.pem")
	}
	w.recovered(n)
}

// beginRecovery starts a node over another one's files, and returns when it knows the
// public state.
func (w *network) beginRecovery(dead *netNode) *netNode {
	w.t.Helper()
	must(w.t, os.Rename(filepath.Join(w.dir, "service_cert.pem"), filepath.Join(w.dir, "previous_cert.pem")))
	n := w.startRecovery(dead, "../service_cert.pem")
	w.until("the public state is there", func() error { return n.says("/node/state", `"PartOfPublicNetwork"`) })
	w.until("the service has a certificate", func() (err error) {
		w.service, err = readCert(filepath.Join(w.dir, "service_cert.pem"))
		return err
	})
	return n
}

// startRecovery starts a node over another one's files, which puts the certificate of the
// service's next life into a file.
func (w *network) startRecovery(dead *netNode, cert string) *netNode {
	w.t.Helper()
	must(w.t, os.Remove(filepath.Join(dead.dir, "node.pid")))
	must(w.t, os.Remove(filepath.Join(dead.dir, "node.pem")))
	n := &netNode{net: w, name: dead.name, dir: dead.dir, ports: dead.ports, ended: make(chan struct{})}
	config := w.config(n, "")
	config["command"] = map[string]any{
		"type": "Recover", "service_certificate_file": cert,
		"recover": map[string]any{"previous_service_identity_file": "../previous_cert.pem"},
	}
	w.launch(n, config)
	return n
}

// cli runs a command of chancery as member0 at a node; it must succeed.
func (w *network) cli(n *netNode, args ...string) string {
	w.t.Helper()
	return w.cliAs("member0", n, args...)
}

func (w *network) cliAs(member string, n *netNode, args ...string) string {
	w.t.Helper()
	out, err := w.tryCLI(member, n, args...)
	if err != nil {
		w.t.Fatalf("chancery %s: %v\n%s", strings.Join(args[:2], " "), err, out)
	}
	return out
}

func (w *network) tryCLI(member string, n *netNode, args ...string) (string, error) {
	w.t.Helper()
	args = append(args, "--url", "https://127.0.0.1:"+n.ports[rpc], "--service-cert", "service_cert.pem", "--cert", member+"_cert.pem", "--key", member+"_privk.pem")
	cmd := exec.Command(binary(w.t, "chancery"), args...)
	cmd.Dir = w.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// recovered waits until a service that is recovered is open, and the node has everything.
func (w *network) recovered(n *netNode) {
	w.t.Helper()
	w.until("the service is open", func() error { return n.says("/node/network", `"`+string(tables.ServiceOpen)+`"`) })
	w.until("the node has everything", func() error { return n.says("/node/state", `"PartOfNetwork"`) })
}

// says asks for a page that is to hold text.
func (n *netNode) says(path, text string) error {
	_, body, err := n.get(own, path)
	if err == nil && !bytes.Contains(body, []byte(text)) {
		err = fmt.Errorf("%s: %s", path, body)
	}
	return err
}

// ends sends a signal to a node's process, and waits for its end.
func (n *netNode) ends(signal os.Signal) {
	n.net.t.Helper()
	must(n.net.t, n.cmd.Process.Signal(signal))
	<-n.ended
}

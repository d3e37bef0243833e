package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/kv/writeset"
)

// sandbox is a service run by `chancery up` in a temporary directory.
type sandbox struct {
	t    *testing.T
	dir  string // what the README calls "here"
	port string
	cmd  *exec.Cmd
	out  *output
}

// output collects what a process prints and tells when a text has come.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer // guarded by mu
	want string
	seen chan struct{}
}

// text is what has been printed.
func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	if o.want != "" && strings.Contains(o.buf.String(), o.want) {
		close(o.seen)
		o.want = ""
	}
	return len(p), nil
}

// newSandbox lays out bin/ as `make build` does.
func newSandbox(t *testing.T) *sandbox {
	t.Helper()
	s := &sandbox{t: t, dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(s.dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.install("chancery", "chanceryd")
	s.port = freePort(t)
	return s
}

// install puts programs into bin/.
func (s *sandbox) install(names ...string) {
	s.t.Helper()
	for _, name := range names {
		if err := os.Link(binary(s.t, name), filepath.Join(s.dir, "bin", name)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// given are the ports that freePort has given to this process.
var given sync.Map

// freePort returns a port that nothing listens on and that it never gave before, below
// those that the system gives to outgoing connections: the port must be free again and again.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(20000 + rand.IntN(12000))
		ln, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		if _, before := given.LoadOrStore(port, nil); !before {
			return port
		}
	}
	t.Fatal("no free port")
	return ""
}

// up starts the service and waits until it is open.
func (s *sandbox) up(args ...string) {
	s.t.Helper()
	s.serve(append([]string{"up"}, args...)...)
}

// serve runs a command that runs the service, and waits until it is open.
func (s *sandbox) serve(args ...string) {
	s.t.Helper()
	s.serveUntil("Ctrl-C stops it", args...)
}

// serveUntil runs a command that runs the service, and waits for a text.
func (s *sandbox) serveUntil(want string, args ...string) {
	s.t.Helper()
	s.out = &output{want: want, seen: make(chan struct{})}
	seen := s.out.seen
	s.cmd = exec.Command(filepath.Join(s.dir, "bin", "chancery"), append(slices.Clip(args), "--port", s.port)...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, s.out, s.out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	ended := make(chan error, 1)
	go func(c *exec.Cmd) { ended <- c.Wait() }(s.cmd)
	select {
	case <-seen:
	case err := <-ended:
		s.t.Fatalf("it ended: %v\n%s", err, s.out.text())
	case <-time.After(2 * time.Minute):
		s.t.Fatalf("no %q in\n%s", want, s.out.text())
	}
	s.t.Cleanup(func() { s.killNode() })
}

// interrupt is Ctrl-C.
func (s *sandbox) interrupt() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	s.awaitEnd(s.cmd.Process.Pid)
}

// kill ends both processes at once.
func (s *sandbox) kill() {
	s.t.Helper()
	node := s.nodePID()
	if node <= 0 {
		s.t.Fatal("the node has no PID file")
	}
	_ = s.cmd.Process.Kill()
	_ = syscall.Kill(node, syscall.SIGKILL)
	s.awaitEnd(s.cmd.Process.Pid)
	s.awaitEnd(node)
	s.awaitPort()
}

// awaitPort waits until the port is free: a process that was killed may be a zombie
// already while its last threads still hold its files.
func (s *sandbox) awaitPort() {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for {
		ln, err := net.Listen("tcp", "127.0.0.1:"+s.port)
		if err == nil {
			if err := ln.Close(); err != nil {
				s.t.Fatal(err)
			}
			return
		}
		select {
		case <-tick.C:
		case <-late:
			s.t.Fatal(err)
		}
	}
}

// nodePID reads the node's PID file.
func (s *sandbox) nodePID() int {
	text, err := os.ReadFile(filepath.Join(s.dir, "workspace", "sandbox_0", "node.pid"))
	if err != nil {
		return 0
	}
	var pid int
	_, _ = fmt.Sscan(string(text), &pid)
	return pid
}

func (s *sandbox) killNode() {
	if pid := s.nodePID(); pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func (s *sandbox) awaitEnd(pid int) {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for running(pid) {
		select {
		case <-tick.C:
		case <-late:
			s.t.Fatalf("process %d does not end", pid)
		}
	}
}

// running says whether a process is there and no zombie.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// sh runs a script of the README, with its port replaced by the sandbox's.
func (s *sandbox) sh(script string) string {
	s.t.Helper()
	return s.shWithin(time.Minute, script)
}

// shWithin is sh with another bound.
func (s *sandbox) shWithin(bound time.Duration, script string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(script, ":8000", ":"+s.port))
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

// readme returns the README's shell blocks.
func readme(t *testing.T) []string { return shellBlocks(t, "../README.md", 2) }

// shellBlocks returns the blocks of a page that are for a shell.
func shellBlocks(t *testing.T, page string, want int) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) != want {
		t.Fatalf("%s has %d shell blocks, want %d", page, len(blocks), want)
	}
	return blocks
}

var txHeader = regexp.MustCompile(`(?i)x-ms-ccf-transaction-id: (\d+\.\d+)`)

// TestREADME runs the README's commands, stops the service, kills it, and resumes it
// each time: data, certificate and receipts stay what they were.
func TestREADME(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("SKIPPED: the README's commands need curl")
	}
	blocks := readme(t)
	s := newSandbox(t)
	s.up()
	out := s.sh(blocks[0])
	if !strings.Contains(out, `{"msg":"hello"}`) {
		t.Errorf("the record does not come back:\n%s", out)
	}
	m := txHeader.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no transaction id in:\n%s", out)
	}
	setup := "TX=" + m[1] + "\n" + strings.Join(strings.Split(blocks[0], "\n")[:2], "\n") + "\n"
	out = s.sh(setup + blocks[1])
	for _, want := range []string{"the receipt is good", "service Open", "private tables, encrypted", "service      Open, created at 2.1", "a node runs here, process"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	s.status(m[1])
	s.attestation()
	certificate := s.sh("cat workspace/sandbox_common/service_cert.pem")
	for name, end := range map[string]func(){"Ctrl-C": s.interrupt, "kill -9": s.kill} {
		end()
		s.up()
		if got := s.sh("cat workspace/sandbox_common/service_cert.pem"); got != certificate {
			t.Errorf("after %s: another service certificate", name)
		}
		if out := s.sh(setup + "$CURL 'https://127.0.0.1:8000/app/log/private?id=1'"); !strings.Contains(out, "hello") {
			t.Errorf("after %s: the record is gone: %s", name, out)
		}
		s.sh(setup + "bin/chancery receipt verify receipt.json --service-cert $W/service_cert.pem\nbin/chancery receipt get $TX -o again.json\nbin/chancery receipt verify again.json --service-cert $W/service_cert.pem")
	}
	t.Run("every byte of a receipt counts", func(t *testing.T) { s.mutateReceipt(t) })
}

// status reads where the service stands as a script does; tx is committed.
func (s *sandbox) status(tx string) {
	s.t.Helper()
	var got struct {
		URL  string `json:"url"`
		Node struct {
			ID, State, Status string
			Primary           bool
			Expires           time.Time `json:"certificate_expires"`
		}
		Service struct {
			Status  string
			Expires time.Time `json:"certificate_expires"`
		}
		Nodes            []struct{ ID, Address string }
		View             uint64
		Commit, Platform string
		Version          struct{ Chancery, CCF string }
	}
	out := s.sh("bin/chancery status -o json")
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	committed, err := writeset.ParseTxID(got.Commit)
	if err != nil {
		s.t.Fatal(err)
	}
	wrote, err := writeset.ParseTxID(tx)
	if err != nil {
		s.t.Fatal(err)
	}
	soon := time.Now().AddDate(0, 0, 80)
	if got.URL != "https://127.0.0.1:"+s.port || len(got.Node.ID) != 64 || got.Node.State != "PartOfNetwork" || got.Node.Status != "Trusted" ||
		!got.Node.Primary || got.Service.Status != "Open" || got.View != committed.View || committed.Seqno < wrote.Seqno ||
		len(got.Nodes) != 1 || got.Nodes[0].ID != got.Node.ID || got.Nodes[0].Address != "127.0.0.1:"+s.port ||
		got.Platform != "Insecure_Virtual" || got.Version.Chancery == "" || got.Version.CCF != "ccf-7.0.2" ||
		got.Node.Expires.Before(soon) || got.Service.Expires.Before(soon) {
		s.t.Errorf("after %s: %s", tx, out)
	}
}

// attestation runs the commands of docs/attestation.md, and asks for what the node does
// not attest to.
func (s *sandbox) attestation() {
	s.t.Helper()
	out := s.sh(shellBlocks(s.t, "../docs/attestation.md", 1)[0])
	for _, want := range []string{
		`"platform":"virtual"`, "format          Insecure_Virtual", "ok    key: the evidence is about the key of this connection",
		"ok    host data: ", "ok    key: the evidence is about the key that the file names", "proves nothing: the platform is virtual", "service      Open",
		"ok    statement: about your nonce", "ok    key: the evidence is about the key that signed the statement",
	} {
		if !strings.Contains(out, want) {
			s.t.Errorf("docs/attestation.md: no %q in:\n%s", want, out)
		}
	}
	out = s.sh(`sed 's/"hostData":\["[0-9a-f]*"\]/"hostData":["'$(printf '00%.0s' {1..32})'"]/' policy.json > other.json
for c in "attest verify --policy other.json" "status --attest other.json"; do
	code=0; bin/chancery $c || code=$?; echo "exit code $code"
done`)
	if n := strings.Count(out, "exit code 5"); n != 2 || !strings.Contains(out, "FAIL  host data") || !strings.Contains(out, "the node is not attested") {
		s.t.Errorf("against another policy:\n%s", out)
	}
}

// mutateReceipt replaces each byte of the receipt and has the program refuse it.
func (s *sandbox) mutateReceipt(t *testing.T) {
	path := filepath.Join(s.dir, "receipt.json")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(good) {
		t.Fatalf("no JSON: %s", good)
	}
	step := 1
	if testing.Short() || raceEnabled {
		step = 37
	}
	for i := 0; i < len(good); i += step {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if err := os.WriteFile(filepath.Join(s.dir, "bad.json"), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("bin/chancery", "receipt", "verify", "bad.json", "--service-cert", "workspace/sandbox_common/service_cert.pem")
		cmd.Dir = s.dir
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 5 {
			t.Errorf("byte %d (%q for %q): %v\n%s", i, bad[i], good[i], err, out)
		}
	}
}

package tests

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/attest/snp/snptest"
	"chancery/client"
	"chancery/gov/constitution"
	"chancery/internal/appbuild"
	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/kv/writeset"
	"chancery/samples"
	"chancery/server/api"
)

// network is a service of several chanceryd processes on the loopback.
type network struct {
	t       *testing.T
	dir     string
	edits   []func(map[string]any)
	service *x509.Certificate
	member  *identity.Participant
	user    *identity.Participant
	mu      sync.Mutex // guards nodes where clients run meanwhile: the slice is replaced, never changed
	nodes   []*netNode
	all     []*netNode // the dead ones too
	program string     // "" is chanceryd
	// machine, where not nil, says on which fake processor a node runs.
	machine func(n *netNode) *snptest.Machine
}

// netNode is one node of a network.
type netNode struct {
	net   *network
	name  string
	dir   string
	id    string
	ports map[string]string // by interface
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // of the process; valid after ended
}

// rpc is the interface for clients; own shows the node's own certificate, so that it
// answers from the start; away redirects instead of forwarding.
const rpc, own, away, n2n = "primary_rpc_interface", "own", "away", "node_to_node_interface"

// newNetwork starts a service of n nodes with the logging sample, their configurations
// edited.
func newNetwork(t *testing.T, n int, edits ...func(config map[string]any)) *network {
	t.Helper()
	return (&network{t: t, dir: t.TempDir(), edits: edits}).begin(n)
}

// begin starts the service.
func (w *network) begin(n int) *network {
	t := w.t
	t.Helper()
	curve, err := identity.CurveByName("secp384r1")
	must(t, err)
	w.member, err = identity.NewParticipant("member0", curve, time.Now(), 90, true)
	must(t, err)
	must(t, w.member.Save(durable.OS(), w.dir, "member0"))
	w.user, err = identity.NewParticipant("user0", curve, time.Now(), 90, false)
	must(t, err)
	must(t, w.user.Save(durable.OS(), w.dir, "user0"))
	source, err := constitution.Source("sandbox+virtual")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(w.dir, "constitution.js"), []byte(source), 0o644))
	first := w.start("")
	w.open(first)
	for range n - 1 {
		w.join()
	}
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// config is what a node is started with.
func (w *network) config(n *netNode, target string) map[string]any {
	face := func(name string, more map[string]any) map[string]any {
		out := map[string]any{"bind_address": "127.0.0.1:" + n.ports[name]}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	byRole := func(role string) map[string]any {
		return map[string]any{"kind": "NodeByRole", "target": map[string]any{"role": role}}
	}
	command := map[string]any{"type": "Start", "service_certificate_file": "../service_cert.pem", "start": map[string]any{
		"members":               []any{map[string]any{"certificate_file": "../member0_cert.pem", "encryption_public_key_file": "../member0_enc_pubk.pem"}},
		"constitution_files":    []string{"../constitution.js"},
		"service_configuration": map[string]any{"recovery_threshold": 1},
		"initial_service_certificate_validity_days": 90,
	}}
	if target != "" {
		command = map[string]any{"type": "Join", "service_certificate_file": "../service_cert.pem", "join": map[string]any{
			"target_rpc_address": target, "retry_timeout": "100ms",
		}}
	}
	return map[string]any{
		"network": map[string]any{
			n2n: face(n2n, nil),
			"rpc_interfaces": map[string]any{
				rpc:  face(rpc, nil),
				own:  face(own, map[string]any{"endorsement": map[string]any{"authority": "Node"}, "enabled_operator_features": []string{"LedgerChunkRead"}}),
				away: face(away, map[string]any{"redirections": map[string]any{"to_primary": byRole("primary"), "to_backup": byRole("backup")}}),
			},
		},
		"node_certificate":  map[string]any{"subject_alt_names": []string{"iPAddress:127.0.0.1"}, "initial_validity_days": 90},
		"command":           command,
		"ledger":            map[string]any{"directory": "ledger", "chunk_size": "20KB"},
		"ledger_signatures": map[string]any{"tx_count": 5000, "delay": "100ms"},
		"consensus":         map[string]any{"election_timeout": "1s"},
		"chancery":          map[string]any{"key_file": "keys.json"},
		"output_files":      map[string]any{"node_certificate_file": "node.pem", "pid_file": "node.pid"},
	}
}

// start starts a process: of a new service, or one that asks target to let it in.
func (w *network) start(target string) *netNode {
	w.t.Helper()
	n := w.place()
	w.launch(n, w.config(n, target))
	return n
}

// place makes a node's directory and chooses its ports.
func (w *network) place() *netNode {
	w.t.Helper()
	n := &netNode{net: w, name: fmt.Sprint("n", len(w.all)), ports: map[string]string{}, ended: make(chan struct{})}
	w.all = append(w.all, n)
	n.dir = filepath.Join(w.dir, n.name)
	must(w.t, os.Mkdir(n.dir, 0o700))
	for _, name := range []string{rpc, own, away, n2n} {
		n.ports[name] = freePort(w.t)
	}
	return n
}

// launch starts a node's process, and returns when it has its certificate.
func (w *network) launch(n *netNode, config map[string]any) {
	w.t.Helper()
	for _, edit := range w.edits {
		edit(config)
	}
	n.cmd = w.command(n, config)
	out, err := os.Create(filepath.Join(n.dir, "out"))
	must(w.t, err)
	n.cmd.Stdout, n.cmd.Stderr = out, out
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(w.t, n.cmd.Start())
	must(w.t, out.Close())
	go func() {
		n.err = n.cmd.Wait()
		close(n.ended)
	}()
	w.t.Cleanup(func() {
		_ = n.cmd.Process.Kill()
		<-n.ended
		if w.t.Failed() {
			log, _ := os.ReadFile(filepath.Join(n.dir, "out"))
			w.t.Logf("%s:\n%s", n.name, log)
		}
	})
	w.add(n)
	w.until(n.name+" has its certificate", func() error {
		cert, err := readCert(filepath.Join(n.dir, "node.pem"))
		if err != nil {
			if n.gone() {
				w.t.Fatalf("%s ended: %v", n.name, n.err)
			}
			return err
		}
		n.id, err = identity.KeyID(cert.PublicKey)
		return err
	})
}

// command writes a node's configuration, and is what runs it.
func (w *network) command(n *netNode, config map[string]any) *exec.Cmd {
	w.t.Helper()
	program, env := cmp.Or(w.program, "chanceryd"), []string{}
	if w.machine != nil {
		program, env = onFakeSNP, []string{"CHANCERY_FAKE_SNP=machine.json"}
		onMachine(w.t, n.dir, w.machine(n), config)
	}
	text, err := json.MarshalIndent(config, "", " ")
	must(w.t, err)
	must(w.t, os.WriteFile(filepath.Join(n.dir, "config.json"), text, 0o644))
	cmd := exec.Command(binary(w.t, program), "--config", "config.json")
	cmd.Dir, cmd.Env = n.dir, env
	return cmd
}

// add puts a node into the list of those that are there.
func (w *network) add(n *netNode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = append(slices.Clone(w.nodes), n)
}

// shuffled returns the nodes that are there, in random order.
func (w *network) shuffled(chance *rand.Rand) []*netNode {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := slices.Clone(w.nodes)
	chance.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func readCert(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return identity.ParseCertificate(text)
}

// until waits for a step to succeed.
func (w *network) until(what string, step func() error) {
	w.t.Helper()
	retry(w.t, what, 60*time.Second, 20*time.Millisecond, step)
}

// open opens the service at its first node.
func (w *network) open(n *netNode) {
	w.t.Helper()
	w.until("the service has a certificate", func() (err error) {
		w.service, err = readCert(filepath.Join(w.dir, "service_cert.pem"))
		return err
	})
	c := w.client(n)
	defer c.Close()
	var status string
	w.until("the node answers", func() error {
		info, err := c.ServiceInfo(w.t.Context())
		if err == nil {
			status = info.Status
		}
		return err
	})
	if status != "Opening" {
		w.t.Fatalf("a new service is %s", status)
	}
	bundle, err := appbuild.BuildFS(samples.Logging())
	must(w.t, err)
	m := w.asMember(c)
	must(w.t, m.Activate(w.t.Context()))
	w.propose(m,
		action{"set_user", map[string]any{"cert": string(w.user.Cert)}},
		action{"set_js_app", map[string]any{"bundle": bundle}},
		action{"transition_service_to_open", map[string]any{"next_service_identity": string(identity.CertificatePEM(w.service.Raw))}})
	w.until("the node is ready", func() error {
		_, err := c.Do(w.t.Context(), client.Request{Path: "/node/ready/app"})
		return err
	})
}

type action struct {
	Name string `json:"name"`
	Args any    `json:"args"`
}

func (w *network) asMember(c *client.Client) *client.Member {
	w.t.Helper()
	cert, err := identity.ParseCertificate(w.member.Cert)
	must(w.t, err)
	m, err := c.Member(cert, w.member.Key)
	must(w.t, err)
	return m
}

// propose makes a proposal that must be accepted.
func (w *network) propose(m *client.Member, actions ...action) {
	w.t.Helper()
	text, err := json.Marshal(map[string]any{"actions": actions})
	must(w.t, err)
	p, err := m.Propose(w.t.Context(), text)
	must(w.t, err)
	if p.State != "Accepted" {
		w.t.Fatalf("the proposal %s is %s", text, p.State)
	}
}

// client connects as user0 to some nodes, or to all.
func (w *network) client(nodes ...*netNode) *client.Client {
	w.t.Helper()
	if len(nodes) == 0 {
		nodes = w.nodes
	}
	var urls []string
	for _, n := range nodes {
		urls = append(urls, "https://127.0.0.1:"+n.ports[rpc])
	}
	key, err := identity.TLSCertificate(w.user.Cert, w.user.Key)
	must(w.t, err)
	c, err := client.New(client.Config{URLs: urls, Service: w.service, Certificate: key, AnswerTimeout: 5 * time.Second})
	must(w.t, err)
	return c
}

// join starts a node and has it trusted.
func (w *network) join() *netNode {
	w.t.Helper()
	lead := w.primary()
	n := w.start("127.0.0.1:" + lead.ports[rpc])
	w.trust(n)
	return n
}

// trust waits for a node's request, trusts it, and waits until it takes part.
func (w *network) trust(n *netNode) {
	w.t.Helper()
	w.admit(n)
	w.until(n.name+" takes part", func() error {
		code, _, err := n.get(own, "/node/ready/app")
		if err == nil && code != http.StatusNoContent {
			err = fmt.Errorf("not ready: %d", code)
		}
		return err
	})
	w.hasVote(n)
}

// admit waits for a node's request, and trusts it.
func (w *network) admit(n *netNode) {
	w.t.Helper()
	w.until(n.name+" has asked", func() error {
		s, err := w.primary().nodeStatus(n.id)
		if err == nil && s != "Pending" {
			err = fmt.Errorf("it is %s", s)
		}
		return err
	})
	c := w.client(w.primary())
	defer c.Close()
	w.propose(w.asMember(c), action{"transition_node_to_trusted", map[string]any{"node_id": n.id, "valid_from": time.Now().UTC().Format("060102150405Z")}})
}

// hasVote waits until all nodes know that one has its vote.
func (w *network) hasVote(n *netNode) {
	w.t.Helper()
	goal, err := writeset.ParseTxID(w.primary().committed())
	must(w.t, err)
	w.until(n.name+" has its vote", func() error {
		if at, err := writeset.ParseTxID(n.committed()); err != nil || at.Seqno < goal.Seqno {
			return fmt.Errorf("it is at %v, not at %v: %w", at, goal, err)
		}
		for _, other := range w.nodes {
			if other.gone() {
				continue
			}
			var c struct {
				Details struct{ Learners map[string]uint64 }
			}
			if err := other.getJSON("/node/consensus", &c); err != nil {
				return err
			}
			if _, yet := c.Details.Learners[n.id]; yet {
				return fmt.Errorf("%s takes it for a learner", other.name)
			}
		}
		return nil
	})
}

// log is what a node's process has printed.
func (n *netNode) log() string {
	n.net.t.Helper()
	out, err := os.ReadFile(filepath.Join(n.dir, "out"))
	must(n.net.t, err)
	return string(out)
}

// gone says whether a node's process has ended.
func (n *netNode) gone() bool {
	select {
	case <-n.ended:
		return true
	default:
		return false
	}
}

// primary returns the node that says that it leads.
func (w *network) primary() *netNode {
	w.t.Helper()
	var found *netNode
	w.until("somebody leads", func() error {
		for _, n := range w.nodes {
			if code, _, err := n.get(own, "/node/primary"); err == nil && code == http.StatusOK {
				found = n
				return nil
			}
		}
		return errors.New("nobody does")
	})
	return found
}

// get asks a node by one of its interfaces, whatever its certificate.
func (n *netNode) get(iface, path string) (int, []byte, error) {
	return n.do(iface, http.MethodGet, path, "")
}

func (n *netNode) do(iface, method, path, body string) (int, []byte, error) {
	key, err := identity.TLSCertificate(n.net.user.Cert, n.net.user.Key)
	if err != nil {
		return 0, nil, err
	}
	return n.doAs(key, iface, method, path, body)
}

// doAs asks with a certificate.
func (n *netNode) doAs(key *tls.Certificate, iface, method, path, body string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(n.net.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "https://127.0.0.1:"+n.ports[iface]+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	tr := &http.Transport{
		DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*key}},
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusTemporaryRedirect {
		return resp.StatusCode, []byte(resp.Header.Get("location")), nil
	}
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, data, err
}

func (n *netNode) getJSON(path string, to any) error {
	code, data, err := n.get(own, path)
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return fmt.Errorf("%s: %d %s", path, code, data)
	}
	return json.Unmarshal(data, to)
}

// nodeStatus is what a node's tables say of a node.
func (n *netNode) nodeStatus(id string) (string, error) {
	var row api.Node
	err := n.getJSON("/node/network/nodes/"+id, &row)
	return row.Status, err
}

// committed is the last committed position that a node knows.
func (n *netNode) committed() string {
	var c api.Commit
	if err := n.getJSON("/node/commit", &c); err != nil {
		return err.Error()
	}
	return c.TransactionID
}

// agree waits until nodes have committed the same and hold the same ledger files. A
// snapshot's evidence may come between two looks.
func (w *network) agree(nodes ...*netNode) {
	w.t.Helper()
	w.until("the nodes agree", func() error {
		first := nodes[0].committed()
		want := ledgerFiles(w.t, nodes[0])
		for _, n := range nodes[1:] {
			if c := n.committed(); c != first {
				return fmt.Errorf("%s has committed %s, %s %s", nodes[0].name, first, n.name, c)
			}
			got := ledgerFiles(w.t, n)
			for name, data := range want {
				if got[name] != data {
					return fmt.Errorf("%s of %s is not that of %s", name, n.name, nodes[0].name)
				}
			}
			if len(got) != len(want) {
				return fmt.Errorf("%s has %d committed chunks, %s has %d", n.name, len(got), nodes[0].name, len(want))
			}
		}
		return nil
	})
}

func ledgerFiles(t *testing.T, n *netNode) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(n.dir, "ledger", "*.committed"))
	must(t, err)
	all := map[string]string{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		must(t, err)
		all[filepath.Base(name)] = string(data)
	}
	return all
}

// put writes a record by a node.
func (n *netNode) put(id int, msg string) (int, []byte, error) {
	return n.do(rpc, http.MethodPost, "/app/log/private", fmt.Sprintf(`{"id": %d, "msg": %q}`, id, msg))
}

// TestNetwork takes three nodes through joining, reading and writing by each of them,
// and the retirement of a backup and of the primary.
func TestNetwork(t *testing.T) {
	w := newNetwork(t, 3)
	n0, n1, n2 := w.nodes[0], w.nodes[1], w.nodes[2]
	for i, n := range w.nodes { // a write by any node is the primary's
		code, body, err := n.put(i, "by "+n.name)
		if err != nil || code != http.StatusOK {
			t.Fatalf("a write by %s: %d %s %v", n.name, code, body, err)
		}
	}
	w.agree(n0, n1, n2)
	for _, n := range w.nodes { // and can be read everywhere
		for i, by := range w.nodes {
			code, body, err := n.get(rpc, fmt.Sprint("/app/log/private?id=", i))
			if want := fmt.Sprintf(`{"msg":"by %s"}`, by.name); err != nil || code != http.StatusOK || string(body) != want {
				t.Errorf("record %d at %s: %d %s %v, want %s", i, n.name, code, body, err, want)
			}
		}
	}
	code, place, err := n1.do(away, http.MethodPost, "/app/log/private", `{"id": 9, "msg": "x"}`)
	if want := "https://127.0.0.1:" + n0.ports[away] + "/app/log/private"; err != nil || code != http.StatusTemporaryRedirect || string(place) != want {
		t.Errorf("a write by an interface that redirects: %d %s %v, want 307 %s", code, place, err, want)
	}

	c := w.client(n1) // governance by a backup
	defer c.Close()
	w.propose(w.asMember(c), action{"remove_node", map[string]any{"node_id": n2.id}})
	w.retired(n2, n0)
	n3, n4 := w.join(), w.join()
	w.agree(n0, n1, n3, n4)

	must(t, n4.cmd.Process.Signal(syscall.SIGSTOP)) // it is out of reach when it is retired
	w.propose(w.asMember(c), action{"remove_node", map[string]any{"node_id": n4.id}})
	w.removable(n4, n0)
	must(t, n4.cmd.Process.Signal(syscall.SIGCONT))
	w.ends(n4)

	w.propose(w.asMember(c), action{"remove_node", map[string]any{"node_id": n0.id}})
	w.until("another node leads", func() error {
		if lead := w.primary(); lead == n0 {
			return errors.New("the retired one still does")
		}
		return nil
	})
	w.retired(n0, n1)
	if code, body, err := n3.put(100, "after"); err != nil || code != http.StatusOK {
		t.Errorf("a write after the retirements: %d %s %v", code, body, err)
	}
	w.agree(n1, n3)
}

// retired waits until a node's retirement is complete, forgets it, and expects its
// process to end by itself, cleanly.
func (w *network) retired(n, by *netNode) {
	w.t.Helper()
	w.removable(n, by)
	if code, body, err := by.do(own, http.MethodDelete, "/node/network/nodes/"+n.id, ""); err != nil || code != http.StatusOK {
		w.t.Errorf("deleting %s: %d %s %v", n.name, code, body, err)
	}
	w.ends(n)
}

// removable waits until a node's retirement is complete.
func (w *network) removable(n, by *netNode) {
	w.t.Helper()
	w.until(n.name+" can be removed", func() error {
		var list api.Nodes
		if err := by.getJSON("/node/network/removable_nodes", &list); err != nil {
			return err
		}
		if !slices.ContainsFunc(list.Nodes, func(row api.Node) bool { return row.NodeID == n.id }) {
			return errors.New("it is not listed")
		}
		return nil
	})
}

// ends waits until a node's process has ended, cleanly.
func (w *network) ends(n *netNode) {
	w.t.Helper()
	select {
	case <-n.ended:
		if n.err != nil {
			w.t.Errorf("the retired node %s ends with %v", n.name, n.err)
		}
	case <-time.After(30 * time.Second):
		w.t.Errorf("the retired node %s does not stop", n.name)
	}
}

// TestMessageLimit gives the connections of one node new keys after every few messages,
// while it forwards and is replicated to, and those of the other one's as well: every write
// is answered, and both agree.
func TestMessageLimit(t *testing.T) {
	for _, limited := range []string{"n0", "n1"} {
		t.Run(limited, func(t *testing.T) {
			t.Parallel()
			w := newNetwork(t, 2, func(config map[string]any) {
				if (config["command"].(map[string]any)["type"] == "Start") == (limited == "n0") {
					config["node_to_node_message_limit"] = 30
				}
			})
			var writers sync.WaitGroup
			for id := range 5 {
				writers.Go(func() {
					for i := range 60 {
						if code, body, err := w.nodes[1].put(id, fmt.Sprint(i)); err != nil || code != http.StatusOK {
							t.Errorf("write %d of writer %d: %d %s %v", i, id, code, body, err)
							return
						}
					}
				})
			}
			writers.Wait()
			w.agree(w.nodes...)
		})
	}
}

// TestResumeRefused kills a node and starts it again with Resume while another one of the
// service runs: it would be a second primary, and does not start.
func TestResumeRefused(t *testing.T) {
	w := newNetwork(t, 2)
	n := w.nodes[0]
	must(t, n.cmd.Process.Kill())
	<-n.ended
	must(t, os.Remove(filepath.Join(n.dir, "node.pid")))
	config := w.config(n, "")
	config["command"].(map[string]any)["type"] = "Resume"
	text, err := json.Marshal(config)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(n.dir, "config.json"), text, 0o644))
	cmd := exec.Command(binary(t, "chanceryd"), "--config", "config.json")
	cmd.Dir = n.dir
	out, err := cmd.CombinedOutput()
	if want := "node " + w.nodes[1].id + " of the service still runs"; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v, want a log that says %q:\n%s", err, want, out)
	}
}

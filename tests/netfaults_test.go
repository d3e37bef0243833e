package tests

import (
	"context"
	"crypto/sha256"
	bits "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"chancery/client"
	"chancery/internal/durable"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/server"
)

// faultRun is a service of three nodes, each behind a proxy, with a clock and a disk of
// its own, under clients, while faults chosen by a seed come and go.
type faultRun struct {
	*linear
	w      *network
	m      *mesh
	seed   uint64
	chance *rand.Rand
	steps  []string
	views  map[uint64]string // who led which view
	copies int
}

// fault is one kind of trouble: begin begins it, and returns what ends it.
type fault struct {
	name  string
	begin func(r *faultRun, at *netNode) (end func())
}

var faults = []fault{
	{"cut off", func(r *faultRun, at *netNode) func() {
		r.each(at, link{cut: true}, link{cut: true})
		return r.healed
	}},
	{"heard by nobody", func(r *faultRun, at *netNode) func() {
		r.each(at, link{cut: true}, link{})
		return r.healed
	}},
	{"deaf", func(r *faultRun, at *netNode) func() {
		r.each(at, link{}, link{cut: true})
		return r.healed
	}},
	{"one link down", func(r *faultRun, at *netNode) func() {
		other := r.other(at)
		r.m.set(at, other, link{cut: true})
		r.m.set(other, at, link{cut: true})
		return r.healed
	}},
	{"far away", func(r *faultRun, at *netNode) func() {
		l := link{delay: time.Duration(5+r.chance.IntN(150)) * time.Millisecond}
		r.each(at, l, l)
		return r.healed
	}},
	{"frozen", func(r *faultRun, at *netNode) func() {
		must(r.w.t, at.cmd.Process.Signal(syscall.SIGSTOP))
		return func() { must(r.w.t, at.cmd.Process.Signal(syscall.SIGCONT)) }
	}},
	{"killed, its disk wiped", func(r *faultRun, at *netNode) func() {
		r.kill(at)
		return func() { r.replace(at, "") }
	}},
	{"killed, its disk rolled back", func(r *faultRun, at *netNode) func() {
		r.copies++
		old := filepath.Join(r.w.dir, fmt.Sprint("copy", r.copies))
		r.w.until("a copy of the ledger", func() error { // files get other names meanwhile
			return errors.Join(os.RemoveAll(old), os.CopyFS(old, os.DirFS(filepath.Join(at.dir, "ledger"))))
		})
		before, _ := r.count()
		r.moreThan(before+50, "work behind the copy")
		r.kill(at)
		return func() { r.replace(at, old) }
	}},
	{"clock an hour ahead", jump(time.Hour)},
	{"clock an hour behind", jump(-time.Hour)},
	{"clock ten years ahead", jump(10 * 365 * 24 * time.Hour)},
	{"clock ten years behind", jump(-10 * 365 * 24 * time.Hour)},
	{"slow disk", func(r *faultRun, at *netNode) func() {
		at.misbehave(r.w.t, 0, 5+r.chance.IntN(50))
		return func() { at.misbehave(r.w.t, 0, 0) }
	}},
}

// jump moves a node's clock. Its own certificates and those of others may not be valid
// for it meanwhile; elections don't ask it.
func jump(by time.Duration) func(*faultRun, *netNode) func() {
	return func(r *faultRun, at *netNode) func() {
		at.misbehave(r.w.t, by, 0)
		return func() { at.misbehave(r.w.t, 0, 0) }
	}
}

// misbehave sets a faultnode's clock and disk.
func (n *netNode) misbehave(t *testing.T, clock time.Duration, diskMS int) {
	t.Helper()
	text := fmt.Sprintf(`{"clock_ms": %d, "disk_ms": %d}`, clock.Milliseconds(), diskMS)
	must(t, durable.WriteFileAtomic(durable.OS(), filepath.Join(n.dir, "faults.json"), []byte(text), 0o644))
}

// each sets the ways of a node to and from all others.
func (r *faultRun) each(at *netNode, out, in link) {
	for _, other := range r.w.nodes {
		if other != at {
			r.m.set(at, other, out)
			r.m.set(other, at, in)
		}
	}
}

// healed opens all ways: what was held up arrives late, or never.
func (r *faultRun) healed() { r.m.heal(r.chance.IntN(2) == 0) }

func (r *faultRun) other(than *netNode) *netNode {
	for {
		if n := r.w.nodes[r.chance.IntN(len(r.w.nodes))]; n != than {
			return n
		}
	}
}

func (r *faultRun) kill(n *netNode) {
	r.w.forget(n)
	must(r.w.t, n.cmd.Process.Kill())
	<-n.ended
}

// replace retires a dead node, and has a fresh one join, over the ledger files in a copy.
func (r *faultRun) replace(dead *netNode, files string) {
	w := r.w
	w.until(dead.name+" is retired", func() error {
		s, err := w.primary().nodeStatus(dead.id)
		if err != nil || s == "Retired" {
			return err
		}
		c := w.client(w.nodes...)
		defer c.Close()
		text, err := json.Marshal(map[string]any{"actions": []action{{"remove_node", map[string]any{"node_id": dead.id}}}})
		if err != nil {
			return err
		}
		_, err = w.asMember(c).Propose(w.t.Context(), text)
		return errors.Join(err, errors.New("it is proposed"))
	})
	n := w.place()
	if files != "" {
		tool(w.t, "cp", "-a", files, filepath.Join(n.dir, "ledger"))
	}
	lead := w.primary()
	w.launch(n, w.config(n, "127.0.0.1:"+lead.ports[rpc]))
	w.trust(n)
}

// moreThan waits until the clients have done so many operations.
func (r *faultRun) moreThan(operations int, what string) {
	r.w.t.Helper()
	r.w.until(what, func() error {
		if n, _ := r.count(); n <= operations {
			return fmt.Errorf("%d operations, want more than %d", n, operations)
		}
		return nil
	})
}

// leaders notes who leads, and in which view: there is one in each.
func (r *faultRun) leaders() {
	r.w.t.Helper()
	for _, n := range r.w.shuffled(rand.New(rand.NewPCG(1, 1))) {
		var c struct{ Details server.Consensus }
		if err := n.getJSON("/node/consensus", &c); err != nil || c.Details.LeadershipState != "Leader" {
			continue
		}
		if other, led := r.views[c.Details.CurrentView]; led && other != n.id {
			r.w.t.Errorf("view %d is led by %s and by %s", c.Details.CurrentView, other, n.id)
		}
		r.views[c.Details.CurrentView] = n.id
	}
}

// step has one fault come and go.
func (r *faultRun) step() {
	f := faults[r.chance.IntN(len(faults))]
	at := r.w.nodes[r.chance.IntN(len(r.w.nodes))]
	if r.chance.IntN(2) == 0 {
		at = r.w.primary()
	}
	lasts := time.Duration(200+r.chance.IntN(2500)) * time.Millisecond
	said := fmt.Sprintf("%v: %s %s for %v", time.Since(r.began).Round(time.Millisecond), at.name, f.name, lasts)
	r.steps = append(r.steps, said)
	end := f.begin(r, at)
	<-time.After(lasts)
	if f.name != "frozen" { // it would not answer
		r.leaders()
	}
	end()
	operations, _ := r.count()
	r.moreThan(operations+20, "the service goes on after: "+said)
	r.leaders()
}

// keep leaves everything about a failed run where it can be looked at.
func (r *faultRun) keep() {
	t := r.w.t
	dir := filepath.Join(os.TempDir(), fmt.Sprint("chancery-faults-", r.seed))
	if d := os.Getenv("CHANCERY_FAULTS"); d != "" {
		dir = filepath.Join(d, fmt.Sprint("faults-", r.seed))
	}
	for _, n := range r.w.all {
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
	replay := fmt.Sprintf("CHANCERY_SEED=%d CHANCERY_KILLS=%s go test -count=1 -v -run 'TestLinearizable$' ./tests", r.seed, os.Getenv("CHANCERY_KILLS"))
	r.mu.Lock()
	history, err := json.MarshalIndent(r.described(), "", " ")
	r.mu.Unlock()
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(r.w.dir))
	}
	if err == nil {
		err = errors.Join(
			os.WriteFile(filepath.Join(dir, "history.json"), history, 0o644),
			os.WriteFile(filepath.Join(dir, "README"), []byte(replay+"\n"+strings.Join(r.steps, "\n")+"\n"), 0o644))
	}
	if err != nil {
		t.Logf("keeping what the run left: %v", err)
	}
	t.Logf("the run lies in %s; again: %s", dir, replay)
}

// described is the history in words.
func (l *linear) described() []map[string]any {
	var out []map[string]any
	for _, op := range l.history {
		out = append(out, map[string]any{"client": op.ClientId, "call": op.Call, "return": op.Return, "what": registers.DescribeOperation(op.Input, op.Output)})
	}
	return out
}

// TestLinearizable reads and writes records through three nodes, with Prefer: wait=commit,
// while links are cut, both ways and one, and slow, nodes are frozen, killed and replaced,
// over wiped and rolled-back disks, and clocks jump. What clients saw is the history of one
// copy; each view has one primary; each write that was acknowledged as committed stands in
// the final ledger, with a valid receipt; the nodes' files agree byte for byte; no IV was
// used twice, not even for what was rolled back.
func TestLinearizable(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("processes under load, and a search")
	}
	steps, operations := 4, 300
	if os.Getenv("CHANCERY_KILLS") != "" {
		steps, operations = max(12, kills(t)/8), 10_000
	}
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("CHANCERY_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("CHANCERY_SEED=%d", seed)
	m := newMesh(t)
	w := &network{t: t, dir: t.TempDir(), program: "faultnode", edits: []func(map[string]any){m.edit}}
	t.Cleanup(m.close)
	w.begin(3)
	r := &faultRun{linear: newLinear(w, 64), w: w, m: m, seed: seed, chance: rand.New(rand.NewPCG(seed, 0)), views: map[uint64]string{}}
	t.Cleanup(func() {
		if t.Failed() {
			r.keep()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	for id := range 12 {
		clients.Go(func() { r.run(ctx, id, seed) })
	}
	for range steps {
		r.step()
	}
	r.moreThan(operations, "operations")
	cancel()
	clients.Wait()
	for _, s := range r.steps {
		t.Log(s)
	}
	r.judge()
	w.agree(w.nodes...)
	r.proven()
}

// proven holds each write that was acknowledged as committed against its receipt and the
// ledgers of all nodes, the dead ones' too, and the IVs of all entries against each other.
func (r *faultRun) proven() {
	w := r.w
	t := w.t
	digests := map[writeset.TxID]ledger.Digest{}
	for n, txs := range r.shares() {
		c := w.client(n)
		for _, tx := range txs {
			resp, err := c.Do(t.Context(), client.Request{Path: "/app/receipt?transaction_id=" + tx.String()})
			if err != nil {
				t.Fatalf("the receipt of %v, acknowledged as committed, by %s: %v", tx, n.name, err)
			}
			receipt, err := ledger.ParseReceipt(resp.Body)
			must(t, err)
			must(t, receipt.Verify(w.service))
			if id, ok := receipt.TxID(); !ok || id != tx {
				t.Errorf("the receipt of %v is that of %v", tx, id)
			}
			digests[tx] = receipt.Leaf.WriteSet
		}
		c.Close()
	}
	for _, n := range w.nodes {
		must(t, n.cmd.Process.Signal(os.Interrupt))
		<-n.ended
		if n.err != nil {
			t.Errorf("stopping %s: %v", n.name, n.err)
		}
	}
	ivs := map[writeset.TxID]ledger.Digest{}
	for _, n := range w.all {
		live := slices.Contains(w.nodes, n)
		there := map[writeset.TxID]ledger.Digest{}
		for e, err := range ledger.ReadEntries(durable.OS(), filepath.Join(n.dir, "ledger"), 1) {
			if err != nil {
				if live && !errors.Is(err, ledger.ErrNotFound) {
					t.Errorf("the ledger of %s: %v", n.name, err)
				}
				break
			}
			there[e.ID] = sha256.Sum256(e.Raw)
			once(t, ivs, n, e.Raw)
		}
		inLog(t, n, func(raw []byte) { once(t, ivs, n, raw) })
		for tx, digest := range digests {
			if live && there[tx] != digest {
				t.Fatalf("%v, acknowledged as committed, is not in the ledger of %s as its receipt says", tx, n.name)
			}
		}
	}
	t.Logf("%d receipts, %d IVs in ledgers and logs of %d nodes; views led by %d", len(digests), len(ivs), len(w.all), len(r.views))
}

// shares divides the acknowledged writes among the nodes.
func (r *faultRun) shares() map[*netNode][]writeset.TxID {
	out := map[*netNode][]writeset.TxID{}
	i := 0
	for tx := range r.acked {
		n := r.w.nodes[i%len(r.w.nodes)]
		out[n] = append(out[n], tx)
		i++
	}
	return out
}

// once notes the IV of a sealed entry, which no other one may have.
func once(t *testing.T, ivs map[writeset.TxID]ledger.Digest, n *netNode, raw []byte) {
	t.Helper()
	iv := writeset.TxID{Seqno: bits.LittleEndian.Uint64(raw[24:]), View: uint64(bits.LittleEndian.Uint32(raw[32:]))}
	digest := ledger.Digest(sha256.Sum256(raw))
	if before, used := ivs[iv]; used && before != digest {
		t.Errorf("the IV of %v is at %s that of another entry", iv, n.name)
	}
	ivs[iv] = digest
}

// inLog yields the entries of the batches in a node's Raft log, superseded ones too.
func inLog(t *testing.T, n *netNode, yield func(raw []byte)) {
	t.Helper()
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(n.dir, "ledger.raft", "raft.db"), BoltOptions: &bbolt.Options{ReadOnly: true, Timeout: time.Second}})
	if err != nil {
		t.Logf("Raft's log of %s: %v", n.name, err)
		return
	}
	defer bolt.Close()
	first, err := bolt.FirstIndex()
	must(t, err)
	last, err := bolt.LastIndex()
	must(t, err)
	for i := max(first, 1); i <= last; i++ {
		var l raft.Log
		if err := bolt.GetLog(i, &l); err != nil {
			t.Errorf("Raft's log of %s: %v", n.name, err)
			return
		}
		if l.Type != raft.LogCommand {
			continue
		}
		const header = 53 // see raftfsm's batches
		for rest := l.Data[header:]; len(rest) > 8; {
			size := 8 + bits.LittleEndian.Uint64(rest)>>16
			yield(rest[:size])
			rest = rest[size:]
		}
	}
}

// TestFaultLinks breaks one link after the other under a load of one client, and says what
// follows: rows 32 to 36 and 92 of the fault matrix.
func TestFaultLinks(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("processes")
	}
	m := newMesh(t)
	w := &network{t: t, dir: t.TempDir(), edits: []func(map[string]any){m.edit, func(c map[string]any) {
		c["consensus"].(map[string]any)["max_uncommitted_tx_count"] = 40
	}}}
	t.Cleanup(m.close)
	w.begin(3)
	r := &faultRun{w: w, m: m, chance: rand.New(rand.NewPCG(1, 0)), views: map[uint64]string{}}
	timeout := time.Second // consensus.election_timeout
	view := func(n *netNode) uint64 {
		var c struct{ Details server.Consensus }
		must(t, n.getJSON("/node/consensus", &c))
		return c.Details.CurrentView
	}
	leads := func(n *netNode) bool {
		code, _, err := n.get(own, "/node/primary")
		return err == nil && code == http.StatusOK
	}
	// deposed waits until a primary has stepped down, and another one leads.
	deposed := func(old *netNode) *netNode {
		began := time.Now()
		w.until(old.name+" steps down", func() error {
			if leads(old) {
				return errors.New("it leads")
			}
			return nil
		})
		if took := time.Since(began); took > 3*timeout {
			t.Errorf("%s stepped down after %v", old.name, took)
		}
		var lead *netNode
		w.until("another node leads", func() error {
			for _, n := range w.nodes {
				if n != old && leads(n) {
					lead = n
					return nil
				}
			}
			return errors.New("nobody does")
		})
		return lead
	}
	writes := func(n *netNode, id int) writeset.TxID {
		t.Helper()
		c := w.client(n)
		defer c.Close()
		var tx writeset.TxID
		w.until("a write by "+n.name, func() error {
			resp, err := c.Do(t.Context(), client.Request{
				Method: "POST", Path: "/app/log/private", Wait: client.ForCommit, Idempotent: true,
				JSON: map[string]any{"id": id, "msg": fmt.Sprint("message ", id)},
			})
			if err == nil {
				tx = resp.TxID
			}
			return err
		})
		return tx
	}
	speculative := func(n *netNode, id int) writeset.TxID {
		t.Helper()
		c := w.client(n)
		defer c.Close()
		resp, err := c.Do(t.Context(), client.Request{
			Method: "POST", Path: "/app/log/private", Wait: client.ForExecution, JSON: map[string]any{"id": id, "msg": "lost"},
		})
		must(t, err)
		return resp.TxID
	}

	for name, ways := range map[string][2]link{
		"cut off":                     {{cut: true}, {cut: true}},
		"sending and hearing nothing": {{}, {cut: true}},
	} {
		t.Run("the primary "+name, func(t *testing.T) {
			old := w.primary()
			kept := writes(old, 1)
			r.each(old, ways[0], ways[1])
			lost := speculative(old, 2)
			lead := deposed(old)
			after := writes(lead, 3)
			if after.View <= kept.View {
				t.Errorf("%v comes after %v", after, kept)
			}
			m.heal(true)
			w.agree(w.nodes...)
			for _, n := range w.nodes {
				c := w.client(n)
				fates := []string{w.fate(c, kept), w.fate(c, after)}
				if slices.Contains(fates, "Invalid") {
					t.Errorf("at %s: %v", n.name, fates)
				}
				// What only the old primary had dies; what got through before it was deposed does not.
				if fate := w.fate(c, lost); name == "cut off" && fate != "Invalid" || (fate == "Committed") != w.heldAs(c, 2, "lost") {
					t.Errorf("%v at %s is %s", lost, n.name, fate)
				}
				c.Close()
			}
		})
	}
	t.Run("a deaf backup", func(t *testing.T) {
		lead := w.primary()
		before := view(lead)
		deaf := r.other(lead)
		r.each(deaf, link{}, link{cut: true})
		for end := time.Now().Add(4 * timeout); time.Now().Before(end); {
			writes(lead, 4)
		}
		m.heal(true)
		w.agree(w.nodes...)
		if after := view(w.primary()); after != before {
			t.Errorf("a deaf backup raised the view from %d to %d", before, after)
		}
	})
	t.Run("one link down of three", func(t *testing.T) {
		lead := w.primary()
		before := view(lead)
		far := r.other(lead)
		near := w.nodes[slices.IndexFunc(w.nodes, func(n *netNode) bool { return n != lead && n != far })]
		m.set(lead, far, link{cut: true})
		m.set(far, lead, link{cut: true})
		for end := time.Now().Add(4 * timeout); time.Now().Before(end); {
			writes(near, 5)
		}
		if after := view(w.primary()); after > before+1 {
			t.Errorf("the view went from %d to %d: the nodes wrest the lead from each other", before, after)
		}
		m.heal(true)
		w.agree(w.nodes...)
	})
	for name, spoil := range map[string]spoiling{"bytes that change": flipped, "bytes that come again": twice} {
		t.Run(name, func(t *testing.T) {
			lead := w.primary()
			other := r.other(lead)
			m.set(lead, other, link{spoil: spoil})
			m.set(other, lead, link{spoil: spoil})
			for end := time.Now().Add(2 * timeout); time.Now().Before(end); {
				writes(lead, 8)
			}
			m.heal(true)
			w.agree(w.nodes...)
		})
	}
	t.Run("a slow backup", func(t *testing.T) {
		lead := w.primary()
		l := link{delay: 150 * time.Millisecond}
		slow := r.other(lead)
		m.set(lead, slow, l)
		m.set(slow, lead, l)
		before := residentMB(t, lead)
		text := strings.Repeat("x", 100<<10)
		for end := time.Now().Add(3 * timeout); time.Now().Before(end); {
			if code, body, err := lead.put(9, text); err != nil || code != http.StatusOK && code != http.StatusServiceUnavailable {
				t.Fatalf("%d %s %v", code, body, err)
			}
		}
		if after := residentMB(t, lead); after > before+300 {
			t.Errorf("the primary's memory grew from %d to %d MB", before, after)
		}
		m.heal(false)
		w.agree(w.nodes...)
	})
	t.Run("commits that stall", func(t *testing.T) {
		old := w.primary()
		r.each(old, link{cut: true}, link{cut: true})
		stalled := false
		for leads(old) && !stalled { // each is executed, and none committed
			code, body, err := old.put(10, "stalls")
			must(t, err)
			stalled = code == http.StatusServiceUnavailable && strings.Contains(string(body), "TooManyPendingTransactions")
		}
		if !stalled {
			t.Error("the primary took writes without a bound until it stepped down")
		}
		lead := deposed(old)
		writes(lead, 11)
		m.heal(true)
		w.agree(w.nodes...)
	})
	t.Run("a request whose forwarding is lost", func(t *testing.T) {
		lead := w.primary()
		backup := r.other(lead)
		if code, body, err := backup.put(7, "message 7"); err != nil || code != http.StatusOK { // on a connection that is kept
			t.Fatalf("%d %s %v", code, body, err)
		}
		m.set(lead, backup, link{cut: true}) // the answer; the request arrives
		code, body, err := backup.put(6, "message 6")
		if err != nil || code != http.StatusGatewayTimeout && code != http.StatusServiceUnavailable {
			t.Errorf("a write by a backup that hears no answer: %d %s %v", code, body, err)
		}
		m.heal(true)
		w.agree(w.nodes...)
		c := w.client(lead)
		defer c.Close()
		if !w.holds(c, 6) {
			t.Error("the write has not happened, though the request arrived")
		}
	})
}

// residentMB is a node's resident memory.
func residentMB(t *testing.T, n *netNode) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", n.cmd.Process.Pid))
	must(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	must(t, err)
	return pages * os.Getpagesize() >> 20
}

// heldAs says whether a node holds a record with a text.
func (w *network) heldAs(c *client.Client, id int, text string) bool {
	resp, err := c.Do(w.t.Context(), client.Request{Path: fmt.Sprint("/app/log/private?id=", id)})
	return err == nil && string(resp.Body) == fmt.Sprintf(`{"msg":%q}`, text)
}

// TestFaultForgedRaft changes Raft's votes and records on the disk of a running primary,
// and lets a backup that lags ask for them: the primary believes nothing of it and halts,
// the others go on, and no view has two primaries.
func TestFaultForgedRaft(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("processes")
	}
	m := newMesh(t)
	w := &network{t: t, dir: t.TempDir(), edits: []func(map[string]any){m.edit}}
	t.Cleanup(m.close)
	w.begin(3)
	r := &faultRun{w: w, m: m, chance: rand.New(rand.NewPCG(1, 0)), views: map[uint64]string{}}
	lead := w.primary()
	lag := r.other(lead)
	r.each(lag, link{cut: true}, link{cut: true})
	first := w.client(lead)
	defer first.Close()
	for id := range 40 {
		_, err := first.Do(t.Context(), client.Request{
			Method: "POST", Path: "/app/log/private", Wait: client.ForCommit, JSON: map[string]any{"id": id, "msg": fmt.Sprint("message ", id)},
		})
		must(t, err)
	}
	r.leaders()
	path := filepath.Join(lead.dir, "ledger.raft", "raft.db")
	data, err := os.ReadFile(path)
	must(t, err)
	for i := range data { // everything that is stored: votes, terms, records; bolt's own pages' heads stay
		if i%4096 >= 1024 {
			data[i] ^= 0x40
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt(data, 0)
	must(t, errors.Join(err, f.Close()))
	m.heal(true)
	select {
	case <-lead.ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("the primary did not halt over forged records")
	}
	if code := lead.cmd.ProcessState.ExitCode(); code == 0 {
		t.Errorf("it ended with exit code %d", code)
	}
	t.Logf("it says: %s", lastLine(lead.log()))
	w.forget(lead)
	next := w.primary()
	r.leaders()
	c := w.client(next)
	defer c.Close()
	for id := range 40 {
		if !w.holds(c, id) {
			t.Errorf("record %d is gone", id)
		}
	}
	w.agree(w.nodes...)
}

package testnet

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"chancery/internal/durable/memfs"
	"chancery/ledger"
	"chancery/raftfsm"
)

const (
	electionTimeout = 200 * time.Millisecond
	nodes           = 3
	writers         = 4
	settleWithin    = time.Minute // after the last fault, of the time that the run sees
)

// Report says what a run did.
type Report struct {
	Faults    []string
	Writes    int // that were given a position
	Committed int
	Views     int
	Nodes     int // that ever were
}

// run is one run.
type run struct {
	dir    string
	chance *mathrand.Rand // of the faults; owned by the goroutine of Run
	net    *network
	signer *ledger.Signer
	secret []byte

	started int // so many nodes ever

	mu      sync.Mutex
	live    map[string]*replica
	wanted  []string          // who is to take part
	doomed  map[string]bool   // nodes that may halt
	views   map[uint64]string // who led
	writes  []written
	wrong   []error // what must not be
	faults  []string
	working sync.WaitGroup
}

// written is what a writer was told of one transaction.
type written struct {
	id     raftfsm.TxID
	key    string
	status ledger.Status // Unknown where its node said nothing final
}

// Run is one run of so many faults, with Raft's files in dir. The error says what did not
// hold.
func Run(ctx context.Context, seed uint64, faults int, dir string) (report *Report, err error) {
	r := &run{
		dir: dir, chance: mathrand.New(mathrand.NewPCG(seed, 0)), net: newNetwork(seed), secret: make([]byte, ledger.SecretSize),
		live: map[string]*replica{}, doomed: map[string]bool{}, views: map[uint64]string{},
	}
	if _, err := rand.Read(r.secret); err != nil {
		return nil, err
	}
	r.signer = &ledger.Signer{NodeID: "node", Now: time.Now}
	for _, key := range []*crypto.Signer{&r.signer.Node, &r.signer.Service} {
		if *key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
			return nil, err
		}
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	for i := range nodes {
		if err := r.add(memfs.New(), i == 0); err != nil {
			return nil, err
		}
	}
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	r.working.Go(func() { r.reconcile(working) })
	if err := r.settle(ctx); err != nil {
		return nil, err
	}
	for w := range writers {
		r.working.Go(func() { r.write(working, w) })
	}
	for range faults {
		if err := r.fault(ctx); err != nil {
			cancel()
			r.working.Wait()
			return nil, fmt.Errorf("%w\n%q", err, r.faults)
		}
	}
	r.net.heal()
	err = r.settle(ctx)
	cancel()
	r.working.Wait()
	if err == nil {
		err = r.agree(ctx)
	}
	r.judge()
	r.mu.Lock()
	defer r.mu.Unlock()
	report = &Report{Faults: r.faults, Writes: len(r.writes), Views: len(r.views), Nodes: r.started}
	for _, w := range r.writes {
		if w.status == ledger.StatusCommitted {
			report.Committed++
		}
	}
	return report, errors.Join(append(r.wrong, err)...)
}

// add starts a node that is to take part.
func (r *run) add(disk *memfs.FS, first bool) error {
	n, err := r.start(disk, first)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[n.id] = n
	r.wanted = append(r.wanted, n.id)
	return nil
}

func (r *run) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, fmt.Errorf(format, args...))
}

// led is told by a node that it begins to lead a view, or ceases to (0).
func (r *run) led(id string, view uint64) {
	if view == 0 {
		return
	}
	r.mu.Lock()
	other, known := r.views[view]
	r.views[view] = id
	r.mu.Unlock()
	if known && other != id {
		r.fail("view %d is led by %s and by %s", view, other, id)
	}
}

// halted is told why a node halts: one that crashes may.
func (r *run) halted(id string, err error) {
	r.mu.Lock()
	expected := r.doomed[id]
	r.mu.Unlock()
	if !expected {
		r.fail("%s halts: %w", id, err)
	}
}

// nodes returns those that are there, by id.
func (r *run) nodes() []*replica {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*replica
	for _, id := range slices.Sorted(maps.Keys(r.live)) {
		out = append(out, r.live[id])
	}
	return out
}

// leading returns a node that thinks that it leads, nil when none does.
func (r *run) leading() *replica {
	for _, n := range r.nodes() {
		if n.Position().View != 0 {
			return n
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// reconcile has whoever leads bring the wanted nodes in and the others out.
func (r *run) reconcile(ctx context.Context) {
	for ctx.Err() == nil {
		r.mu.Lock()
		var wanted []raftfsm.Peer
		for _, id := range r.wanted {
			wanted = append(wanted, raftfsm.Peer{ID: id, Address: id})
		}
		r.mu.Unlock()
		if n := r.leading(); n != nil {
			limited, cancel := context.WithTimeout(ctx, 2*electionTimeout)
			_, _ = n.Reconcile(limited, wanted) // the next turn goes on from there
			cancel()
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// write writes a key after the other wherever somebody leads. Half of the writers wait for
// what becomes of it.
func (r *run) write(ctx context.Context, w int) {
	for i := 0; ctx.Err() == nil; i++ {
		pause(ctx, 15*time.Millisecond)
		n := r.leading()
		if n == nil {
			continue
		}
		key := fmt.Sprintf("%d-%d", w, i)
		id, err := n.try(ctx, key)
		if err != nil {
			continue
		}
		got := written{id, key, ledger.StatusUnknown}
		if w%2 == 0 {
			limited, cancel := context.WithTimeout(ctx, 2*electionTimeout)
			if status, err := n.Wait(limited, id); err == nil {
				got.status = status
			}
			cancel()
		}
		r.mu.Lock()
		r.writes = append(r.writes, got)
		r.mu.Unlock()
	}
}

// settle waits until all wanted nodes vote and one of them leads.
func (r *run) settle(ctx context.Context) error {
	late := time.Now().Add(settleWithin)
	for {
		err := r.settled()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(late) {
			return fmt.Errorf("not settled after %v: %w", settleWithin, err)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (r *run) settled() error {
	n := r.leading()
	if n == nil {
		return errors.New("nobody leads")
	}
	m, err := n.Membership()
	if err != nil {
		return err
	}
	r.mu.Lock()
	wanted := slices.Clone(r.wanted)
	r.mu.Unlock()
	var voters []string
	for _, p := range m.Members {
		if p.Voter {
			voters = append(voters, p.ID)
		}
	}
	slices.Sort(wanted)
	slices.Sort(voters)
	if !slices.Equal(wanted, voters) || len(m.Members) != len(wanted) {
		return fmt.Errorf("%v vote, want %v", voters, wanted)
	}
	return nil
}

// agree waits until all nodes have committed the same, and compares them.
func (r *run) agree(ctx context.Context) error {
	all := r.nodes()
	var last raftfsm.TxID
	late := time.Now().Add(settleWithin)
	for done := false; !done; {
		if time.Now().After(late) {
			return fmt.Errorf("the nodes do not agree after %v", settleWithin)
		}
		pause(ctx, 20*time.Millisecond)
		lead := r.leading()
		if lead == nil {
			continue
		}
		id, err := lead.try(ctx, "agree")
		if err != nil {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, 10*electionTimeout)
		status, err := lead.Wait(limited, id)
		cancel()
		if err != nil || status != ledger.StatusCommitted {
			continue
		}
		last = lead.Position().Committed
		done = true
		for _, n := range all {
			for wait := time.Now().Add(10 * electionTimeout); n.Position().Committed.Seqno < last.Seqno && time.Now().Before(wait); {
				pause(ctx, 5*time.Millisecond)
			}
			done = done && n.Position().Committed == last
		}
	}
	state := all[0].state()
	files, err := all[0].files()
	if err != nil {
		return err
	}
	for _, n := range all[1:] {
		if !maps.Equal(state, n.state()) {
			r.fail("%s and %s end with different states", all[0].id, n.id)
		}
		other, err := n.files()
		if err != nil {
			return err
		}
		if !maps.Equal(files, other) {
			r.fail("%s and %s end with different ledger files", all[0].id, n.id)
		}
	}
	return nil
}

// judge compares what writers were told with what all nodes say in the end.
func (r *run) judge() {
	seen := map[raftfsm.TxID]string{}
	for i, w := range r.writes {
		if other, twice := seen[w.id]; twice {
			r.fail("%s and %s are both %v", other, w.key, w.id)
		}
		seen[w.id] = w.key
		for _, n := range r.nodes() {
			s := n.Status(w.id)
			_, _, there := n.store.Committed().Get("private", []byte(w.key))
			if !s.Final() || r.writes[i].status.Final() && s != r.writes[i].status || there != (s == ledger.StatusCommitted) {
				r.fail("%v was %s, is %s at %s, and its write is there: %t", w.id, r.writes[i].status, s, n.id, there)
			}
			r.writes[i].status = s
		}
	}
}

// stop ends all nodes.
func (r *run) stop() error {
	var errs []error
	for _, n := range r.nodes() {
		errs = append(errs, n.stop())
	}
	return errors.Join(errs...)
}

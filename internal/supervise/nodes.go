package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"chancery/client"
	"chancery/gov"
	"chancery/internal/identity"
	"chancery/raftfsm"
	"chancery/server/api"
)

// place is where a node serves: host:port on the loopback. A node that replaces another
// serves in its place.
type place struct{ bind string }

func placeOf(k, port int) place {
	return place{net.JoinHostPort(fmt.Sprintf("127.0.0.%d", k+1), strconv.Itoa(port))}
}

func (p place) url() string { return "https://" + p.bind }

func (p place) host() string {
	host, _, err := net.SplitHostPort(p.bind)
	if err != nil {
		return p.bind
	}
	return host
}

// node is one node of the service, for as long as its place has a process.
type node struct {
	at   place
	zone string // "" has no label
	p    *process
	id   string
}

// supervisor runs the nodes of one service.
type supervisor struct {
	o     Options
	w     Workspace
	nodes []*node // by place; the first is the one that begins
	next  int     // number of the next node's directory
	first command
	home  home // of the node that begins

	died     chan *node // capacity: MaxNodes
	replaced []time.Time

	control *control // asks for changes; nil until the service is open
}

// MaxNodes bounds the processes that one machine is asked to carry.
const MaxNodes = 9

const (
	// tooOften and within bound how often nodes are replaced: more would not help.
	tooOften = 5
	within   = time.Minute
	// replaceWithin bounds the replacement of one node.
	replaceWithin = 90 * time.Second
)

// newSupervisor prepares the workspace, and decides with which node the service begins:
// a new one, or of those that are there the one whose log is longest by Raft's rule.
func newSupervisor(o Options) (*supervisor, error) {
	o.Nodes = max(o.Nodes, 1)
	if o.ElectionTimeout == 0 {
		o.ElectionTimeout = time.Second
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	s := &supervisor{o: o, w: o.Workspace, died: make(chan *node, MaxNodes)}
	if err := os.MkdirAll(string(s.w), 0o700); err != nil {
		return nil, fmt.Errorf("the workspace can't be written (choose another with --workspace): %w", err)
	}
	begin, err := s.choose()
	if err != nil {
		return nil, err
	}
	// It keeps its address, which its certificate names.
	places := []place{placeOf(begin, o.Port)}
	for k := 0; len(places) < o.Nodes; k++ {
		if k != begin {
			places = append(places, placeOf(k, o.Port))
		}
	}
	zones, err := s.w.zones(o.Zones, o.Port)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		s.nodes = append(s.nodes, &node{at: p, zone: zones[p.bind]})
	}
	if err := s.w.prepare(s.nodes); err != nil {
		return nil, err
	}
	return s, s.w.makeKeys(time.Now())
}

// choose finds the node with which the service begins, and returns the number of its place.
func (s *supervisor) choose() (int, error) {
	if !exists(s.w.Common("service_cert.pem")) {
		s.first, s.home, s.next = command{kind: "Start"}, s.w.home(0), 1
		return 0, s.home.clearPID()
	}
	found, next, err := s.w.homes()
	if err != nil {
		return 0, err
	}
	s.next, s.first = next, command{kind: "Resume"}
	s.home = s.w.home(0)
	if len(found) <= 1 && (len(found) == 0 || found[0] == 0) {
		return 0, s.home.clearPID()
	}
	var best raftfsm.Standing
	for i, k := range found {
		h := s.w.home(k)
		if err := h.clearPID(); err != nil {
			return 0, err
		}
		standing, err := raftfsm.ReadStanding(h.file("ledger.raft"))
		if err != nil {
			return 0, fmt.Errorf("asking node %d how far it came: %w", k, err)
		}
		s.first.after = max(s.first.after, standing.Term)
		if i == 0 || best.Behind(standing) {
			best, s.home = standing, h
		}
	}
	return s.home.place()
}

// place returns the number of the place in which a node served.
func (h home) place() (int, error) {
	text, err := os.ReadFile(h.file("config.json"))
	if err != nil {
		return 0, err
	}
	var c struct {
		Network struct {
			RPC map[string]struct {
				Bind string `json:"bind_address"`
			} `json:"rpc_interfaces"`
		}
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return 0, fmt.Errorf("%s: %w", h.file("config.json"), err)
	}
	var k int
	if _, err := fmt.Sscanf(c.Network.RPC["primary_rpc_interface"].Bind, "127.0.0.%d:", &k); err != nil || k < 1 {
		return 0, fmt.Errorf("%s: the node serves at %q", h.file("config.json"), c.Network.RPC["primary_rpc_interface"].Bind)
	}
	return k - 1, nil
}

// start runs a node in its place.
func (s *supervisor) start(n *node, h home, c command) error {
	metrics := s.o.Metrics
	if n != s.nodes[0] {
		metrics = ""
	}
	if err := s.w.writeConfig(h, n, c, metrics, s.o.ElectionTimeout); err != nil {
		return err
	}
	p, err := h.start(s.o.Chanceryd)
	if err != nil {
		return err
	}
	n.p, n.id = p, ""
	go func() {
		<-p.ended
		s.died <- n
	}()
	return nil
}

// begin takes the service from wherever it stands to open, with all its nodes.
func (s *supervisor) begin(ctx context.Context) error {
	first := s.nodes[0]
	if err := s.start(first, s.home, s.first); err != nil {
		return err
	}
	if err := open(ctx, first.p, s.o, first.at.url()); err != nil {
		return err
	}
	var err error
	if first.id, err = first.p.home.nodeID(); err != nil {
		return err
	}
	if err := s.retireOthers(ctx); err != nil {
		return err
	}
	if err := s.label(ctx, first); err != nil {
		return err
	}
	for _, n := range s.nodes[1:] {
		if err := s.add(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// service is a client that tries one node after the other.
func (s *supervisor) service() (*client.Client, error) {
	cert, err := readCertificate(s.w.Common("service_cert.pem"))
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, n := range s.nodes {
		if n.p != nil && n.p.running() {
			urls = append(urls, n.at.url())
		}
	}
	if len(urls) == 0 {
		return nil, errors.New("no node is left")
	}
	return client.New(client.Config{URLs: urls, Service: cert})
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// nodeID reads a node's id off its certificate.
func (h home) nodeID() (string, error) {
	cert, err := readCertificate(h.file("nodecert.pem"))
	if err != nil {
		return "", err
	}
	return identity.KeyID(cert.PublicKey)
}

// listed returns the nodes that the service knows, by id.
func listed(ctx context.Context, c *client.Client) (map[string]api.Node, error) {
	var list api.Nodes
	if err := c.Get(ctx, "/node/network/nodes", nil, &list); err != nil {
		return nil, err
	}
	out := make(map[string]api.Node, len(list.Nodes))
	for _, n := range list.Nodes {
		out[n.NodeID] = n
	}
	return out, nil
}

// label has the service know the zone of a node that was resumed and may have had another.
func (s *supervisor) label(ctx context.Context, n *node) error {
	if n.zone == "" {
		return nil
	}
	return s.govern(ctx, func(known map[string]api.Node) []action {
		if gov.Zone(known[n.id].NodeData) == n.zone {
			return nil
		}
		return []action{{"set_node_data", object{"node_id": n.id, "node_data": object{"zone": n.zone}}}}
	})
}

// govern proposes what a look at the service's nodes shows to be due.
func (s *supervisor) govern(ctx context.Context, due func(known map[string]api.Node) []action) error {
	c, err := s.service()
	if err != nil {
		return err
	}
	defer c.Close()
	known, err := listed(ctx, c)
	if err != nil {
		return fmt.Errorf("asking for the service's nodes: %w", err)
	}
	actions := due(known)
	if len(actions) == 0 {
		return nil
	}
	m, err := s.w.member(c)
	if err != nil {
		return err
	}
	return propose(ctx, m, actions)
}

// retireOthers has the service forget the nodes that are not running here.
func (s *supervisor) retireOthers(ctx context.Context) error {
	return s.govern(ctx, func(known map[string]api.Node) []action {
		var actions []action
		for id, row := range known {
			here := slices.ContainsFunc(s.nodes, func(n *node) bool { return n.id == id && n.p.running() })
			if !here && row.Status != "Retired" {
				actions = append(actions, action{"remove_node", object{"node_id": id}})
			}
		}
		return actions
	})
}

// add starts a fresh node in a place, has it trusted, and waits until it has its vote.
func (s *supervisor) add(ctx context.Context, n *node) error {
	h := s.w.home(s.next)
	s.next++
	target := ""
	for _, other := range s.nodes {
		if other != n && other.p != nil && other.p.running() {
			target = other.at.bind
		}
	}
	if err := s.start(n, h, command{kind: "Join", target: target}); err != nil {
		return err
	}
	c, err := s.service()
	if err != nil {
		return err
	}
	defer c.Close()
	err = n.p.until(ctx, func(ctx context.Context) (err error) {
		if n.id, err = h.nodeID(); err != nil {
			return err
		}
		known, err := listed(ctx, c)
		if err == nil && known[n.id].Status == "" {
			err = errors.New("the node has not asked to join yet")
		}
		return err
	})
	if err != nil {
		return err
	}
	m, err := s.w.member(c)
	if err != nil {
		return err
	}
	trust := action{"transition_node_to_trusted", object{"node_id": n.id, "valid_from": time.Now().UTC().Format("060102150405Z")}}
	if err := propose(ctx, m, []action{trust}); err != nil {
		return err
	}
	return n.p.until(ctx, func(ctx context.Context) error { return s.votes(ctx, n) })
}

// votes says whether a node serves and has its vote.
func (s *supervisor) votes(ctx context.Context, n *node) error {
	cert, err := readCertificate(s.w.Common("service_cert.pem"))
	if err != nil {
		return err
	}
	c, err := client.New(client.Config{URLs: []string{n.at.url()}, Service: cert, Retry: client.Retry{Attempts: 1}})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Do(ctx, client.Request{Path: "/node/ready/app"}); err != nil {
		return err
	}
	var consensus struct {
		Details struct {
			Learners map[string]uint64 `json:"learners"`
		} `json:"details"`
	}
	if err := c.Get(ctx, "/node/consensus", nil, &consensus); err != nil {
		return err
	}
	if _, yet := consensus.Details.Learners[n.id]; yet {
		return errors.New("the node has not caught up yet")
	}
	return nil
}

// watch replaces nodes that die, one at a time, until ctx ends.
func (s *supervisor) watch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.control.requests:
			r.answer <- s.change(ctx, r.Change)
		case n := <-s.died:
			if !slices.Contains(s.nodes, n) || n.p.running() {
				continue // it was removed, or is replaced already
			}
			if len(s.nodes) == 1 {
				return n.p.died()
			}
			err := s.replace(ctx, n)
			switch {
			case err == nil:
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, errDied): // it is in died again
				s.o.Say(err.Error())
			default:
				return fmt.Errorf("replacing the node at %s: %w", n.at.bind, err)
			}
		}
	}
}

// replace retires a node that has died and starts a fresh one in its place.
func (s *supervisor) replace(ctx context.Context, n *node) error {
	s.o.Say(fmt.Sprintf("The node at %s ended (%v); its log is %s. It is being replaced.", n.at.bind, orExit(n.p.err), n.p.home.file("out")))
	s.replaced = slices.DeleteFunc(s.replaced, func(t time.Time) bool { return time.Since(t) > within })
	if len(s.replaced) == tooOften {
		return fmt.Errorf("%d nodes ended within %v, so that one more would not help: its log %s says:\n%s", tooOften, within, n.p.home.file("out"), n.p.home.lastLines())
	}
	s.replaced = append(s.replaced, time.Now())
	ctx, cancel := context.WithTimeoutCause(ctx, replaceWithin, fmt.Errorf("it is not replaced after %v", replaceWithin))
	defer cancel()
	old := n.p.home
	if err := until(ctx, s.retireOthers); err != nil {
		return fmt.Errorf("retiring it: %w", err)
	}
	if err := s.add(ctx, n); err != nil {
		return err
	}
	s.o.Say(fmt.Sprintf("A new node serves at %s.", n.at.bind))
	return s.forget(old)
}

// until repeats a step until it succeeds or ctx ends.
func until(ctx context.Context, step func(context.Context) error) error {
	return repeat(ctx, 200*time.Millisecond, nil, step)
}

// repeat tries a step every so often until it succeeds, or ended is closed (errEnded), or
// ctx ends.
func repeat(ctx context.Context, every time.Duration, ended <-chan struct{}, step func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := step(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
		}
	}
}

var errEnded = errors.New("the node ended")

// forget removes the data of a node that was replaced: others hold it. Its log stays.
func (s *supervisor) forget(h home) error {
	for _, name := range []string{keyFile, "ledger", "ledger.raft", "snapshots"} {
		if err := os.RemoveAll(h.file(name)); err != nil {
			return fmt.Errorf("clearing %s: %w", h, err)
		}
	}
	return nil
}

// stop ends all nodes: first the primary, which commits what it has while the others
// are there, then these.
func (s *supervisor) stop() error {
	var errs []error
	if n := s.primary(); n != nil {
		errs = append(errs, n.p.stop())
	}
	var rest sync.WaitGroup
	var mu sync.Mutex
	for _, n := range s.nodes {
		if n.p == nil || !n.p.running() {
			continue
		}
		rest.Go(func() {
			err := n.p.stop()
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	rest.Wait()
	return errors.Join(errs...)
}

// primary returns the node that says that it leads, nil when none does.
func (s *supervisor) primary() *node {
	cert, err := readCertificate(s.w.Common("service_cert.pem"))
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, n := range s.nodes {
		if n.p == nil || !n.p.running() {
			continue
		}
		c, err := client.New(client.Config{URLs: []string{n.at.url()}, Service: cert, Retry: client.Retry{Attempts: 1}})
		if err != nil {
			continue
		}
		_, err = c.Do(ctx, client.Request{Path: "/node/primary"})
		c.Close()
		if err == nil {
			return n
		}
	}
	return nil
}

package raftfsm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"chancery/internal/identity"
)

// PeersConfig is what the node-to-node network is made of.
type PeersConfig struct {
	// Listener is bound to network.node_to_node_interface. Peers closes it.
	Listener net.Listener
	// Advertise is the published address, host:port.
	Advertise string
	// TLS returns the mutual TLS 1.3 configuration in force, for both directions; it
	// is asked at every connection, so a renewed certificate is used at once.
	TLS func() *tls.Config
	// LocalAddr is where outgoing sockets are bound (CCF's node_client_interface), nil for any.
	LocalAddr *net.TCPAddr
	// MaxRecords is the number of TLS records after which a connection is given up, so that
	// the next one has other keys (CCF's node_to_node_message_limit); 0: no bound. Raft sends
	// again what was lost with a connection, which is closed then; any other is Worn, and
	// ended by who uses it, between two messages.
	MaxRecords uint64
	// Timeout bounds the TLS handshake, the sending of each Raft message, and, five times, the
	// silence in the middle of one that comes in.
	Timeout time.Duration
	Now     func() time.Time
	Log     *slog.Logger
}

// Protocol names what a node-to-node connection carries; it is negotiated by ALPN.
type Protocol string

// ProtocolRaft carries hashicorp/raft's messages.
const ProtocolRaft Protocol = "chancery-raft/1"

// maxHandshakes bounds the connections whose handshake is under way; more are closed
// at once, so that silent strangers cost a bounded number of goroutines.
const maxHandshakes = 64

// maxRaftConns bounds the connections over which one node sends Raft's messages: beyond it
// the oldest is closed. A node has a few; those that a broken network left behind count.
const maxRaftConns = 32

// stalled is how many times PeersConfig.Timeout a Raft message that has begun may be silent.
// Without a bound, one that never ends would hold up Raft itself, which reads snapshots.
const stalled = 5

// Peers is the node-to-node network: one listener whose mutual TLS connections are
// told apart by protocol, and a register of all open ones, so that they can be cut
// when the service ceases to trust a node.
type Peers struct {
	cfg  PeersConfig
	addr net.Addr

	closed     chan struct{}
	closeOnce  sync.Once
	handshakes chan struct{} // a token for each handshake under way
	work       sync.WaitGroup

	mu      sync.Mutex
	streams map[Protocol]*Stream
	conns   map[*peerConn]bool
	last    uint64 // number of a connection
}

// NewPeers prepares the network. Serve must be running for others to connect.
func NewPeers(cfg PeersConfig) (*Peers, error) {
	addr, err := net.ResolveTCPAddr("tcp", cfg.Advertise)
	if err != nil {
		return nil, fmt.Errorf("node-to-node published address %q: %w", cfg.Advertise, err)
	}
	p := &Peers{
		cfg: cfg, addr: addr, closed: make(chan struct{}), handshakes: make(chan struct{}, maxHandshakes),
		streams: map[Protocol]*Stream{}, conns: map[*peerConn]bool{},
	}
	p.work.Go(p.accept)
	return p, nil
}

// NewTransport carries Raft's messages over the network. Each goes to the node that it is
// for, or to none: an address alone could be led to another node of the service, whose
// answer would be counted twice.
func (p *Peers) NewTransport() *PinnedTransport {
	return &PinnedTransport{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		// One message at a time to each follower: what it has acknowledged is then known
		// from the answers, and the sequencer's batches already keep the line full.
		Stream: p.Stream(ProtocolRaft), MaxPool: 3, MaxRPCsInFlight: 1, Timeout: p.cfg.Timeout, Logger: newRaftLogger(p.cfg.Log),
	})}
}

// PinnedTransport is a Raft transport whose targets are "id@host:port" to the stream
// below, which holds the node at the other end to the id.
type PinnedTransport struct{ *raft.NetworkTransport }

var (
	_ raft.Transport   = (*PinnedTransport)(nil)
	_ raft.WithPreVote = (*PinnedTransport)(nil)
	_ raft.WithClose   = (*PinnedTransport)(nil)
)

func pinned(id raft.ServerID, target raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(string(id) + "@" + string(target))
}

// AppendEntriesPipeline opens a pipeline to a node.
func (t *PinnedTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	return t.NetworkTransport.AppendEntriesPipeline(id, pinned(id, target))
}

// AppendEntries sends records or a heartbeat.
func (t *PinnedTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return t.NetworkTransport.AppendEntries(id, pinned(id, target), args, resp)
}

// RequestVote asks for a vote.
func (t *PinnedTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.NetworkTransport.RequestVote(id, pinned(id, target), args, resp)
}

// RequestPreVote asks whether a vote would be given.
func (t *PinnedTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.NetworkTransport.RequestPreVote(id, pinned(id, target), args, resp)
}

// InstallSnapshot sends a snapshot.
func (t *PinnedTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.NetworkTransport.InstallSnapshot(id, pinned(id, target), args, resp, data)
}

// TimeoutNow has a node stand for election.
func (t *PinnedTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.NetworkTransport.TimeoutNow(id, pinned(id, target), args, resp)
}

// Stream returns the listener and dialler of one protocol; each protocol has one.
func (p *Peers) Stream(protocol Protocol) *Stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &Stream{peers: p, protocol: protocol, incoming: make(chan net.Conn), closed: make(chan struct{})}
	p.streams[protocol] = s
	return s
}

// Close ends the listener and every connection, and waits for the goroutines.
func (p *Peers) Close() error {
	var err error
	p.closeOnce.Do(func() {
		close(p.closed)
		err = p.cfg.Listener.Close()
		p.Cut(func(string) bool { return true })
	})
	p.work.Wait()
	return err
}

// Cut closes the open connections of the nodes that refused names.
func (p *Peers) Cut(refused func(id string) bool) {
	p.mu.Lock()
	var cut []*peerConn
	for c := range p.conns {
		if refused(c.id) {
			cut = append(cut, c)
		}
	}
	p.mu.Unlock()
	for _, c := range cut {
		_ = c.Close() // it is being cut; nobody is left to tell
	}
}

// Reachable says whether the node with this id answers for Raft at an address.
func (p *Peers) Reachable(ctx context.Context, address, id string) bool {
	p.mu.Lock()
	s := p.streams[ProtocolRaft]
	p.mu.Unlock()
	if s == nil {
		return false
	}
	c, err := s.DialContext(ctx, address)
	if err != nil {
		return false
	}
	is := c.(*peerConn).id == id
	return c.Close() == nil && is
}

// accept takes connections until the listener is closed.
func (p *Peers) accept() {
	for {
		c, err := p.cfg.Listener.Accept()
		if err != nil {
			select {
			case <-p.closed:
				return
			default:
			}
			p.cfg.Log.Warn("accepting a node-to-node connection", "err", err)
			select {
			case <-p.closed:
				return
			case <-time.After(acceptRetry):
			}
			continue
		}
		select {
		case p.handshakes <- struct{}{}:
			p.work.Go(func() {
				defer func() { <-p.handshakes }()
				p.welcome(c)
			})
		default:
			_ = c.Close()
		}
	}
}

const acceptRetry = 100 * time.Millisecond

// welcome runs a handshake and hands the connection to its protocol's stream.
func (p *Peers) welcome(raw net.Conn) {
	conn := tls.Server(raw, p.config(p.protocols()...))
	c, err := p.shake(context.Background(), conn)
	if err != nil {
		p.cfg.Log.Info("a node-to-node connection is refused", "from", raw.RemoteAddr().String(), "err", err)
		return
	}
	p.mu.Lock()
	s := p.streams[Protocol(conn.ConnectionState().NegotiatedProtocol)]
	p.mu.Unlock()
	if s == nil {
		_ = c.Close()
		return
	}
	var in net.Conn = c
	if s.protocol == ProtocolRaft {
		in = &raftConn{peerConn: c, silence: stalled * p.cfg.Timeout}
		p.makeRoom(c)
	}
	select {
	case s.incoming <- in:
	case <-s.closed:
		_ = c.Close()
	case <-p.closed:
		_ = c.Close()
	}
}

// shake completes a handshake within the timeout and registers the connection.
func (p *Peers) shake(ctx context.Context, conn *tls.Conn) (*peerConn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	err := conn.HandshakeContext(ctx)
	var id string
	if err == nil {
		if chain := conn.ConnectionState().PeerCertificates; len(chain) == 0 {
			err = errors.New("a node without a certificate")
		} else {
			id, err = identity.KeyID(chain[0].PublicKey)
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	c := &peerConn{Conn: conn, id: id, peers: p, resent: conn.ConnectionState().NegotiatedProtocol == string(ProtocolRaft)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	c.number = p.last
	select {
	case <-p.closed:
		_ = conn.Close()
		return nil, net.ErrClosed
	default:
	}
	p.conns[c] = true
	return c, nil
}

// makeRoom counts an incoming Raft connection, and closes the oldest of the same node where
// there are too many.
func (p *Peers) makeRoom(c *peerConn) {
	p.mu.Lock()
	c.raft = true
	oldest, n := c, 0
	for o := range p.conns {
		if o.raft && o.id == c.id {
			n++
			if o.number < oldest.number {
				oldest = o
			}
		}
	}
	p.mu.Unlock()
	if n > maxRaftConns {
		_ = oldest.Close() // it is given up; nobody is left to tell
	}
}

func (p *Peers) protocols() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for name := range p.streams {
		out = append(out, string(name))
	}
	return out
}

// config returns the configuration in force, for the given protocols.
func (p *Peers) config(protocols ...string) *tls.Config {
	c := p.cfg.TLS().Clone()
	c.NextProtos = protocols
	return c
}

// peerConn is an open connection to or from a node.
type peerConn struct {
	*tls.Conn
	id      string // of the node at the other end
	peers   *Peers
	resent  bool          // it carries Raft's messages, which are sent again when they are lost
	records atomic.Uint64 // sent, at least
	number  uint64        // in the order of the handshakes
	raft    bool          // an incoming one that carries Raft's messages; guarded by peers.mu
}

// recordSize is the most that a TLS record holds.
const recordSize = 16 << 10

// errKeysSpent ends a connection whose keys were used as often as they may be.
var errKeysSpent = errors.New("the keys of the connection were used for as many records as they may")

// Write sends p, unless it is Raft's and the connection's keys are spent: then it is closed,
// and Raft connects anew.
func (c *peerConn) Write(p []byte) (int, error) {
	if c.resent && c.spent() {
		return 0, errors.Join(errKeysSpent, c.Close())
	}
	c.records.Add((uint64(len(p)) + recordSize - 1) / recordSize)
	return c.Conn.Write(p)
}

// raftConn is an incoming connection of Raft's. Messages and answers take turns on it, read
// and written by one goroutine. Between messages it may rest for ever; one that has begun
// must go on.
type raftConn struct {
	*peerConn
	silence time.Duration
	amid    bool // something of a message was read, and nothing written since
}

// Read closes the connection after too long a silence within a message.
func (c *raftConn) Read(p []byte) (int, error) {
	if !c.amid {
		n, err := c.peerConn.Read(p)
		c.amid = n > 0
		return n, err
	}
	end := time.AfterFunc(c.silence, func() { _ = c.Close() }) // the reader is told
	defer end.Stop()
	return c.peerConn.Read(p)
}

// Write sends an answer.
func (c *raftConn) Write(p []byte) (int, error) {
	c.amid = false
	return c.peerConn.Write(p)
}

func (c *peerConn) spent() bool {
	limit := c.peers.cfg.MaxRecords
	return limit > 0 && c.records.Load() >= limit
}

// Worn says that the keys of a node-to-node connection were used as often as they may, for
// what this node sent: the message under way should be its last.
func Worn(c net.Conn) bool {
	p, ok := c.(*peerConn)
	return ok && p.spent()
}

// PeerID returns the id of the node at the other end.
func (c *peerConn) PeerID() string { return c.id }

func (c *peerConn) Close() error {
	c.peers.mu.Lock()
	delete(c.peers.conns, c)
	c.peers.mu.Unlock()
	// A peer that does not read must not hold up whoever closes.
	if err := c.SetWriteDeadline(c.peers.cfg.Now().Add(closeTimeout)); err != nil {
		return c.NetConn().Close()
	}
	return c.Conn.Close()
}

const closeTimeout = 100 * time.Millisecond

// Stream is one protocol's share of the network: Raft's stream layer, or the listener
// of an HTTP server.
type Stream struct {
	peers     *Peers
	protocol  Protocol
	incoming  chan net.Conn
	closed    chan struct{}
	closeOnce sync.Once
}

// Accept returns the next connection of this protocol, its handshake done.
func (s *Stream) Accept() (net.Conn, error) {
	select {
	case c := <-s.incoming:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	case <-s.peers.closed:
		return nil, net.ErrClosed
	}
}

// Dial connects to a peer, "id@host:port", and completes the handshake within the
// timeout.
func (s *Stream) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	id, address, ok := strings.Cut(string(to), "@")
	if !ok {
		return nil, fmt.Errorf("connecting to %q, which names no node", to)
	}
	c, err := s.DialContext(ctx, address)
	if err != nil {
		return nil, err
	}
	if got := c.(*peerConn).id; got != id {
		return nil, errors.Join(fmt.Errorf("connecting to node %s at %s: node %s answers there", id, address, got), c.Close())
	}
	return c, nil
}

// DialContext is Dial under a context.
func (s *Stream) DialContext(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{}
	if s.peers.cfg.LocalAddr != nil {
		d.LocalAddr = s.peers.cfg.LocalAddr
	}
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting to node at %s: %w", address, err)
	}
	conn := tls.Client(raw, s.peers.config(string(s.protocol)))
	c, err := s.peers.shake(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("connecting to node at %s: %w", address, err)
	}
	return c, nil
}

// Close ends Accept. The network and the other protocols go on.
func (s *Stream) Close() error {
	s.closeOnce.Do(func() { close(s.closed) })
	return nil
}

// Addr is the published address.
func (s *Stream) Addr() net.Addr { return s.peers.addr }

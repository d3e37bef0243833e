package tests

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// mesh is the network between the nodes of a test: one TCP proxy before each node, which
// knows by the address of the other end who it is. What a link does is set for each
// direction of its own. TCP loses nothing, so what a broken link holds back arrives late
// when it is healed, unless the connections are cut.
type mesh struct {
	t       *testing.T
	mu      sync.Mutex
	changed *sync.Cond
	numbers map[string]int // of nodes, by their node-to-node port
	links   map[[2]int]link
	conns   map[*meshConn]bool
	closed  bool
	work    sync.WaitGroup
	stop    []func() error
}

// link is what happens on the way from one node to another.
type link struct {
	cut   bool
	delay time.Duration
	spoil spoiling
}

// spoiling is what a link does to the bytes.
type spoiling int

const (
	faithful spoiling = iota
	flipped           // one bit of each piece
	twice             // each piece comes again
)

// meshConn is a connection that a node, from, has opened to another.
type meshConn struct {
	from, to int
	a, b     net.Conn
	once     sync.Once
	done     bool // guarded by mesh.mu
}

func newMesh(t *testing.T) *mesh {
	m := &mesh{t: t, numbers: map[string]int{}, links: map[[2]int]link{}, conns: map[*meshConn]bool{}}
	m.changed = sync.NewCond(&m.mu)
	return m
}

// edit puts a node of a network behind a proxy.
func (m *mesh) edit(config map[string]any) {
	face := config["network"].(map[string]any)[n2n].(map[string]any)
	bind := face["bind_address"].(string)
	_, port, err := net.SplitHostPort(bind)
	must(m.t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(m.t, err)
	m.mu.Lock()
	k := len(m.numbers) + 1
	m.numbers[port] = k
	m.stop = append(m.stop, ln.Close)
	m.mu.Unlock()
	face["published_address"] = ln.Addr().String()
	config["node_client_interface"] = fmt.Sprintf("127.0.1.%d:0", k)
	m.work.Go(func() { m.serve(ln, k, bind) })
}

// number is a node's in the mesh.
func (m *mesh) number(n *netNode) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.numbers[n.ports[n2n]]
}

func (m *mesh) serve(ln net.Listener, to int, upstream string) {
	for {
		a, err := ln.Accept()
		if err != nil {
			return // closed
		}
		var from int
		if _, err := fmt.Sscanf(a.RemoteAddr().String(), "127.0.1.%d:", &from); err != nil {
			m.t.Errorf("a connection from %v, which is no node", a.RemoteAddr())
			_ = a.Close()
			continue
		}
		b, err := net.Dial("tcp", upstream)
		if err != nil { // the node is gone
			_ = a.Close()
			continue
		}
		c := &meshConn{from: from, to: to, a: a, b: b}
		m.mu.Lock()
		m.conns[c] = true
		m.mu.Unlock()
		m.work.Go(func() { m.pipe(c, a, b, [2]int{from, to}) })
		m.work.Go(func() { m.pipe(c, b, a, [2]int{to, from}) })
	}
}

// pipe carries bytes one way until the connection ends.
func (m *mesh) pipe(c *meshConn, src, dst net.Conn, way [2]int) {
	defer m.drop(c)
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			spoil, ok := m.pass(c, way)
			if !ok {
				return
			}
			data := buf[:n]
			switch spoil {
			case flipped:
				data[n/2] ^= 1
			case twice:
				data = slices.Concat(data, data)
			}
			if _, err := dst.Write(data); err != nil {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
				m.t.Logf("mesh: %v", err)
			}
			return
		}
	}
}

// pass waits until a way is open, and says what it does to the bytes; false says that the
// connection is closed meanwhile.
func (m *mesh) pass(c *meshConn, way [2]int) (spoiling, bool) {
	m.mu.Lock()
	for m.links[way].cut && !c.done && !m.closed {
		m.changed.Wait()
	}
	l, ok := m.links[way], !c.done && !m.closed
	m.mu.Unlock()
	if l.delay > 0 {
		<-time.After(l.delay)
	}
	return l.spoil, ok
}

func (m *mesh) drop(c *meshConn) {
	m.mu.Lock()
	c.done = true
	delete(m.conns, c)
	m.changed.Broadcast()
	m.mu.Unlock()
	c.once.Do(func() { _, _ = c.a.Close(), c.b.Close() })
}

// set changes the way from one node to another.
func (m *mesh) set(from, to *netNode, l link) {
	way := [2]int{m.number(from), m.number(to)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.links[way] = l
	m.changed.Broadcast()
}

// heal opens all ways. cut closes the connections that were held up, so that nothing
// arrives late.
func (m *mesh) heal(cut bool) {
	m.mu.Lock()
	var held []*meshConn
	for c := range m.conns {
		if cut && (m.links[[2]int{c.from, c.to}] != link{} || m.links[[2]int{c.to, c.from}] != link{}) {
			held = append(held, c)
		}
	}
	m.mu.Unlock()
	for _, c := range held {
		m.drop(c)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.links)
	m.changed.Broadcast()
}

// close ends the mesh.
func (m *mesh) close() {
	m.mu.Lock()
	m.closed = true
	m.changed.Broadcast()
	conns, stop := m.conns, m.stop
	m.conns = map[*meshConn]bool{}
	m.mu.Unlock()
	for _, f := range stop {
		_ = f()
	}
	for c := range conns {
		c.once.Do(func() { _, _ = c.a.Close(), c.b.Close() })
	}
	m.work.Wait()
}

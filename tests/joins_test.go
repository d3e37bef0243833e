package tests

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/internal/identity"
	"chancery/server/api"
)

// asker is a node that asks to join by hand: as often, of whom and in company of whom a
// test wants.
type asker struct {
	w    *network
	id   string
	cert *tls.Certificate
	body string
}

// asker makes a node whose published node-to-node address is given. Its evidence is that of
// a node of the service, about its own key.
func (w *network) asker(address string) *asker {
	t := w.t
	t.Helper()
	curve, err := identity.CurveByName("secp384r1")
	must(t, err)
	key, err := identity.GenerateKey(curve)
	must(t, err)
	subject, err := identity.ParseSubject("CN=CCF Node")
	must(t, err)
	v, err := identity.ValidFor(time.Now().UTC().Truncate(time.Second), 1)
	must(t, err)
	cert, err := identity.SelfSignedNode(key, subject, nil, v)
	must(t, err)
	csr, err := identity.NewRequest(key, subject, nil)
	must(t, err)
	a := &asker{w: w}
	a.cert, err = identity.TLSCertificate(cert, key)
	must(t, err)
	a.id, err = identity.KeyID(key.Public())
	must(t, err)
	var own struct{ Raw []byte }
	must(t, w.primary().getJSON("/node/quotes/self", &own))
	evidence := map[string]any{}
	must(t, json.Unmarshal(own.Raw, &evidence))
	digest, err := hex.DecodeString(a.id)
	must(t, err)
	evidence["report_data"] = base64.StdEncoding.EncodeToString(digest)
	quote, err := json.Marshal(evidence)
	must(t, err)
	face := func(address string) map[string]any {
		return map[string]any{"bind_address": address, "published_address": address}
	}
	encryption, err := os.ReadFile(filepath.Join(w.dir, "member0_enc_pubk.pem"))
	must(t, err)
	body, err := json.Marshal(map[string]any{
		"node_info_network":           map[string]any{"node_to_node_interface": face(address), "rpc_interfaces": map[string]any{rpc: face("127.0.0.1:" + freePort(t))}},
		"quote_info":                  map[string]any{"format": "Insecure_Virtual", "quote": quote, "endorsements": ""},
		"public_encryption_key":       string(encryption),
		"certificate_signing_request": string(csr),
		"startup_seqno":               0,
	})
	must(t, err)
	a.body = string(body)
	return a
}

// reply is the answer to a request to join.
type reply struct {
	status int
	api.JoinAnswer
	text string
}

// ask asks a node once.
func (a *asker) ask(n *netNode) (r reply, err error) {
	var data []byte
	if r.status, data, err = n.doAs(a.cert, rpc, http.MethodPost, "/node/join", a.body); err != nil {
		return r, err
	}
	r.text = string(data)
	if r.status == http.StatusOK {
		err = json.Unmarshal(data, &r.JoinAnswer)
	}
	return r, err
}

// having are the nodes that the tables say have a status.
func (w *network) having(status string) []api.Node {
	w.t.Helper()
	var list api.Nodes
	must(w.t, w.primary().getJSON("/node/network/nodes?status="+status, &list))
	return list.Nodes
}

// together runs f for each of so many at the same moment.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	all.Wait()
}

// TestJoinTogether has nodes ask to join at the same moment: one key from many sides, and
// many keys with one address. There is one row (row 43 of the fault matrix).
func TestJoinTogether(t *testing.T) {
	w := newNetwork(t, 2)
	lead := w.primary()
	c := w.client(lead)
	defer c.Close()
	m := w.asMember(c)

	a := w.asker("127.0.0.1:" + freePort(t))
	together(16, func(i int) {
		n := w.nodes[i%2]
		r, err := a.ask(n)
		switch {
		case err != nil:
			t.Error(err)
		case r.status == http.StatusPermanentRedirect && n != lead: // it does not know the node yet
		case r.status != http.StatusOK || r.NodeID != a.id || r.NodeStatus != "Pending" || r.NetworkInfo != nil:
			t.Errorf("one of 16 requests with one key: %d %s", r.status, r.text)
		}
	})
	if rows := w.having("Pending"); len(rows) != 1 || rows[0].NodeID != a.id {
		t.Errorf("after 16 requests with one key: %+v", rows)
	}
	w.propose(m, action{"remove_node", map[string]any{"node_id": a.id}})

	many := make([]*asker, 16)
	address := "127.0.0.1:" + freePort(t)
	for i := range many {
		many[i] = w.asker(address)
	}
	var let atomic.Int32
	together(len(many), func(i int) {
		r, err := many[i].ask(lead)
		switch {
		case err != nil:
			t.Error(err)
		case r.status == http.StatusOK:
			let.Add(1)
		case r.status != http.StatusBadRequest || !strings.Contains(r.text, string(api.NodeAlreadyExists)) || !strings.Contains(r.text, address):
			t.Errorf("one of 16 requests with one address: %d %s", r.status, r.text)
		}
	})
	rows := w.having("Pending")
	if let.Load() != 1 || len(rows) != 1 {
		t.Errorf("of 16 nodes with one address %d were let in: %+v", let.Load(), rows)
	}

	// A process whose address is that one's: it ends, and says why.
	second := w.place()
	config := w.config(second, "127.0.0.1:"+lead.ports[rpc])
	config["network"].(map[string]any)[n2n].(map[string]any)["published_address"] = address
	w.launch(second, config)
	<-second.ended
	if last := lastLine(second.log()); second.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(last, string(api.NodeAlreadyExists)) || !strings.Contains(last, rows[0].NodeID) {
		t.Errorf("a node with another's address ends with %v and says %s", second.err, last)
	}
	w.forget(second)
	w.join()
	w.agree(w.nodes...)
}

// TestJoinRemoved: nobody is given a secret whom the service has never committed to trust:
// neither a node that members remove while it asks, nor one whom a primary trusts that is
// deposed before that is committed (row 65 of the fault matrix).
func TestJoinRemoved(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("processes")
	}
	m := newMesh(t)
	w := &network{t: t, dir: t.TempDir(), edits: []func(map[string]any){m.edit, func(c map[string]any) {
		c["consensus"] = map[string]any{"election_timeout": "2s"} // time to look at what a primary does that is cut off
	}}}
	t.Cleanup(m.close)
	w.begin(3)
	lead := w.primary()

	// One that is real, and one by hand that asks all nodes all the time.
	real := w.start("127.0.0.1:" + lead.ports[rpc])
	w.nodes = w.nodes[:3]
	hand := w.asker("127.0.0.1:" + freePort(t))
	w.until("it is Pending", func() error {
		r, err := hand.ask(lead)
		if err == nil && r.NodeStatus != "Pending" {
			err = fmt.Errorf("%d %s", r.status, r.text)
		}
		return err
	})
	var asked atomic.Int64
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for _, n := range w.nodes {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := hand.ask(n)
				if err == nil && (r.NetworkInfo != nil || strings.Contains(r.text, "PRIVATE KEY")) {
					t.Errorf("%s gives secrets: %d %s", n.name, r.status, r.text)
					return
				}
				asked.Add(1)
			}
		})
	}
	more := func() {
		t.Helper()
		before := asked.Load()
		w.until("it asks", func() error {
			if asked.Load() < before+20 {
				return errors.New("not often enough")
			}
			return nil
		})
	}
	trust := func(id string) action {
		return action{"transition_node_to_trusted", map[string]any{"node_id": id, "valid_from": time.Now().UTC().Format("060102150405Z")}}
	}
	remove := func(id string) action { return action{"remove_node", map[string]any{"node_id": id}} }
	c := w.client(lead)
	defer c.Close()
	member := w.asMember(c)
	w.until("the process is Pending", func() error {
		s, err := lead.nodeStatus(real.id)
		if err == nil && s != "Pending" {
			err = errors.New(s)
		}
		return err
	})

	// Its row goes; it asks again, and has another one.
	w.propose(member, remove(hand.id))
	more()
	w.until("it is Pending again", func() error {
		s, err := lead.nodeStatus(hand.id)
		if err == nil && s != "Pending" {
			err = errors.New(s)
		}
		return err
	})

	// Trusted by a primary that only it hears: it is deposed, and nobody knows of it.
	for _, n := range w.nodes {
		if n != lead {
			m.set(lead, n, link{cut: true})
			m.set(n, lead, link{cut: true})
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var proposing sync.WaitGroup
	proposing.Go(func() {
		text, err := json.Marshal(map[string]any{"actions": []action{trust(hand.id)}})
		if err == nil {
			_, err = member.Propose(ctx, text)
		}
		if err == nil {
			t.Error("a proposal is said to be committed that only one node has heard of")
		}
	})
	w.until("the primary trusts it", func() error {
		s, err := lead.nodeStatus(hand.id)
		if err == nil && s != "Trusted" {
			err = errors.New(s)
		}
		return err
	})
	if r, err := hand.ask(lead); err != nil || r.NetworkInfo != nil {
		t.Errorf("a primary that is cut off: %d %s %v", r.status, r.text, err)
	}
	cancel() // or the client would propose it again
	proposing.Wait()
	w.until("another node leads", func() error {
		for _, n := range w.nodes {
			if code, _, err := n.get(own, "/node/primary"); n != lead && err == nil && code == http.StatusOK {
				return nil
			}
		}
		return errors.New("nobody does")
	})
	more()
	m.heal(true)
	w.agree(w.nodes...)

	// Trusted and removed in one transaction: it is retired, and was never trusted.
	again := w.client()
	defer again.Close()
	member = w.asMember(again)
	for _, id := range []string{hand.id, real.id} {
		w.propose(member, trust(id), remove(id))
	}
	for _, n := range w.nodes {
		w.until(n.name+" refuses it", func() error {
			r, err := hand.ask(n)
			if err == nil && (r.status != http.StatusBadRequest || !strings.Contains(r.text, string(api.InvalidNodeState))) {
				err = fmt.Errorf("%d %s", r.status, r.text)
			}
			return err
		})
	}
	more()
	close(stop)
	asking.Wait()
	<-real.ended
	if last := lastLine(real.log()); real.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(last, string(api.InvalidNodeState)) {
		t.Errorf("a node that is removed while it joins ends with %v and says %s", real.err, last)
	}
	if _, err := os.Stat(filepath.Join(real.dir, "keys.json")); err == nil {
		t.Error("a node that is removed while it joins has the service's keys")
	}
	w.agree(w.nodes...)
}

// TestJoinFakeService leads nodes that join to a service that is not theirs, though its
// certificate says the same: they send it nothing, and end with CCF's words (row 66 of the
// fault matrix).
func TestJoinFakeService(t *testing.T) {
	w := newNetwork(t, 1)
	curve, err := identity.CurveByName("secp384r1")
	must(t, err)
	v := identity.Validity{NotBefore: w.service.NotBefore, NotAfter: w.service.NotAfter}
	key, err := identity.GenerateKey(curve)
	must(t, err)
	service, err := identity.SelfSignedService(key, w.service.RawSubject, v)
	must(t, err)
	fake, err := identity.ParseCertificate(service)
	must(t, err)
	nodeKey, err := identity.GenerateKey(curve)
	must(t, err)
	subject, err := identity.ParseSubject("CN=CCF Node")
	must(t, err)
	csr, err := identity.NewRequest(nodeKey, subject, nil)
	must(t, err)
	endorsed, err := identity.EndorseNode(csr, key, fake, v)
	must(t, err)
	self, err := identity.SelfSignedNode(nodeKey, subject, nil, v)
	must(t, err)
	shown, err := identity.TLSCertificate(endorsed, nodeKey)
	must(t, err)
	alone, err := identity.TLSCertificate(self, nodeKey)
	must(t, err)
	// The true certificates of the service behind a leaf of one's own make no difference.
	with := *shown
	with.Certificate = slices.Concat(shown.Certificate, [][]byte{w.service.Raw})

	var joiners []*netNode
	for name, cert := range map[string]*tls.Certificate{
		"issued by another key of the same name": shown, "the same, with the service's certificate": &with, "its own": alone,
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		var serving sync.WaitGroup
		serving.Go(func() {
			for {
				raw, err := ln.Accept()
				if err != nil {
					return // closed
				}
				conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{*cert}, ClientAuth: tls.RequestClientCert})
				said := make([]byte, 1)
				if n, _ := conn.Read(said); n != 0 {
					t.Errorf("%s: the node sends something", name)
				}
				_ = conn.Close()
			}
		})
		t.Cleanup(func() {
			_ = ln.Close()
			serving.Wait()
		})
		joiners = append(joiners, w.start(ln.Addr().String()))
	}
	for _, n := range joiners {
		<-n.ended
		if last := lastLine(n.log()); n.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(last, "invalid cert on handshake") {
			t.Errorf("a node that is led to another service ends with %v and says %s", n.err, last)
		}
	}
}

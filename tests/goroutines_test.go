package tests

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/internal/identity"
)

// TestFaultGoroutines opens and ends what nodes have goroutines for, round after round:
// sessions that say nothing, half a request or go before their answer, forwarded writes,
// joins that are refused, and links between nodes that break. Afterwards each node has as
// many goroutines and files as after the first round.
func TestFaultGoroutines(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("processes")
	}
	m := newMesh(t)
	w := &network{t: t, dir: t.TempDir(), edits: []func(map[string]any){m.edit, withMetrics(t)}}
	t.Cleanup(m.close)
	w.begin(3)
	key, err := identity.TLSCertificate(w.user.Cert, w.user.Key)
	must(t, err)
	first, second := w.asker("127.0.0.1:1"), w.asker("127.0.0.1:1")
	if r, err := first.ask(w.primary()); err != nil || r.status != http.StatusOK {
		t.Fatalf("%d %s %v", r.status, r.text, err)
	}
	const body = `{"id": 1, "msg": "x"}`
	request := fmt.Sprintf("POST /app/log/private HTTP/1.1\r\nHost: node\r\nPrefer: wait=commit\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	said := []string{"", "GET /node/com", request[:len(request)-3], request, request + request}

	round := func() {
		t.Helper()
		together(60, func(i int) { // sessions that end in the middle
			n := w.nodes[i%3]
			c, err := tls.Dial("tcp", "127.0.0.1:"+n.ports[rpc], &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*key}})
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, said[i%len(said)])
			_ = c.NetConn().Close()
		})
		together(60, func(i int) { // of which two thirds are forwarded
			if code, body, err := w.nodes[i%3].put(i, "x"); err != nil || code != http.StatusOK {
				t.Errorf("%d %s %v", code, body, err)
			}
		})
		together(30, func(i int) {
			r, err := second.ask(w.nodes[i%3])
			if err != nil || r.status != http.StatusBadRequest && r.status != http.StatusPermanentRedirect {
				t.Errorf("a join that is to be refused: %d %s %v", r.status, r.text, err)
			}
		})
		for range 5 {
			for _, from := range w.nodes {
				for _, to := range w.nodes {
					if from != to {
						m.set(from, to, link{delay: time.Millisecond})
					}
				}
			}
			m.heal(true) // closes all that there is
			for i, n := range w.nodes {
				w.until(n.name+" is heard again", func() error {
					code, body, err := n.put(i, "again")
					if err == nil && code != http.StatusOK {
						err = fmt.Errorf("%d %s", code, body)
					}
					return err
				})
			}
		}
		w.agree(w.nodes...)
	}
	round()
	type count struct{ goroutines, files float64 }
	look := func(n *netNode) count {
		f := n.figures()
		return count{f.value(t, "go_goroutines"), f.value(t, "process_open_fds")}
	}
	// What the first round leaves open for a while differs from time to time: up to 16
	// connections from each backup to the primary.
	const spare = 40
	before := map[*netNode]count{}
	for _, n := range w.nodes {
		before[n] = look(n)
	}
	for range 4 {
		round()
	}
	var all []string
	for _, n := range w.nodes {
		w.until(n.name+" has ended what it began", func() error {
			if now, was := look(n), before[n]; now.goroutines > was.goroutines+spare || now.files > was.files+spare {
				return fmt.Errorf("%+v, after the first round %+v", now, was)
			}
			return nil
		})
		all = append(all, fmt.Sprintf("%s: %+v, then %+v", n.name, before[n], look(n)))
	}
	t.Log(strings.Join(all, "; "))
}

package node

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"chancery/server"
)

// TestExposition: one scrape at a time; what cannot be gathered is said without details.
func TestExposition(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	e := &exposition{log: slog.New(slog.DiscardHandler), figures: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		entered <- struct{}{}
		<-release
		return nil, errors.New("secret")
	})}
	get := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest("GET", metricsPath, nil))
		return w
	}
	first := make(chan *httptest.ResponseRecorder, 1)
	go func() { first <- get() }()
	<-entered
	if w := get(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
		t.Errorf("a second scrape: %d %v", w.Code, w.Header())
	}
	close(release)
	if w := <-first; w.Code != http.StatusInternalServerError || w.Body.String() != "figures cannot be gathered; the node's log says why\n" {
		t.Errorf("a failing scrape: %d %s", w.Code, w.Body)
	}
}

// TestCappedListener: connections beyond the cap are closed, and room is made by closing
// one, once.
func TestCappedListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	capped := &cappedListener{Listener: ln, slots: make(chan struct{}, 1)}
	defer capped.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	accepted := make(chan net.Conn, 2)
	go func() {
		for {
			c, err := capped.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial()
	first := <-accepted
	if _, err := dial().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("beyond the cap: %v", err)
	}
	for range 2 {
		_ = first.Close() // the second time it must not make room again
	}
	dial()
	second := <-accepted
	defer second.Close()
	if len(capped.slots) != 1 {
		t.Errorf("%d connections count, want 1", len(capped.slots))
	}
}

// TestOperationsPage holds docs/operations.md and the figures together.
func TestOperationsPage(t *testing.T) {
	n := &Node{disk: newDisk(0, time.Now, slog.New(slog.DiscardHandler))}
	s, err := server.New(server.Config{Node: n, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	figures := map[string]bool{}
	name := regexp.MustCompile(`fqName: "([a-z_]+)"`)
	for _, c := range append(s.Collectors(), n.disk.took, nodeCollector{n}) {
		described := make(chan *prometheus.Desc, 100)
		c.Describe(described)
		close(described)
		for d := range described {
			figures[name.FindStringSubmatch(d.String())[1]] = true
		}
	}
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) > 4 {
			for _, m := range regexp.MustCompile("`(chancery_[a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
				written[m[1]] = true
			}
		}
	}
	for f := range figures {
		if !written[f] {
			t.Errorf("the page lacks %s", f)
		}
	}
	for f := range written {
		if !figures[f] {
			t.Errorf("the page has %s, which no node shows", f)
		}
	}
}

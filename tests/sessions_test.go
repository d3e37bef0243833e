package tests

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"chancery/client"
)

// TestIdleConnections opens far more connections than the interface admits and says
// nothing on them: those beyond the hard cap are closed at once, the memory stays
// bounded, and clients that were there are served all the while.
func TestIdleConnections(t *testing.T) {
	many := 10000
	if testing.Short() || raceEnabled {
		many = 2500
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < uint64(many+500) {
		t.Skipf("SKIPPED: %d connections need more than the %d files that this process may open", many, limit.Max)
	}
	s := newSandbox(t)
	address := "127.0.0.1:" + freePort(t)
	s.up("--metrics", address)
	c := s.client()
	defer c.Close()
	if _, err := c.Do(t.Context(), put(1, "before")); err != nil { // its session is within the caps
		t.Fatal(err)
	}
	before, _ := scrape(t, address)
	for i := range many {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+s.port, 10*time.Second)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer conn.Close()
		if i%500 == 0 {
			if _, err := c.Do(t.Context(), client.Request{Path: "/app/log/private?id=1"}); err != nil {
				t.Fatalf("with %d idle connections: %v", i, err)
			}
		}
	}
	var after figures
	// On a slow machine the first are gone, without a handshake, before the last come.
	until(t, "most connections are closed", func() bool {
		after, _ = scrape(t, address)
		return after.value(t, "chancery_server_refused_sessions_total", "kind=hard") >= float64(many)/2
	})
	if open := after.value(t, "chancery_server_sessions"); open > 1010 {
		t.Errorf("%v sessions are open, beyond the hard cap", open)
	}
	if peak := after.value(t, "chancery_server_sessions_peak"); peak != 1010 {
		t.Errorf("at most %v sessions were open, want the hard cap", peak)
	}
	if grown := after.value(t, "process_resident_memory_bytes") - before.value(t, "process_resident_memory_bytes"); grown > 200<<20 {
		t.Errorf("the node grew by %.0f bytes", grown)
	}
	if _, err := c.Do(t.Context(), put(2, "after")); err != nil {
		t.Errorf("a write beside them: %v", err)
	}
}

package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/kv"
)

// smuggled is a request that must never be executed: it hides behind another one.
const smuggled = "PUT /app/rec/smuggled HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n{\"value\":\"x\"}"

// TestSmuggling sends requests that two parsers may read in two ways. Each is refused
// with 400, the connection is closed, and what stands behind it is not looked at.
func TestSmuggling(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) { o.IdleTimeout = 5 * time.Second })
	head := func(fields string) string { return "PUT /app/rec/first HTTP/1.1\r\nhost: x\r\n" + fields + "\r\n" }
	for name, request := range map[string]string{
		"length and coding":      head("content-length: 6\r\ntransfer-encoding: chunked\r\n") + "0\r\n\r\n",
		"coding and length":      head("transfer-encoding: chunked\r\ncontent-length: 4\r\n") + "0\r\n\r\n",
		"two codings":            head("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n") + "0\r\n\r\n",
		"coding in disguise":     head("transfer-encoding: xchunked\r\n") + "0\r\n\r\n",
		"space before the colon": head("transfer-encoding : chunked\r\n") + "0\r\n\r\n",
		"two lengths":            head("content-length: 0\r\ncontent-length: 5\r\n"),
		"one length twice":       head("content-length: 0\r\ncontent-length: 0\r\n"),
		"list of lengths":        head("content-length: 0, 0\r\n"),
		"negative length":        head("content-length: -1\r\n"),
		"signed length":          head("content-length: +0\r\n"),
		"folded field":           head("a: b\r\n content-length: 0\r\n"),
		"bare LF":                head("a: b\ncontent-length: 0\r\n"),
		"bare CR":                head("a: b\rcontent-length: 0\r\n"),
		"NUL in a value":         head("a: \x00\r\n"),
		"NUL in a name":          head("a\x00: b\r\n"),
		"NUL in the path":        "GET /app/\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
		"unknown method":         "FETCH /node/state HTTP/1.1\r\nhost: x\r\n\r\n",
		"lower-case method":      "get /node/state HTTP/1.1\r\nhost: x\r\n\r\n",
		"no version":             "GET /node/state\r\n\r\n",
		"spaces in the path":     "GET /node/state x HTTP/1.1\r\nhost: x\r\n\r\n",
		"empty line first":       "\r\nGET /node/state HTTP/1.1\r\nhost: x\r\n\r\n",
		"two hosts":              "GET /node/state HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			before := s.sessions(t).Interfaces["primary"].Errors.Parsing
			res, body := s.raw(t, request+smuggled)
			if res.StatusCode != 400 || !res.Close || res.Header.Get("content-type") != "text/plain" || !strings.HasPrefix(body, "Unable to parse data as a HTTP request. Error message is: ") {
				t.Errorf("%d, close %t, %q: %.200q", res.StatusCode, res.Close, res.Header.Get("content-type"), body)
			}
			if after := s.sessions(t).Interfaces["primary"].Errors.Parsing; after != before+1 {
				t.Errorf("parsing errors went from %d to %d", before, after)
			}
		})
	}
	if a := s.do(t, s.client(t, nil), "GET", "/app/rec/smuggled", ""); a.StatusCode != 404 {
		t.Errorf("a smuggled request was executed: %d %s", a.StatusCode, a.body)
	}
}

// TestNoRequest sends what can't become a request, without an end. It is answered at
// once, with what was sent.
func TestNoRequest(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) { o.IdleTimeout = time.Hour })
	for _, text := range []string{"\x01", "\x01\x02\x03\x04", "\x00\r", "\xff", "a", "NOTAVERB ", "POST / HTTP/42.42", `{"hello": "world"}`} {
		res, body := s.raw(t, text)
		if want := "\nError occurred while parsing fragment:\n" + text; res.StatusCode != 400 || !res.Close || !strings.HasSuffix(body, want) {
			t.Errorf("%q: %d, close %t: %q", text, res.StatusCode, res.Close, body)
		}
	}
}

// TestNoHost sends requests without a Host field, as CCF serves them: whole, byte by byte,
// and two at once.
func TestNoHost(t *testing.T) {
	s := recordService(t, func(*Config, *InterfaceOptions) {})
	const get = "GET /node/state HTTP/1.1\r\nx: y\r\n\r\n"
	c := s.dial(t)
	go func() {
		for i := range get {
			_, _ = io.WriteString(c, get[i:i+1])
		}
		_, _ = io.WriteString(c, "GET /node/state HTTP/1.1\r\n\r\n"+get)
	}()
	for r, i := bufio.NewReader(c), 0; i < 3; i++ {
		res, err := http.ReadResponse(r, nil)
		must(t, err)
		body, err := io.ReadAll(res.Body)
		must(t, err)
		if res.StatusCode != 200 || res.Close {
			t.Errorf("request %d: %d, close %t: %s", i, res.StatusCode, res.Close, body)
		}
	}
}

// TestBrokenBodies sends bodies that do not keep to their framing: 400, and the end of
// the connection.
func TestBrokenBodies(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) { o.IdleTimeout = 5 * time.Second })
	chunked := "PUT /app/rec/first HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
	for name, request := range map[string]string{
		"size is no number":          chunked + "x\r\n",
		"negative size":              chunked + "-1\r\n",
		"huge size":                  chunked + "fffffffffffffffff\r\n",
		"chunk longer than its size": chunked + "2\r\nabc\r\n0\r\n\r\n",
		"bare LF after a size":       chunked + "2\nab\r\n0\r\n\r\n",
		"endless extension":          chunked + "2;" + strings.Repeat("x", 1<<16),
		"field of a trailer":         chunked + "0\r\nbad\r\n\r\n",
		"folded trailer":             chunked + "0\r\na: b\r\n c\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			res, body := s.raw(t, request+smuggled)
			if res.StatusCode != 400 || !res.Close {
				t.Errorf("%d, close %t: %.200s", res.StatusCode, res.Close, body)
			}
		})
	}
	// A body that ends before its length, and one that ends before its last chunk.
	for _, request := range []string{chunked + "5\r\nabc", "PUT /app/rec/first HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nabc"} {
		c := s.dial(t)
		_, err := io.WriteString(c, request)
		must(t, err)
		must(t, c.CloseWrite())
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		must(t, err)
		if res.StatusCode != 400 || !res.Close {
			t.Errorf("%q: %d, close %t", request, res.StatusCode, res.Close)
		}
	}
	if a := s.do(t, s.client(t, nil), "GET", "/app/rec/smuggled", ""); a.StatusCode != 404 {
		t.Errorf("a smuggled request was executed: %d %s", a.StatusCode, a.body)
	}
}

// drip sends a text byte by byte until the connection ends.
func drip(c net.Conn, text string) {
	for i := range len(text) {
		if _, err := c.Write([]byte{text[i]}); err != nil {
			return
		}
		<-time.After(5 * time.Millisecond) // the attack is its slowness
	}
}

// TestSlowClients drips headers and bodies. Each connection ends within the idle time,
// and others are served meanwhile.
func TestSlowClients(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) { o.IdleTimeout = 700 * time.Millisecond })
	const put = "PUT /app/rec/slow HTTP/1.1\r\nhost: x\r\n"
	for _, tt := range []struct {
		name, at, slow string
		status         int // 0: closed without an answer, as CCF does
	}{
		{"header", "", put + "x: " + strings.Repeat("y", 1<<12), 0},
		{"silence in the header", put, "", 0},
		{"body", put + "content-length: 4096\r\n\r\n", strings.Repeat("y", 1<<12), 408},
		{"silence in the body", put + "content-length: 4096\r\n\r\n", "", 408},
		{"chunks", put + "transfer-encoding: chunked\r\n\r\n", strings.Repeat("1\r\ny\r\n", 1<<10), 408},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := s.dial(t)
			must(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
			_, err := io.WriteString(c, tt.at)
			must(t, err)
			go drip(c, tt.slow)
			if a := s.do(t, s.client(t, nil), "GET", "/node/state", ""); a.StatusCode != 200 {
				t.Errorf("another client meanwhile: %d", a.StatusCode)
			}
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if tt.status == 0 {
				if err == nil {
					t.Errorf("answered %d", res.StatusCode)
				} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
					t.Error("the connection did not end")
				}
				return
			}
			must(t, err)
			if res.StatusCode != tt.status || !res.Close {
				t.Errorf("%d, close %t, want %d", res.StatusCode, res.Close, tt.status)
			}
		})
	}
	s.awaitSessions(t, 1)
}

// awaitSessions waits until no more than n sessions are open, the asking one among them.
func (s *service) awaitSessions(t *testing.T, n uint64) {
	t.Helper()
	c := s.client(t, nil)
	late := time.After(20 * time.Second)
	for {
		a := s.do(t, c, "GET", "/node/state", "")
		if a.StatusCode != 200 {
			t.Fatalf("asking: %d", a.StatusCode)
		}
		open := s.Server.sessionMetrics().Active
		if open <= n {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatalf("%d sessions are still open", open)
		}
	}
}

// keep puts a record of so many bytes into the store, as "large".
func (s *service) keep(t *testing.T, size int) {
	t.Helper()
	s.node.put(t, func(tx *kv.Tx) { tx.Put("records", []byte("large"), bytes.Repeat([]byte("x"), size)) })
}

// TestUnreadAnswers asks for large answers and takes none of them: the session is cut
// off after the idle time.
func TestUnreadAnswers(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2 %t", h2), func(t *testing.T) {
			s := recordService(t, func(_ *Config, o *InterfaceOptions) {
				o.HTTP2, o.IdleTimeout = h2, 700*time.Millisecond
			})
			s.keep(t, 4<<20)
			if h2 {
				c := s.dialH2(t, settings{windowSize: 0})
				for range 10 {
					c.get("/app/rec/large")
				}
				if resets := c.count(10, isReset); resets != 10 {
					t.Errorf("%d of 10 streams were reset", resets)
				}
				return
			}
			c := s.dial(t)
			must(t, c.NetConn().(*net.TCPConn).SetReadBuffer(4096))
			for range 10 {
				_, err := io.WriteString(c, "GET /app/rec/large HTTP/1.1\r\nhost: x\r\n\r\n")
				must(t, err)
			}
			late := time.After(20 * time.Second)
			for s.Server.sessionMetrics().Active > 0 {
				select {
				case <-time.After(10 * time.Millisecond):
				case <-late:
					t.Fatal("the session is still open")
				}
			}
		})
	}
}

// TestSteadyReader takes a large answer slowly, over more than the idle time, but without
// pause: it gets it whole.
func TestSteadyReader(t *testing.T) {
	const size = 24 << 20
	s := recordService(t, func(_ *Config, o *InterfaceOptions) { o.IdleTimeout = 400 * time.Millisecond })
	s.keep(t, size)
	c := s.dial(t)
	_, err := io.WriteString(c, "GET /app/rec/large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
	must(t, err)
	begun := time.Now()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	got := int64(0)
	for {
		n, err := io.CopyN(io.Discard, res.Body, 2<<20)
		if got += n; err != nil {
			break
		}
		<-time.After(60 * time.Millisecond) // it is slow
	}
	if took := time.Since(begun); got < size || took < 400*time.Millisecond {
		t.Errorf("%d bytes in %v", got, took)
	}
}

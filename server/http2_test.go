package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// settings are what an HTTP/2 client announces; windowSize is in bytes.
type settings struct{ windowSize uint32 }

// h2conn is an HTTP/2 client that says what the test wants, frame by frame.
type h2conn struct {
	*http2.Framer
	t    *testing.T
	tls  *tls.Conn
	hbuf bytes.Buffer
	enc  *hpack.Encoder
	next uint32 // the next stream
}

// dialH2 opens a connection and reads the server's settings.
func (s *service) dialH2(t *testing.T, o settings) *h2conn {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.self.cert)
	c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	h := &h2conn{Framer: http2.NewFramer(c, c), t: t, tls: c, next: 1}
	h.enc = hpack.NewEncoder(&h.hbuf)
	h.AllowIllegalWrites = true
	_, err = c.Write([]byte(http2.ClientPreface))
	must(t, err)
	must(t, h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: o.windowSize}))
	f, err := h.ReadFrame()
	must(t, err)
	if _, ok := f.(*http2.SettingsFrame); !ok {
		t.Fatalf("the first frame is %v", f)
	}
	must(t, h.WriteSettingsAck())
	return h
}

// fields encodes a header block.
func (h *h2conn) fields(pairs ...string) []byte {
	h.hbuf.Reset()
	for i := 0; i < len(pairs); i += 2 {
		must(h.t, h.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return bytes.Clone(h.hbuf.Bytes())
}

// get opens a stream with a whole request and returns its number.
func (h *h2conn) get(path string, more ...string) uint32 {
	id := h.next
	h.next += 2
	block := h.fields(append([]string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", path}, more...)...)
	must(h.t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: true}))
	return id
}

// count reads frames until as many as wanted are found, or the connection ends.
func (h *h2conn) count(want int, is func(http2.Frame) bool) (found int) {
	for found < want {
		f, err := h.ReadFrame()
		if err != nil {
			return found
		}
		if is(f) {
			found++
		}
	}
	return found
}

func isReset(f http2.Frame) bool  { _, ok := f.(*http2.RSTStreamFrame); return ok }
func isGoAway(f http2.Frame) bool { _, ok := f.(*http2.GoAwayFrame); return ok }

// ends waits until the server has closed the connection, and returns the error codes of
// the GOAWAY frames before.
func (h *h2conn) ends() (codes []http2.ErrCode) {
	h.t.Helper()
	for {
		f, err := h.ReadFrame()
		if err != nil {
			var timeout interface{ Timeout() bool }
			if errors.As(err, &timeout) && timeout.Timeout() {
				h.t.Error("the connection did not end")
			}
			return codes
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			codes = append(codes, g.ErrCode)
		}
	}
}

// flood repeats a write until it fails or was done n times.
func flood(n int, write func() error) int {
	for i := range n {
		if write() != nil {
			return i
		}
	}
	return n
}

// attack is one way to use HTTP/2 against a server.
type attack struct {
	name string
	run  func(*h2conn)
}

// TestHTTP2Attacks runs each attack beside a client that must be served on, and looks
// at what is left of it.
func TestHTTP2Attacks(t *testing.T) {
	const many = 20000
	attacks := []attack{
		{"rapid reset", func(h *h2conn) {
			sent := flood(many, func() error {
				return errors.Join(func() error { h.get("/node/network"); return nil }(), h.WriteRSTStream(h.next-2, http2.ErrCodeCancel))
			})
			h.t.Logf("%d streams opened and reset", sent)
		}},
		{"endless header block", func(h *h2conn) {
			block := h.fields(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/node/state")
			must(h.t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true}))
			junk := h.fields("x", strings.Repeat("y", 8000))
			sent := flood(many, func() error { return h.WriteContinuation(1, false, junk) })
			if sent == many {
				h.t.Error("every CONTINUATION frame was taken")
			}
			h.ends()
		}},
		{"settings without end", func(h *h2conn) {
			flood(many, func() error { return h.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14}) })
		}},
		{"pings without end", func(h *h2conn) { flood(many, func() error { return h.WritePing(false, [8]byte{}) }) }},
		{"header bomb", func(h *h2conn) {
			// One large field in the table, then thousands of one-byte references to it.
			block := h.fields(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/node/state", "bomb", strings.Repeat("z", 3000))
			block = append(block, bytes.Repeat([]byte{0x80 | 62}, 15000)...)
			must(h.t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true}))
			h.count(1, func(f http2.Frame) bool { return isReset(f) || isGoAway(f) || f.Header().Type == http2.FrameHeaders })
		}},
		{"more data than the window", func(h *h2conn) {
			block := h.fields(":method", "PUT", ":scheme", "https", ":authority", "x", ":path", "/app/rec/a")
			must(h.t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true}))
			flood(200, func() error { return h.WriteData(1, false, make([]byte, 1<<14)) })
		}},
		{"frame beyond the limit", func(h *h2conn) {
			_ = h.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 1<<20))
			h.ends()
		}},
		{"reserved stream", func(h *h2conn) {
			must(h.t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 2, BlockFragment: h.fields(":method", "GET"), EndHeaders: true}))
			h.ends()
		}},
		{"header block of nonsense", func(h *h2conn) {
			must(h.t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: bytes.Repeat([]byte{0xff}, 100), EndHeaders: true}))
			h.ends()
		}},
	}
	s := recordService(t, func(_ *Config, o *InterfaceOptions) { o.HTTP2, o.IdleTimeout = true, 2*time.Second })
	other := s.client(t, nil)
	other.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			h := s.dialH2(t, settings{windowSize: 1 << 16})
			done := make(chan struct{})
			go func() { defer close(done); a.run(h) }()
			for served := 0; ; served++ {
				if a := s.do(t, other, "GET", "/node/state", ""); a.StatusCode != 200 {
					t.Fatalf("another client meanwhile: %d", a.StatusCode)
				}
				select {
				case <-done:
				case <-time.After(5 * time.Millisecond):
					continue
				}
				break
			}
			h.tls.Close()
		})
	}
	s.awaitH2(t, other)
	var after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if n := runtime.NumGoroutine(); n > goroutines+20 {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
}

// awaitH2 waits until only the asking session is left.
func (s *service) awaitH2(t *testing.T, c *http.Client) {
	t.Helper()
	late := time.After(20 * time.Second)
	for s.Server.sessionMetrics().Active > 1 {
		if a := s.do(t, c, "GET", "/node/state", ""); a.StatusCode != 200 {
			t.Fatalf("asking: %d", a.StatusCode)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatalf("%d sessions are still open", s.Server.sessionMetrics().Active)
		}
	}
}

// outcome reads until the first stream is answered or reset, or the connection ends, and
// says which: "200", "RST_STREAM PROTOCOL_ERROR", "GOAWAY FRAME_SIZE_ERROR", "end".
func (h *h2conn) outcome() string {
	dec := hpack.NewDecoder(4096, nil)
	for {
		f, err := h.ReadFrame()
		if err != nil {
			return "end"
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			fields, err := dec.DecodeFull(f.HeaderBlockFragment())
			must(h.t, err)
			return fields[0].Value
		case *http2.RSTStreamFrame:
			return "RST_STREAM " + f.ErrCode.String()
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo { // otherwise an answer follows
				return "GOAWAY " + f.ErrCode.String()
			}
		}
	}
}

// TestHTTP2Malformed breaks RFC 9113 in one way at a time: the stream or the connection
// ends, as the RFC says, and no endpoint is executed.
func TestHTTP2Malformed(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) { o.HTTP2, o.IdleTimeout = true, 5*time.Second })
	request := []string{":method", "PUT", ":scheme", "https", ":authority", "x", ":path", "/app/rec/never"}
	headers := func(h *h2conn, end bool, fields ...string) {
		must(t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.fields(fields...), EndStream: end, EndHeaders: true}))
	}
	with := func(more ...string) func(*h2conn) {
		return func(h *h2conn) { headers(h, true, append(append([]string{}, request...), more...)...) }
	}
	raw := func(t http2.FrameType, flags http2.Flags, stream uint32, payload ...byte) func(*h2conn) {
		return func(h *h2conn) { must(h.t, h.WriteRawFrame(t, flags, stream, payload)) }
	}
	const stream, connection = "RST_STREAM PROTOCOL_ERROR", "GOAWAY PROTOCOL_ERROR"
	for _, tt := range []struct {
		name string
		run  func(*h2conn)
		want string // several, separated by |
	}{
		{"upper-case name", with("X-Upper", "1"), stream},
		{"connection field", with("connection", "close"), stream + "|400"},
		{"transfer-encoding", with("transfer-encoding", "chunked"), stream + "|400"},
		{"te other than trailers", with("te", "gzip"), stream + "|400"},
		{"line break in a value", with("x", "a\r\nb: c"), stream},
		{"NUL in a value", with("x", "a\x00b"), stream},
		{"unknown pseudo-header", with(":odd", "1"), stream},
		{"response pseudo-header", with(":status", "200"), stream},
		{"path twice", with(":path", "/app/rec/other"), stream},
		{"pseudo-header behind a field", func(h *h2conn) { headers(h, true, append([]string{"x", "1"}, request...)...) }, stream},
		{"no path", func(h *h2conn) { headers(h, true, ":method", "PUT", ":scheme", "https", ":authority", "x") }, stream},
		{"no method", func(h *h2conn) { headers(h, true, ":path", "/", ":scheme", "https", ":authority", "x") }, stream},
		{"empty path", func(h *h2conn) {
			headers(h, true, ":method", "PUT", ":scheme", "https", ":authority", "x", ":path", "")
		}, stream},
		{"path without a slash", func(h *h2conn) {
			headers(h, true, ":method", "PUT", ":scheme", "https", ":authority", "x", ":path", "app/rec/never")
		}, stream},
		{"less body than its length", func(h *h2conn) {
			headers(h, false, append(append([]string{}, request...), "content-length", "9")...)
			must(t, h.WriteData(1, true, []byte("{}")))
		}, stream + "|400"},
		{"more body than its length", func(h *h2conn) {
			headers(h, false, append(append([]string{}, request...), "content-length", "1")...)
			must(t, h.WriteData(1, true, []byte("{}")))
		}, stream + "|400"},
		{"data without a stream", raw(http2.FrameData, 0, 1, 'x'), connection},
		{"data on stream 0", raw(http2.FrameData, 0, 0, 'x'), connection},
		{"padding longer than the frame", raw(http2.FrameData, http2.FlagDataPadded, 1, 200, 'x'), connection},
		{"continuation without headers", raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1), connection},
		{"window update of 0", raw(http2.FrameWindowUpdate, 0, 0, 0, 0, 0, 0), connection},
		{"window beyond 2^31", func(h *h2conn) {
			must(t, h.WriteWindowUpdate(0, 1<<31-1))
		}, "GOAWAY FLOW_CONTROL_ERROR"},
		{"settings on a stream", raw(http2.FrameSettings, 0, 1), connection},
		{"settings of odd length", raw(http2.FrameSettings, 0, 0, 1, 2, 3), "GOAWAY FRAME_SIZE_ERROR"},
		{"settings with a window beyond 2^31", raw(http2.FrameSettings, 0, 0, 0, 4, 0x80, 0, 0, 0), "GOAWAY FLOW_CONTROL_ERROR"},
		{"settings with push 2", raw(http2.FrameSettings, 0, 0, 0, 2, 0, 0, 0, 2), connection},
		{"settings with tiny frames", raw(http2.FrameSettings, 0, 0, 0, 5, 0, 0, 0, 1), connection},
		{"ping of odd length", raw(http2.FramePing, 0, 0, 1, 2, 3), "GOAWAY FRAME_SIZE_ERROR"},
		{"ping on a stream", raw(http2.FramePing, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8), connection},
		{"reset of a stream that is not", raw(http2.FrameRSTStream, 0, 1, 0, 0, 0, 8), connection},
		{"push promise", raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, 0, 0, 0, 2), connection},
		{"second preface", func(h *h2conn) { _, err := h.tls.Write([]byte(http2.ClientPreface)); must(t, err) }, "GOAWAY FRAME_SIZE_ERROR|" + connection},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := s.dialH2(t, settings{windowSize: 1 << 16})
			tt.run(h)
			if got := h.outcome(); !slices.Contains(strings.Split(tt.want, "|"), got) {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
	c := s.client(t, nil)
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	if a := s.do(t, c, "GET", "/app/rec/never", ""); a.StatusCode != 404 {
		t.Errorf("a malformed request was executed: %d %s", a.StatusCode, a.body)
	}
}

// TestHTTP2Streams opens more streams than an interface allows: those beyond are refused.
func TestHTTP2Streams(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) {
		o.HTTP2, o.MaxConcurrentStreams, o.IdleTimeout = true, 5, 2*time.Second
	})
	h := s.dialH2(t, settings{windowSize: 1 << 16})
	for id := uint32(1); id <= 13; id += 2 { // seven requests whose bodies do not come
		block := h.fields(":method", "PUT", ":scheme", "https", ":authority", "x", ":path", "/app/rec/a")
		must(t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true}))
	}
	refused := 0
	h.count(2, func(f http2.Frame) bool {
		r, ok := f.(*http2.RSTStreamFrame)
		if !ok {
			return false
		}
		if r.ErrCode != http2.ErrCodeRefusedStream && r.ErrCode != http2.ErrCodeProtocol {
			t.Errorf("stream %d was reset with %v", r.StreamID, r.ErrCode)
		}
		refused++
		return true
	})
	if refused != 2 {
		t.Errorf("%d streams were refused, want 2", refused)
	}
}

// TestHTTP2Idle checks that a session ends on which no request begins, or none ends.
func TestHTTP2Idle(t *testing.T) {
	s := recordService(t, func(_ *Config, o *InterfaceOptions) { o.HTTP2, o.IdleTimeout = true, 700*time.Millisecond })
	for name, begin := range map[string]func(*h2conn){
		"silence": func(*h2conn) {},
		"half a header block": func(h *h2conn) {
			must(h.t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.fields(":method", "GET")}))
		},
		"after a request": func(h *h2conn) { h.get("/node/state") },
		"a body that does not come": func(h *h2conn) {
			block := h.fields(":method", "PUT", ":scheme", "https", ":authority", "x", ":path", "/app/rec/a")
			must(h.t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := s.dialH2(t, settings{windowSize: 1 << 16})
			begin(h)
			h.ends()
		})
	}
}

package server

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestFraming feeds headers byte by byte, in two halves and at once: each time the same
// is wrong with them.
func TestFraming(t *testing.T) {
	head := func(fields string) string { return "PUT /x HTTP/1.1\r\nhost: x\r\n" + fields + "\r\n" }
	long := strings.Repeat("x", 3*lineKept)
	for _, tt := range []struct{ name, text, wrong string }{
		{"plain", head(""), ""},
		{"long path", "GET /" + long + " HTTP/1.1\r\nx: " + long + "\r\n\r\n", ""},
		{"length", head("Content-Length:  3 \r\n") + "abc" + head(""), ""},
		{"nothing looked at in a body", head("content-length: 4\r\n") + "\n\x00\r " + head(""), ""},
		{"chunks", head("transfer-encoding: Chunked\r\n") + "2;a=b\r\n\n\x00\r\nA \r\n0123456789\r\n0\r\nt: 1\r\n\r\n" + head(""), ""},
		{"chunks after a long path", "PUT /" + long + " HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", ""},
		{"two requests", head("") + head(""), ""},
		{"unknown method", "FETCH / HTTP/1.1\r\n\r\n", "Invalid method encountered"},
		{"lower-case method", "get / HTTP/1.1\r\n\r\n", "Invalid method encountered"},
		{"method behind a space", " GET / HTTP/1.1\r\n\r\n", "Invalid method encountered"},
		{"method behind a NUL", "\x00GET / HTTP/1.1\r\n\r\n", "NUL in the header"},
		{"one word", "GET\r\n\r\n", "Invalid method encountered"},
		{"not a method yet", "NOTA", "Invalid method encountered"},
		{"maybe a method yet", "DELE", ""},
		{"not a version yet", "POST / HTTP/42", "Invalid HTTP version"},
		{"maybe a version yet", "POST / HTTP/1.", ""},
		{"another version", "POST / HTTP/2.0\r\n\r\n", "Invalid HTTP version"},
		{"space in the path", "GET /a b HTTP/1.1\r\n\r\n", "Invalid HTTP version"},
		{"JSON", `{"hello": "world"}`, "Invalid method encountered"},
		{"dashed method", "M-SEARCH / HTTP/1.1\r\n\r\n", ""},
		{"bare LF", "GET / HTTP/1.1\nhost: x\r\n\r\n", "Missing expected CR before LF"},
		{"bare LF in a field", head("a: b\nc: d\r\n"), "Missing expected CR before LF"},
		{"bare LF at the end", "GET / HTTP/1.1\r\nhost: x\r\n\n", "Missing expected CR before LF"},
		{"bare CR", head("a: b\rc: d\r\n"), "Missing expected LF after CR"},
		{"CR CR LF", head("a: b\r\r\n"), "Missing expected LF after CR"},
		{"NUL", head("a: b\x00\r\n"), "NUL in the header"},
		{"NUL in the path", "GET /\x00 HTTP/1.1\r\n\r\n", "NUL in the header"},
		{"folded", head("a: b\r\n c\r\n"), "Folded header field"},
		{"folded first", "GET / HTTP/1.1\r\n\tc: d\r\n\r\n", "Folded header field"},
		{"two lengths", head("content-length: 1\r\ncontent-length: 2\r\n"), "Content-Length already present"},
		{"one length twice", head("content-length: 1\r\nCONTENT-LENGTH: 1\r\n"), "Content-Length already present"},
		{"list of lengths", head("content-length: 1, 1\r\n"), "Invalid character in Content-Length"},
		{"signed length", head("content-length: +1\r\n"), "Invalid character in Content-Length"},
		{"hexadecimal length", head("content-length: 0x1\r\n"), "Invalid character in Content-Length"},
		{"no length", head("content-length:\r\n"), "Invalid character in Content-Length"},
		{"huge length", head("content-length: 99999999999999999999\r\n"), "Invalid character in Content-Length"},
		{"length behind spaces", head("content-length: " + strings.Repeat(" ", lineKept) + "1\r\n"), "Invalid character in Content-Length"},
		{"length and coding", head("content-length: 1\r\ntransfer-encoding: chunked\r\n"), "Transfer-Encoding can't be present with Content-Length"},
		{"coding and length", head("transfer-encoding: chunked\r\ncontent-length: 1\r\n"), "Content-Length can't be present with Transfer-Encoding"},
		{"two codings", head("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"), "Request has invalid `Transfer-Encoding`"},
		{"another coding", head("transfer-encoding: gzip, chunked\r\n"), "Request has invalid `Transfer-Encoding`"},
		{"coding in disguise", head("transfer-encoding: \x0bchunked\r\n"), "Request has invalid `Transfer-Encoding`"},
		{"coding in HTTP/1.0", "PUT / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", "Request has invalid `Transfer-Encoding`"},
		{"second request", head("content-length: 2\r\n") + "xx" + head("a: b\n"), "Missing expected CR before LF"},
		{"trailer", head("transfer-encoding: chunked\r\n") + "0\r\na: b\n\r\n", "Missing expected CR before LF"},
	} {
		for _, step := range []int{1, len(tt.text)/2 + 1, len(tt.text)} {
			var f framing
			passed, wrong := 0, ""
			for rest := tt.text; rest != "" && wrong == ""; {
				part := rest[:min(step, len(rest))]
				var n int
				n, wrong = pass(&f, []byte(part))
				if wrong == "" && n != len(part) {
					t.Fatalf("%s: %d of %d bytes passed on", tt.name, n, len(part))
				}
				passed += n
				rest = rest[len(part):]
			}
			if wrong != tt.wrong || wrong == "" && passed != len(tt.text) {
				t.Errorf("%s in steps of %d: %q after %d of %d bytes, want %q", tt.name, step, wrong, passed, len(tt.text), tt.wrong)
			}
		}
	}
}

// FuzzFraming checks that where nothing is wrong, net/http finds as many requests, which
// end where framing says.
func FuzzFraming(f *testing.F) {
	f.Add([]byte("PUT /x HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabcGET / HTTP/1.1\r\nhost: x\r\n\r\n"))
	f.Add([]byte("PUT /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nt: 1\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.0\r\ncontent-length: 1\r\n\r\nx"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ours := ends(text)
		r := bytes.NewReader(text)
		b := bufio.NewReader(r)
		for i, end := range ours {
			req, err := http.ReadRequest(b)
			if err != nil {
				return // net/http refuses it, and closes the connection
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if err := req.Body.Close(); err != nil {
				return
			}
			if at := len(text) - r.Len() - b.Buffered(); at != end {
				t.Fatalf("request %d of %q ends at %d for net/http and at %d here", i, text, at, end)
			}
		}
	})
}

// ends returns where the requests end that framing finds in text.
func ends(text []byte) []int {
	var f framing
	var all []int
	for i := range text {
		if _, wrong := pass(&f, text[i:i+1]); wrong != "" || f.state == unframed {
			break
		}
		if f.state == inHeader && !f.first && f.size == 0 {
			all = append(all, i+1)
		}
	}
	return all
}

// pass feeds p, and a Host field where one is missing.
func pass(f *framing, p []byte) (n int, wrong string) {
	for n < len(p) && wrong == "" {
		var passed int
		if passed, wrong = f.feed(p[n:]); wrong == "" && n+passed < len(p) {
			if m, wrong := f.feed([]byte(hostField)); m != len(hostField) || wrong != "" {
				panic("the Host field is refused: " + wrong)
			}
		}
		n += passed
	}
	return n, wrong
}

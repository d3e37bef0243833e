package server

import (
	"bytes"
	"strconv"
	"strings"
)

// framing follows the requests of one HTTP/1.1 connection, and stops at the first header
// section on whose meaning two programs could disagree. net/http is lenient in what it
// reads: it ends lines at a bare LF, joins folded lines, takes the same length twice, and
// lets Transfer-Encoding override Content-Length. Behind a proxy that reads otherwise,
// each of these lets a client smuggle a request past it. CCF's parser refuses them all,
// and so does this.
//
// It also knows CCF's methods and versions, and refuses what can't become a request line
// as soon as that shows: who sends no line end is not left waiting. And it finds requests
// without a Host field, which CCF serves. It must agree with net/http about where a request
// ends, in whatever it lets pass; what is no HTTP by itself otherwise (a chunk's size) is
// left for net/http to refuse. The zero value is at the start of a connection.
type framing struct {
	state framingState
	left  uint64 // bytes that are left of a body or a chunk

	// Of the present line:
	line []byte // its beginning, at most lineKept bytes
	size int    // its length so far
	cr   bool   // it ends in a CR so far

	// Of the present header section:
	first   bool   // the request line has ended
	tail    []byte // the last bytes of the request line, versionEnd or another
	host    bool   // there is a Host field
	lengths int    // Content-Length fields
	codings int    // Transfer-Encoding fields
}

type framingState uint8

const (
	inHeader    framingState = iota // request line and header fields
	inBody                          // a body of known length
	inChunkSize                     // the line before a chunk
	inChunk                         // a chunk and its CRLF
	inTrailer                       // header fields after the last chunk
	unframed                        // something that net/http refuses: nothing more is looked at
)

const (
	// lineKept is how much of a line is kept: enough for the fields that frame a body.
	lineKept = 80
	// versionEnd is how a request line ends whose request may have chunks.
	versionEnd = "HTTP/1.1\r\n"
)

// methods are those that CCF's parser knows. To any other it answers as to what is no
// HTTP, and not 405.
var methods = setOf("DELETE", "GET", "HEAD", "POST", "PUT", "CONNECT", "OPTIONS", "TRACE", "COPY", "LOCK", "MKCOL", "MOVE",
	"PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND", "UNBIND", "ACL", "REPORT", "MKACTIVITY", "CHECKOUT",
	"MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PATCH", "PURGE", "MKCALENDAR", "LINK", "UNLINK", "SOURCE", "QUERY")

func setOf(words ...string) map[string]bool {
	set := make(map[string]bool, len(words))
	for _, w := range words {
		set[w] = true
	}
	return set
}

// versions end the request lines that net/http serves.
var versions = []string{versionEnd, "HTTP/1.0\r\n"}

var crlf = []byte("\r\n")

// hostField goes into a header section that has none: net/http demands one, CCF does not.
const hostField = "host:\r\n"

// feed takes bytes that were received, and says how many may be passed on, and what is
// wrong behind them. Where nothing is, but not all may, hostField belongs before the rest.
func (f *framing) feed(p []byte) (n int, wrong string) {
	for n < len(p) {
		rest := p[n:]
		switch f.state {
		case unframed:
			return len(p), ""
		case inBody, inChunk:
			take := min(f.left, uint64(len(rest)))
			n += int(take)
			if f.left -= take; f.left == 0 {
				f.bodyEnded()
			}
			continue
		}
		if f.state == inHeader && f.size == 0 && rest[0] == '\r' && f.first && !f.host && string(f.tail) == versionEnd {
			return n, ""
		}
		whole := bytes.IndexByte(rest, '\n') + 1
		if whole > 0 {
			rest = rest[:whole]
		}
		if wrong = f.take(rest, whole > 0); wrong == "" && whole > 0 {
			wrong = f.lineEnded()
		}
		if wrong != "" {
			return n, wrong
		}
		n += len(rest)
	}
	return n, ""
}

// take adds a part to the present line, which ends with it where whole is set.
func (f *framing) take(part []byte, whole bool) string {
	end := len(part) // without its line end
	if whole {
		end--
	}
	switch cr := bytes.IndexByte(part[:end], '\r'); {
	case f.cr && end > 0, cr >= 0 && cr != end-1:
		return "Missing expected LF after CR"
	case whole && cr < 0 && !f.cr:
		return "Missing expected CR before LF"
	case bytes.IndexByte(part, 0) >= 0:
		return "NUL in the header"
	default:
		f.cr = cr >= 0
	}
	if f.size == 0 && f.first && f.state != inChunkSize && (part[0] == ' ' || part[0] == '\t') {
		return "Folded header field"
	}
	f.size += len(part)
	f.line = append(f.line, part[:min(len(part), lineKept-len(f.line))]...)
	if !f.first {
		f.tail = append(f.tail, part[max(0, len(part)-len(versionEnd)):]...)
		f.tail = f.tail[max(0, len(f.tail)-len(versionEnd)):]
		if f.size <= lineKept && !bytes.HasPrefix(f.line, []byte("\r")) { // net/http refuses an empty line
			return requestLine(f.line)
		}
	}
	return ""
}

// requestLine says what is wrong with the beginning of a request line.
func requestLine(line []byte) string {
	method, rest, more := strings.Cut(string(line), " ")
	if !more {
		for known := range methods {
			if strings.HasPrefix(known, method) {
				return ""
			}
		}
	}
	if !methods[method] {
		return "Invalid method encountered"
	}
	if _, version, more := strings.Cut(rest, " "); more {
		for _, known := range versions {
			if strings.HasPrefix(known, version) {
				return ""
			}
		}
		return "Invalid HTTP version"
	}
	return ""
}

// lineEnded looks at a whole line.
func (f *framing) lineEnded() (wrong string) {
	line := bytes.TrimSuffix(f.line, crlf)
	empty, long := f.size == len(crlf), f.size > lineKept
	f.line, f.size, f.cr = f.line[:0], 0, false
	switch {
	case f.state == inChunkSize:
		f.chunk(line, long)
	case empty:
		f.headerEnded()
	case f.state == inTrailer:
	case f.first:
		return f.field(line, long)
	default:
		f.first = true
	}
	return ""
}

// field notes what a header field says of the body.
func (f *framing) field(line []byte, long bool) string {
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case bytes.EqualFold(name, []byte("content-length")):
		return f.length(strings.Trim(string(value), " \t"), long)
	case bytes.EqualFold(name, []byte("transfer-encoding")):
		return f.coding(strings.Trim(string(value), " \t"), long)
	case bytes.EqualFold(name, []byte("host")):
		f.host = true
	}
	return ""
}

func (f *framing) length(value string, long bool) string {
	f.lengths++
	n, err := strconv.ParseUint(value, 10, 63)
	switch {
	case f.lengths > 1:
		return "Content-Length already present"
	case f.codings > 0:
		return "Content-Length can't be present with Transfer-Encoding"
	case err != nil || long:
		return "Invalid character in Content-Length"
	}
	f.left = n
	return ""
}

func (f *framing) coding(value string, long bool) string {
	f.codings++
	switch {
	case f.lengths > 0:
		return "Transfer-Encoding can't be present with Content-Length"
	case f.codings > 1 || string(f.tail) != versionEnd || !strings.EqualFold(value, "chunked") || long:
		return "Request has invalid `Transfer-Encoding`"
	}
	return ""
}

// headerEnded begins what follows a header section, or the trailers.
func (f *framing) headerEnded() {
	switch {
	case f.state == inTrailer:
		f.restart()
	case !f.first:
		f.state = unframed // net/http takes no empty line before a request
	case f.codings > 0:
		f.state = inChunkSize
	case f.left > 0:
		f.state = inBody
	default:
		f.restart()
	}
}

// chunk begins the chunk that a line announces. A size that is none ends the
// connection in net/http.
func (f *framing) chunk(line []byte, long bool) {
	size, _, _ := strings.Cut(string(line), ";")
	n, err := strconv.ParseUint(strings.TrimRight(size, " \t"), 16, 60)
	switch {
	case err != nil || long:
		f.state = unframed
	case n == 0:
		f.state = inTrailer
	default:
		f.state, f.left = inChunk, n+uint64(len(crlf))
	}
}

func (f *framing) bodyEnded() {
	if f.state == inChunk {
		f.state = inChunkSize
		return
	}
	f.restart()
}

// restart is at the start of the next request.
func (f *framing) restart() { *f = framing{line: f.line[:0], tail: f.tail[:0]} }

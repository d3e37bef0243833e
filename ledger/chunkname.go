package ledger

import (
	"strconv"
	"strings"
)

// chunkName is what the name of a chunk file says.
type chunkName struct {
	first     uint64
	last      uint64 // 0 if the name does not say
	committed bool
	recovery  bool
}

const (
	chunkPrefix     = "ledger_"
	committedSuffix = ".committed"
	recoverySuffix  = ".recovery"
)

// parseChunkName reads a file's base name. ok is false for a file that is no chunk,
// which includes one set aside under the suffix ".ignored".
func parseChunkName(base string) (n chunkName, ok bool) {
	rest, ok := strings.CutPrefix(base, chunkPrefix)
	if !ok {
		return n, false
	}
	rest, n.recovery = strings.CutSuffix(rest, recoverySuffix)
	rest, n.committed = strings.CutSuffix(rest, committedSuffix)
	first, last, ranged := strings.Cut(rest, "-")
	if n.first, ok = parseSeqno(first); !ok || n.committed && !ranged {
		return n, false
	}
	if ranged {
		if n.last, ok = parseSeqno(last); !ok || n.last < n.first {
			return n, false
		}
	}
	return n, true
}

// parseSeqno reads a positive decimal number without sign or padding.
func parseSeqno(s string) (uint64, bool) {
	v, err := strconv.ParseUint(s, 10, 64)
	return v, err == nil && v > 0 && s[0] != '0' && s[0] != '+'
}

// String returns the file's base name.
func (n chunkName) String() string {
	s := chunkPrefix + strconv.FormatUint(n.first, 10)
	if n.last != 0 {
		s += "-" + strconv.FormatUint(n.last, 10)
	}
	if n.committed {
		s += committedSuffix
	}
	if n.recovery {
		s += recoverySuffix
	}
	return s
}

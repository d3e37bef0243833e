package ledger

import (
	"fmt"
	"strings"
)

// CorruptError names damage to a ledger: where it is and what is wrong there.
type CorruptError struct {
	File   string // path of the chunk file, or of the directory
	Offset int64  // in the file, of the entry or field
	Seqno  uint64 // of the entry concerned, 0 if the damage is to no entry
	Reason string // may be empty if there is an Err
	Err    error  // what a parser or a check said, or nil
}

// Error returns one line with all that is known.
func (e *CorruptError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: offset %d", e.File, e.Offset)
	if e.Seqno != 0 {
		fmt.Fprintf(&b, ", entry %d", e.Seqno)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, ": %s", e.Reason)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *CorruptError) Unwrap() error { return e.Err }

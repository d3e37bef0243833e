package secmem

import (
	"fmt"
	"log/slog"
	"sync"
)

// Buffer is a fixed number of secret bytes. It is safe for concurrent readers;
// Wipe must not run while another goroutine still uses a slice from Bytes. It
// prints as a redaction.
type Buffer struct {
	locked bool // immutable

	mu  sync.Mutex
	b   []byte // nil once wiped
	mem []byte // the whole mapping
}

// New returns a Buffer of n zero bytes. It fails only when the system has no
// memory left.
func New(n int) (*Buffer, error) {
	if n < 0 {
		return nil, fmt.Errorf("secret buffer of %d bytes", n)
	}
	mem, locked, err := alloc(n)
	if err != nil {
		return nil, fmt.Errorf("secret buffer of %d bytes: %w", n, err)
	}
	return &Buffer{b: mem[:n:n], mem: mem, locked: locked}, nil
}

// From returns a Buffer with the bytes of src, and overwrites src with zeros,
// also when it fails.
func From(src []byte) (*Buffer, error) {
	defer clear(src)
	buf, err := New(len(src))
	if err != nil {
		return nil, err
	}
	copy(buf.b, src)
	return buf, nil
}

// Bytes returns the secret itself, not a copy: valid until Wipe, and nil after
// it.
func (buf *Buffer) Bytes() []byte {
	buf.mu.Lock()
	defer buf.mu.Unlock()
	return buf.b
}

// Locked reports whether the bytes are locked into memory.
func (buf *Buffer) Locked() bool { return buf.locked }

// Wipe overwrites the bytes and gives the memory back. A second call does
// nothing.
func (buf *Buffer) Wipe() {
	buf.mu.Lock()
	defer buf.mu.Unlock()
	if buf.mem == nil {
		return
	}
	clear(buf.mem)
	free(buf.mem)
	buf.b, buf.mem = nil, nil
}

// Format writes a redaction, whatever the verb.
func (*Buffer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// LogValue returns a redaction.
func (*Buffer) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText returns a redaction, so that no encoder writes the bytes.
func (*Buffer) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

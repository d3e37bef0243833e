package backup

import (
	"context"
	"fmt"

	"chancery/internal/durable"
)

// maxNote bounds a note, in bytes.
const maxNote = 1 << 20

// WriteNote keeps a small file beside the backups, which belongs to none of them. Its name
// has no slash.
func WriteNote(ctx context.Context, fsys durable.FS, s Store, name string, data []byte) error {
	return write(ctx, fsys, s, name, data)
}

// ReadNote reads it back. The error is fs.ErrNotExist where there is none.
func ReadNote(ctx context.Context, s Store, name string) ([]byte, error) {
	text, err := read(ctx, s, name, maxNote)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return text, nil
}

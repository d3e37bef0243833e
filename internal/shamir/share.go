package shamir

import (
	"encoding/binary"
	"fmt"
	"log/slog"
)

// Share is one member's part of a secret: the value at X of each limb's
// polynomial. X = 0 is the secret itself. It prints as a redaction.
type Share struct {
	X uint32
	Y [Limbs]uint32
}

// ParseShare reads the 44 bytes of a share. It refuses another length, and an
// index or a limb that is not below the order of the field, with ErrShare.
func ParseShare(b []byte) (Share, error) {
	if len(b) != ShareSize {
		return Share{}, fmt.Errorf("%w: %d bytes, want %d", ErrShare, len(b), ShareSize)
	}
	s := Share{X: binary.LittleEndian.Uint32(b)}
	if s.X >= prime {
		return Share{}, fmt.Errorf("%w: index out of range", ErrShare)
	}
	for i := range s.Y {
		s.Y[i] = binary.LittleEndian.Uint32(b[4+4*i:])
		if s.Y[i] >= prime {
			return Share{}, fmt.Errorf("%w: limb %d is no field element", ErrShare, i)
		}
	}
	return s, nil
}

// Bytes returns the 44 bytes of s.
func (s Share) Bytes() []byte {
	b := make([]byte, 0, ShareSize)
	b = binary.LittleEndian.AppendUint32(b, s.X)
	for _, y := range s.Y {
		b = binary.LittleEndian.AppendUint32(b, y)
	}
	return b
}

// Wipe overwrites the values of s.
func (s *Share) Wipe() { clear(s.Y[:]) }

// String names the share without its contents.
func (s Share) String() string { return fmt.Sprintf("[share %d]", s.X) }

// Format names the share without its contents, whatever the verb.
func (s Share) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue names the share without its contents.
func (s Share) LogValue() slog.Value { return slog.StringValue(s.String()) }

package writeset

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	wordSize = 8
	// The fewest bytes that a record, a write and a remove can take. A count
	// is believed only as far as the rest of the input could hold that many.
	minRecord = 5 * wordSize
	minWrite  = 2 * wordSize
	minRemove = wordSize
)

// EncodedLen returns how many bytes AppendMaps adds for ws.
func EncodedLen(ws WriteSet) int {
	n := 0
	for i := range ws {
		m := &ws[i]
		n += minRecord + len(m.Name)
		for j := range m.Writes {
			n += minWrite + len(m.Writes[j].Key) + len(m.Writes[j].Value)
		}
		for _, k := range m.Removes {
			n += minRemove + len(k)
		}
	}
	return n
}

// AppendMaps appends the map records of ws to dst, in the order of ws, and
// returns the extended slice. It is the inverse of ParseMaps.
func AppendMaps(dst []byte, ws WriteSet) []byte {
	for i := range ws {
		m := &ws[i]
		dst = appendWord(dst, uint64(len(m.Name)))
		dst = append(dst, m.Name...)
		dst = appendWord(dst, m.ReadVersion)
		dst = appendWord(dst, 0)
		dst = appendWord(dst, uint64(len(m.Writes)))
		for j := range m.Writes {
			dst = appendBytes(dst, m.Writes[j].Key)
			dst = appendBytes(dst, m.Writes[j].Value)
		}
		dst = appendWord(dst, uint64(len(m.Removes)))
		for _, k := range m.Removes {
			dst = appendBytes(dst, k)
		}
	}
	return dst
}

func appendWord(dst []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(dst, v) }

func appendBytes(dst, b []byte) []byte { return append(appendWord(dst, uint64(len(b))), b...) }

// ParseMaps reads map records until the end of b. Keys and values in the result
// alias b; order, empty maps and repetitions are kept as found, so that
// AppendMaps gives b again. Memory is bounded by a small multiple of len(b). An
// error names the offset and the field, never the contents.
func ParseMaps(b []byte) (WriteSet, error) {
	r := reader{b: b}
	var ws WriteSet
	for r.off < len(b) {
		m, err := r.record()
		if err != nil {
			return nil, fmt.Errorf("parsing map record %d, at byte %d of %d: %w", len(ws), r.off, len(b), err)
		}
		ws = append(ws, m)
	}
	return ws, nil
}

var errTruncated = errors.New("runs past the end")

// reader walks over b; off is where the next field begins.
type reader struct {
	b   []byte
	off int
}

func (r *reader) record() (MapWrites, error) {
	name, err := r.bytes()
	if err != nil {
		return MapWrites{}, fmt.Errorf("name: %w", err)
	}
	m := MapWrites{Name: string(name)}
	if m.ReadVersion, err = r.word(); err != nil {
		return MapWrites{}, fmt.Errorf("read version: %w", err)
	}
	reads, err := r.word()
	if err != nil {
		return MapWrites{}, fmt.Errorf("read count: %w", err)
	}
	if reads != 0 {
		return MapWrites{}, fmt.Errorf("read count: %d instead of 0", reads)
	}
	if m.Writes, err = r.writes(); err != nil {
		return MapWrites{}, err
	}
	if m.Removes, err = r.removes(); err != nil {
		return MapWrites{}, err
	}
	return m, nil
}

func (r *reader) writes() ([]Write, error) {
	n, err := r.count(minWrite)
	if err != nil {
		return nil, fmt.Errorf("write count: %w", err)
	}
	if n == 0 {
		return nil, nil
	}
	out := make([]Write, n)
	for i := range out {
		if out[i].Key, err = r.bytes(); err != nil {
			return nil, fmt.Errorf("key of write %d: %w", i, err)
		}
		if out[i].Value, err = r.bytes(); err != nil {
			return nil, fmt.Errorf("value of write %d: %w", i, err)
		}
	}
	return out, nil
}

func (r *reader) removes() ([][]byte, error) {
	n, err := r.count(minRemove)
	if err != nil {
		return nil, fmt.Errorf("remove count: %w", err)
	}
	if n == 0 {
		return nil, nil
	}
	out := make([][]byte, n)
	for i := range out {
		if out[i], err = r.bytes(); err != nil {
			return nil, fmt.Errorf("key of remove %d: %w", i, err)
		}
	}
	return out, nil
}

// count reads the number of the items that follow, each of at least size bytes.
func (r *reader) count(size int) (int, error) {
	n, err := r.word()
	if err != nil {
		return 0, err
	}
	if n > uint64((len(r.b)-r.off)/size) {
		return 0, fmt.Errorf("%d items: %w", n, errTruncated)
	}
	return int(n), nil
}

func (r *reader) word() (uint64, error) {
	if len(r.b)-r.off < wordSize {
		return 0, errTruncated
	}
	v := binary.LittleEndian.Uint64(r.b[r.off:])
	r.off += wordSize
	return v, nil
}

// bytes reads a length and that many bytes. The result cannot be appended to
// without a copy, so that a careless caller does not write into its neighbour.
func (r *reader) bytes() ([]byte, error) {
	n, err := r.word()
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.b)-r.off) {
		return nil, fmt.Errorf("%d bytes: %w", n, errTruncated)
	}
	end := r.off + int(n)
	out := r.b[r.off:end:end]
	r.off = end
	return out, nil
}

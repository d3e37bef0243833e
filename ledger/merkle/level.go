package merkle

// level is one row of the tree, in blocks, so that growing never copies the row.
type level struct {
	base   uint64 // index of the first hash held; what is before it is not known
	n      uint64 // hashes held
	blocks [][]Hash
}

const blockSize = 1024

func (l *level) push(h Hash) {
	b := int(l.n / blockSize)
	if b == len(l.blocks) {
		// The first block grows, so that small trees stay small.
		capacity := blockSize
		if b == 0 {
			capacity = 0
		}
		l.blocks = append(l.blocks, make([]Hash, 0, capacity))
	}
	l.blocks[b] = append(l.blocks[b], h)
	l.n++
}

func (l *level) at(i uint64) Hash {
	i -= l.base
	return l.blocks[i/blockSize][i%blockSize]
}

// cut drops the hashes from index i on.
func (l *level) cut(i uint64) {
	if i >= l.base+l.n {
		return
	}
	l.n = i - l.base
	full := l.n / blockSize
	if rest := l.n % blockSize; rest != 0 {
		l.blocks[full] = l.blocks[full][:rest]
		full++
	}
	clear(l.blocks[full:])
	l.blocks = l.blocks[:full]
}

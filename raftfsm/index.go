package raftfsm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"

	"chancery/internal/durable"
	"chancery/ledger"
	"chancery/ledger/merkle"
)

// The tree in memory reaches back a window or two; older nodes, and the seqnos of older
// signatures, lie in two files beside Raft's. Both are derived from the ledger files and
// believed by nobody: an answer out of them must lead to a root that is in memory, or
// they are made anew. They are not synced.
//
//	tree.nodes       the subtrees' roots, 32 bytes each, at their merkle.InOrder number
//	tree.signatures  u64le seqnos of signature transactions, ascending
const (
	hashSize  = 32
	indexPage = 4096 // what one read takes
)

// indexLevel makes a window of 2^15 leaves: 2 MiB of tree.nodes.
var indexLevel = 15

// errIndex says that the index does not lead to the root in memory.
var errIndex = errors.New("the index of the ledger is damaged")

// index is the two files.
type index struct {
	level int // of a window
	nodes durable.File
	sigs  durable.File

	mu    sync.Mutex // guards nsigs
	nsigs uint64     // signatures in the file

	repair sync.Mutex    // held while the index is made anew
	wanted chan struct{} // capacity 1: it is to be
	broken atomic.Pointer[error]
}

// window is the number of leaves that are moved to the index at a time.
func (x *index) window() uint64 { return 1 << x.level }

func openIndex(fsys durable.FS, dir string, level int) (*index, error) {
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating %s: %w", dir, err)
	}
	x := &index{level: level, wanted: make(chan struct{}, 1)}
	var err error
	if x.nodes, err = fsys.OpenFile(filepath.Join(dir, "tree.nodes"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	if x.sigs, err = fsys.OpenFile(filepath.Join(dir, "tree.signatures"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the index: %w", err), x.nodes.Close())
	}
	return x, nil
}

func (x *index) close() error { return errors.Join(x.nodes.Close(), x.sigs.Close()) }

// boundary is where the window ends in which a leaf lies.
func (x *index) boundary(leaf uint64) uint64 { return (leaf>>x.level + 1) << x.level }

// put moves the tree's leaves from First to the end of their window to the file, and the
// signatures among them.
func (x *index) put(t *merkle.Tree, sigs []uint64) error {
	if err := x.putNodes(t, x.boundary(t.First())); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var b []byte
	for _, s := range sigs {
		b = binary.LittleEndian.AppendUint64(b, s)
	}
	if _, err := x.sigs.WriteAt(b, int64(8*x.nsigs)); err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	x.nsigs += uint64(len(sigs))
	return nil
}

// putNodes writes the roots of all subtrees that end behind the tree's First and at next or
// before, which lies in the same window.
func (x *index) putNodes(t *merkle.Tree, next uint64) error {
	first, low := t.First(), 0
	if next-first == x.window() {
		flat := t.AppendSubtree(make([]byte, 0, hashSize*(2*x.window()-1)), x.level, first>>x.level)
		if _, err := x.nodes.WriteAt(flat, int64(hashSize*2*first)); err != nil {
			return fmt.Errorf("writing the index: %w", err)
		}
		low = x.level + 1 // larger subtrees that end with the window stand between their halves
	}
	for k := low; next>>k > 0; k++ {
		for i := first >> k; (i+1)<<k <= next; i++ {
			h, ok := t.Held(k, i)
			if !ok {
				return fmt.Errorf("writing the index: no subtree %d of level %d", i, k)
			}
			if err := x.putNode(k, i, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// putEdge writes the subtrees that the first n leaves consist of, large ones first.
func (x *index) putEdge(n uint64, edge []merkle.Hash) error {
	for k := bits.Len64(n) - 1; k >= 0 && len(edge) > 0; k-- {
		if n>>k&1 == 0 {
			continue
		}
		if err := x.putNode(k, n>>k-1, edge[0]); err != nil {
			return err
		}
		edge = edge[1:]
	}
	return nil
}

func (x *index) putNode(level int, i uint64, h merkle.Hash) error {
	if _, err := x.nodes.WriteAt(h[:], int64(hashSize*merkle.InOrder(level, i))); err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	return nil
}

// putSignatures makes sigs all that the file says of the signatures before a seqno.
func (x *index) putSignatures(sigs []uint64, before uint64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	b := make([]byte, 8*x.nsigs)
	if _, err := x.sigs.ReadAt(b, 0); err != nil && err != io.EOF {
		return fmt.Errorf("reading the index: %w", err)
	}
	for ; len(b) >= 8; b = b[8:] {
		if s := binary.LittleEndian.Uint64(b); s >= before {
			sigs = append(sigs, s)
		}
	}
	var out []byte
	for _, s := range sigs {
		out = binary.LittleEndian.AppendUint64(out, s)
	}
	if _, err := x.sigs.WriteAt(out, 0); err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	x.nsigs = uint64(len(sigs))
	return nil
}

// keptPages bounds the pages of one reader: the paths of some thousand neighbours.
const keptPages = 128

// pages reads the files for one answer or for entries one after another, whose paths share
// most pages. It is not safe for concurrent use.
type pages struct {
	x    *index
	read map[int64][]byte
}

func (x *index) pages() *pages { return &pages{x: x, read: map[int64][]byte{}} }

// node is a merkle.NodeFunc.
func (p *pages) node(level int, i uint64) (h merkle.Hash, err error) {
	at := int64(hashSize * merkle.InOrder(level, i))
	page, ok := p.read[at/indexPage]
	if !ok {
		page = make([]byte, indexPage)
		n, err := p.x.nodes.ReadAt(page, at/indexPage*indexPage)
		if err != nil && err != io.EOF {
			return h, fmt.Errorf("reading the index: %w", err)
		}
		page = page[:n]
		if len(p.read) >= keptPages {
			clear(p.read)
		}
		p.read[at/indexPage] = page
	}
	if at%indexPage+hashSize > int64(len(page)) {
		return h, fmt.Errorf("%w: it ends before subtree %d of level %d", errIndex, i, level)
	}
	return merkle.Hash(page[at%indexPage:]), nil
}

// signatureAfter returns the first signature behind seqno that the file has; 0 when it
// has none.
func (p *pages) signatureAfter(seqno uint64) (uint64, error) {
	p.x.mu.Lock()
	n := p.x.nsigs
	p.x.mu.Unlock()
	const perPage = indexPage / 8
	var failed error
	at := func(i uint64) uint64 {
		var b [8]byte
		if _, err := p.x.sigs.ReadAt(b[:], int64(8*i)); err != nil {
			failed = errors.Join(failed, fmt.Errorf("reading the index: %w", err))
		}
		return binary.LittleEndian.Uint64(b[:])
	}
	count := (n + perPage - 1) / perPage // search the pages' last, then one page
	page := uint64(sort.Search(int(count), func(i int) bool { return at(min(uint64(i+1)*perPage, n)-1) > seqno }))
	if failed != nil || page == count {
		return 0, failed
	}
	b := make([]byte, 8*(min((page+1)*perPage, n)-page*perPage))
	if _, err := p.x.sigs.ReadAt(b, int64(page*indexPage)); err != nil {
		return 0, fmt.Errorf("reading the index: %w", err)
	}
	i := sort.Search(len(b)/8, func(i int) bool { return binary.LittleEndian.Uint64(b[8*i:]) > seqno })
	if i == len(b)/8 {
		return 0, fmt.Errorf("%w: its signatures are out of order", errIndex)
	}
	return binary.LittleEndian.Uint64(b[8*i:]), nil
}

// trim moves what is older than a window from memory to the index. What cannot be
// written stays in memory. mu is held.
func (r *Replica) trim() {
	for {
		first := r.index.boundary(r.tree.First())
		if r.committed.Seqno < first+r.index.window() {
			return
		}
		n := sort.Search(len(r.sigs), func(i int) bool { return r.sigs[i] >= first })
		if err := r.index.put(r.tree, r.sigs[:n]); err != nil {
			if !r.indexFailed {
				r.cfg.Log.Warn("the index of the ledger stays in memory", "err", err)
			}
			r.indexFailed = true
			return
		}
		r.indexFailed = false
		r.tree.Prune(first)
		r.sigs = append(make([]uint64, 0, len(r.sigs)-n), r.sigs[n:]...)
	}
}

// leaf returns the leaf of a position through the head, checked against the tree in
// memory. An old one costs a few reads, and the making of the index where it is damaged.
// mu is held.
func (r *Replica) leaf(seqno uint64) (ledger.Digest, error) {
	leaf, err := r.indexedLeaf(seqno)
	if !errors.Is(err, errIndex) {
		return leaf, err
	}
	r.cfg.Log.Warn("making the index of the ledger anew", "err", err)
	if err := r.index.rederive(context.Background(), r.cfg.Ledger, edgesOf(r.tree)); err != nil {
		return leaf, err
	}
	return r.indexedLeaf(seqno)
}

// indexedLeaf is leaf as the index stands. mu is held.
func (r *Replica) indexedLeaf(seqno uint64) (ledger.Digest, error) {
	if seqno >= r.tree.First() {
		return r.tree.Leaf(seqno), nil
	}
	p := r.index.pages()
	leaf, err := p.node(0, seqno)
	if err == nil {
		level, i, root := r.tree.Cover(seqno)
		err = p.covers(seqno, leaf, level, i, root)
	}
	if err != nil {
		return leaf, fmt.Errorf("leaf %d: %w", seqno, err)
	}
	return leaf, nil
}

// covers checks that leaf seqno lies in the subtree with the given root.
func (p *pages) covers(seqno uint64, leaf ledger.Digest, level int, i uint64, root merkle.Hash) error {
	// Within a perfect subtree the path is that of the subtree as a tree.
	from := i << level
	path, err := merkle.PathOver(seqno-from, 1<<level, func(k int, at uint64) (merkle.Hash, error) {
		return p.node(k, from>>k+at)
	})
	if err == nil && merkle.Climb(leaf, path) != root {
		err = errIndex
	}
	if err != nil {
		clear(p.read) // the index may have grown since
	}
	return err
}

// want has the index made anew, by Run.
func (x *index) want() {
	select {
	case x.wanted <- struct{}{}:
	default:
	}
}

// runIndex makes the index anew when an answer out of it was wrong. Where that fails,
// answers that need it say why.
func (r *Replica) runIndex(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.halted:
			return nil
		case <-r.index.wanted:
			r.mu.Lock()
			edges := edgesOf(r.tree)
			r.mu.Unlock()
			err := r.index.rederive(ctx, r.cfg.Ledger, edges)
			switch {
			case err == nil:
				r.cfg.Log.Info("the index of the ledger is made")
			case ctx.Err() == nil:
				r.index.broken.Store(&err)
				r.cfg.Log.Error("the index of the ledger cannot be made anew", "err", err)
			}
		}
	}
}

// edges are the subtrees before a tree's First, which the tree holds.
type edges struct {
	first uint64
	at    []edge
}

type edge struct {
	level int
	index uint64
	root  merkle.Hash
}

func edgesOf(t *merkle.Tree) edges {
	e := edges{first: t.First()}
	for from := uint64(0); from < e.first; {
		level, i, root := t.Cover(from)
		e.at = append(e.at, edge{level, i, root})
		from += 1 << level
	}
	return e
}

// rederive makes the index anew from the ledger files, through where the tree in memory
// begins. The files must lead to what that tree knows of them.
func (x *index) rederive(ctx context.Context, files *ledger.Dir, known edges) error {
	x.repair.Lock()
	defer x.repair.Unlock()
	from := files.First()
	if from >= known.first {
		return nil
	}
	edge, err := beginning(files)
	if err != nil {
		return err
	}
	b := &indexing{x: x, from: from, edge: edge}
	for e, err := range files.Entries(from) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = b.add(e)
		}
		if err != nil {
			return err
		}
		if b.t.Size() < known.first {
			continue
		}
		if err := known.compare(b.t); err != nil {
			return err
		}
		return b.finish()
	}
	return fmt.Errorf("the ledger files end before seqno %d", known.first)
}

// beginning returns the subtrees before the first entry of the files, large ones first. They
// are to be believed if they lead to a root that is.
func beginning(files *ledger.Dir) ([]merkle.Hash, error) {
	if files.First() == 1 {
		return []merkle.Hash{{}}, nil // leaf 0
	}
	return files.Beginning()
}

// grow is a tree that begins with the given subtrees and one leaf.
func grow(size uint64, edge []merkle.Hash, leaf merkle.Hash) (*merkle.Tree, error) {
	if size > 1 {
		return merkle.Restore(merkle.FromEdge(size, edge, leaf))
	}
	t := merkle.New()
	t.Append(edge[0])
	t.Append(leaf)
	return t, nil
}

// indexing writes the index of consecutive entries.
type indexing struct {
	x    *index
	from uint64        // the first
	edge []merkle.Hash // the subtrees before it, large ones first
	t    *merkle.Tree
	sigs []uint64
}

// add takes the next entry.
func (b *indexing) add(e *ledger.Entry) error {
	if b.t == nil {
		if err := b.x.putEdge(b.from, b.edge); err != nil {
			return err
		}
		var err error
		if b.t, err = grow(b.from, b.edge, e.Leaf()); err != nil {
			return err
		}
	} else {
		b.t.Append(e.Leaf())
	}
	if ledger.IsSignature(e.Public) {
		b.sigs = append(b.sigs, e.ID.Seqno)
	}
	next := b.x.boundary(b.t.First())
	if b.t.Size() <= next {
		return nil // Prune leaves one leaf
	}
	if err := b.x.putNodes(b.t, next); err != nil {
		return err
	}
	b.t.Prune(next)
	return nil
}

// finish writes what is left.
func (b *indexing) finish() error {
	if err := b.x.putNodes(b.t, b.t.Size()); err != nil {
		return err
	}
	return b.x.putSignatures(b.sigs, b.t.Size())
}

// compare compares with a tree that begins at the same leaf.
func (k edges) compare(t *merkle.Tree) error {
	for _, e := range k.at {
		if h, ok := t.Held(e.level, e.index); !ok || h != e.root {
			return fmt.Errorf("the ledger files differ from what was signed, between seqnos %d and %d: %w", e.index<<e.level, (e.index+1)<<e.level-1, errTampered)
		}
	}
	return nil
}

// resumeIndex restores the tree over the leaves before at from the index, with the
// leaves from the ledger files where the index ends. It returns nil where the index does
// not reach, or is not of this ledger.
func (r *Replica) resumeIndex(ctx context.Context, b *Base, want merkle.Hash) (*merkle.Tree, []uint64, error) {
	first := b.ID.Seqno >> r.index.level << r.index.level
	if first == b.ID.Seqno && first > 0 {
		first -= r.index.window() // a window is moved only once there are two
	}
	held := r.cfg.Ledger.First()
	if first < held {
		return nil, nil, nil
	}
	p := &merkle.Partial{Flushed: first}
	pages := r.index.pages()
	for k := 0; first>>k != 0; k++ {
		if first>>k&1 == 0 {
			continue
		}
		h, err := pages.node(k, first>>k-1)
		if err != nil {
			return nil, nil, nil // the files are short: not written, or cut
		}
		p.Edge = append(p.Edge, h)
	}
	var sigs []uint64
	for e, err := range r.cfg.Ledger.Entries(first) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, nil, err
		}
		p.Leaves = append(p.Leaves, e.Leaf())
		if ledger.IsSignature(e.Public) {
			sigs = append(sigs, e.ID.Seqno)
		}
		if e.ID.Seqno == b.ID.Seqno {
			break
		}
	}
	t, err := merkle.Restore(p)
	if err != nil || t.Size() != b.ID.Seqno+1 || t.Leaf(b.ID.Seqno) != b.Leaf || t.RootAt(b.ID.Seqno) != want {
		return nil, nil, nil
	}
	last, err := r.index.countSignatures(first)
	if err != nil {
		return nil, nil, err
	}
	// The file must hold the last signature of those that are not in memory.
	for e, err := range r.cfg.Ledger.Entries(max(last+1, held)) {
		if err != nil {
			return nil, nil, err
		}
		if e.ID.Seqno >= first {
			break
		}
		if ledger.IsSignature(e.Public) {
			r.index.nsigs = 0 // the file is written again from its beginning
			return nil, nil, nil
		}
	}
	return t, sigs, nil
}

// countSignatures finds how many of the file's signatures lie before first, and returns
// the last of them, 0 without one.
func (x *index) countSignatures(first uint64) (last uint64, err error) {
	size, err := x.sigs.Size()
	if err != nil {
		return 0, fmt.Errorf("reading the index: %w", err)
	}
	at := func(i int) uint64 {
		var b [8]byte
		if _, e := x.sigs.ReadAt(b[:], int64(8*i)); e != nil {
			err = fmt.Errorf("reading the index: %w", e)
		}
		return binary.LittleEndian.Uint64(b[:])
	}
	n := sort.Search(int(size/8), func(i int) bool { return at(i) >= first })
	x.nsigs = uint64(n)
	if n > 0 {
		last = at(n - 1)
	}
	return last, err
}

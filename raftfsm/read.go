package raftfsm

import (
	"errors"
	"fmt"
	"iter"
	"sort"

	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/ledger/merkle"
)

// ErrIndexing says that an answer takes the index of the ledger, which is being made
// anew; the question may be asked again.
var ErrIndexing = errors.New("the index of the ledger is being made")

// Proof is what a receipt is made of: a committed entry, its commit evidence, and
// the path from its leaf to the root that Signature signs. For a signature
// transaction Path is empty and Signature is the entry's own.
type Proof struct {
	Entry     *ledger.Entry
	Evidence  string
	Path      []merkle.Step
	Signature *ledger.Signature
}

// Entry reads a committed entry from the chunk files and checks it against the
// tree: the host may have changed the file. Errors: ErrNotCommitted, ErrIndexing.
func (r *Replica) Entry(seqno uint64) (*ledger.Entry, error) {
	return r.entry(seqno, r.index.pages())
}

// streamed is the number of entries from which a span is read chunk by chunk, and not entry
// by entry.
const streamed = 1024

// History gives the committed entries from first to last in their order, for less than Entry
// one by one. It ends with the first error; errors as Entry's.
func (r *Replica) History(first, last uint64) iter.Seq2[*ledger.Entry, error] {
	if first >= r.cfg.Ledger.First() && last >= first+streamed {
		return r.stream(first, last)
	}
	return func(yield func(*ledger.Entry, error) bool) {
		pages := r.index.pages()
		for seqno := first; seqno <= last; seqno++ {
			e, err := r.entry(seqno, pages)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// stream is History that reads whole chunks.
func (r *Replica) stream(first, last uint64) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		pages := r.index.pages()
		for e, err := range r.cfg.Ledger.Entries(first) {
			if err == nil {
				if err = r.checkEntry(e, pages); err != nil {
					err = fmt.Errorf("entry %v: %w", e.ID, err)
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(e, nil) || e.ID.Seqno >= last {
				return
			}
		}
	}
}

func (r *Replica) entry(seqno uint64, p *pages) (*ledger.Entry, error) {
	if seqno == 0 || seqno > r.Position().Committed.Seqno {
		return nil, fmt.Errorf("entry %d: %w", seqno, ErrNotCommitted)
	}
	if seqno < r.cfg.Ledger.First() {
		r.missing(seqno)
		return nil, fmt.Errorf("entry %d: %w", seqno, ErrAbsent)
	}
	e, err := r.cfg.Ledger.Read(seqno)
	if err == nil {
		err = r.checkEntry(e, p)
	}
	if err != nil {
		return nil, fmt.Errorf("reading entry %d: %w", seqno, err)
	}
	return e, nil
}

// missing has what lies before the ledger's first entry looked for.
func (r *Replica) missing(seqno uint64) {
	if r.cfg.Missing != nil {
		r.cfg.Missing(seqno)
	}
}

// judge says what is damaged when an old entry does not lead to the tree in memory: the
// entry, when the index has another leaf for it and leads there, or else the index. Pages
// that were read before the index grew may be what is old; the index is read again.
func (r *Replica) judge(e *ledger.Entry, err error) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, errIndex) {
		return err
	}
	r.mu.Lock()
	leaf, notThere := r.indexedLeaf(e.ID.Seqno)
	r.mu.Unlock()
	switch {
	case notThere != nil:
		return r.indexing(err)
	case leaf != e.Leaf():
		return errTampered
	}
	return nil
}

// indexing has the index made anew, and says so; or why that is not possible.
func (r *Replica) indexing(err error) error {
	if broken := r.index.broken.Load(); broken != nil {
		return *broken
	}
	r.index.want()
	return fmt.Errorf("%w: %w", ErrIndexing, err)
}

// Proof collects what a receipt for id needs. Errors: ErrNotCommitted when id is not
// Committed on this node; ErrIndexing.
func (r *Replica) Proof(id TxID) (*Proof, error) {
	if r.Status(id) != ledger.StatusCommitted {
		return nil, fmt.Errorf("receipt of %v: %w", id, ErrNotCommitted)
	}
	pages := r.index.pages()
	e, err := r.entry(id.Seqno, pages)
	if err != nil {
		return nil, err
	}
	secret, err := r.cfg.Secrets.At(id.Seqno)
	if err != nil {
		return nil, fmt.Errorf("commit evidence of %v: %w", id, err)
	}
	p := &Proof{Entry: e, Evidence: ledger.CommitEvidence(secret, id)}
	if ledger.IsSignature(e.Public) {
		p.Signature, err = ledger.ParseSignature(e)
		return p, err
	}
	s, err := r.signatureOver(id.Seqno, pages)
	if err != nil {
		return nil, err
	}
	if p.Signature, err = ledger.ParseSignature(s); err != nil {
		return nil, err
	}
	if p.Path, err = r.path(id.Seqno, s.ID.Seqno, pages); err != nil {
		return nil, err
	}
	// Whatever was read, what leaves leads from the entry to the root that was signed.
	if merkle.Climb(e.Leaf(), p.Path) != p.Signature.Root {
		return nil, fmt.Errorf("receipt of %v: %w", id, r.indexing(errIndex))
	}
	return p, nil
}

// path is the path of leaf i in the tree over n leaves.
func (r *Replica) path(i, n uint64, p *pages) ([]merkle.Step, error) {
	node := func(level int, at uint64) (merkle.Hash, error) {
		r.mu.Lock()
		h, ok := r.tree.Held(level, at)
		r.mu.Unlock()
		if ok {
			return h, nil
		}
		return p.node(level, at)
	}
	path, err := merkle.PathOver(i, n, node)
	if err != nil {
		return nil, fmt.Errorf("path of %d: %w", i, r.indexing(err))
	}
	return path, nil
}

// signatureOver returns the first signature transaction behind a committed entry. There
// is one, since it is committed.
func (r *Replica) signatureOver(seqno uint64, p *pages) (*ledger.Entry, error) {
	r.mu.Lock()
	i := sort.Search(len(r.sigs), func(i int) bool { return r.sigs[i] > seqno })
	var after uint64
	if i < len(r.sigs) {
		after = r.sigs[i]
	}
	old := seqno+1 < r.tree.First()
	r.mu.Unlock()
	if old {
		switch found, err := p.signatureAfter(seqno); {
		case err != nil:
			r.index.want() // and looked for below
		case found != 0:
			after = found
		}
	}
	if s, err := r.entry(after, p); err == nil && ledger.IsSignature(s.Public) {
		return s, nil
	}
	// The index is of no use here: look for it.
	for at := seqno + 1; ; at++ {
		s, err := r.entry(at, p)
		if err != nil || ledger.IsSignature(s.Public) {
			return s, err
		}
	}
}

// Writes decrypts a committed entry.
func (r *Replica) Writes(e *ledger.Entry) (writeset.WriteSet, error) {
	secret, err := r.cfg.Secrets.At(e.ID.Seqno)
	if err != nil {
		return nil, fmt.Errorf("entry %v: %w", e.ID, err)
	}
	return e.Open(secret)
}

// RootAt returns the root of the tree over leaves 0 … seqno, of which seqno is at least
// the last committed.
func (r *Replica) RootAt(seqno uint64) (ledger.Digest, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seqno > r.head.Seqno || seqno < r.tree.First() {
		return ledger.Digest{}, fmt.Errorf("root at %d: the history ends at %v", seqno, r.head)
	}
	return r.tree.RootAt(seqno + 1), nil
}

package ledger

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// ErrNoSecret is returned when no ledger secret is known for a seqno.
var ErrNoSecret = errors.New("no ledger secret is known")

// Secrets are the ledger secrets of a service by the first seqno that each is in
// force for. The zero Secrets is empty. Safe for concurrent use; At takes no lock.
type Secrets struct {
	mu   sync.Mutex // held by writers
	list atomic.Pointer[[]secretFrom]
}

type secretFrom struct {
	from   uint64
	secret *Secret
}

func (s *Secrets) load() []secretFrom {
	if p := s.list.Load(); p != nil {
		return *p
	}
	return nil
}

// Add makes secret the one in force from the given seqno on, until the next one
// that is known. Older secrets may be added later. It is an error to give a seqno
// another secret than the one it has.
func (s *Secrets) Add(from uint64, secret *Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.load()
	i := sort.Search(len(list), func(i int) bool { return list[i].from >= from })
	if i < len(list) && list[i].from == from {
		if !list[i].secret.Equal(secret) {
			return fmt.Errorf("another ledger secret is in force from seqno %d", from)
		}
		return nil
	}
	list = slices.Insert(slices.Clone(list), i, secretFrom{from, secret})
	s.list.Store(&list)
	return nil
}

// At returns the secret in force at seqno. The error is ErrNoSecret.
func (s *Secrets) At(seqno uint64) (*Secret, error) {
	list := s.load()
	// The newest is asked for most.
	if n := len(list); n > 0 && list[n-1].from <= seqno {
		return list[n-1].secret, nil
	}
	i := sort.Search(len(list), func(i int) bool { return list[i].from > seqno })
	if i == 0 {
		return nil, fmt.Errorf("%w for seqno %d", ErrNoSecret, seqno)
	}
	return list[i-1].secret, nil
}

// Truncate forgets the secrets that come into force after seqno.
func (s *Secrets) Truncate(seqno uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.load()
	i := sort.Search(len(list), func(i int) bool { return list[i].from > seqno })
	if i < len(list) {
		list = slices.Clone(list[:i])
		s.list.Store(&list)
	}
}

// All returns the secrets with their first seqnos, oldest first.
func (s *Secrets) All() iter.Seq2[uint64, *Secret] {
	list := s.load()
	return func(yield func(uint64, *Secret) bool) {
		for _, e := range list {
			if !yield(e.from, e.secret) {
				return
			}
		}
	}
}

// Last returns the newest secret and its first seqno, or 0 and nil.
func (s *Secrets) Last() (from uint64, secret *Secret) {
	if list := s.load(); len(list) > 0 {
		e := list[len(list)-1]
		return e.from, e.secret
	}
	return 0, nil
}

// from returns the secret whose first seqno is exactly the given one.
func (s *Secrets) from(seqno uint64) (*Secret, bool) {
	for from, secret := range s.All() {
		if from == seqno {
			return secret, true
		}
	}
	return nil, false
}

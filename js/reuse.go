package js

import (
	"container/list"
	"sync"
)

// pool keeps the interpreters of endpoints that ask for interpreter_reuse, least
// recently used first out. An interpreter serves one request at a time: while it does,
// it is not in the pool, and a second request of the same key gets a fresh one.
type pool struct {
	limit int

	mu   sync.Mutex
	byID map[string]*list.Element
	age  list.List // of *idle, newest at the front
}

type idle struct {
	id string
	s  *sandbox
}

// poolID keeps interpreters that may write apart from those that may not.
func poolID(e *Endpoint) string {
	if e.access() == AppReadWrite {
		return e.ReuseKey + " (rw)"
	}
	return e.ReuseKey + " (ro)"
}

// take returns a kept interpreter for the endpoint, nil where there is none.
func (p *pool) take(e *Endpoint) *sandbox {
	p.mu.Lock()
	defer p.mu.Unlock()
	el := p.byID[poolID(e)]
	if el == nil {
		return nil
	}
	delete(p.byID, poolID(e))
	return p.age.Remove(el).(*idle).s
}

// put keeps the interpreter of a request that ended well; others are dropped, since
// they may have been stopped half way through anything.
func (p *pool) put(e *Endpoint, s *sandbox) {
	if p.limit <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	id := poolID(e)
	if p.byID == nil {
		p.byID = make(map[string]*list.Element)
	}
	if old := p.byID[id]; old != nil {
		p.age.Remove(old)
	}
	p.byID[id] = p.age.PushFront(&idle{id: id, s: s})
	for p.age.Len() > p.limit {
		last := p.age.Back()
		delete(p.byID, p.age.Remove(last).(*idle).id)
	}
}

package testnet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"chancery/internal/durable/memfs"
)

// fault has something break, and lets it last. Links stay as they are until a later fault
// heals them; a node that crashed is replaced before the next one.
func (r *run) fault(ctx context.Context) error {
	all := r.nodes()
	a := all[r.chance.IntN(len(all))]
	b := all[r.chance.IntN(len(all))]
	lasts := time.Duration(20+r.chance.IntN(500)) * time.Millisecond
	said := ""
	switch r.chance.IntN(10) {
	case 0:
		said = a.id + " is cut off"
		r.each(a.id, link{cut: true}, link{cut: true})
	case 1:
		said = a.id + " is heard by nobody"
		r.each(a.id, link{cut: true}, link{})
	case 2:
		said = a.id + " is deaf"
		r.each(a.id, link{}, link{cut: true})
	case 3:
		said = fmt.Sprintf("nothing gets from %s to %s", a.id, b.id)
		r.net.set(a.id, b.id, link{cut: true})
	case 4:
		l := link{loss: .3 * r.chance.Float64(), delay: time.Duration(1+r.chance.IntN(80)) * time.Millisecond}
		said = fmt.Sprintf("%s is far away: %.0f %% are lost, the rest is up to %v late", a.id, 100*l.loss, l.delay)
		r.each(a.id, l, l)
	case 5:
		said = "the primary hands over"
		if n := r.leading(); n != nil {
			limited, cancel := context.WithTimeout(ctx, 2*electionTimeout)
			_ = n.Transfer(limited) // where there is a successor
			cancel()
		}
	case 6, 7:
		said = "all links are healed"
		r.net.heal()
	default:
		return r.crash(ctx, a)
	}
	r.faults = append(r.faults, said)
	pause(ctx, lasts)
	return ctx.Err()
}

func (r *run) each(id string, out, in link) {
	for _, other := range r.nodes() {
		if other.id != id {
			r.net.set(id, other.id, out)
			r.net.set(other.id, id, in)
		}
	}
}

// crash cuts a node's power: what its disk had not synced is gone. A fresh node takes its
// place, on an empty disk or on what is left of that one. The links are healed before: with
// a third node out of reach, nobody could decide anything.
func (r *run) crash(ctx context.Context, n *replica) error {
	r.net.heal()
	if err := r.settle(ctx); err != nil {
		return err
	}
	pause(ctx, time.Duration(r.chance.IntN(300))*time.Millisecond)
	r.faults = append(r.faults, n.id+" crashes")
	r.mu.Lock()
	r.doomed[n.id] = true
	delete(r.live, n.id)
	r.wanted = slices.DeleteFunc(r.wanted, func(id string) bool { return id == n.id })
	r.mu.Unlock()
	r.net.leave(n.id)
	n.disk.Crash()
	n.cancel()
	<-n.ended            // with what it ran into
	_ = n.ledger.Close() // its files are void
	disk := memfs.New()
	if r.chance.IntN(2) == 0 {
		disk = n.disk
	}
	if err := r.add(disk, false); err != nil {
		return fmt.Errorf("replacing %s: %w", n.id, err)
	}
	return r.settle(ctx)
}

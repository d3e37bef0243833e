package raftfsm

import (
	"context"
	"fmt"

	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
)

// TakePrivate ends Config.PublicOnly: it completes a store that holds the private state
// through some position, or nothing, with the private writes of all that follows, and puts
// it beside the public one. All secrets must be known; read is told how far it has come.
// The other store is used up.
func (r *Replica) TakePrivate(ctx context.Context, private *kv.Store, read func(seqno uint64)) error {
	// All that is committed now is read while others go on.
	if err := r.readPrivate(ctx, private, read); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.readPrivate(ctx, private, read); err != nil {
		return err
	}
	for _, s := range r.tail {
		if err := r.applyPrivate(s.entry, func(id TxID, ws writeset.WriteSet) error {
			_, err := private.Apply(id, ws)
			return err
		}); err != nil {
			return err
		}
	}
	if err := r.cfg.Store.Graft(private); err != nil {
		return err
	}
	r.publicOnly = false
	return nil
}

// readPrivate takes the private writes of the signed entries behind what private holds.
func (r *Replica) readPrivate(ctx context.Context, private *kv.Store, read func(seqno uint64)) error {
	state := private.Bulk()
	for e, err := range r.cfg.Ledger.EntriesOpened(private.Head().TxID().Seqno+1, r.cfg.Secrets) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = r.applyPrivate(e, state.Apply)
		}
		if err != nil {
			return err
		}
		read(e.ID.Seqno)
	}
	return state.Commit()
}

// applyPrivate gives an entry's private writes to apply.
func (r *Replica) applyPrivate(e *ledger.Entry, apply func(TxID, writeset.WriteSet) error) error {
	secret, err := r.cfg.Secrets.At(e.ID.Seqno)
	if err != nil {
		return fmt.Errorf("entry %v: %w", e.ID, err)
	}
	ws, err := e.Open(secret)
	if err != nil {
		return fmt.Errorf("entry %v: %w", e.ID, err)
	}
	_, hidden := ws.Split()
	if err := apply(e.ID, hidden); err != nil {
		return fmt.Errorf("entry %v: %w", e.ID, err)
	}
	return nil
}

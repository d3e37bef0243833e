package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"

	"chancery/internal/appbuild"
	"chancery/internal/apptest"
	"chancery/js"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
)

// ErrNotRecorded says that a transaction keeps no request.
var ErrNotRecorded = errors.New("it keeps no request")

// Result is what a request came to when it was executed again.
type Result struct {
	ID     ledger.TxID
	Record *js.Record
	// Endpoint is what the request led to.
	Endpoint *js.Endpoint
	// Response is the answer; nil where Failure says why there is none (status 500).
	Response *js.Response
	Failure  *js.EndpointError
	// Log is what the application printed, a line each.
	Log []string
	// Differences between the writes that the ledger holds and those of the replay, by
	// table and key; none: they are the same.
	Differences []Difference
	// Recorded and Replayed are the claims digests, zero: none.
	Recorded, Replayed ledger.Digest
}

// Same says that the replay wrote what the ledger holds, and claimed the same.
func (r *Result) Same() bool { return len(r.Differences) == 0 && r.Recorded == r.Replayed }

// Run replays transaction id of the ledger whose entries are given from the first one on.
// A bundle replaces the application that was deployed; nil does not.
func Run(ctx context.Context, id ledger.TxID, entries iter.Seq2[*ledger.Entry, error], secrets *ledger.Secrets, bundle *appbuild.Bundle) (*Result, error) {
	s := &state{secrets: secrets, store: kv.NewStore()}
	for e, err := range entries {
		if err != nil {
			return nil, err
		}
		writes, err := s.open(e)
		if err != nil {
			return nil, err
		}
		switch {
		case e.ID.Seqno < id.Seqno:
			if err := s.take(e.ID, writes); err != nil {
				return nil, err
			}
		case e.ID != id:
			return nil, fmt.Errorf("at seqno %d stands transaction %v, not %v", id.Seqno, e.ID, id)
		default:
			return s.replay(ctx, e, writes, bundle)
		}
	}
	return nil, fmt.Errorf("the ledger does not hold transaction %v (it may not be committed yet)", id)
}

// state is the service before the transaction.
type state struct {
	secrets *ledger.Secrets
	store   *kv.Store
	views   []uint64 // as ledger.History has them
}

// open returns all writes of an entry.
func (s *state) open(e *ledger.Entry) (writeset.WriteSet, error) {
	secret, err := s.secrets.At(e.ID.Seqno)
	if errors.Is(err, ledger.ErrNoSecret) {
		return nil, fmt.Errorf("transaction %v: its ledger secret is missing, and a replay takes those of all transactions before", e.ID)
	}
	if err != nil {
		return nil, err
	}
	writes, err := e.Open(secret)
	if err != nil {
		return nil, fmt.Errorf("transaction %v: %w", e.ID, err)
	}
	writes.Sort()
	return writes, nil
}

func (s *state) take(id ledger.TxID, writes writeset.WriteSet) error {
	for uint64(len(s.views)) < id.View {
		s.views = append(s.views, id.Seqno)
	}
	if _, err := s.store.Apply(id, writes); err != nil {
		return fmt.Errorf("transaction %v: %w", id, err)
	}
	return s.store.Compact(id.Seqno)
}

// replay executes the request of e again.
func (s *state) replay(ctx context.Context, e *ledger.Entry, writes writeset.WriteSet, bundle *appbuild.Bundle) (*Result, error) {
	record, err := recordOf(writes)
	if err != nil {
		return nil, fmt.Errorf("transaction %v: %w", e.ID, err)
	}
	r := &Result{ID: e.ID, Record: record, Recorded: e.Claims}
	if bundle != nil {
		tx := s.store.Begin()
		if err := apptest.Install(ctx, tx, bundle); err != nil {
			return nil, err
		}
		// Takes no position of the service's: it is undone by nobody, and seen by the replay.
		if _, err := s.store.Commit(tx, writeset.TxID{View: e.ID.View, Seqno: e.ID.Seqno}); err != nil {
			return nil, fmt.Errorf("deploying the application: %w", err)
		}
	}
	tx, err := s.execute(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("executing the request of %v: %w", e.ID, err)
	}
	var replayed writeset.WriteSet
	if applied(r.Response) {
		replayed = tx.WriteSet()
		if r.Response.Claims != nil {
			r.Replayed = *r.Response.Claims
		}
	}
	r.Differences = compare(writes, replayed)
	return r, nil
}

// recordOf is the request that a transaction keeps.
func recordOf(writes writeset.WriteSet) (*js.Record, error) {
	m := writes.Map(js.RecordTable)
	if m == nil {
		return nil, ErrNotRecorded
	}
	text, ok := m.Value(js.RecordKey)
	if !ok {
		return nil, ErrNotRecorded
	}
	record := new(js.Record)
	if err := json.Unmarshal(text, record); err != nil {
		return nil, fmt.Errorf("reading the request that it keeps: %w", err)
	}
	return record, nil
}

// execute runs the request, again where the engine asks for it, and returns the
// transaction that it ran over.
func (s *state) execute(ctx context.Context, r *Result) (*kv.Tx, error) {
	path, ok := strings.CutPrefix(r.Record.Path, "/app")
	if !ok {
		return nil, fmt.Errorf("its path is %q", r.Record.Path)
	}
	apps := new(js.Apps)
	for {
		tx := s.store.Begin()
		app, err := apps.At(tx)
		if err != nil {
			return nil, err
		}
		m, err := app.Match(r.Record.Method, path)
		if err != nil {
			return nil, err
		}
		if m.Endpoint == nil {
			return nil, fmt.Errorf("the application has no endpoint %s %s", r.Record.Method, path)
		}
		request, err := r.Record.Request()
		if err != nil {
			return nil, err
		}
		r.Endpoint, r.Log = m.Endpoint, nil
		request.Tx, request.Params = tx, m.Params
		request.Log = func(level slog.Level, line string) { r.Log = append(r.Log, fmt.Sprintf("%-5s %s", level, line)) }
		request.Consensus = consensus{ledger.History{
			Head: s.store.Head().TxID(), Views: s.views,
			Committed: ledger.TxID{View: r.Record.Committed[0], Seqno: r.Record.Committed[1]},
		}}
		r.Response, err = app.Execute(ctx, m.Endpoint, request)
		if errors.Is(err, js.ErrAgain) {
			continue
		}
		if errors.As(err, &r.Failure) {
			return tx, nil
		}
		return tx, err
	}
}

// applied says whether the writes of an answer are committed.
func applied(r *js.Response) bool {
	switch {
	case r == nil:
		return false
	case r.ApplyWrites != nil:
		return *r.ApplyWrites
	}
	return r.Status >= 200 && r.Status < 300
}

// consensus stands behind ccf.consensus: the positions as the record knew them.
type consensus struct{ history ledger.History }

func (c consensus) LastCommitted() (view, seqno uint64) {
	return c.history.Committed.View, c.history.Committed.Seqno
}

func (c consensus) Status(view, seqno uint64) string {
	return string(c.history.Status(ledger.TxID{View: view, Seqno: seqno}))
}

func (c consensus) ViewOf(seqno uint64) (uint64, bool) {
	view := c.history.ViewOf(seqno)
	return view, view != 0
}

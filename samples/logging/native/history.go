package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"chancery/ledger"
	"chancery/server"
	"chancery/server/api"
)

// history adds the endpoints about records as they were. The range over a kind is
// answered by an index, so that only transactions that wrote the record are looked up.
func (a *application) history(path string, r records) {
	index := server.NewSeqnosByKey(r.kind)
	if err := a.Indexes.Install(index); err != nil {
		panic(err) // each kind is there once
	}
	for _, route := range []*server.Route{
		a.get(path+"/historical", a.users, server.AboutPast(r.historical)),
		a.get(path+"/historical_receipt", a.users, server.AboutPast(r.historicalReceipt)),
		a.get(path+"/historical/range", a.users, r.historicalRange(index)),
		a.get(path+"/historical/sparse", a.users, r.historicalSparse),
	} {
		route.Forwarding = server.ForwardNever
	}
	if r.kind == privateRecords {
		a.get(path+"/historical/handle", a.users, receiptByHandle).Forwarding = server.ForwardNever
	}
}

// past reads the record that a request names as it was; ok is false where the answer is
// made already: there was none.
func (r records) past(c *server.Call, past *server.Past) (msg []byte, ok bool, err error) {
	id, err := recordID(c)
	if err != nil {
		return nil, false, err
	}
	if msg, ok = past.Get(r.table(c), keyOf(id)); !ok {
		c.Response.Status = http.StatusNoContent
	}
	return msg, ok, nil
}

func (r records) historical(_ context.Context, c *server.Call, past *server.Past) error {
	msg, ok, err := r.past(c, past)
	if !ok {
		return err
	}
	return c.Response.JSON(message{string(msg)})
}

func (r records) historicalReceipt(ctx context.Context, c *server.Call, past *server.Past) error {
	msg, ok, err := r.past(c, past)
	if !ok {
		return err
	}
	receipt, err := past.Receipt(ctx)
	if err != nil {
		return err
	}
	text, err := json.Marshal(receipt)
	if err != nil {
		return fmt.Errorf("encoding the receipt: %w", err)
	}
	var shown map[string]any
	if err := json.Unmarshal(text, &shown); err != nil {
		return fmt.Errorf("reading the receipt: %w", err)
	}
	if leaf, ok := shown["leaf_components"].(map[string]any); ok && r.kind == publicRecords {
		// The claim is the digest of the message, which is in this answer too: whoever
		// verifies the receipt computes it from there.
		delete(leaf, "claims_digest")
	}
	return c.Response.JSON(map[string]any{"msg": string(msg), "receipt": shown})
}

// receiptByHandle answers with the receipt of the transaction at a seqno. The handle, under
// which CCF's nodes keep what they fetch, is read and not needed: any transaction can be
// looked up again at the same price.
func receiptByHandle(ctx context.Context, c *server.Call) error {
	if _, err := number(c, "handle"); err != nil {
		return err
	}
	seqno, err := number(c, "seqno")
	if err != nil {
		return err
	}
	past, err := c.Past(ctx, seqno)
	if errors.Is(err, server.ErrNotCommitted) {
		return api.Errorf(http.StatusBadRequest, api.InvalidHeaderValue, "Requested historical TxID is not committed")
	}
	if err == nil {
		var receipt *ledger.Receipt
		if receipt, err = past.Receipt(ctx); err == nil {
			return c.Response.JSON(receipt)
		}
	}
	if errors.Is(err, server.ErrFetching) {
		c.RetryLater("Pending")
		return nil
	}
	return err
}

// pastEntry is a version of a record.
type pastEntry struct {
	Seqno uint64 `json:"seqno"`
	ID    uint64 `json:"id"`
	Msg   string `json:"msg"`
}

// pastEntries is the answer about several transactions.
type pastEntries struct {
	Entries []pastEntry `json:"entries"`
	Next    string      `json:"@nextLink,omitempty"`
}

// pageSize is how many transactions one answer covers.
const pageSize = 2000

// historicalRange answers with the versions of a record between two seqnos, in pages.
func (r records) historicalRange(index *server.SeqnosByKey) server.Handler {
	return func(ctx context.Context, c *server.Call) error {
		id, err := recordID(c)
		if err != nil {
			return err
		}
		from, to := uint64(1), c.Committed().Seqno
		if _, ok := c.Query.Get("from_seqno"); ok {
			if from, err = number(c, "from_seqno"); err != nil {
				return err
			}
		}
		if _, ok := c.Query.Get("to_seqno"); ok {
			if to, err = number(c, "to_seqno"); err != nil {
				return err
			}
		}
		if to < from {
			return api.Errorf(http.StatusBadRequest, api.InvalidInput, "Invalid range: Starts at %d but ends at %d", from, to)
		}
		if err := committed(c, to); err != nil {
			return err
		}
		last := min(to, from+pageSize-1)
		seqnos, ok := index.Seqnos(keyOf(id), from, last)
		if !ok {
			c.RetryLater(fmt.Sprintf("Still constructing index for %s on key %d - indexed to %d/%d", r.kind, id, index.Indexed().Seqno, last))
			return nil
		}
		out := pastEntries{}
		if last < to {
			out.Next = fmt.Sprintf("%s?from_seqno=%d&to_seqno=%d&id=%d", c.FullPath, last+1, to, id)
		}
		return r.answerPast(ctx, c, id, seqnos, out)
	}
}

// historicalSparse answers with the versions of a record at the seqnos that are listed.
func (r records) historicalSparse(ctx context.Context, c *server.Call) error {
	id, err := recordID(c)
	if err != nil {
		return err
	}
	list, ok := c.Query.Get("seqnos")
	if !ok {
		return api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "Missing query parameter 'seqnos'")
	}
	var seqnos []uint64
	for term := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseUint(term, 10, 64)
		if err != nil {
			return api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "Unable to parse '%s' as a seqno", term)
		}
		seqnos = append(seqnos, n)
	}
	if len(seqnos) > pageSize {
		return api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "At most %d seqnos can be asked for", pageSize)
	}
	slices.Sort(seqnos)
	if err := committed(c, seqnos[len(seqnos)-1]); err != nil {
		return err
	}
	return r.answerPast(ctx, c, id, slices.Compact(seqnos), pastEntries{})
}

// committed refuses a seqno whose transaction is not.
func committed(c *server.Call, seqno uint64) error {
	if status := c.StatusAt(seqno); status != server.Committed {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "Only committed transactions can be queried. Transaction at seqno %d is %s", seqno, status)
	}
	return nil
}

// answerPast looks a record up in each of the transactions.
func (r records) answerPast(ctx context.Context, c *server.Call, id uint64, seqnos []uint64, out pastEntries) error {
	out.Entries = []pastEntry{}
	for _, seqno := range seqnos {
		past, err := c.Past(ctx, seqno)
		switch {
		case errors.Is(err, server.ErrFetching):
			c.RetryLater("Historical transactions are not yet available, fetching now")
			return nil
		case err != nil:
			return fmt.Errorf("looking up the transaction at %d: %w", seqno, err)
		}
		if msg, ok := past.Get(r.table(c), keyOf(id)); ok {
			out.Entries = append(out.Entries, pastEntry{Seqno: seqno, ID: id, Msg: string(msg)})
		}
	}
	return c.Response.JSON(out)
}

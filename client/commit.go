package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"chancery/ledger"
	"chancery/server/api"
)

// Status is what a node knows of a transaction.
type Status string

// The statuses. Committed and Invalid are final.
const (
	Unknown   Status = "Unknown"
	Pending   Status = "Pending"
	Committed Status = "Committed"
	Invalid   Status = "Invalid"
)

// How often a node is asked for a transaction's status: soon at first, since a
// question makes a node of Chancery sign, then at growing intervals.
const (
	firstPoll = 2 * time.Millisecond
	lastPoll  = 250 * time.Millisecond
)

// Status asks for the status of a transaction.
func (c *Client) Status(ctx context.Context, id ledger.TxID) (Status, error) {
	return c.status(ctx, appFrontend, id)
}

// WaitCommitted returns once a transaction is committed. The error wraps
// ErrRolledBack if it never will be, and the context's cause if that ends first.
func (c *Client) WaitCommitted(ctx context.Context, id ledger.TxID) error {
	return c.waitCommitted(ctx, appFrontend, id)
}

// The first segments of paths. Each has its own endpoints for statuses and
// receipts, and may be closed.
const (
	appFrontend  = "/app"
	govFrontend  = "/gov"
	nodeFrontend = "/node"
)

// frontendOf returns the frontend that answers a path.
func frontendOf(path string) string {
	for _, f := range []string{govFrontend, nodeFrontend} {
		if strings.HasPrefix(path, f+"/") {
			return f
		}
	}
	return appFrontend
}

func txQuery(id ledger.TxID) url.Values { return url.Values{"transaction_id": {id.String()}} }

func (c *Client) status(ctx context.Context, frontend string, id ledger.TxID) (Status, error) {
	var out api.TxStatus
	if err := c.Get(ctx, frontend+"/tx", txQuery(id), &out); err != nil {
		return "", fmt.Errorf("status of %v: %w", id, err)
	}
	s := Status(out.Status)
	if !slices.Contains([]Status{Unknown, Pending, Committed, Invalid}, s) {
		return "", fmt.Errorf("status of %v: %w: %q", id, ErrBadAnswer, out.Status)
	}
	return s, nil
}

func (c *Client) waitCommitted(ctx context.Context, frontend string, id ledger.TxID) error {
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
		s, err := c.status(ctx, frontend, id)
		switch {
		case err != nil:
			return err
		case s == Committed:
			return nil
		case s == Invalid:
			return fmt.Errorf("transaction %v: %w", id, ErrRolledBack)
		}
		if err := c.sleep(ctx, pause); err != nil {
			return fmt.Errorf("waiting for %v, which is %s: %w", id, s, err)
		}
	}
}

// Commit returns the last committed transaction that a node knows.
func (c *Client) Commit(ctx context.Context) (ledger.TxID, error) {
	var out api.Commit
	if err := c.Get(ctx, appFrontend+"/commit", nil, &out); err != nil {
		return ledger.TxID{}, err
	}
	id, err := ledger.ParseTxID(out.TransactionID)
	if err != nil {
		return ledger.TxID{}, fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	return id, nil
}

// settle brings an answer to the point that r.Wait names: the node may have waited
// itself, or not.
func (c *Client) settle(ctx context.Context, r *Request, resp *Response) (*Response, error) {
	if resp.TxID.IsZero() {
		return resp, nil
	}
	applied := strings.Split(strings.ReplaceAll(resp.Header.Get(api.HeaderPreferApplied), " ", ""), ",")
	undecided := resp.Status == http.StatusAccepted && slices.ContainsFunc(applied, func(p string) bool { return strings.HasPrefix(p, "wait=") })
	if slices.Contains(applied, "wait=receipt") && !undecided {
		return c.unwrap(resp)
	}
	frontend := frontendOf(r.Path)
	if !slices.Contains(applied, "wait=commit") || undecided {
		if err := c.waitCommitted(ctx, frontend, resp.TxID); err != nil {
			return nil, err
		}
	}
	if r.Wait != ForReceipt {
		return resp, nil
	}
	receipt, err := c.receipt(ctx, frontend, resp.TxID)
	if err != nil {
		return nil, err
	}
	resp.Receipt = receipt
	return resp, nil
}

// unwrap takes an answer apart that came together with its receipt, and verifies
// that.
func (c *Client) unwrap(resp *Response) (*Response, error) {
	var w api.Written
	if err := resp.JSON(&w); err != nil {
		return nil, err
	}
	receipt, err := ledger.ParseReceipt(w.Receipt)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if err := receipt.Verify(c.cfg.Service, ledger.ExpectTx(resp.TxID)); err != nil {
		return nil, fmt.Errorf("%w: receipt of %v: %w", ErrUntrusted, resp.TxID, err)
	}
	out := &Response{Status: w.Status, Header: resp.Header.Clone(), TxID: resp.TxID, Receipt: receipt}
	out.Header.Del(api.HeaderContentType)
	if w.ContentType != "" {
		out.Header.Set(api.HeaderContentType, w.ContentType)
	}
	if out.Body, err = writtenBody(w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	return out, nil
}

// writtenBody returns the application's own answer.
func writtenBody(w api.Written) ([]byte, error) {
	if w.Body == nil || w.ContentType == api.TypeJSON && w.Encoding == "" {
		return w.Body, nil
	}
	var text string
	if err := json.Unmarshal(w.Body, &text); err != nil {
		return nil, err
	}
	if w.Encoding == "base64" {
		return base64.StdEncoding.DecodeString(text)
	}
	return []byte(text), nil
}

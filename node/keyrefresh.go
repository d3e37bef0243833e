package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/oidc"
	"chancery/kv"
)

// keyRefresher keeps the signing keys of token issuers up to date (CCF's
// jwt.key_refresh): on the primary, after every interval and whenever the table of
// issuers changes, it fetches the keys of those with auto_refresh and records them.
type keyRefresher struct {
	n         *Node
	committed chan struct{} // capacity 1: raised by every commit

	attempts, successes, failures atomic.Uint64

	seen map[string]uint64 // the versions of the issuers' rows that were last looked at
}

func newKeyRefresher(n *Node) *keyRefresher {
	return &keyRefresher{n: n, committed: make(chan struct{}, 1)}
}

// run works until ctx ends. What goes wrong with an issuer is logged and counted, and
// tried again; only a node that cannot read its own tables ends.
func (r *keyRefresher) run(ctx context.Context) error {
	r.seen = r.versions()
	tick := time.NewTicker(r.n.cfg.JWT.KeyRefreshInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.committed:
			if now := r.versions(); !maps.Equal(now, r.seen) {
				r.seen = now
			} else {
				continue
			}
		}
		if !r.n.Position().Primary {
			continue
		}
		if err := r.refreshAll(ctx); err != nil {
			return fmt.Errorf("refreshing the keys of token issuers: %w", err)
		}
	}
}

// versions returns the seqno at which each issuer was written last.
func (r *keyRefresher) versions() map[string]uint64 {
	out := make(map[string]uint64)
	for issuer, row := range r.n.store.Committed().Range(tables.NameJWTIssuers, kv.Bounds{}) {
		out[string(issuer)] = row.Version
	}
	return out
}

// refreshAll fetches the keys of one issuer after the other.
func (r *keyRefresher) refreshAll(ctx context.Context) error {
	rows, err := tables.JWTIssuers.All(tables.View(r.n.store.Committed()))
	if err != nil {
		return err
	}
	for _, row := range rows {
		if !row.Value.AutoRefresh {
			continue
		}
		r.attempts.Add(1)
		switch err := r.refresh(ctx, row.Key, row.Value); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			r.failures.Add(1)
			r.n.log.Warn("the keys of a token issuer were not refreshed, those it had stay", "issuer", row.Key, "err", err)
		default:
			r.successes.Add(1)
		}
	}
	return nil
}

// refresh fetches the keys of one issuer and records them.
func (r *keyRefresher) refresh(ctx context.Context, issuer string, how tables.JWTIssuer) error {
	if how.CABundle == nil {
		return errors.New("it has no ca_cert_bundle_name")
	}
	bundle, ok, err := tables.CACertBundles.Get(tables.View(r.n.store.Committed()), *how.CABundle)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("there is no CA certificate bundle %q", *how.CABundle)
	}
	keys, err := oidc.Keys(ctx, issuer, bundle, oidc.Limits{
		Timeout: r.n.cfg.Chancery.JWTFetchTimeout, Bytes: int64(r.n.cfg.JWT.KeyRefreshMaxResponseSize),
	})
	if err != nil {
		return err
	}
	return r.record(ctx, issuer, keys)
}

// record writes an issuer's keys, if they have changed and the issuer still wants it.
func (r *keyRefresher) record(ctx context.Context, issuer string, keys json.RawMessage) error {
	return r.n.transact(ctx, func(tx *kv.Tx) error {
		how, ok, err := tables.JWTIssuers.Get(tx, issuer)
		if err != nil || !ok || !how.AutoRefresh {
			return err
		}
		return gov.SetJWTKeys(tx, issuer, keys)
	})
}

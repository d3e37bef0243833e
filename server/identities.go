package server

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv/writeset"
	"chancery/ledger"
)

// TrustedKey is a key with which the service signed its ledger, from a transaction on.
type TrustedKey struct {
	From TxID
	Key  *ecdsa.PublicKey
}

// TrustedKeys returns the keys of the service, oldest first: after a disaster recovery it
// has another one, which endorsed those before. Errors: ErrFetching (to be asked for again).
func (c *Call) TrustedKeys(ctx context.Context) ([]TrustedKey, error) {
	info, ok, err := tables.ServiceInfo.Get(c.Tx)
	if err != nil || !ok {
		return nil, fmt.Errorf("reading the service's identity: %w", errors.Join(err, missing(ok)))
	}
	cert, err := identity.ParseCertificate([]byte(info.Cert))
	if err != nil {
		return nil, fmt.Errorf("reading the service's certificate: %w", err)
	}
	present, err := identity.CertificateKey(cert)
	if err != nil {
		return nil, fmt.Errorf("reading the service's certificate: %w", err)
	}
	begun, err := writeset.ParseTxID(info.CreateTxID)
	if err != nil {
		return nil, fmt.Errorf("reading the service's create transaction: %w", err)
	}
	written, err := c.server.node.Endorsements(ctx)
	if err != nil {
		return nil, err
	}
	var keys []TrustedKey
	for _, e := range written {
		if e.Epoch.Open() {
			continue // of a service about itself
		}
		chain, err := ledger.EndorsementsFor(written, e.Epoch.Begin)
		if err != nil {
			return nil, err
		}
		key, err := ledger.EndorsedKey(present, chain, e.Epoch.Begin)
		if err != nil {
			return nil, err
		}
		keys = append(keys, TrustedKey{From: e.Epoch.Begin, Key: key})
	}
	return append(keys, TrustedKey{From: begun, Key: present}), nil
}

// missing is an error for what is not there.
func missing(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("it is not there")
}

// VerifyReceipt verifies a COSE receipt of this service, of any of its lives. Errors: those
// of package ledger; ErrFetching (to be asked for again).
func (c *Call) VerifyReceipt(ctx context.Context, receipt []byte, want ...ledger.Expectation) (*ledger.COSEReceipt, error) {
	r, err := ledger.ParseCOSEReceipt(receipt)
	if err != nil {
		return nil, err
	}
	keys, err := c.TrustedKeys(ctx)
	if err != nil {
		return nil, err
	}
	for i := len(keys) - 1; i >= 0; i-- {
		if keys[i].From.Seqno <= r.SignedAt.Seqno {
			return r, r.Verify(keys[i].Key, want...)
		}
	}
	return nil, fmt.Errorf("%w: no identity of the service signed at %v", ledger.ErrWrongService, r.SignedAt)
}

// COSESignatures returns what the service's COSE signatures say of themselves.
func (c *Call) COSESignatures() COSESignatures { return c.server.node.COSESignatures() }

// COSESignature returns the service's COSE signature over the root that covers the
// transaction; of a signature transaction, its own. Errors: ErrNoReceipt, ErrFetching.
func (p *Past) COSESignature(ctx context.Context) ([]byte, error) {
	return p.server.node.COSESignature(ctx, p.ID)
}

// Endorsements returns the COSE_Sign1 messages that lead from the service's present key to
// the one that signed the transaction, newest first; none for a transaction of the present
// life. Errors: ErrFetching; an error that wraps ledger.ErrNotEndorsed.
func (p *Past) Endorsements(ctx context.Context) ([][]byte, error) {
	written, err := p.server.node.Endorsements(ctx)
	if err != nil {
		return nil, err
	}
	chain, err := ledger.EndorsementsFor(written, p.ID)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(chain))
	for i, e := range chain {
		out[i] = e.Raw
	}
	return out, nil
}

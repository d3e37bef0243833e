package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"chancery/internal/identity"
	"chancery/ledger"
	"chancery/server/api"
)

// Receipt fetches the receipt of a committed transaction and verifies it under the
// service's certificate: it is of that transaction, and meets what else is
// expected. A receipt that does not is ErrUntrusted. Signature transactions have
// no receipt that names them, and are refused here: see ReceiptBytes.
func (c *Client) Receipt(ctx context.Context, id ledger.TxID, want ...ledger.Expectation) (*ledger.Receipt, error) {
	return c.receipt(ctx, appFrontend, id, want...)
}

func (c *Client) receipt(ctx context.Context, frontend string, id ledger.TxID, want ...ledger.Expectation) (*ledger.Receipt, error) {
	data, err := c.receiptBytes(ctx, frontend+"/receipt", id)
	if err != nil {
		return nil, err
	}
	r, err := ledger.ParseReceipt(data)
	if err == nil {
		err = r.Verify(c.cfg.Service, append([]ledger.Expectation{ledger.ExpectTx(id)}, want...)...)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: receipt of %v: %w", ErrUntrusted, id, err)
	}
	return r, nil
}

// COSEReceipt is Receipt for the COSE form. It returns the bytes too. A receipt of a
// transaction before a recovery is signed by the identity of that time: it is verified with
// the statements by which the present one vouches for that (Endorsements).
func (c *Client) COSEReceipt(ctx context.Context, id ledger.TxID, want ...ledger.Expectation) (*ledger.COSEReceipt, []byte, error) {
	data, err := c.COSEReceiptBytes(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	want = append([]ledger.Expectation{ledger.ExpectTx(id)}, want...)
	r, err := ledger.VerifyCOSEReceipt(data, c.cfg.Service, want...)
	if errors.Is(err, ledger.ErrWrongService) {
		r, err = c.verifyEarlier(ctx, id, data, want)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: COSE receipt of %v: %w", ErrUntrusted, id, err)
	}
	return r, data, nil
}

// verifyEarlier verifies a COSE receipt of an earlier life of the service.
func (c *Client) verifyEarlier(ctx context.Context, id ledger.TxID, data []byte, want []ledger.Expectation) (*ledger.COSEReceipt, error) {
	chain, err := c.Endorsements(ctx, id)
	if err != nil {
		return nil, err
	}
	present, err := identity.CertificateKey(c.cfg.Service)
	if err != nil {
		return nil, fmt.Errorf("the service's certificate: %w", err)
	}
	r, err := ledger.ParseCOSEReceipt(data)
	if err != nil {
		return nil, err
	}
	return r, r.VerifyWithEndorsements(present, chain, want...)
}

// Endorsements fetches the statements, newest first, by which the service's present
// identity vouches for the one that signed a transaction; none for one of its own. They are
// not verified: see ledger.EndorsedKey.
func (c *Client) Endorsements(ctx context.Context, id ledger.TxID) ([]*ledger.IdentityEndorsement, error) {
	data, err := c.EndorsementsBytes(ctx, id)
	if err != nil {
		return nil, err
	}
	return ParseEndorsements(data)
}

// EndorsementsBytes is Endorsements as the node sends them, to be kept beside a receipt.
func (c *Client) EndorsementsBytes(ctx context.Context, id ledger.TxID) ([]byte, error) {
	return c.receiptBytes(ctx, "/node/service/endorsements", id)
}

// ParseEndorsements reads what EndorsementsBytes returns.
func ParseEndorsements(data []byte) ([]*ledger.IdentityEndorsement, error) {
	var body api.Endorsements
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, fmt.Errorf("identity endorsements: %w", err)
	}
	var out []*ledger.IdentityEndorsement
	for _, raw := range body.Endorsements {
		e, err := ledger.ParseIdentityEndorsement(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// ReceiptBytes fetches a receipt as the node sends it, without looking into it: to
// be kept, and verified by whoever needs it.
func (c *Client) ReceiptBytes(ctx context.Context, id ledger.TxID) ([]byte, error) {
	return c.receiptBytes(ctx, appFrontend+"/receipt", id)
}

// COSEReceiptBytes is ReceiptBytes for the COSE form.
func (c *Client) COSEReceiptBytes(ctx context.Context, id ledger.TxID) ([]byte, error) {
	return c.receiptBytes(ctx, appFrontend+"/receipt/cose", id)
}

func (c *Client) receiptBytes(ctx context.Context, path string, id ledger.TxID) ([]byte, error) {
	if id.IsZero() {
		return nil, errors.New("receipt: no transaction given")
	}
	resp, err := c.Do(ctx, Request{Path: path, Query: txQuery(id), Fetched: true})
	if err != nil {
		return nil, fmt.Errorf("receipt of %v: %w", id, err)
	}
	return resp.Body, nil
}

package client

import (
	"context"
	"errors"
	"fmt"

	"chancery/ledger"
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

// COSEReceipt is Receipt for the COSE form. It returns the bytes too. Receipts of
// transactions before a recovery are signed by the identity of that time and do
// not verify under the present one alone: fetch those with COSEReceiptBytes.
func (c *Client) COSEReceipt(ctx context.Context, id ledger.TxID, want ...ledger.Expectation) (*ledger.COSEReceipt, []byte, error) {
	data, err := c.COSEReceiptBytes(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	r, err := ledger.VerifyCOSEReceipt(data, c.cfg.Service, append([]ledger.Expectation{ledger.ExpectTx(id)}, want...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: COSE receipt of %v: %w", ErrUntrusted, id, err)
	}
	return r, data, nil
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

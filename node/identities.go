package node

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"chancery/gov/tables"
	"chancery/kv/writeset"
	"chancery/ledger"
	"chancery/server"
)

// Endorsements returns what the service identities stated about those before them, in the
// order in which they did, as the committed ledger holds it: each row of the table names
// the one before.
func (n *Node) Endorsements(ctx context.Context) ([]*ledger.IdentityEndorsement, error) {
	row, ok, err := tables.PreviousEndorsement.Get(tables.View(n.store.Committed()))
	if err != nil || !ok {
		return nil, err
	}
	l := &n.lives
	l.mu.Lock()
	latest, written := l.latest, l.written
	l.mu.Unlock()
	if written != nil && bytes.Equal(latest, row.Endorsement) {
		return written, nil
	}
	if written, err = n.readEndorsements(ctx, row); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest, l.written = row.Endorsement, written
	return written, nil
}

// readEndorsements follows the rows back through the ledger.
func (n *Node) readEndorsements(ctx context.Context, row tables.IdentityEndorsement) (_ []*ledger.IdentityEndorsement, err error) {
	var out []*ledger.IdentityEndorsement
	for at := n.store.Committed().TxID().Seqno + 1; ; {
		e, err := ledger.ParseIdentityEndorsement(row.Endorsement)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
		if row.PreviousVersion == nil {
			slices.Reverse(out)
			return out, nil
		}
		if *row.PreviousVersion >= at {
			return nil, fmt.Errorf("the identity endorsement before %d is said to be at %d", at, *row.PreviousVersion)
		}
		at = *row.PreviousVersion
		if row, err = n.endorsementAt(ctx, at); err != nil {
			return nil, err
		}
	}
}

func (n *Node) endorsementAt(ctx context.Context, seqno uint64) (row tables.IdentityEndorsement, err error) {
	ok, err := n.writtenAt(ctx, seqno, tables.NamePreviousEndorse, &row)
	if err == nil && !ok {
		err = fmt.Errorf("transaction %d holds no identity endorsement", seqno)
	}
	return row, err
}

// writtenAt is written of a committed transaction.
func (n *Node) writtenAt(ctx context.Context, seqno uint64, table string, to any) (ok bool, err error) {
	writes, err := n.Transaction(ctx, n.committedAt(seqno))
	if err != nil {
		return false, err
	}
	return written(writes, table, to)
}

// committedAt is the TxID of a committed seqno.
func (n *Node) committedAt(seqno uint64) ledger.TxID {
	return writeset.TxID{View: n.Position().ViewOf(seqno), Seqno: seqno}
}

// COSESignature returns the service's signature over the root that covers a committed
// transaction; of a signature transaction, its own.
func (n *Node) COSESignature(_ context.Context, id server.TxID) ([]byte, error) {
	p, err := n.proof(id)
	if err != nil {
		return nil, err
	}
	if p.Signature.COSE == nil {
		return nil, fmt.Errorf("COSE signature over %v: %w", id, server.ErrNoReceipt)
	}
	return p.Signature.COSE, nil
}

// COSESignatures are the issuer and the subject that such signatures name.
func (n *Node) COSESignatures() server.COSESignatures {
	ids := n.coseIDs()
	return server.COSESignatures{Issuer: ids.Issuer, Subject: ids.Subject}
}

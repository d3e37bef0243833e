package node

import (
	"context"
	"fmt"

	"chancery/gov/tables"
	"chancery/ledger"
	"chancery/raftfsm"
	"chancery/server"
)

// jsonReceipt builds CCF's JSON receipt from a proof.
func (n *Node) jsonReceipt(ctx context.Context, p *raftfsm.Proof) (*ledger.Receipt, error) {
	if len(p.Signature.Sig) == 0 {
		return nil, fmt.Errorf("receipt of %v: only the service signed its root: %w", p.Entry.ID, server.ErrNoReceipt)
	}
	cert := p.Signature.CertPEM
	if cert == "" { // 1.x ledgers keep the certificate in the nodes table alone
		var err error
		if cert, _, err = tables.NodesEndorsedCertificates.Get(tables.View(n.store.Committed()), p.Signature.NodeID); err != nil {
			return nil, fmt.Errorf("receipt of %v: %w", p.Entry.ID, err)
		}
	}
	r, err := ledger.BuildReceipt(p.Entry, p.Evidence, p.Path, p.Signature, cert)
	if err != nil {
		return nil, err
	}
	r.Endorsements, err = n.endorsedFor(ctx, p.Entry.ID)
	return r, err
}

// coseReceipt builds a COSE receipt from a proof.
func (n *Node) coseReceipt(p *raftfsm.Proof) ([]byte, error) {
	if p.Signature.COSE == nil || len(p.Path) == 0 {
		return nil, fmt.Errorf("COSE receipt of %v: %w", p.Entry.ID, server.ErrNoReceipt)
	}
	claims := p.Entry.Claims
	leaf := ledger.Leaf{WriteSet: p.Entry.WriteSetDigest(), Evidence: p.Evidence, Claims: &claims}
	return ledger.BuildCOSEReceipt(p.Signature.COSE, leaf, p.Path)
}

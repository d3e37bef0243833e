package ledger

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"slices"

	"chancery/internal/cose"
	"chancery/ledger/merkle"
)

// checkSigned checks a signature transaction. The two signatures are verified on
// other goroutines; everything that depends on the entries before is decided here.
func (a *auditor) checkSigned(e *Entry) error {
	s, err := ParseSignature(e)
	if err != nil {
		return err
	}
	root := a.tree.Root()
	if err := a.checkRoot(s, root); err != nil {
		return err
	}
	life := a.life()
	if life == nil {
		return fmt.Errorf("%w: a signature before there is a service", ErrUntrusted)
	}
	if s.NodeID != "" {
		key, err := a.signingNode(s)
		if err != nil {
			return err
		}
		a.report.NodeSignatures++
		a.signature(e, func() error { return verifyNode(key, s) })
	}
	if s.COSE != nil {
		key, kid := a.service, life.KeyID
		a.report.COSESignatures++
		a.signature(e, func() error { return verifyLedgerCOSE(key, kid, s) })
	}
	a.report.Signatures++
	a.report.LastSigned, a.report.Root, a.report.Unsigned = e.ID, root, 0
	a.signed = a.tree.Edge()
	slices.Reverse(a.signed)
	life.LastSigned, life.Root = e.ID, root
	if a.opts.Signed != nil {
		a.opts.Signed(e.ID, s.IssuedAt())
	}
	return nil
}

// signature has a signature of e verified, unless it lies before what is to be.
func (a *auditor) signature(e *Entry, check func() error) {
	if e.ID.Seqno < a.opts.From {
		a.report.Unchecked++
		return
	}
	a.later(e, check)
}

// checkRoot compares the root that a signature states, and the one of the tree that it
// records, with that of the entries before it. The error is a *CorruptError if another
// entry is to blame.
func (a *auditor) checkRoot(s *Signature, root Digest) error {
	if s.Root == root && a.records(s.Tree) {
		return nil
	}
	recorded, err := s.Tree.Root()
	if err != nil {
		return fmt.Errorf("%s: %w", TreeMap, err)
	}
	switch {
	case s.Root == root && recorded == root:
		return nil
	case s.Root == root:
		return fmt.Errorf("%s: it records a tree with root %x, the entries before it give %x", TreeMap, recorded, root)
	case s.Root == recorded:
		if blamed := a.blame(s.Tree); blamed != nil {
			return blamed
		}
	}
	return fmt.Errorf("it signs the root %x, the entries before it give %x", s.Root, root)
}

// records says whether a recorded tree is the one of the entries so far because it begins at
// the last signature and has the same leaves from there on. False says nothing.
func (a *auditor) records(p *merkle.Partial) bool {
	if p.Flushed != a.report.LastSigned.Seqno || !slices.Equal(p.Edge, a.signed) || len(p.Leaves) != len(a.recent) {
		return false
	}
	for i := range a.recent {
		if a.recent[i].leaf != p.Leaves[i] {
			return false
		}
	}
	return a.recent[0].seqno == p.Flushed
}

// signingNode returns the key of the node that claims to have signed, if it may.
func (a *auditor) signingNode(s *Signature) (*ecdsa.PublicKey, error) {
	n := a.nodes[s.NodeID]
	switch {
	case n == nil:
		return nil, fmt.Errorf("%w: node %s is not known", ErrUntrusted, s.NodeID)
	case n.status != nodeTrusted && n.status != nodeRetired:
		return nil, fmt.Errorf("%w: node %s has status %q", ErrUntrusted, s.NodeID, n.status)
	case n.cert == nil:
		return nil, fmt.Errorf("%w: node %s has no certificate from the service", ErrUntrusted, s.NodeID)
	}
	cert := n.cert
	if s.CertPEM != "" {
		// A renewal may be on its way: the certificate need not be the recorded one, but
		// must be of the same key, and of the service in force.
		var err error
		if cert, err = a.nodeCert(s.NodeID, s.CertPEM); err != nil {
			return nil, err
		}
	} else if err := issuedBy(cert, a.life().Cert); err != nil {
		return nil, fmt.Errorf("%w: the certificate of node %s is not issued by the service: %w", ErrUntrusted, s.NodeID, err)
	}
	return ecdsaKey(cert)
}

// verifyNode verifies the node's signature: the root is the digest that was signed.
func verifyNode(key *ecdsa.PublicKey, s *Signature) error {
	if err := checkECDSASignature(s.Sig); err != nil {
		return fmt.Errorf("%s: %w", SignaturesMap, err)
	}
	if !ecdsa.VerifyASN1(key, s.Root[:], s.Sig) {
		return fmt.Errorf("%s: node %s did not sign the root", SignaturesMap, s.NodeID)
	}
	return nil
}

// verifyLedgerCOSE verifies the service's signature and what its header states.
func verifyLedgerCOSE(key *ecdsa.PublicKey, kid string, s *Signature) error {
	if err := checkLedgerCOSE(key, kid, s); err != nil {
		return fmt.Errorf("%s: %w", COSESignaturesMap, err)
	}
	return nil
}

func checkLedgerCOSE(key *ecdsa.PublicKey, kid string, s *Signature) error {
	msg, err := cose.Parse(s.COSE)
	if err != nil {
		return err
	}
	if !bytes.Equal(msg.Encode(), s.COSE) {
		return errors.New("it is not encoded in the shortest form")
	}
	if len(msg.Unprotected) != 0 && !bytes.Equal(msg.Unprotected, []byte{0xa0}) {
		return errors.New("it has unprotected headers")
	}
	header, err := cose.DecodeMap(msg.Protected)
	if err != nil {
		return err
	}
	if vds, err := member[int64](header, labelVDS); err != nil || vds != vdsCCF {
		return fmt.Errorf("verifiable data structure %d, want %d: %w", vds, vdsCCF, err)
	}
	if have, err := member[[]byte](header, labelKID); err != nil || string(have) != kid {
		return fmt.Errorf("%w: it names the key %s, that of the service in force is %s", ErrUntrusted, have, kid)
	}
	ccf, err := memberMap(header, labelCCF)
	if err != nil {
		return err
	}
	if id, err := member[string](ccf, "txid"); err != nil || id != s.ID.String() {
		return fmt.Errorf("it names itself %q", id)
	}
	if err := msg.VerifyDetached(key, s.Root[:]); err != nil {
		return fmt.Errorf("the service did not sign the root: %w", err)
	}
	return nil
}

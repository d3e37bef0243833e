package gov

import (
	"encoding/hex"
	"fmt"

	"chancery/gov/tables"
	"chancery/kv"
	"chancery/ledger/merkle"
)

// DigestView is the body of the state digest endpoints.
type DigestView struct {
	MemberID    string `json:"memberId"`
	StateDigest string `json:"stateDigest"`
}

// StateDigest returns the digest that a member is to acknowledge.
func StateDigest(r tables.Reader, memberID string) (*DigestView, error) {
	ack, ok, err := tables.MembersAcks.Get(r, memberID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refuse(Missing, CodeResourceNotFound, "No ACK record exists for member %s.", memberText(memberID))
	}
	return &DigestView{memberID, ack.StateDigest}, nil
}

// UpdateStateDigest records the root of the ledger's last signature as what the signer is
// to acknowledge next. memberID is the one in the request's path.
func UpdateStateDigest(tx *kv.Tx, s Signed, memberID string) (*DigestView, error) {
	if err := s.checkSigner(memberID); err != nil {
		return nil, err
	}
	ack, _, err := tables.MembersAcks.Get(tx, memberID)
	if err != nil {
		return nil, err
	}
	root, err := signedRoot(tx)
	if err != nil {
		return nil, err
	}
	if root == "" {
		return nil, failed("Service has no signatures to ack yet - try again soon.")
	}
	ack.StateDigest = root
	if err := tables.MembersAcks.Put(tx, memberID, ack); err != nil {
		return nil, err
	}
	return &DigestView{memberID, root}, nil
}

// signedRoot returns the hex root of the ledger's last signature, "" before the first.
func signedRoot(r tables.Reader) (string, error) {
	raw, ok, err := tables.Tree.Get(r)
	if err != nil || !ok {
		return "", err
	}
	part, err := merkle.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", tables.NameTree, err)
	}
	tree, err := merkle.Restore(part)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", tables.NameTree, err)
	}
	root := tree.Root()
	return hex.EncodeToString(root[:]), nil
}

// Ack records that the signer saw the state with the digest in its message, which makes
// an accepted member active. A member that takes part in recovery gets its share at
// once when the service is open; opening gives the others theirs.
func Ack(tx *kv.Tx, fx Effects, s Signed, memberID string) error {
	if err := s.checkSigner(memberID); err != nil {
		return err
	}
	ack, ok, err := tables.MembersAcks.Get(tx, memberID)
	if err != nil {
		return err
	}
	if !ok {
		return refuse(Denied, CodeAuthorizationFailed, "No ACK record exists for member %s.", memberText(memberID))
	}
	digest, err := requireString(s.payload(), "stateDigest")
	if err != nil {
		return err
	}
	if digest != ack.StateDigest {
		return refuse(Invalid, CodeStateDigestMismatch,
			"Submitted state digest is not valid.\nExpected\n %s\nReceived\n %s", ack.StateDigest, digest)
	}
	ack.SignedReq = nil
	ack.COSESign1 = s.Raw
	if err := tables.MembersAcks.Put(tx, memberID, ack); err != nil {
		return err
	}
	activated, err := activate(tx, memberID)
	if err != nil || !activated || !tables.MembersEncryptionKeys.Has(tx, memberID) {
		return err
	}
	service, err := service(tx)
	if err != nil {
		return err
	}
	if service.Status != tables.ServiceOpen {
		return nil
	}
	if err := refreshShares(tx, fx); err != nil {
		return failed("Error issuing new recovery shares: %s", err)
	}
	return nil
}

// activate makes a member active and says whether it was not before.
func activate(tx *kv.Tx, memberID string) (bool, error) {
	m, ok, err := tables.MembersInfo.Get(tx, memberID)
	if err != nil {
		return false, err
	}
	if !ok {
		return false, failed("Error activating member: Member %s cannot be activated as they do not exist", memberText(memberID))
	}
	was := m.Status
	m.Status = tables.MemberActive
	return was != tables.MemberActive, tables.MembersInfo.Put(tx, memberID, m)
}

// service returns the row of the service.
func service(r tables.Reader) (tables.Service, error) {
	s, ok, err := tables.ServiceInfo.Get(r)
	if err == nil && !ok {
		err = failed("No service currently available.")
	}
	return s, err
}

// config returns the configuration of the service.
func config(r tables.Reader) (tables.Config, error) {
	c, ok, err := tables.ServiceConfig.Get(r)
	if err == nil && !ok {
		err = fmt.Errorf("reading %s: there is none", tables.NameServiceConfig)
	}
	return c, err
}

package gov

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"chancery/attest"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
)

// JoinRequest is what a node says of itself when it asks to become part of a service.
type JoinRequest struct {
	// Key is the SHA-256 of the node's public key (SPKI, DER), which TLS has proven.
	Key [32]byte
	// Node is its row as it will stand: interfaces, quote, keys, signing request, data.
	Node tables.Node
	// Validity is that of the node's own certificate: one that is trusted at once gets
	// an endorsed certificate of the same.
	ValidFrom string
	ValidDays uint64
	// Sealed is the node's recovery key; nil where it keeps none.
	Sealed *SealedNode
}

// ID is the node's id.
func (r *JoinRequest) ID() string { return hex.EncodeToString(r.Key[:]) }

// Why a node is not let in; attest's sentinels are the others.
var (
	// ErrForeignRequest says that a signing request is not over the node's key.
	ErrForeignRequest = errors.New("Public key in CSR does not match TLS client identity.")
	// ErrBadRequest says that a signing request does not parse.
	ErrBadRequest = errors.New("the certificate signing request does not parse")
)

// AddressTakenError says that another node has the published node-to-node address.
type AddressTakenError struct{ Address, By string }

func (e *AddressTakenError) Error() string {
	return fmt.Sprintf("A node with the same published node address %s already exists (node id: n[%s]).", e.Address, e.By)
}

// AddNode records a node that no row knows. In an open service it is Pending until
// members trust it; one that is not open yet, whose operator starts it, trusts it at
// once. Its evidence is checked against the join policy. The order of checks is CCF's.
func AddNode(ctx context.Context, tx *kv.Tx, fx Effects, v attest.Verifier, r JoinRequest) (tables.NodeStatus, error) {
	s, err := service(tx)
	if err != nil {
		return "", err
	}
	if err := addressFree(tx, r.Node.NodeToNode.PublishedAddress); err != nil {
		return "", err
	}
	q := r.Node.Quote
	claims, err := attest.Check(ctx, v, attest.Evidence{
		Format: attest.Format(q.Format), Quote: q.Quote, Endorsements: q.Endorsements,
		UVMEndorsements: q.UVMEndorsements, EndorsedTCB: q.EndorsedTCB,
	}, joinPolicy{tx}, r.Key)
	if err != nil {
		return "", err
	}
	if err := checkRequest(r); err != nil {
		return "", err
	}
	row := r.Node
	row.Status, row.CodeDigest = tables.NodePending, claims.CodeDigest()
	if err := r.Sealed.put(tx, r.ID()); err != nil {
		return "", err
	}
	if s.Status != tables.ServiceOpening && s.Status != tables.ServiceRecovering {
		return row.Status, tables.NodesInfo.Put(tx, r.ID(), row)
	}
	if err := trustAtOnce(tx, fx, r, &row); err != nil {
		return "", err
	}
	if err := tables.NodesInfo.Put(tx, r.ID(), row); err != nil {
		return "", err
	}
	return row.Status, shuffleSealedShares(tx, fx)
}

func trustAtOnce(tx *kv.Tx, fx Effects, r JoinRequest, row *tables.Node) error {
	row.Status, row.PendingLastSeen = tables.NodeTrusted, nil
	current, _, err := fx.LedgerSecrets()
	if err != nil {
		return err
	}
	row.LedgerSecretSeqno = &current.From
	if row.CSR == "" {
		return nil
	}
	cert, err := fx.EndorseNode(row.CSR, r.ValidFrom, r.ValidDays)
	if err != nil {
		return err
	}
	return tables.NodesEndorsedCertificates.Put(tx, r.ID(), cert)
}

// addressFree says whether no node that still counts has the address.
func addressFree(r tables.Reader, address string) error {
	nodes, err := tables.NodesInfo.All(r)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Value.Status != tables.NodeRetired && n.Value.NodeToNode.PublishedAddress == address {
			return &AddressTakenError{Address: address, By: n.Key}
		}
	}
	return nil
}

// checkRequest checks that a signing request, where there is one, is over the node's key.
func checkRequest(r JoinRequest) error {
	if r.Node.CSR == "" {
		return nil
	}
	csr, err := identity.ParseRequest([]byte(r.Node.CSR))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	digest, err := identity.KeyDigest(csr.Key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	if digest != r.Key {
		return ErrForeignRequest
	}
	return nil
}

// joinPolicy is the trust that the tables hold.
type joinPolicy struct{ r tables.Reader }

var _ attest.Policy = joinPolicy{}

func (p joinPolicy) HostDataTrusted(f attest.Format, hostData [32]byte) (bool, error) {
	key := hex.EncodeToString(hostData[:])
	switch f {
	case attest.FormatVirtual:
		return tables.VirtualHostData.Has(p.r, key), nil
	case attest.FormatSNP:
		return tables.SNPHostData.Has(p.r, key), nil
	}
	return false, nil
}

func (p joinPolicy) MeasurementTrusted(f attest.Format, measurement string) (bool, error) {
	table := tables.SNPMeasurements
	switch f {
	case attest.FormatVirtual:
		table = tables.VirtualMeasurements
	case attest.FormatSGX:
		table = tables.CodeIDs
	}
	status, ok, err := table.Get(p.r, measurement)
	return ok && status == tables.AllowedToJoin, err
}

func (p joinPolicy) UVMTrusted(u attest.UVM) (bool, error) {
	feeds, ok, err := tables.SNPUVMEndorsements.Get(p.r, u.DID)
	if err != nil || !ok {
		return false, err
	}
	return attest.UVMAllowed(feeds, u)
}

func (p joinPolicy) TCBTrusted(t attest.TCB) (bool, error) {
	rows, err := mapOf(p.r, tables.SNPTCBVersions)
	if err != nil {
		return false, err
	}
	return attest.TCBAllowed(rows, t)
}

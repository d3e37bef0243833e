package node

import (
	"errors"
	"fmt"

	"chancery/attest"
	"chancery/attest/sgx"
	"chancery/attest/snp/guest"
	"chancery/attest/virtual"
	"chancery/gov"
	"chancery/gov/tables"
	"chancery/kv"
	"chancery/node/config"
)

// sealing is what a node does whose location is to recover the service by itself.
type sealing struct {
	sealer attest.Sealer
	node   *gov.SealedNode // this node's recovery key, for the next life
	// earlier is what the last life left for the node here; nil until a recovery begins.
	earlier *gov.SealedShare
}

// newSealing makes and seals the node's recovery key; nil where the configuration does not
// ask for it. trusted is what the node has attested to.
func (n *Node) newSealing(trusted gov.Attested) (*sealing, error) {
	cfg := n.cfg.SealingRecovery
	if cfg == nil {
		return nil, nil
	}
	sealer, tcb, err := n.newSealer(trusted)
	if err != nil {
		return nil, fmt.Errorf("sealing_recovery: %w", err)
	}
	key, err := gov.SealRecoveryKey(sealer, tcb)
	if err != nil {
		return nil, fmt.Errorf("sealing_recovery: %w", err)
	}
	return &sealing{sealer: sealer, node: &gov.SealedNode{Key: key, Name: cfg.Location.Name}}, nil
}

// noTCB is the version of a platform that has none.
const noTCB = "0000000000000000"

// newSealer returns the platform's sealer, and the version that it seals to now.
func (n *Node) newSealer(trusted gov.Attested) (attest.Sealer, string, error) {
	switch n.cfg.Chancery.Platform {
	case config.PlatformSNP:
		if trusted.TCB == nil || trusted.TCB.Hex == nil {
			return nil, "", errors.New("the report names no TCB version")
		}
		device, err := n.snp.openKeys()
		return guest.Sealer{Device: device}, *trusted.TCB.Hex, err
	case config.PlatformSGX:
		enclave, err := sgx.Open()
		if err != nil {
			return nil, "", err
		}
		version, err := enclave.Version()
		return enclave, version, err
	}
	host, err := virtual.BinaryDigest()
	if err != nil {
		return nil, "", err
	}
	n.log.Info("INSECURE: the node's recovery key is sealed with a key that lies in the clear in chancery.sealing_key_file")
	sealer, err := virtual.NewSealer(n.fs, n.cfg.Chancery.SealingKeyFile, host)
	return sealer, noTCB, err
}

// sealed is what the tables are to say of the node; nil where it keeps no recovery key.
func (s *sealing) sealed() *gov.SealedNode {
	if s == nil {
		return nil
	}
	return s.node
}

// findSealedShare keeps what the earlier life left for this node's location, before the
// tables are the present life's.
func (n *Node) findSealedShare(at *kv.State) error {
	if n.sealing == nil {
		return nil
	}
	var err error
	if n.sealing.earlier, err = gov.FindSealedShare(tables.View(at), n.sealing.node.Name); err != nil {
		return err
	}
	if n.sealing.earlier == nil {
		return fmt.Errorf("command Recover: Failed to find sealed recovery data for location (%s) in ledger at %d; remove sealing_recovery to recover with the members' shares", n.sealing.node.Name, at.TxID().Seqno)
	}
	n.log.Info("the ledger holds a sealed share for this location", "location", n.sealing.node.Name, "node", n.sealing.earlier.NodeID)
	return nil
}

// Unseal implements gov.Recovery.
func (e *effects) Unseal(info tables.SealedSharesInfo) ([]byte, bool, error) {
	s := e.n.sealing
	if s == nil || e.n.joins() {
		return nil, false, nil // one that joined the recovery looked for nothing in the ledger
	}
	if s.earlier == nil {
		return nil, true, errors.New("Missing cached sealed recovery key for private recovery")
	}
	secret, err := s.earlier.Open(s.sealer, info)
	if err != nil {
		return nil, true, fmt.Errorf("Failed to unseal ledger secret for private recovery: %w", err)
	}
	e.n.log.Info("the sealed share opens the ledger secret", "sealed by", s.earlier.NodeID)
	return secret, true, nil
}

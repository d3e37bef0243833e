package gov

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"

	"chancery/gov/tables"
	"chancery/kv"
	"chancery/kv/writeset"
	"chancery/ledger"
)

// openService is what transition_service_to_open does. The consortium names the service
// certificate that it means to open, after a disaster also the one before it, so that
// no host can have another service opened in its place. A service that is open stays so.
func openService(tx *kv.Tx, fx Effects, previous *string, next string) error {
	s, err := service(tx)
	if err != nil {
		return err
	}
	if s.Status == tables.ServiceOpen {
		return nil
	}
	if s.Status == tables.ServiceRecovering || s.Status == tables.ServiceWaiting {
		if err := checkPreviousIdentity(tx, previous); err != nil {
			return err
		}
	}
	if next != s.Cert {
		return fmt.Errorf("Service identity mismatch: the next service identity in the transition_service_to_open proposal does not match the current service identity:\nNext:\n%s\nCurrent:\n%s", next, s.Cert)
	}
	if s.Status == tables.ServiceWaiting {
		return nil
	}
	if fx.PublicOnly() {
		return awaitSecrets(tx, fx, s)
	}
	return completeOpening(tx, fx, s)
}

func checkPreviousIdentity(tx *kv.Tx, proposed *string) error {
	recorded, ok, err := tables.PreviousIdentity.Get(tx)
	if err != nil {
		return err
	}
	if !ok || proposed == nil {
		return fmt.Errorf("Recovery with service certificates requires both, a previous service identity written to the KV during recovery genesis and a transition_service_to_open proposal that contains previous and next service certificates")
	}
	if *proposed != recorded {
		return fmt.Errorf("Previous service identity does not match.\nActual:\n%s\nIn proposal:\n%s", recorded, *proposed)
	}
	return nil
}

// awaitSecrets lets members submit their shares, from none. A node that keeps a share
// sealed opens the secrets by itself instead; where it can't, the service stays as it is.
func awaitSecrets(tx *kv.Tx, fx Effects, s tables.Service) error {
	tables.SubmittedShares.Clear(tx)
	s.Status = tables.ServiceWaiting
	if err := tables.ServiceInfo.Put(tx, s); err != nil {
		return err
	}
	how := tables.RecoveryByShares
	if node, ok := fx.(Recovery); ok {
		unsealed, err := unseal(tx, node)
		if err != nil {
			return err
		}
		if unsealed {
			how = tables.RecoveryUnsealing
		}
	}
	return tables.LastRecoveryType.Put(tx, how)
}

// unseal restores the secrets with the share that is sealed for the node, if it is to.
func unseal(tx *kv.Tx, node Recovery) (bool, error) {
	info, _, err := tables.SealedShares.Get(tx)
	if err != nil {
		return false, err
	}
	secret, ok, err := node.Unseal(info)
	if err != nil || !ok {
		return ok, err
	}
	return true, restoreFrom(tx, node, secret)
}

// OpenRecovered ends a recovery, once the private state has been replayed: it forgets the
// submitted shares, shares the secret that the service began with in its new life, opens
// the service and endorses the identity before it.
func OpenRecovered(tx *kv.Tx, fx Effects) error {
	s, err := service(tx)
	if err != nil {
		return err
	}
	if s.Status != tables.ServiceWaiting {
		return fmt.Errorf("opening a recovered service: it is %s", s.Status)
	}
	tables.SubmittedShares.Clear(tx)
	return completeOpening(tx, fx, s)
}

// completeOpening issues shares, opens the service, endorses its identity, and asks for
// a snapshot, so that no node need replay from before the opening.
func completeOpening(tx *kv.Tx, fx Effects, s tables.Service) error {
	current, previous, err := fx.LedgerSecrets()
	if err != nil {
		return err
	}
	if err := issueShares(tx, current.Secret, previous, &current.From); err != nil {
		return fmt.Errorf("Failed to issue recovery shares: %w", err)
	}
	s.Status = tables.ServiceOpen
	if err := tables.ServiceInfo.Put(tx, s); err != nil {
		return err
	}
	if err := endorseIdentity(tx, fx, s); err != nil {
		return err
	}
	fx.RequestSnapshot()
	return nil
}

// endorseIdentity writes the endorsement by which a receipt of the service's earlier
// life can be verified with its present key. The first service endorses itself.
func endorseIdentity(tx *kv.Tx, fx Effects, s tables.Service) error {
	created, err := writeset.ParseTxID(s.CreateTxID)
	if err != nil {
		return fmt.Errorf("endorsing the service identity: create transaction %q: %w", s.CreateTxID, err)
	}
	own, err := x509.MarshalPKIXPublicKey(fx.ServiceKey().Public())
	if err != nil {
		return fmt.Errorf("endorsing the service identity: %w", err)
	}
	last, ok, err := tables.PreviousEndorsement.Get(tx)
	if err != nil {
		return err
	}
	e := tables.IdentityEndorsement{EndorsingKey: own, EpochBegin: created.String()}
	endorsed, epoch := own, ledger.Epoch{Begin: created}
	if ok {
		endorsed = last.EndorsingKey
		if epoch, err = endedEpoch(tx, last, created); err != nil {
			return fmt.Errorf("endorsing the previous service identity: %w", err)
		}
		e.EpochBegin, e.EpochEnd = epoch.Begin.String(), epoch.End.String()
		if v, ok := tx.VersionOfPreviousWrite(tables.NamePreviousEndorse, tables.SingletonKey); ok {
			e.PreviousVersion = &v
		}
	}
	e.Endorsement, err = ledger.EndorseIdentity(fx.ServiceKey(), endorsed, epoch, fx.Now())
	if err != nil {
		return err
	}
	return tables.PreviousEndorsement.Put(tx, e)
}

// viewsPerRecovery is by how much the view grows from one life of a service to the next.
const viewsPerRecovery = 2

// endedEpoch is what the previous identity signed: from where the epoch before it ended,
// or its own beginning, to the transaction before the present service's first.
func endedEpoch(tx *kv.Tx, last tables.IdentityEndorsement, created writeset.TxID) (ledger.Epoch, error) {
	begin, err := writeset.ParseTxID(last.EpochBegin)
	if err != nil {
		return ledger.Epoch{}, fmt.Errorf("epoch begin %q: %w", last.EpochBegin, err)
	}
	if last.EpochEnd != "" {
		end, err := writeset.ParseTxID(last.EpochEnd)
		if err != nil {
			return ledger.Epoch{}, fmt.Errorf("epoch end %q: %w", last.EpochEnd, err)
		}
		begin = writeset.TxID{View: end.View + viewsPerRecovery, Seqno: end.Seqno + 1}
	}
	if created.View <= viewsPerRecovery || created.Seqno <= 1 {
		return ledger.Epoch{}, fmt.Errorf("create transaction %s is none of a recovery", created)
	}
	text, ok, err := tables.PreviousRoot.Get(tx)
	if err != nil {
		return ledger.Epoch{}, err
	}
	root, err := hex.DecodeString(text)
	if err != nil || !ok || len(root) != len(ledger.Digest{}) {
		return ledger.Epoch{}, fmt.Errorf("no last signed root in %s", tables.NamePreviousRoot)
	}
	return ledger.Epoch{
		Begin: begin,
		End:   writeset.TxID{View: created.View - viewsPerRecovery, Seqno: created.Seqno - 1},
		Root:  ledger.Digest(root),
	}, nil
}

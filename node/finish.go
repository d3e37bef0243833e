package node

import (
	"errors"
	"fmt"
	"io/fs"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/ledger"
	"chancery/node/config"
	"chancery/raftfsm"
)

// finishRecovery gives the files of a recovery their own names where the recovered service
// was open already and this node ended before it had renamed them: what was acknowledged
// then is in them. Files of a service that was never open stay as they are; Recover sets
// them aside. It runs before the ledger is opened.
func (n *Node) finishRecovery() error {
	kind := n.cfg.Command.Type
	if kind != config.CommandRecover && kind != config.CommandResume {
		return nil
	}
	dir := n.cfg.Ledger.Directory
	if _, err := n.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var last tables.Service
	var signed ledger.TxID
	for e, err := range ledger.ReadUnfinished(n.fs, dir) {
		if err != nil {
			// Whether it matters is not known: only the files would say.
			return fmt.Errorf("%s holds a file of a recovery that was cut off, and that can't be read; if that recovery never opened the service, move the files that end in .recovery away: %w", dir, err)
		}
		if _, err := written(e.Public, tables.NameServiceInfo, &last); err != nil {
			return fmt.Errorf("entry %v: %w", e.ID, err)
		}
		if ledger.IsSignature(e.Public) {
			signed = e.ID
		}
	}
	if last.Cert == "" {
		return nil
	}
	if kind == config.CommandRecover {
		if named, err := n.namesPrevious(last.Cert); err != nil || !named {
			return err // another life is to be recovered
		}
	}
	if last.Status != tables.ServiceOpen {
		open, err := n.openedInLog(signed)
		if err != nil {
			return err
		}
		if !open {
			if kind == config.CommandRecover {
				return errors.New("command Recover: the service of command.recover.previous_service_identity_file was never open; recover the one that it was to follow")
			}
			return nil // prepareResume says what to do
		}
	}
	n.log.Info("the service was open when its node ended; its ledger files get their own names", "last", signed.String())
	return ledger.FinishRecovery(n.fs, dir)
}

// namesPrevious says whether a certificate is of the service that is to be recovered.
func (n *Node) namesPrevious(text string) (bool, error) {
	previous, err := n.previousIdentity()
	if err != nil {
		return false, err
	}
	cert, err := identity.ParseCertificate([]byte(text))
	if err != nil {
		return false, fmt.Errorf("the service certificate in %s: %w", n.cfg.Ledger.Directory, err)
	}
	key, err := identity.CertificateKey(cert)
	if err != nil {
		return false, fmt.Errorf("the service certificate in %s: %w", n.cfg.Ledger.Directory, err)
	}
	return key.Equal(previous.PublicKey), nil
}

// openedInLog says whether Raft's log opens the service behind what the files hold.
func (n *Node) openedInLog(after ledger.TxID) (bool, error) {
	spans, err := raftfsm.Salvage(n.fs, raftDir(n.cfg), after)
	if err != nil {
		return false, fmt.Errorf("looking for what was acknowledged last: %w", err)
	}
	var last tables.Service
	for _, span := range spans {
		for _, e := range span {
			if _, err := written(e.Public, tables.NameServiceInfo, &last); err != nil {
				return false, fmt.Errorf("entry %v in Raft's log: %w", e.ID, err)
			}
		}
	}
	return last.Status == tables.ServiceOpen, nil
}

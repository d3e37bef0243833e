package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"chancery/ledger/merkle"
)

// SnapshotCheckpoint is what a snapshot says of the ledger through its seqno, so that an
// audit can begin behind it. It is worth as much as the snapshot's receipt, which the caller
// has verified: what came before is not looked at. Errors: ErrSnapshot.
func SnapshotCheckpoint(s *Snapshot) (*Checkpoint, error) {
	c, err := snapshotCheckpoint(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return c, nil
}

func snapshotCheckpoint(s *Snapshot) (*Checkpoint, error) {
	value, ok := s.Single(TreeMap)
	if !ok {
		return nil, fmt.Errorf("it has no tree")
	}
	p, err := merkle.Parse(value)
	if err != nil {
		return nil, err
	}
	t, err := merkle.Restore(p)
	if err != nil {
		return nil, err
	}
	id := s.ID()
	if t.Size() != s.Seqno || id.View > uint64(len(s.Views)) {
		return nil, fmt.Errorf("its tree has %d leaves, and it knows %d views", t.Size(), len(s.Views))
	}
	c := &Checkpoint{last: id, lastSigned: id, root: t.Root(), view: s.Views[id.View-1], nodes: map[string]nodeState{}}
	t.Append(s.Leaf)
	c.tree = t.EdgeAt(t.Size())
	if err := c.serviceOf(s); err != nil {
		return nil, err
	}
	if err := c.nodesOf(s); err != nil {
		return nil, err
	}
	return c, c.secretsOf(s)
}

// serviceOf takes the identity in force.
func (c *Checkpoint) serviceOf(s *Snapshot) error {
	value, _ := s.Single(serviceInfoMap)
	var info struct {
		Cert, Status string
		From         string `json:"current_service_create_txid"`
	}
	if err := json.Unmarshal(value, &info); err != nil {
		return fmt.Errorf("%s: %w", serviceInfoMap, err)
	}
	cert, err := parsePEMCert(info.Cert)
	if err != nil {
		return fmt.Errorf("service certificate: %w", err)
	}
	id, err := keyID(cert.PublicKey)
	if err != nil {
		return err
	}
	life := ServiceIdentity{Cert: cert, KeyID: id, Status: info.Status, LastSigned: c.last, Root: c.root}
	if info.From != "" {
		if life.From, err = ParseTxID(info.From); err != nil {
			return fmt.Errorf("%s: %w", serviceInfoMap, err)
		}
	}
	c.services = []ServiceIdentity{life}
	return nil
}

// nodesOf takes what the tables say of the nodes.
func (c *Checkpoint) nodesOf(s *Snapshot) error {
	if m := s.Map(nodesInfoMap); m != nil {
		for _, e := range m.Entries {
			if bytes.Equal(e.Value, []byte("null")) {
				continue
			}
			var info struct{ Status, Cert string }
			if err := json.Unmarshal(e.Value, &info); err != nil {
				return fmt.Errorf("node %s: %w", e.Key, err)
			}
			c.nodes[string(e.Key)] = nodeState{Status: info.Status, Cert: info.Cert}
		}
	}
	if m := s.Map(endorsedCertsMap); m != nil {
		for _, e := range m.Entries {
			if n, ok := c.nodes[string(e.Key)]; ok {
				n.Cert = strings.TrimSuffix(string(e.Value), "\x00")
				c.nodes[string(e.Key)] = n
			}
		}
	}
	return nil
}

// secretsOf takes where the chain of ledger secrets stands.
func (c *Checkpoint) secretsOf(s *Snapshot) error {
	m := s.Map(historicalSecretMap)
	if m == nil || len(m.Entries) == 0 {
		return nil
	}
	var row secretRow
	if err := json.Unmarshal(m.Entries[0].Value, &row); err != nil {
		return fmt.Errorf("%s: %w", historicalSecretMap, err)
	}
	c.secrets = secretChain{seqno: m.Entries[0].Version, current: row.NextVersion}
	if c.secrets.current == 0 {
		c.secrets.current = c.secrets.seqno + 1
	}
	return nil
}

package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"chancery/ledger/merkle"
)

// Checkpoint is what an audit has established through the end of a closed chunk, so
// that a later one can go on behind it. It is the auditor's own: whoever may write it
// decides what was audited. It marshals as JSON.
type Checkpoint struct {
	last, lastSigned TxID
	root             Digest
	view             uint64 // first seqno of the view of last
	tree             []Digest
	nodes            map[string]nodeState
	services         []ServiceIdentity
	secrets          secretChain
}

// Last is the transaction behind which the next audit begins.
func (c *Checkpoint) Last() TxID { return c.last }

// Root is what the signature at Last signs.
func (c *Checkpoint) Root() Digest { return c.root }

// Services are the lives of the service through Last, the present one at the end.
func (c *Checkpoint) Services() []ServiceIdentity { return slices.Clone(c.services) }

type nodeState struct {
	Status string `json:"status"`
	Cert   string `json:"certificate,omitempty"` // PEM
}

// checkpointFile is the JSON form of a Checkpoint.
type checkpointFile struct {
	Version    int                  `json:"version"`
	Last       string               `json:"last"`
	LastSigned string               `json:"last_signed"`
	Root       string               `json:"root"`
	View       uint64               `json:"view_from"`
	Tree       []string             `json:"tree"` // the perfect subtrees, large ones first
	Nodes      map[string]nodeState `json:"nodes"`
	Services   []serviceState       `json:"services"`
	Secrets    struct {
		Seqno   uint64   `json:"seqno"`
		Current uint64   `json:"current"`
		Before  []uint64 `json:"before"`
	} `json:"ledger_secrets"`
}

type serviceState struct {
	Cert       string `json:"certificate"` // PEM
	From       string `json:"from"`
	Status     string `json:"status"`
	LastSigned string `json:"last_signed"`
	Root       string `json:"root"`
}

const checkpointVersion = 1

// MarshalJSON implements json.Marshaler.
func (c *Checkpoint) MarshalJSON() ([]byte, error) {
	f := checkpointFile{
		Version: checkpointVersion, Last: c.last.String(), LastSigned: c.lastSigned.String(), Root: hex.EncodeToString(c.root[:]),
		View: c.view, Nodes: c.nodes,
	}
	for _, h := range c.tree {
		f.Tree = append(f.Tree, hex.EncodeToString(h[:]))
	}
	for _, s := range c.services {
		f.Services = append(f.Services, serviceState{
			Cert: string(certPEM(s.Cert.Raw)), From: s.From.String(), Status: s.Status, LastSigned: s.LastSigned.String(), Root: hex.EncodeToString(s.Root[:]),
		})
	}
	f.Secrets.Seqno, f.Secrets.Current = c.secrets.seqno, c.secrets.current
	f.Secrets.Before = slices.Sorted(maps.Keys(c.secrets.before))
	return json.Marshal(f)
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// UnmarshalJSON implements json.Unmarshaler. It refuses what is not whole.
func (c *Checkpoint) UnmarshalJSON(b []byte) error {
	var f checkpointFile
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return err
	}
	if f.Version != checkpointVersion {
		return fmt.Errorf("checkpoint of version %d, this program knows %d", f.Version, checkpointVersion)
	}
	var p fields
	out := Checkpoint{
		last: p.txID(f.Last), lastSigned: p.txID(f.LastSigned), root: p.digest(f.Root), view: f.View, nodes: f.Nodes,
		secrets: secretChain{seqno: f.Secrets.Seqno, current: f.Secrets.Current, before: map[uint64]bool{}},
	}
	for _, text := range f.Tree {
		out.tree = append(out.tree, p.digest(text))
	}
	for _, at := range f.Secrets.Before {
		out.secrets.before[at] = true
	}
	for _, s := range f.Services {
		p.service(&out, s)
	}
	switch {
	case p.err != nil:
		return p.err
	case out.last != out.lastSigned:
		return errors.New("checkpoint: its last transaction is not a signature")
	case len(out.tree) != bits.OnesCount64(out.last.Seqno+1):
		return fmt.Errorf("checkpoint: %d subtrees for %d leaves", len(out.tree), out.last.Seqno+1)
	case len(out.services) == 0:
		return errors.New("checkpoint: it names no service identity")
	}
	*c = out
	return nil
}

// fields parses the fields of a checkpoint and keeps the first error.
type fields struct{ err error }

func (p *fields) fail(err error) {
	if p.err == nil && err != nil {
		p.err = fmt.Errorf("checkpoint: %w", err)
	}
}

func (p *fields) txID(text string) TxID {
	id, err := ParseTxID(text)
	p.fail(err)
	return id
}

func (p *fields) digest(text string) (d Digest) {
	raw, err := hex.DecodeString(text)
	if err == nil && len(raw) != len(d) {
		err = fmt.Errorf("digest of %d bytes", len(raw))
	}
	p.fail(err)
	copy(d[:], raw)
	return d
}

func (p *fields) service(c *Checkpoint, s serviceState) {
	cert, err := parsePEMCert(s.Cert)
	if err != nil {
		p.fail(err)
		return
	}
	id, err := keyID(cert.PublicKey)
	p.fail(err)
	c.services = append(c.services, ServiceIdentity{
		Cert: cert, KeyID: id, From: p.txID(s.From), Status: s.Status, LastSigned: p.txID(s.LastSigned), Root: p.digest(s.Root),
	})
}

// checkpoint is what the auditor knows now, at the end of a closed chunk.
func (a *auditor) checkpoint() *Checkpoint {
	c := &Checkpoint{
		last: a.report.Last, lastSigned: a.report.LastSigned, root: a.report.Root, view: a.view.seqno, tree: a.tree.Edge(),
		nodes: make(map[string]nodeState, len(a.nodes)), services: slices.Clone(a.report.Services),
		secrets: secretChain{seqno: a.secrets.seqno, current: a.secrets.current, before: maps.Clone(a.secrets.before)},
	}
	for id, n := range a.nodes {
		s := nodeState{Status: n.status}
		if n.cert != nil {
			s.Cert = string(certPEM(n.cert.Raw))
		}
		c.nodes[id] = s
	}
	return c
}

// resume puts the auditor where a checkpoint was taken.
func (a *auditor) resume(c *Checkpoint) error {
	var err error
	if a.tree, err = merkle.NewFrontier(c.last.Seqno+1, c.tree); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	a.report.Last, a.report.LastSigned, a.report.Root = c.last, c.lastSigned, c.root
	a.view = seenLeaf{seqno: c.view}
	a.report.Services = slices.Clone(c.services)
	if a.service, err = ecdsaKey(a.life().Cert); err != nil {
		return fmt.Errorf("checkpoint: service certificate: %w", err)
	}
	for id, s := range c.nodes {
		n := &auditNode{status: s.Status}
		if s.Cert != "" {
			if n.cert, err = parsePEMCert(s.Cert); err != nil {
				return fmt.Errorf("checkpoint: node %s: %w", id, err)
			}
		}
		a.nodes[id] = n
	}
	a.secrets = secretChain{seqno: c.secrets.seqno, current: c.secrets.current, before: maps.Clone(c.secrets.before)}
	return nil
}

// behind drops the chunks that a checkpoint covers. Where the chunk that ended at it
// is still there, it must end there.
func (c *Checkpoint) behind(files []chunkFile, dir string) ([]chunkFile, error) {
	reached := len(files) == 0 || files[0].name.first == c.last.Seqno+1
	var out []chunkFile
	for _, f := range files {
		switch {
		case f.name.first > c.last.Seqno:
			out = append(out, f)
		case f.name.last > c.last.Seqno:
			return nil, &CorruptError{File: f.path, Seqno: f.name.first, Reason: fmt.Sprintf("the chunk goes beyond %v, where a chunk ended when the checkpoint was taken", c.last), Err: ErrUnexpected}
		default:
			reached = reached || f.name.last == c.last.Seqno
		}
	}
	if !reached && len(out) == 0 {
		return nil, &CorruptError{File: dir, Seqno: c.last.Seqno, Reason: fmt.Sprintf("the ledger does not reach %v, through which it was audited: an older copy", c.last), Err: ErrUnexpected}
	}
	return out, nil
}

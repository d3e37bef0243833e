package node

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/ledger"
	"chancery/node/config"
)

// keys are the private keys of a node that is part of a service. They never change
// while it lives.
type keys struct {
	id         string // hex SHA-256 of the node key's SubjectPublicKeyInfo
	node       *ecdsa.PrivateKey
	service    *ecdsa.PrivateKey
	encryption *rsa.PrivateKey
}

// newKeys makes the keys of the first node of a new service.
func newKeys(curveName config.Curve) (*keys, error) {
	k, err := newNodeKeys(curveName)
	if err != nil {
		return nil, err
	}
	if k.service, err = identity.GenerateKey(k.node.Curve); err != nil {
		return nil, fmt.Errorf("making the service's key: %w", err)
	}
	return k, nil
}

// newNodeKeys makes a node's own keys. It is given the service's when it is trusted.
func newNodeKeys(curveName config.Curve) (*keys, error) {
	curve, err := identity.CurveByName(string(curveName))
	if err != nil {
		return nil, err
	}
	k := &keys{}
	if k.node, err = identity.GenerateKey(curve); err != nil {
		return nil, fmt.Errorf("making the node's key: %w", err)
	}
	if k.encryption, err = identity.GenerateEncryptionKey(); err != nil {
		return nil, fmt.Errorf("making the node's encryption key: %w", err)
	}
	return k, k.identify()
}

func (k *keys) identify() (err error) {
	if k.id, err = identity.KeyID(k.node.Public()); err != nil {
		return fmt.Errorf("naming the node: %w", err)
	}
	return nil
}

// newLedgerSecret makes a fresh ledger secret.
func newLedgerSecret() (*ledger.Secret, error) {
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return nil, fmt.Errorf("making a ledger secret: %w", err)
	}
	return ledger.NewSecret(raw)
}

// keyFile is what Resume needs of an earlier process. It exists on the virtual
// platform alone, where the host sees the process's memory anyway.
type keyFile struct {
	Warning       string            `json:"warning"`
	Node          string            `json:"node_key"`    // PKCS #8 PEM, like the others
	Service       string            `json:"service_key"` //
	Encryption    string            `json:"node_encryption_key"`
	LedgerSecrets map[string]string `json:"ledger_secrets"` // first seqno -> hex; later ones are in the ledger, for the encryption key
	NodeCert      string            `json:"node_certificate"`
}

const keyFileWarning = "INSECURE: private keys and ledger secrets of a development node in the clear. Whoever reads this file can read and forge everything that the service holds."

// saveKeys writes the key file, where the configuration names one, before anything is
// sealed with what stands in it.
func (n *Node) saveKeys() error {
	path := n.cfg.Chancery.KeyFile
	if path == "" {
		return nil
	}
	return saveKeys(n.fs, path, n.keys, n.secrets, n.certs.signer.Load().NodeCertPEM)
}

// saveKeys writes a key file.
func saveKeys(fsys durable.FS, path string, k *keys, secrets *ledger.Secrets, nodeCert string) error {
	f := keyFile{Warning: keyFileWarning, LedgerSecrets: map[string]string{}, NodeCert: nodeCert}
	for _, p := range []struct {
		to  *string
		key any
	}{{&f.Node, k.node}, {&f.Service, k.service}, {&f.Encryption, k.encryption}} {
		pem, err := identity.PrivateKeyPEM(p.key)
		if err != nil {
			return fmt.Errorf("encoding a key: %w", err)
		}
		*p.to = string(pem)
	}
	for from, s := range secrets.All() {
		f.LedgerSecrets[strconv.FormatUint(from, 10)] = hex.EncodeToString(s.Key())
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the key file: %w", err)
	}
	if err := durable.WriteFileAtomic(fsys, path, data, 0o600); err != nil {
		return fmt.Errorf("writing the key file %s: %w", path, err)
	}
	return nil
}

// loadKeys reads what saveKeys wrote.
func loadKeys(fsys durable.FS, path string) (*keys, *ledger.Secrets, string, error) {
	data, err := fsys.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, "", fmt.Errorf("command Resume: there is no key file %s (a service that was started without chancery.key_file cannot be resumed, only recovered)", path)
	}
	if err != nil {
		return nil, nil, "", fmt.Errorf("reading the key file: %w", err)
	}
	var f keyFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, nil, "", fmt.Errorf("parsing the key file %s: %w", path, err)
	}
	k := &keys{}
	if k.node, err = identity.ParseECPrivateKey([]byte(f.Node)); err == nil {
		if k.service, err = identity.ParseECPrivateKey([]byte(f.Service)); err == nil {
			k.encryption, err = identity.ParseRSAPrivateKey([]byte(f.Encryption))
		}
	}
	if err == nil {
		err = k.identify()
	}
	if err != nil {
		return nil, nil, "", fmt.Errorf("the key file %s: %w", path, err)
	}
	secrets, err := f.secrets()
	if err != nil {
		return nil, nil, "", fmt.Errorf("the key file %s: %w", path, err)
	}
	return k, secrets, f.NodeCert, nil
}

func (f *keyFile) secrets() (*ledger.Secrets, error) {
	secrets := new(ledger.Secrets)
	for at, text := range f.LedgerSecrets {
		from, err := strconv.ParseUint(at, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("first seqno of a ledger secret: %w", err)
		}
		raw, err := hex.DecodeString(text)
		if err != nil {
			return nil, errors.New("a ledger secret is no hex")
		}
		s, err := ledger.NewSecret(raw)
		if err != nil {
			return nil, err
		}
		if err := secrets.Add(from, s); err != nil {
			return nil, err
		}
	}
	return secrets, nil
}

package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"io/fs"

	"chancery/internal/durable"
)

// Modes of the files that hold keys and certificates.
const (
	keyMode  fs.FileMode = 0o600
	certMode fs.FileMode = 0o644
)

// WriteKey writes a private key as PKCS #8 PEM with mode 0600, atomically and
// durably.
func WriteKey(fsys durable.FS, path string, key crypto.PrivateKey) error {
	text, err := PrivateKeyPEM(key)
	if err != nil {
		return fmt.Errorf("writing key %s: %w", path, err)
	}
	defer clear(text)
	if err := durable.WriteFileAtomic(fsys, path, text, keyMode); err != nil {
		return fmt.Errorf("writing key %s: %w", path, err)
	}
	return nil
}

// WriteCertificate writes a PEM certificate or public key with mode 0644,
// atomically and durably.
func WriteCertificate(fsys durable.FS, path string, pem []byte) error {
	if err := durable.WriteFileAtomic(fsys, path, pem, certMode); err != nil {
		return fmt.Errorf("writing certificate %s: %w", path, err)
	}
	return nil
}

// ReadECKey reads an elliptic private key from a PEM file.
func ReadECKey(fsys durable.FS, path string) (*ecdsa.PrivateKey, error) {
	return readKey(fsys, path, ParseECPrivateKey)
}

// ReadRSAKey reads an RSA private key from a PEM file.
func ReadRSAKey(fsys durable.FS, path string) (*rsa.PrivateKey, error) {
	return readKey(fsys, path, ParseRSAPrivateKey)
}

func readKey[K any](fsys durable.FS, path string, parse func([]byte) (*K, error)) (*K, error) {
	text, err := fsys.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	defer clear(text)
	key, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading key %s: %w", path, err)
	}
	return key, nil
}

// Save writes the files of p into dir as CCF's key generator names them:
// NAME_privk.pem, NAME_cert.pem and, with an encryption key, NAME_enc_privk.pem
// and NAME_enc_pubk.pem. Private keys have mode 0600. A crash in between leaves
// fewer files; Save again replaces them.
func (p *Participant) Save(fsys durable.FS, dir, name string) error {
	base := dir + "/" + name
	if err := WriteKey(fsys, base+"_privk.pem", p.Key); err != nil {
		return err
	}
	if p.Encryption != nil {
		pub, err := PublicKeyPEM(&p.Encryption.PublicKey)
		if err != nil {
			return err
		}
		if err := WriteKey(fsys, base+"_enc_privk.pem", p.Encryption); err != nil {
			return err
		}
		if err := WriteCertificate(fsys, base+"_enc_pubk.pem", pub); err != nil {
			return err
		}
	}
	return WriteCertificate(fsys, base+"_cert.pem", p.Cert)
}

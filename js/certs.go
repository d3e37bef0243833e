package js

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
)

// parsePEM returns the first block of a PEM text; what is no PEM gets CCF's message.
func parsePEM(text string) (*pem.Block, error) {
	if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "-----BEGIN") {
		return nil, fmt.Errorf("PEM constructed with non-PEM data: %s", text)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, fmt.Errorf("PEM constructed with non-PEM data: %s", text)
	}
	return block, nil
}

// certID is the entity identity of a certificate: hex SHA-256 of its DER.
func certID(text string) (string, error) {
	block, err := parsePEM(text)
	if err != nil {
		return "", err
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return "", fmt.Errorf("parsing certificate: %w", err)
	}
	id := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(id[:]), nil
}

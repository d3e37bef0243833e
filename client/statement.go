package client

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"chancery/internal/cose"
	"chancery/internal/identity"
	"chancery/server/api"
)

// maxStatement bounds a statement in base64, in bytes.
const maxStatement = 8 << 10

// CheckStatement verifies the statement in an answer of POST /node/attestation: that the
// key beside it signed it. It returns the SHA-256 of that key, which the evidence must be
// about. Whether the nonce is the caller's own, and the service the expected one, is for
// the caller to compare. Errors wrap ErrUntrusted.
func CheckStatement(a *api.NodeAttestation) (*api.AttestationStatement, [32]byte, error) {
	out, key, err := checkStatement(a)
	if err != nil {
		return nil, key, fmt.Errorf("%w: the node's statement: %w", ErrUntrusted, err)
	}
	return out, key, nil
}

func checkStatement(a *api.NodeAttestation) (out *api.AttestationStatement, key [32]byte, err error) {
	if len(a.Statement) > maxStatement {
		return nil, key, fmt.Errorf("%d bytes", len(a.Statement))
	}
	raw, err := base64.StdEncoding.DecodeString(a.Statement)
	if err != nil {
		return nil, key, err
	}
	msg, err := cose.Parse(raw)
	if err != nil {
		return nil, key, err
	}
	public, err := identity.ParseECPublicKey([]byte(a.PublicKey))
	if err != nil {
		return nil, key, err
	}
	if err := msg.Verify(public); err != nil {
		return nil, key, err
	}
	header, err := cose.DecodeMap(msg.Protected)
	if err != nil {
		return nil, key, err
	}
	if v, _ := header.Get(3); v != api.TypeAttestation {
		return nil, key, fmt.Errorf("its content type is not %s", api.TypeAttestation)
	}
	out = new(api.AttestationStatement)
	if err := json.Unmarshal(msg.Payload, out); err != nil {
		return nil, key, err
	}
	key, err = identity.KeyDigest(public)
	return out, key, err
}

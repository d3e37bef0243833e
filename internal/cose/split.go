package cose

import "fmt"

// Prepared is a governance message that waits for its signature: what a signer
// that only signs digests (an HSM, a key vault) is given, and what Finish needs
// afterwards.
type Prepared struct {
	Alg       Algorithm
	Protected []byte // the encoded protected map
	Payload   []byte
}

// Prepare lays out a message for h and payload under alg, without a key. The
// same arguments give the same bytes, so that the two halves of a split signing
// may run in different processes.
func Prepare(alg Algorithm, h Header, payload []byte) (*Prepared, error) {
	if _, err := lookup(alg); err != nil {
		return nil, fmt.Errorf("preparing COSE message: %w", err)
	}
	h.Alg = alg
	protected, err := h.encode()
	if err != nil {
		return nil, err
	}
	if payload == nil {
		payload = []byte{}
	}
	return &Prepared{Alg: alg, Protected: protected, Payload: payload}, nil
}

// Digest returns what is to be signed, already hashed with the algorithm's
// hash.
func (p *Prepared) Digest() ([]byte, error) {
	s, err := lookup(p.Alg)
	if err != nil {
		return nil, err
	}
	return s.digest(p.Protected, p.Payload), nil
}

// Finish puts signature (r||s, Alg.SignatureSize bytes) into the message and
// returns it as tagged CBOR. The signature is not verified, since the key is
// not known here; another length is ErrBadSignature.
func (p *Prepared) Finish(signature []byte) ([]byte, error) {
	if len(signature) != p.Alg.SignatureSize() || len(signature) == 0 {
		return nil, fmt.Errorf("finishing COSE message: %w: %d bytes of signature, want %d",
			ErrBadSignature, len(signature), p.Alg.SignatureSize())
	}
	s := Sign1{Protected: p.Protected, Payload: p.Payload, Signature: signature}
	return s.Encode(), nil
}

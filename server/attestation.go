package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/server/api"
)

// The bounds of a nonce, in bytes: shorter ones repeat, longer ones are of no use.
const (
	minNonce = 16
	maxNonce = 64
)

// postAttestation answers with this node's evidence, and a statement about the caller's
// nonce that is signed with the key that the evidence is about: for who cannot see the
// key of the connection, as no browser can.
func (s *Server) postAttestation(_ context.Context, c *Call) (any, error) {
	var in api.AttestationRequest
	if err := c.DecodeJSON(&in); err != nil {
		return nil, err
	}
	nonce, err := base64.StdEncoding.DecodeString(in.Nonce)
	if err != nil || len(nonce) < minNonce || len(nonce) > maxNonce {
		return nil, api.Errorf(http.StatusBadRequest, api.InvalidInput, "nonce must be %d to %d bytes in base64.", minNonce, maxNonce)
	}
	id := s.node.Info().ID
	row, ok, err := tables.NodesInfo.Get(c.Tx, id)
	if err != nil {
		return nil, err
	}
	service, open, err := tables.ServiceInfo.Get(c.Tx)
	if err != nil {
		return nil, err
	}
	if !ok || !open {
		return nil, api.Errorf(http.StatusNotFound, api.ResourceNotFound, "Could not find node quote.")
	}
	cert, err := identity.ParseCertificate([]byte(service.Cert))
	if err != nil {
		return nil, fmt.Errorf("the service's certificate: %w", err)
	}
	digest := sha256.Sum256(cert.Raw)
	payload, err := json.Marshal(api.AttestationStatement{
		Nonce: base64.StdEncoding.EncodeToString(nonce), NodeID: id, ServiceCertificate: hex.EncodeToString(digest[:]),
	})
	if err != nil {
		return nil, err
	}
	statement, public, err := s.node.SignStatement(api.TypeAttestation, payload)
	if err != nil {
		return nil, fmt.Errorf("signing the statement: %w", err)
	}
	return api.NodeAttestation{
		Attestation: quote(id, row), Statement: base64.StdEncoding.EncodeToString(statement), PublicKey: public,
	}, nil
}

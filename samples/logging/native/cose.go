package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"chancery/gov/tables"
	"chancery/ledger"
	"chancery/server"
	"chancery/server/api"
)

// cose adds the endpoints about COSE documents and the keys that sign them.
func (a *application) cose() {
	a.post("/log/cose_signed_content", []server.Policy{server.MemberCOSE("")}, signedContent)
	a.post("/log/signed_statement", nil, registerStatement)
	for _, route := range []*server.Route{
		a.get("/log/public/cose_receipt", nil, server.AboutPast(coseReceipt)),
		a.get("/log/public/cose_signature", a.users, server.AboutPast(coseSignature)),
		a.get("/log/public/cose_endorsements", a.users, server.AboutPast(coseEndorsements)),
		a.get("/log/public/verify_cose_receipt", nil, verifyReceipt),
		a.get("/log/public/trusted_keys", nil, trustedKeys),
		a.get("/log/transparent_statement", nil, server.AboutPast(transparentStatement)),
		a.get("/cose_signatures_config", a.users, signaturesConfig),
	} {
		route.Forwarding = server.ForwardNever
	}
}

// signedContent answers with what a member signed.
func signedContent(_ context.Context, c *server.Call) error {
	c.Response.Raw(api.TypeText, c.Caller.COSE.Payload)
	return nil
}

func coseReceipt(ctx context.Context, c *server.Call, past *server.Past) error {
	receipt, err := past.COSEReceipt(ctx)
	if errors.Is(err, server.ErrNoReceipt) {
		return api.Errorf(http.StatusNotFound, api.ResourceNotFound, "No COSE receipt available for this transaction")
	}
	if err != nil {
		return err
	}
	c.Response.Raw(api.TypeCOSE, receipt)
	return nil
}

// coseSignature answers with the service's signature that covers the transaction.
func coseSignature(ctx context.Context, c *server.Call, past *server.Past) error {
	signature, err := past.COSESignature(ctx)
	if errors.Is(err, server.ErrNoReceipt) {
		return api.Errorf(http.StatusNotFound, api.ResourceNotFound, "No COSE signature available for this transaction")
	}
	if err != nil {
		return err
	}
	return c.Response.JSON(map[string][]byte{"cose_signature": signature})
}

// coseEndorsements answers with the chain from the service's present key to the one that
// signed the transaction, which one of the present life has none of.
func coseEndorsements(ctx context.Context, c *server.Call, past *server.Past) error {
	chain, err := past.Endorsements(ctx)
	if err != nil {
		return err
	}
	if len(chain) == 0 {
		return api.Errorf(http.StatusNotFound, api.ResourceNotFound, "No COSE endorsements available for this transaction")
	}
	return c.Response.JSON(map[string][][]byte{"endorsements": chain})
}

// verifyReceipt judges a receipt in the body by the service's identity of its time.
func verifyReceipt(ctx context.Context, c *server.Call) error {
	if actual := c.Get("Content-Type"); actual != api.TypeCOSE {
		return api.Errorf(http.StatusUnsupportedMediaType, api.InvalidHeaderValue, "Expected content-type '%s'. Got '%s'.", api.TypeCOSE, actual)
	}
	_, err := c.VerifyReceipt(ctx, c.Body)
	if errors.Is(err, server.ErrFetching) {
		c.RetryLater("The service's identities are being fetched")
		return nil
	}
	if err != nil {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "COSE receipt verification failed: %s", err)
	}
	c.Response.Status = http.StatusNoContent
	return nil
}

// jwk is an elliptic curve key as a JSON Web Key (RFC 7518, 6.2.1).
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	KID string `json:"kid"`
	X   string `json:"x"`
	Y   string `json:"y"`
}

// trustedKeys answers with the keys of all the service's lives.
func trustedKeys(ctx context.Context, c *server.Call) error {
	keys, err := c.TrustedKeys(ctx)
	if errors.Is(err, server.ErrFetching) {
		c.RetryLater("The service's identities are being fetched")
		return nil
	}
	if err != nil {
		return err
	}
	out := []jwk{}
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k.Key)
		if err != nil {
			return fmt.Errorf("encoding a key: %w", err)
		}
		point, err := k.Key.Bytes() // 4, x, y
		if err != nil {
			return fmt.Errorf("encoding a key: %w", err)
		}
		id, size := sha256.Sum256(der), len(point)/2
		out = append(out, jwk{
			Kty: "EC", Crv: k.Key.Params().Name, KID: hex.EncodeToString(id[:]),
			X: base64.RawURLEncoding.EncodeToString(point[1 : 1+size]), Y: base64.RawURLEncoding.EncodeToString(point[1+size:]),
		})
	}
	return c.Response.JSON(map[string][]jwk{"keys": out})
}

// signedStatements is the table of the statement that a transaction registers.
const signedStatements = "public:cose_transparent_statements"

// registerStatement records a COSE_Sign1, whose digest becomes the transaction's claim.
func registerStatement(_ context.Context, c *server.Call) error {
	if len(c.Body) == 0 {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "Body must not be empty")
	}
	statement, err := ledger.SignedStatement(c.Body)
	if err != nil {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "The body is no signed statement: %s", err)
	}
	c.Claims = sha256.Sum256(statement)
	c.Tx.Put(signedStatements, tables.SingletonKey, statement)
	return nil
}

// transparentStatement answers with the statement that a transaction registered and the
// receipt by which anybody can verify that it did.
func transparentStatement(ctx context.Context, c *server.Call, past *server.Past) error {
	statement, ok := past.Get(signedStatements, tables.SingletonKey)
	if !ok {
		return api.Errorf(http.StatusNotFound, api.ResourceNotFound, "Transaction ID %s does not correspond to a COSE entry.", past.ID)
	}
	receipt, err := past.COSEReceipt(ctx)
	if errors.Is(err, server.ErrNoReceipt) {
		return api.Errorf(http.StatusInternalServerError, api.InternalError, "Failed to build COSE receipt for this transaction")
	}
	if err != nil {
		return err
	}
	out, err := ledger.TransparentStatement(statement, receipt)
	if err != nil {
		return err
	}
	c.Response.Raw(api.TypeCOSE, out)
	return nil
}

func signaturesConfig(_ context.Context, c *server.Call) error {
	return c.Response.JSON(c.COSESignatures())
}

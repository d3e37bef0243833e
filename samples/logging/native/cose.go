package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"chancery/client"
	"chancery/gov/tables"
	"chancery/ledger"
	"chancery/server"
	"chancery/server/api"
)

// cose adds the endpoints about COSE documents.
func (a *application) cose() {
	a.post("/log/cose_signed_content", []server.Policy{server.MemberCOSE("")}, signedContent)
	for _, route := range []*server.Route{
		a.get("/log/public/cose_receipt", nil, server.AboutPast(coseReceipt)),
		a.get("/log/public/verify_cose_receipt", nil, verifyReceipt),
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

// verifyReceipt judges a receipt in the body by the service's identity.
func verifyReceipt(_ context.Context, c *server.Call) error {
	if actual := c.Get("Content-Type"); actual != api.TypeCOSE {
		return api.Errorf(http.StatusUnsupportedMediaType, api.InvalidHeaderValue, "Expected content-type '%s'. Got '%s'.", api.TypeCOSE, actual)
	}
	info, _, err := tables.ServiceInfo.Get(c.Tx)
	if err != nil {
		return fmt.Errorf("reading the service's identity: %w", err)
	}
	service, err := client.ParseCertificate([]byte(info.Cert))
	if err != nil {
		return fmt.Errorf("reading the service's certificate: %w", err)
	}
	if _, err := ledger.VerifyCOSEReceipt(c.Body, service); err != nil {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "COSE receipt verification failed: %s", err)
	}
	c.Response.Status = http.StatusNoContent
	return nil
}

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"chancery/client"
	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/ledger"
)

func newReceipt(s streams) *cobra.Command {
	return group("receipt", "Proofs that a transaction is in the ledger", newReceiptGet(s), newReceiptVerify(s))
}

func newReceiptGet(s streams) *cobra.Command {
	var t target
	var asCOSE bool
	var out string
	c := &cobra.Command{
		Use:   "get TXID",
		Short: "Fetch the receipt of a transaction",
		Long: `Fetches a receipt, as it is. With --cose and -o FILE, what the service states about its
earlier identities goes to FILE.endorsements, for a transaction from before a recovery:
verify takes it from there.`,
		Example: "  chancery receipt get 2.15 > receipt.json",
		Args:    exactly("TXID"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseTxID(args[0])
			if err != nil {
				return err
			}
			service, err := t.connect()
			if err != nil {
				return err
			}
			defer service.Close()
			fetch := service.ReceiptBytes
			if asCOSE {
				fetch = service.COSEReceiptBytes
			}
			receipt, err := fetch(c.Context(), id)
			if err != nil {
				return err
			}
			if err := writeOut(s, out, receipt); err != nil || !asCOSE || out == "" {
				return err
			}
			return keepEndorsements(c.Context(), service, id, out)
		},
	}
	t.flags(c)
	c.Flags().BoolVar(&asCOSE, "cose", false, "fetch the COSE receipt (binary)")
	c.Flags().StringVarP(&out, "output", "o", "", "file to write to, instead of standard output")
	return c
}

// keepEndorsements writes beside a COSE receipt what leads from the service's present
// identity to the one that signed it, where that is another.
func keepEndorsements(ctx context.Context, service *client.Client, id ledger.TxID, receipt string) error {
	data, err := service.EndorsementsBytes(ctx, id)
	if err != nil {
		return err
	}
	chain, err := client.ParseEndorsements(data)
	if err != nil || len(chain) == 0 {
		return err
	}
	return os.WriteFile(receipt+endorsementsSuffix, data, 0o644)
}

// endorsementsSuffix is what the name of a file with endorsements has behind the receipt's.
const endorsementsSuffix = ".endorsements"

func newReceiptVerify(s streams) *cobra.Command {
	var service, tx, claims, endorsements string
	c := &cobra.Command{
		Use:   "verify FILE --service-cert PEM",
		Short: "Check a receipt offline",
		Long: `Checks a receipt, JSON or COSE, against a service's certificate: no network, no
clock. It says for each link of the proof what was found. FILE may be - for
standard input.`,
		Example: "  chancery receipt verify receipt.json --service-cert service_cert.pem --tx 2.15",
		Args:    exactly("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if service == "" {
				return usagef("--service-cert is missing")
			}
			cert, err := readCertificate(service)
			if err != nil {
				return err
			}
			data, err := readInput(args[0], ledger.MaxReceiptSize+1)
			if err != nil {
				return err
			}
			var want []ledger.Expectation
			if tx != "" {
				id, err := parseTxID(tx)
				if err != nil {
					return err
				}
				want = append(want, ledger.ExpectTx(id))
			}
			if claims != "" {
				digest, err := parseDigest(claims)
				if err != nil {
					return err
				}
				want = append(want, ledger.ExpectClaims(digest))
			}
			if endorsements == "" && args[0] != "-" {
				if _, err := os.Stat(args[0] + endorsementsSuffix); err == nil {
					endorsements = args[0] + endorsementsSuffix
				}
			}
			return verifyReceipt(s, data, cert, endorsements, want)
		},
	}
	c.Flags().StringVar(&service, "service-cert", "", "the service's certificate, PEM")
	c.Flags().StringVar(&endorsements, "endorsements", "", "what the service states about its earlier identities, for a COSE receipt from before a recovery (FILE.endorsements where it is there)")
	c.Flags().StringVar(&tx, "tx", "", "the transaction that it must be of")
	c.Flags().StringVar(&claims, "claims", "", "the claims digest that it must carry, hex")
	return c
}

// verifyReceipt checks a receipt of either form and prints the steps. endorsements names a
// file, or is "".
func verifyReceipt(s streams, data []byte, service *x509.Certificate, endorsements string, want []ledger.Expectation) error {
	if len(data) > 0 && data[0] != '{' {
		r, err := ledger.ParseCOSEReceipt(data)
		if err != nil {
			return unverified{err}
		}
		key := service.PublicKey
		if id, err := keyIDOf(service); endorsements != "" && err == nil && id != r.KeyID {
			if key, err = endorsedKey(s, service, endorsements, r.TxID()); err != nil {
				return unverified{err}
			}
		}
		return report(s, r.Explain(key, want...), r.Verify(key, want...))
	}
	r, err := ledger.ParseReceipt(data)
	if err != nil {
		return unverified{err}
	}
	return report(s, r.Explain(service, want...), r.Verify(service, want...))
}

func keyIDOf(cert *x509.Certificate) (string, error) {
	key, err := identity.CertificateKey(cert)
	if err != nil {
		return "", err
	}
	return identity.KeyID(key)
}

// endorsedKey is the key that signed a transaction of an earlier life, as the statements in
// a file lead to it from the service's present key.
func endorsedKey(s streams, service *x509.Certificate, file string, id ledger.TxID) (*ecdsa.PublicKey, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fileError(file, err)
	}
	chain, err := client.ParseEndorsements(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	present, err := identity.CertificateKey(service)
	if err != nil {
		return nil, err
	}
	key, err := ledger.EndorsedKey(present, chain, id)
	if err != nil {
		step(s, ledger.Check{Name: "service identities", Err: err})
		return nil, err
	}
	for _, e := range chain {
		step(s, ledger.Check{Name: "service identity", Detail: e.String()})
	}
	return key, nil
}

// report prints each step of a verification, and its outcome.
func report(s streams, steps []ledger.Check, outcome error) error {
	for _, c := range steps {
		step(s, c)
	}
	if outcome != nil {
		return unverified{outcome}
	}
	fmt.Fprintln(s.out, "the receipt is good")
	return nil
}

// step prints one step of a verification.
func step(s streams, c ledger.Check) {
	if c.Err != nil {
		fmt.Fprintf(s.out, "FAIL  %s\n", c.Name)
		return
	}
	fmt.Fprintf(s.out, "ok    %s: %s\n", c.Name, c.Detail)
}

func readCertificate(name string) (*x509.Certificate, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fileError(name, err)
	}
	cert, err := identity.ParseCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return cert, nil
}

func parseTxID(s string) (ledger.TxID, error) {
	id, err := ledger.ParseTxID(s)
	if err != nil {
		return id, usageError{err}
	}
	return id, nil
}

const expectUsage = "a transaction, or a file with a receipt of it, that must be there, signed"

// parseExpect reads what --expect says.
func parseExpect(text string) (ledger.Expected, error) {
	x, err := ledger.ReadExpected(durable.OS(), text)
	if err != nil {
		return x, usagef("--expect: %v", err)
	}
	return x, nil
}

func parseDigest(s string) (d ledger.Digest, err error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(d) {
		return d, usagef("%q is not a digest: write 64 hex digits", s)
	}
	return ledger.Digest(raw), nil
}

// writeOut writes a result to a file, or to standard output.
func writeOut(s streams, file string, data []byte) error {
	if file == "" {
		_, err := s.out.Write(data)
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

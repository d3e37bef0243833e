package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"chancery/gov"
	"chancery/internal/durable"
	"chancery/ledger"
)

func newGovAudit(s streams) *cobra.Command {
	var service, output string
	c := &cobra.Command{
		Use:   "audit DIR",
		Short: "Tell from a ledger who did what in governance, and whether it holds",
		Long: `Verifies a ledger as "ledger verify" does, and then lists every act of governance in it:
who signed it and when, what it asked for, what became of it. Each is checked against the
certificate and status that the member had, and done again, over the state before it and
under the constitution in force there: it must come to the same. What members did not
sign and no node may write by itself is named.

Nothing is asked of the service. The exit code is 5 when something does not fit.`,
		Example: "  chancery gov audit workspace/sandbox_0/ledger --service-cert workspace/sandbox_common/service_cert.pem",
		Args:    exactly("DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return usagef("--output %q is not known; use text or json", output)
			}
			var cert *x509.Certificate
			if service != "" {
				var err error
				if cert, err = readCertificate(service); err != nil {
					return err
				}
			}
			return govAudit(c.Context(), s, args[0], cert, output == "json")
		},
	}
	c.Flags().StringVar(&service, "service-cert", "", "the certificate of the service whose ledger it must be, PEM")
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json (a line for each act)")
	return c
}

func govAudit(ctx context.Context, s streams, dir string, service *x509.Certificate, asJSON bool) error {
	p := newProgress(s.err, "verifying")
	r, err := ledger.Verify(ctx, durable.OS(), []string{dir}, ledger.VerifyOptions{Service: service, Progress: p.at})
	p.end()
	if err != nil {
		var corrupt *ledger.CorruptError
		if errors.As(err, &corrupt) || errors.Is(err, ledger.ErrUntrusted) {
			return unverified{err}
		}
		return err
	}
	acts, bad := 0, 0
	report := func(a gov.Act) {
		acts++
		if len(a.Problems) > 0 {
			bad++
		}
		if asJSON {
			printActJSON(s, a)
		} else {
			printAct(s, a)
		}
	}
	if err := gov.Audit(ctx, signedEntries(dir, r.LastSigned.Seqno), report); err != nil {
		return err
	}
	if bad > 0 {
		return unverified{fmt.Errorf("%d of %d acts of governance do not hold", bad, acts)}
	}
	if !asJSON {
		fmt.Fprintf(s.out, "%d acts of governance, through %v: each holds\n", acts, r.LastSigned)
	}
	return nil
}

// signedEntries are a ledger's entries through its last signature.
func signedEntries(dir string, last uint64) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		for e, err := range ledger.ReadEntries(durable.OS(), dir, 1) {
			if err == nil && e.ID.Seqno > last || !yield(e, err) {
				return
			}
		}
	}
}

func printAct(s streams, a gov.Act) {
	who := "the service"
	if a.Member != "" {
		who = fmt.Sprintf("member %.12s at %s", a.Member, a.Signed.Format("2006-01-02 15:04:05Z"))
	}
	fmt.Fprintf(s.out, "%v %s by %s", a.ID, a.Kind, who)
	if a.Proposal != "" {
		fmt.Fprintf(s.out, ", proposal %.12s %s", a.Proposal, a.State)
	}
	if a.Text != "" {
		fmt.Fprintf(s.out, ": %s", a.Text)
	}
	fmt.Fprintln(s.out)
	for _, problem := range a.Problems {
		fmt.Fprintf(s.out, "  DOES NOT HOLD: %s\n", problem)
	}
}

func printActJSON(s streams, a gov.Act) {
	out := map[string]any{"transaction_id": a.ID.String(), "kind": a.Kind, "repeated": a.Repeated, "problems": append([]string{}, a.Problems...)}
	for name, value := range map[string]string{"member": a.Member, "proposal": a.Proposal, "state": string(a.State), "text": a.Text} {
		if value != "" {
			out[name] = value
		}
	}
	if !a.Signed.IsZero() {
		out["signed_at"] = a.Signed
	}
	line, err := json.Marshal(out)
	if err == nil { // strings and booleans always encode
		fmt.Fprintf(s.out, "%s\n", line)
	}
}

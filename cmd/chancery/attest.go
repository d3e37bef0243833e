package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"chancery/attest"
	"chancery/attest/platform"
	"chancery/attest/snp"
	"chancery/client"
	"chancery/ledger"
	"chancery/server/api"
)

func newAttest(s streams) *cobra.Command {
	return group("attest", "Evidence of what a node runs on", newAttestShow(s), newAttestVerify(s))
}

// evidenceSource is where a command finds evidence: a file, or a node.
type evidenceSource struct{ target target }

func (e *evidenceSource) flags(c *cobra.Command) {
	e.target.flags(c)
}

// source is one node's evidence, and the key that it must be about.
type source struct {
	quote api.Quote
	// key is the SHA-256 of the node's public key, and proven says that a connection has
	// shown it; otherwise it is the node id that stands with the evidence.
	key    [32]byte
	proven bool
	signed *api.NodeAttestation // where the evidence came with a statement
}

// read returns the evidence in a file, or without one that of the node.
func (e *evidenceSource) read(ctx context.Context, args []string) ([]source, error) {
	if len(args) == 1 {
		return readQuotes(args[0])
	}
	service, err := e.target.connect()
	if err != nil {
		return nil, err
	}
	defer service.Close()
	q, key, err := service.Quote(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking %s for its evidence: %w", e.target.url, err)
	}
	return []source{{quote: *q, key: key, proven: true}}, nil
}

// maxQuotes bounds a file of evidence, in bytes.
const maxQuotes = 16 << 20

// readQuotes reads the answer of /node/quotes/self, or of one of its siblings.
func readQuotes(name string) ([]source, error) {
	text, err := readInput(name, maxQuotes)
	if err != nil {
		return nil, err
	}
	var file struct {
		api.Quote
		Quotes       []api.Quote `json:"quotes"`
		Attestations []api.Quote `json:"attestations"`
		api.NodeAttestation
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, unverified{fmt.Errorf("%s is not the answer of /node/quotes/self: %w", name, err)}
	}
	quotes := append(file.Quotes, file.Attestations...)
	if file.Raw != "" {
		quotes = append(quotes, file.Quote)
	}
	if file.Statement != "" {
		quotes = []api.Quote{file.NodeAttestation.Attestation}
	}
	if len(quotes) == 0 {
		return nil, unverified{fmt.Errorf("%s holds no evidence: it is not the answer of /node/quotes/self", name)}
	}
	out := make([]source, len(quotes))
	for i, q := range quotes {
		out[i].quote = q
		key, err := hex.DecodeString(q.NodeID)
		if err != nil || len(key) != 32 {
			return nil, unverified{fmt.Errorf("%s: the node id %.80q is not 64 hex digits", name, q.NodeID)}
		}
		copy(out[i].key[:], key)
		if file.Statement != "" {
			out[i].signed = &file.NodeAttestation
		}
	}
	return out, nil
}

func newAttestShow(s streams) *cobra.Command {
	var from evidenceSource
	c := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show what evidence says, without verifying it",
		Long: `Shows evidence field by field: that in FILE, the answer of /node/quotes/self or
/node/quotes (- for standard input), or that of a node. Nothing of it is verified.`,
		Example: "  chancery attest show --url https://127.0.0.1:8000 --service-cert service_cert.pem",
		Args:    between("FILE", 0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			all, err := from.read(c.Context(), args)
			if err != nil {
				return err
			}
			for _, q := range all {
				if err := showEvidence(s, q.quote); err != nil {
					return err
				}
			}
			return nil
		},
	}
	from.flags(c)
	return c
}

func showEvidence(s streams, q api.Quote) error {
	e, err := client.Evidence(&q)
	if err != nil {
		return unverified{err}
	}
	line := func(label, format string, args ...any) {
		fmt.Fprintf(s.out, "%-16s"+format+"\n", append([]any{label}, args...)...)
	}
	line("node", "%s", q.NodeID)
	line("format", "%s", e.Format)
	switch e.Format {
	case attest.FormatVirtual:
		line("quote", "%s", e.Quote)
	case attest.FormatSNP:
		r, err := snp.ParseReport(e.Quote)
		if err != nil {
			return unverified{err}
		}
		line("version", "%d", r.Version)
		line("processor", "CPUID %s", r.CPU().ID())
		line("chip", "%x", r.ChipID)
		line("measurement", "%x", r.Measurement)
		line("host data", "%x", r.HostData)
		line("report data", "%x", r.ReportData)
		line("guest version", "%d", r.GuestSVN)
		line("guest policy", "debug %t, migration %t, SMT %t, single socket %t, ABI %d.%d", r.Debug(), r.Migration(), r.SMT(), r.SingleSocket(), r.ABIMajor, r.ABIMinor)
		line("VMPL", "%d", r.VMPL)
		line("TCB", "reported %s, running %s, committed %s, at launch %s", r.ReportedTCB, r.PlatformVersion, r.CommittedTCB, r.LaunchTCB)
		line("id key", "%x", r.IDKeyDigest)
		line("author key", "%x", r.AuthorKeyDigest)
	default:
		line("quote", "%d bytes", len(e.Quote))
	}
	line("endorsements", "%d bytes", len(e.Endorsements))
	line("UVM endorsement", "%d bytes", len(e.UVMEndorsements))
	return nil
}

func newAttestVerify(s streams) *cobra.Command {
	var from evidenceSource
	var policy, nonce string
	var lists []string
	c := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Verify evidence, and say what each check found",
		Long: `Verifies evidence offline, up to AMD's roots: that in FILE, the answer of
/node/quotes/self, /node/quotes or POST /node/attestation (- for standard input), or that
of the node at --url, whose connection then proves the key that the evidence must be about.

--nonce is what /node/attestation was asked with: the node's statement must be about it.

--policy names a file like the answer of /gov/service/join-policy. Take it from whom you
trust, not from the service that is judged. Without it only the evidence itself is
verified, and what it claims is left to you to compare.

--crl names AMD's lists of revoked certificates, from
https://kdsintf.amd.com/vcek/v1/Milan/crl and its siblings.`,
		Example: "  chancery attest verify --url https://127.0.0.1:8000 --service-cert service_cert.pem --policy policy.json",
		Args:    between("FILE", 0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			v := platform.Verifier{}
			var revoked snp.Lists
			for _, name := range lists {
				list, err := readRevocations(name)
				if err != nil {
					return err
				}
				revoked = append(revoked, list)
			}
			if revoked != nil {
				v.SNP.Revocations = revoked
			}
			trust, err := readPolicy(policy)
			if err != nil {
				return err
			}
			all, err := from.read(c.Context(), args)
			if err != nil {
				return err
			}
			return verifyEvidence(s, v, trust, nonce, all)
		},
	}
	from.flags(c)
	c.Flags().StringVar(&policy, "policy", "", "what to trust: a file like the answer of /gov/service/join-policy")
	c.Flags().StringVar(&nonce, "nonce", "", "what /node/attestation was asked with, base64")
	c.Flags().StringArrayVar(&lists, "crl", nil, "AMD's list of revoked certificates, DER or PEM")
	return c
}

// verifyEvidence explains the verification of each node's evidence; one that fails does
// not keep the others from being looked at.
func verifyEvidence(s streams, v attest.Explainer, policy attest.Policy, nonce string, all []source) error {
	var failed []error
	for _, q := range all {
		if len(all) > 1 {
			fmt.Fprintf(s.out, "node %s\n", q.quote.NodeID)
		}
		claims, err := verifyOne(s, v, policy, nonce, q)
		switch {
		case err != nil:
			failed = append(failed, err)
		case claims.Format == attest.FormatVirtual:
			fmt.Fprintln(s.out, "the evidence is well-formed, and proves nothing: the platform is virtual")
		case policy == nil:
			fmt.Fprintf(s.out, "the evidence is genuine; without --policy these are for you to compare:\n  host data %x\n  measurement %s\n", claims.HostData, claims.Measurement)
			if claims.UVM != nil {
				fmt.Fprintf(s.out, "  endorsed by %s, feed %s, version %d\n", claims.UVM.DID, claims.UVM.Feed, claims.UVM.SVN)
			}
		default:
			fmt.Fprintln(s.out, "the evidence is genuine, and what it claims is trusted")
		}
	}
	if failed != nil {
		return unverified{errors.Join(failed...)}
	}
	return nil
}

func verifyOne(s streams, v attest.Explainer, policy attest.Policy, nonce string, q source) (attest.Claims, error) {
	e, err := client.Evidence(&q.quote)
	if err != nil {
		return attest.Claims{}, err
	}
	claims, findings := v.Explain(e)
	if attest.Failed(findings) == nil && policy != nil {
		findings = append(findings, claims.Judge(policy)...)
	} else if attest.Failed(findings) == nil && claims.UVMError != nil {
		findings = append(findings, attest.Finding{Check: "UVM endorsement", Err: claims.UVMError})
	}
	if attest.Failed(findings) == nil && (q.signed != nil || nonce != "") {
		findings = append(findings, statementFinding(&q, nonce))
	}
	if attest.Failed(findings) == nil {
		findings = append(findings, keyFinding(claims, q))
	}
	for _, f := range findings {
		step(s, ledger.Check{Name: f.Check, Detail: f.Says, Err: f.Err})
	}
	return claims, attest.Failed(findings)
}

// statementFinding verifies a node's statement; the evidence must be about the key that
// signed it.
func statementFinding(q *source, nonce string) attest.Finding {
	f := attest.Finding{Check: "statement"}
	if q.signed == nil {
		f.Err = errors.New("there is no statement: --nonce is for answers of POST /node/attestation")
		return f
	}
	stated, key, err := client.CheckStatement(q.signed)
	switch {
	case err != nil:
		f.Err = err
	case nonce == "":
		f.Says = fmt.Sprintf("about the nonce %s; without --nonce it is for you to compare", stated.Nonce)
	case stated.Nonce != nonce:
		f.Err = fmt.Errorf("the statement is about the nonce %s", stated.Nonce)
	default:
		f.Says = "about your nonce, for the service whose certificate has the SHA-256 " + stated.ServiceCertificate
	}
	q.key, q.proven = key, false
	return f
}

// keyFinding says whether the evidence is about the node's key.
func keyFinding(claims attest.Claims, q source) attest.Finding {
	f := attest.Finding{Check: "key", Says: "the evidence is about the key that the file names as the node's"}
	switch {
	case q.proven:
		f.Says = "the evidence is about the key of this connection"
	case q.signed != nil:
		f.Says = "the evidence is about the key that signed the statement"
	}
	if claims.ReportData != q.key {
		f.Err = fmt.Errorf("%w: report data %x, want %x", attest.ErrReportData, claims.ReportData, q.key)
	}
	return f
}

// readPolicy reads a policy; nil for no file.
func readPolicy(name string) (attest.Policy, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fileError(name, err)
	}
	p, err := attest.ParseJoinPolicy(text)
	if err != nil {
		return nil, usagef("%s: %w", name, err)
	}
	return p, nil
}

func readRevocations(name string) (*x509.RevocationList, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fileError(name, err)
	}
	list, err := snp.ParseList(text)
	if err != nil {
		return nil, usagef("%s: %w", name, err)
	}
	return list, nil
}

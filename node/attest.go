package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"

	"chancery/attest"
	"chancery/attest/platform"
	"chancery/attest/sgx"
	"chancery/attest/snp"
	"chancery/attest/snp/guest"
	"chancery/attest/virtual"
	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/node/config"
)

// snpPlatform is where an SEV-SNP node finds the processor and whom it trusts. Tests put
// a processor and a root of their own here; no configuration does.
type snpPlatform struct {
	open     func() (guest.Device, error)
	openKeys func() (guest.KeyDevice, error)
	roots    snp.Roots // nil: AMD's
}

// verifier judges evidence of nodes, this one's own included.
func (n *Node) verifier() platform.Verifier {
	v := platform.Verifier{SNP: snp.Verifier{Roots: n.snp.roots, Now: n.opts.Now}, Production: n.cfg.Chancery.Production}
	if r := n.cfg.Chancery.SNPRevocations; r != nil {
		v.SNP.Revocations = snp.ListDir{FS: n.fs, Dir: r.Directory}
	}
	return v
}

// fetchRevocations brings the lists of revocations up to date. Those that are there serve
// on where that fails.
func (n *Node) fetchRevocations(ctx context.Context) {
	r := n.cfg.Chancery.SNPRevocations
	if r == nil || r.Server == "" {
		return
	}
	if err := guest.FetchLists(ctx, r.Server, n.fs, r.Directory); err != nil && ctx.Err() == nil {
		n.log.Warn("AMD's lists of revocations were not fetched, those that are there are used", "server", r.Server, "err", err)
	}
}

// runRevocations fetches the lists again and again.
func (n *Node) runRevocations(ctx context.Context) error {
	r := n.cfg.Chancery.SNPRevocations
	if r == nil {
		return nil
	}
	return every(ctx, r.RefreshInterval, func() error {
		n.fetchRevocations(ctx)
		return nil
	})
}

// attest makes the node's evidence and what governance will trust because of it, and seals
// its recovery key to what it attests to.
func (n *Node) attest(ctx context.Context) (gov.Attested, tables.QuoteInfo, error) {
	n.fetchRevocations(ctx)
	digest, err := identity.KeyDigest(n.keys.node.Public())
	if err != nil {
		return gov.Attested{}, tables.QuoteInfo{}, err
	}
	evidence := n.attestVirtual
	switch n.cfg.Chancery.Platform {
	case config.PlatformSNP:
		evidence = n.attestSNP
	case config.PlatformSGX:
		evidence = n.attestSGX
	}
	trusted, e, err := evidence(ctx, digest)
	if err != nil {
		return gov.Attested{}, tables.QuoteInfo{}, fmt.Errorf("attesting the node: %w", err)
	}
	if n.sealing, err = n.newSealing(trusted); err != nil {
		return gov.Attested{}, tables.QuoteInfo{}, err
	}
	return trusted, tables.QuoteInfo{
		Format: string(e.Format), Quote: e.Quote, Endorsements: e.Endorsements,
		UVMEndorsements: e.UVMEndorsements, EndorsedTCB: e.EndorsedTCB,
	}, nil
}

func (n *Node) attestVirtual(ctx context.Context, digest [32]byte) (gov.Attested, attest.Evidence, error) {
	if n.cfg.Chancery.Production {
		return gov.Attested{}, attest.Evidence{}, fmt.Errorf("%w, and the virtual platform is for development", errProduction)
	}
	host, err := virtual.BinaryDigest()
	if err != nil {
		return gov.Attested{}, attest.Evidence{}, fmt.Errorf("measuring the running binary: %w", err)
	}
	e, err := virtual.NewIssuer(host).Issue(ctx, digest)
	if err != nil {
		return gov.Attested{}, e, err
	}
	n.log.Info("the platform is virtual: it protects nothing from the host, and is for development only")
	return gov.Attested{Measurement: []byte(virtual.Measurement), HostData: hex.EncodeToString(host[:])}, e, nil
}

func (n *Node) attestSGX(ctx context.Context, digest [32]byte) (gov.Attested, attest.Evidence, error) {
	enclave, err := sgx.Open()
	if err != nil {
		return gov.Attested{}, attest.Evidence{}, fmt.Errorf("chancery.platform is sgx: %w", err)
	}
	e, err := enclave.Issue(ctx, digest)
	if err != nil {
		return gov.Attested{}, e, err
	}
	// A node whose evidence nobody would believe does not start.
	if _, err := n.verifier().Verify(ctx, e); err != nil {
		return gov.Attested{}, e, fmt.Errorf("this node's own evidence: %w", err)
	}
	return gov.Attested{Measurement: enclave.Measurement()}, e, nil
}

func (n *Node) attestSNP(ctx context.Context, digest [32]byte) (gov.Attested, attest.Evidence, error) {
	cfg := n.cfg.Attestation
	cfg.Expand(os.LookupEnv)
	var out gov.Attested
	issuer := guest.Issuer{Verifier: n.verifier().SNP}
	policy, err := n.snpFile("snp_security_policy_file", cfg.SNPSecurityPolicyFile)
	if err != nil {
		return out, attest.Evidence{}, err
	}
	if issuer.UVM, err = n.snpFile("snp_uvm_endorsements_file", cfg.SNPUVMEndorsementsFile); err != nil {
		return out, attest.Evidence{}, err
	}
	bundle, err := n.snpFile("snp_endorsements_file", cfg.SNPEndorsementsFile)
	if err != nil {
		return out, attest.Evidence{}, err
	}
	if bundle != nil {
		if issuer.Bundle, err = guest.ParseBundle(bundle); err != nil {
			return out, attest.Evidence{}, fmt.Errorf("attestation.snp_endorsements_file: %w", err)
		}
	}
	for _, s := range cfg.SNPEndorsementsServers {
		issuer.Servers = append(issuer.Servers, guest.Server{Protocol: guest.Protocol(s.Type), Address: s.URL, Retries: int(s.MaxRetriesCount)})
	}
	if issuer.Device, err = n.snp.open(); err != nil {
		return out, attest.Evidence{}, fmt.Errorf("chancery.platform is snp: %w", err)
	}
	e, err := issuer.Issue(ctx, digest)
	if err != nil {
		return out, e, err
	}
	claims, err := n.verifier().Verify(ctx, e)
	if err != nil {
		return out, e, err
	}
	out, err = attested(claims, policy)
	return out, e, err
}

// attested is what governance trusts because of a node's own claims.
func attested(c attest.Claims, policy []byte) (gov.Attested, error) {
	out := gov.Attested{HostData: hex.EncodeToString(c.HostData[:]), SecurityPolicy: string(policy), CPUID: c.TCB.CPU.ID()}
	if policy != nil && sha256.Sum256(policy) != c.HostData {
		return out, errors.New("attestation.snp_security_policy_file is not what the host bound to the guest: its digest is not the report's host data")
	}
	if c.UVMError != nil {
		return out, fmt.Errorf("attestation.snp_uvm_endorsements_file: %w", c.UVMError)
	}
	if c.UVM != nil {
		out.UVM = &gov.UVMEndorsement{DID: c.UVM.DID, Feed: c.UVM.Feed, SVN: strconv.FormatUint(c.UVM.SVN, 10)}
	}
	product, err := c.TCB.CPU.Product()
	if err != nil {
		return out, err
	}
	tcb, err := attest.DecodeTCB(product, c.TCB.Value)
	if err != nil {
		return out, err
	}
	out.TCB = &tcb
	out.Measurement, err = hex.DecodeString(c.Measurement)
	return out, err
}

// snpFile reads a file that holds base64; nil where none is named.
func (n *Node) snpFile(key, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	text, err := n.fs.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("attestation.%s: %w", key, err)
	}
	out, err := guest.DecodeFile(text)
	if err != nil {
		return nil, fmt.Errorf("attestation.%s: %w", key, err)
	}
	return out, nil
}

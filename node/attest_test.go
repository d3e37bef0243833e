package node

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/attest"
	"chancery/attest/snp"
	"chancery/attest/snp/guest"
	"chancery/attest/snp/snptest"
	"chancery/client"
	"chancery/gov/constitution"
	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/node/config"
	"chancery/server/api"
)

// snpNetwork is a service of nodes on fake processors, in this process.
type snpNetwork struct {
	t      *testing.T
	dir    string
	roots  snp.Roots
	member *identity.Participant
	nodes  int

	noDevice error // what opening the device fails with
}

const securityPolicy = "package policy\n"

// newMachine is a processor whose guest was started with securityPolicy.
func newMachine(t *testing.T) *snptest.Machine {
	m := snptest.New(t, attest.Milan)
	m.Report.HostData = sha256.Sum256([]byte(securityPolicy))
	return m
}

func newSNPNetwork(t *testing.T) *snpNetwork {
	t.Helper()
	w := &snpNetwork{t: t, dir: t.TempDir(), roots: snptest.New(t, attest.Milan).Roots()}
	curve, err := identity.CurveByName("secp384r1")
	if err != nil {
		t.Fatal(err)
	}
	member, err := identity.NewParticipant("member0", curve, time.Now(), 90, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := member.Save(durable.OS(), w.dir, "member0"); err != nil {
		t.Fatal(err)
	}
	w.member = member
	source, err := constitution.Source("sandbox")
	if err != nil {
		t.Fatal(err)
	}
	w.write("constitution.js", []byte(source))
	return w
}

func (w *snpNetwork) write(name string, content []byte) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// run starts a node on a machine; target is who lets it in, "" for a new service. It
// returns the file that will hold the node's address, and the node's end.
func (w *snpNetwork) run(ctx context.Context, m *snptest.Machine, target string, edit func(*config.Config)) (string, <-chan error) {
	w.t.Helper()
	w.nodes++
	name := fmt.Sprint("n", w.nodes)
	command := map[string]any{"type": "Start", "service_certificate_file": filepath.Join(w.dir, "service.pem"), "start": map[string]any{
		"members":            []any{map[string]any{"certificate_file": filepath.Join(w.dir, "member0_cert.pem"), "encryption_public_key_file": filepath.Join(w.dir, "member0_enc_pubk.pem")}},
		"constitution_files": []string{filepath.Join(w.dir, "constitution.js")},
	}}
	if target != "" {
		command = map[string]any{"type": "Join", "service_certificate_file": filepath.Join(w.dir, "service.pem"), "join": map[string]any{
			"target_rpc_address": target, "retry_timeout": "50ms",
		}}
	}
	face := map[string]any{"bind_address": "127.0.0.1:0"}
	attestation := map[string]any{
		"snp_endorsements_file":    w.write(name+".certs", m.Bundle(w.t)),
		"snp_security_policy_file": w.write(name+".policy", []byte(base64.StdEncoding.EncodeToString([]byte(securityPolicy)))),
	}
	if m.UVM != nil {
		attestation["snp_uvm_endorsements_file"] = w.write(name+".uvm", []byte(base64.StdEncoding.EncodeToString(m.UVM)))
	}
	text, err := json.Marshal(map[string]any{
		"network":          map[string]any{"node_to_node_interface": face, "rpc_interfaces": map[string]any{"main": face}},
		"node_certificate": map[string]any{"subject_alt_names": []string{"iPAddress:127.0.0.1"}},
		"command":          command,
		"ledger":           map[string]any{"directory": filepath.Join(w.dir, name, "ledger")},
		"snapshots":        map[string]any{"directory": filepath.Join(w.dir, name, "snapshots")},
		"output_files":     map[string]any{"rpc_addresses_file": filepath.Join(w.dir, name+".address"), "node_certificate_file": filepath.Join(w.dir, name+".pem")},
		"attestation":      attestation,
		"chancery":         map[string]any{"platform": "snp", "production": true},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg, err := config.Parse(text)
	if err != nil {
		w.t.Fatal(err)
	}
	if edit != nil {
		edit(cfg)
	}
	ended := make(chan error, 1)
	device := snpPlatform{open: func() (guest.Device, error) { return m, nil }, openKeys: func() (guest.KeyDevice, error) { return m, nil }, roots: w.roots}
	if w.noDevice != nil {
		device.open = func() (guest.Device, error) { return nil, w.noDevice }
	}
	go func() {
		ended <- Run(ctx, cfg, Options{Log: slog.New(slog.DiscardHandler), Version: "test", snp: device})
	}()
	return cfg.OutputFiles.RPCAddressesFile, ended
}

// decide proposes an action, which the only member's own voice accepts.
func (w *snpNetwork) decide(ctx context.Context, m *client.Member, name string, args map[string]any) {
	w.t.Helper()
	text, err := json.Marshal(map[string]any{"actions": []any{map[string]any{"name": name, "args": args}}})
	if err != nil {
		w.t.Fatal(err)
	}
	if p, err := m.Propose(ctx, text); err != nil || p.State != "Accepted" {
		w.t.Fatalf("%s: %+v, %v", name, p, err)
	}
}

// await asks again and again until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// TestSNPNetwork opens a service on a fake processor, in production mode: good nodes join
// it and are trusted, and a client that knows the policy has them attest. Each bad one is
// refused in CCF's words by the service, or does not start, and leaves no row.
func TestSNPNetwork(t *testing.T) {
	w := newSNPNetwork(t)
	ctx, cancel := context.WithCancel(t.Context())
	var ends []<-chan error
	t.Cleanup(func() {
		cancel()
		for _, end := range ends {
			if err := <-end; err != nil {
				t.Errorf("a good node ended with %v", err)
			}
		}
	})
	file, end := w.run(ctx, newMachine(t), "", nil)
	ends = append(ends, end)
	var target string
	await(t, "the first node's address", func() bool {
		text, err := os.ReadFile(file)
		var addresses map[string]string
		if err != nil || json.Unmarshal(text, &addresses) != nil {
			return false
		}
		target = addresses["main"]
		_, _, err = net.SplitHostPort(target)
		return err == nil
	})
	var c *client.Client
	policy := &attest.JoinPolicy{}
	await(t, "the service", func() bool {
		text, err := os.ReadFile(filepath.Join(w.dir, "service.pem"))
		if err != nil {
			return false
		}
		service, err := client.ParseCertificate(text)
		if err != nil {
			return false
		}
		if err := json.Unmarshal(snptest.Allow(t, newMachine(t)), policy); err != nil {
			t.Fatal(err)
		}
		v := (&Node{cfg: &config.Config{}, snp: snpPlatform{roots: w.roots}, opts: Options{Now: time.Now}}).verifier()
		c, err = client.New(client.Config{URLs: []string{"https://" + target}, Service: service, Attest: &client.Attestation{Verifier: v, Policy: policy}})
		if err != nil {
			t.Fatal(err)
		}
		return c.Get(ctx, "/node/network", nil, nil) == nil
	})
	defer c.Close()
	var version api.Version
	if err := c.Get(ctx, "/node/version", nil, &version); err != nil || version.Platform != "snp" {
		t.Errorf("%+v, %v", version, err)
	}
	trusted := func() int {
		var nodes api.Nodes
		if err := c.Get(ctx, "/node/network/nodes?status=Trusted", nil, &nodes); err != nil {
			t.Fatal(err)
		}
		return len(nodes.Nodes)
	}
	cert, err := identity.ParseCertificate(w.member.Cert)
	if err != nil {
		t.Fatal(err)
	}
	member, err := c.Member(cert, w.member.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := member.Activate(ctx); err != nil {
		t.Fatal(err)
	}
	w.decide(ctx, member, "transition_service_to_open", map[string]any{"next_service_identity": string(identity.CertificatePEM(c.Service().Raw))})
	for n := range 2 {
		_, end := w.run(ctx, newMachine(t), target, nil)
		ends = append(ends, end)
		var pending api.Nodes
		await(t, "a good node's request", func() bool {
			return c.Get(ctx, "/node/network/nodes?status=Pending", nil, &pending) == nil && len(pending.Nodes) == 1
		})
		w.decide(ctx, member, "transition_node_to_trusted", map[string]any{
			"node_id": pending.Nodes[0].NodeID, "valid_from": time.Now().UTC().Format("060102150405Z"),
		})
		await(t, "a good node", func() bool { return trusted() == n+2 })
	}
	all := func() int {
		var nodes api.Nodes
		if err := c.Get(ctx, "/node/network/nodes", nil, &nodes); err != nil {
			t.Fatal(err)
		}
		return len(nodes.Nodes)
	}
	endorser := snptest.NewEndorser(t, true)
	for _, b := range []struct {
		name string
		edit func(m *snptest.Machine, cfg *config.Config)
		want string
	}{
		{"measurement", func(m *snptest.Machine, _ *config.Config) { m.Report.Measurement[0]++ }, "401 InvalidQuote: Quote does not contain known enclave measurement"},
		{"host data", func(m *snptest.Machine, cfg *config.Config) {
			m.Report.HostData[0]++
			cfg.Attestation.SNPSecurityPolicyFile = ""
		}, "401 InvalidQuote: Quote host data is not authorised"},
		{"older TCB", func(m *snptest.Machine, _ *config.Config) { m.Report.ReportedTCB -= 1 << 56; m.TCB[8]-- }, "401 InvalidQuote: Quote TCB version is too low"},
		{"another processor", func(m *snptest.Machine, _ *config.Config) { m.Report.Stepping = 2 }, "401 InvalidQuote: Quote CPUID is unknown"},
		{"another endorser", func(m *snptest.Machine, _ *config.Config) {
			m.UVM = endorser.Endorse(t, endorser.DID(""), snptest.Measurement(m), 1)
		}, "401 InvalidQuote: UVM endorsements are not authorised"},
		{"another security policy", func(m *snptest.Machine, _ *config.Config) { m.Report.HostData[0]++ }, "snp_security_policy_file is not what the host bound"},
		{"debug", func(m *snptest.Machine, _ *config.Config) { m.Report.PolicyFlags |= 8 }, "may be debugged"},
		{"endorsements of another chip", func(m *snptest.Machine, _ *config.Config) { m.Chip[0]++ }, "of another chip"},
		{"virtual", func(_ *snptest.Machine, cfg *config.Config) {
			cfg.Chancery.Platform, cfg.Chancery.Production = "virtual", false
		}, "401 InvalidQuote: Quote could not be verified"},
		{"virtual in production", func(_ *snptest.Machine, cfg *config.Config) { cfg.Chancery.Platform = "virtual" }, "chancery.production is set, and the virtual platform is for development"},
	} {
		m := newMachine(t)
		b.edit(m, &config.Config{})
		_, end := w.run(ctx, m, target, func(cfg *config.Config) {
			again := *m
			b.edit(&again, cfg) // of the configuration, which is made by now
		})
		select {
		case err := <-end:
			if err == nil || !strings.Contains(err.Error(), b.want) {
				t.Errorf("%s: ended with %v, want %s", b.name, err, b.want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: it was let in, or asks on", b.name)
		}
	}
	if n := trusted(); n != 3 {
		t.Errorf("%d nodes are trusted, want 3", n)
	}
	// The client believes none that attests to something else.
	if n := all(); n != 3 {
		t.Errorf("%d nodes have rows, want 3", n)
	}
	policy.SNP.Measurements = nil
	c2, err := client.New(client.Config{URLs: []string{"https://" + target}, Service: c.Service(), Attest: &client.Attestation{
		Verifier: (&Node{cfg: &config.Config{}, snp: snpPlatform{roots: w.roots}, opts: Options{Now: time.Now}}).verifier(), Policy: policy,
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	if err := c2.Get(ctx, "/node/version", nil, nil); !errors.Is(err, client.ErrNotAttested) {
		t.Errorf("under another policy: %v", err)
	}
}

// TestSNPRefusesToStart: a node that is set to SEV-SNP never falls back to another platform.
func TestSNPRefusesToStart(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(w *snpNetwork, cfg *config.Config)
		want string
	}{
		{"no endorsements", func(_ *snpNetwork, cfg *config.Config) { cfg.Attestation.SNPEndorsementsFile = "" }, "no file, host or server has the endorsements"},
		{"no such file", func(_ *snpNetwork, cfg *config.Config) { cfg.Attestation.SNPUVMEndorsementsFile = "nowhere" }, "attestation.snp_uvm_endorsements_file"},
		{"no base64", func(w *snpNetwork, cfg *config.Config) {
			cfg.Attestation.SNPSecurityPolicyFile = w.write("bad", []byte("?"))
		}, "attestation.snp_security_policy_file"},
		{"no bundle", func(w *snpNetwork, cfg *config.Config) {
			cfg.Attestation.SNPEndorsementsFile = w.write("bad", []byte("e30="))
		}, "vcekCert"},
		{"broken UVM endorsement", func(w *snpNetwork, cfg *config.Config) {
			cfg.Attestation.SNPUVMEndorsementsFile = w.write("bad", []byte("e30="))
		}, "malformed UVM endorsement"},
		{"AMD's roots", func(w *snpNetwork, _ *config.Config) { w.roots = nil }, "the root is not AMD's"},
		{"no device", func(w *snpNetwork, _ *config.Config) { w.noDevice = errors.New("no device") }, "chancery.platform is snp: no device"},
	} {
		w := newSNPNetwork(t)
		_, end := w.run(t.Context(), newMachine(t), "", func(cfg *config.Config) { c.edit(w, cfg) })
		if err := <-end; err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

package tests

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/attest"
	"chancery/attest/snp/snptest"
	"chancery/internal/identity"
	"chancery/server/api"
)

const securityPolicy = "package policy\n"

// newMachine is a fake processor whose guest was started with securityPolicy.
func newMachine(t *testing.T) *snptest.Machine {
	t.Helper()
	m := snptest.New(t, attest.Milan)
	m.Report.HostData = sha256.Sum256([]byte(securityPolicy))
	return m
}

// onMachine has a node run on a machine, in production.
func onMachine(t *testing.T, dir string, m *snptest.Machine, config map[string]any) {
	t.Helper()
	must(t, m.Save(filepath.Join(dir, "machine.json")))
	file := func(name string, content []byte) string {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o644))
		return name
	}
	config["attestation"] = map[string]any{
		"snp_endorsements_file":    file("endorsements.base64", m.Bundle(t)),
		"snp_security_policy_file": file("policy.base64", []byte(base64.StdEncoding.EncodeToString([]byte(securityPolicy)))),
	}
	chancery := config["chancery"].(map[string]any)
	delete(chancery, "key_file")
	delete(chancery, "sealing_key_file")
	chancery["platform"], chancery["production"] = "snp", true
}

// refused starts a node that asks to join and that must end, and returns its log.
func (w *network) refused(edit func(config map[string]any)) string {
	w.t.Helper()
	n := w.place()
	config := w.config(n, "127.0.0.1:"+w.primary().ports[rpc])
	cmd := w.command(n, config)
	if edit != nil {
		edit(config)
		text, err := json.Marshal(config)
		must(w.t, err)
		must(w.t, os.WriteFile(filepath.Join(n.dir, "config.json"), text, 0o644))
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(w.t, cmd.Start())
	late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err == nil || !late.Stop() {
		w.t.Errorf("a node that must be refused: %v", err)
	}
	return out.String()
}

// rows is how many nodes the service knows.
func (w *network) rows() int {
	w.t.Helper()
	var all api.Nodes
	must(w.t, w.primary().getJSON("/node/network/nodes", &all))
	return len(all.Nodes)
}

// TestSNPProcesses opens a service of three processes on fake processors, in production:
// good nodes join; each bad one is refused, by itself or by the service, and is given
// nothing. Then all are lost, and the processor that sealed a share recovers the service.
func TestSNPProcesses(t *testing.T) {
	machines := map[string]*snptest.Machine{}
	var next *snptest.Machine // of the next node
	lists := filepath.Join(t.TempDir(), "revocations")
	must(t, os.Mkdir(lists, 0o700))
	list := func(serial int64) {
		must(t, os.WriteFile(filepath.Join(lists, "Milan.crl"), newMachine(t).RevocationList(t, serial).Raw, 0o644))
	}
	list(7)
	w := &network{t: t, dir: t.TempDir(), edits: []func(map[string]any){withSealing, func(config map[string]any) {
		config["chancery"].(map[string]any)["snp_revocations"] = map[string]any{"directory": lists}
	}}}
	w.machine = func(n *netNode) *snptest.Machine {
		m := next
		next = nil
		if m == nil {
			m = machines[n.name]
		}
		if m == nil {
			m = newMachine(t)
		}
		machines[n.name] = m
		return m
	}
	w.begin(3)
	c := w.client()
	defer c.Close()
	if _, err := c.Do(t.Context(), put(1, "on three processors")); err != nil {
		t.Fatal(err)
	}
	w.agree(w.nodes...)
	var version api.Version
	must(t, w.nodes[1].getJSON("/node/version", &version))
	if version.Platform != "snp" {
		t.Errorf("the platform is %q", version.Platform)
	}

	for name, bad := range map[string]struct {
		edit func(m *snptest.Machine)
		want string
	}{
		"measurement":       {func(m *snptest.Machine) { m.Report.Measurement[0]++ }, "401 InvalidQuote: Quote does not contain known enclave measurement"},
		"older TCB":         {func(m *snptest.Machine) { m.Report.ReportedTCB -= 1 << 56; m.TCB[8]-- }, "401 InvalidQuote: Quote TCB version is too low"},
		"another processor": {func(m *snptest.Machine) { m.Report.Stepping = 2 }, "401 InvalidQuote: Quote CPUID is unknown"},
		"another builder": {func(m *snptest.Machine) {
			e := snptest.NewEndorser(t, true)
			m.UVM = e.Endorse(t, e.DID(""), snptest.Measurement(m), 1)
		}, "401 InvalidQuote: UVM endorsements are not authorised"},
		"another root": {func(m *snptest.Machine) {
			f := snptest.Foreign(t, attest.Milan)
			f.Report.HostData = m.Report.HostData
			*m = *f
		}, "401 InvalidQuote: Quote could not be verified"},
		"another policy":        {func(m *snptest.Machine) { m.Report.HostData[0]++ }, "snp_security_policy_file is not what the host bound"},
		"debug":                 {func(m *snptest.Machine) { m.Report.PolicyFlags |= 8 }, "may be debugged"},
		"migration":             {func(m *snptest.Machine) { m.Report.PolicyFlags |= 4 }, "may be migrated"},
		"another chip's key":    {func(m *snptest.Machine) { m.Chip[0]++ }, "of another chip"},
		"a key of another kind": {func(m *snptest.Machine) { m.Report.Flags = 1 << 2 }, "not signed with the chip's own key"},
	} {
		next = newMachine(t)
		bad.edit(next)
		m := next
		edit := func(config map[string]any) {
			if m.UVM != nil {
				config["attestation"].(map[string]any)["snp_uvm_endorsements_file"] = filepath.Join(lists, "uvm.base64")
				must(t, os.WriteFile(filepath.Join(lists, "uvm.base64"), []byte(base64.StdEncoding.EncodeToString(m.UVM)), 0o644))
			}
		}
		if log := w.refused(edit); !strings.Contains(log, bad.want) {
			t.Errorf("%s: want %q in\n%s", name, bad.want, log)
		}
	}
	next = newMachine(t)
	next.Report.HostData[0]++
	if log := w.refused(func(config map[string]any) {
		config["attestation"].(map[string]any)["snp_security_policy_file"] = nil
	}); !strings.Contains(log, "401 InvalidQuote: Quote host data is not authorised") {
		t.Errorf("host data:\n%s", log)
	}
	next = newMachine(t)
	if log := w.refused(func(config map[string]any) {
		chancery := config["chancery"].(map[string]any)
		delete(config, "sealing_recovery")
		delete(chancery, "snp_revocations")
		chancery["platform"], chancery["production"] = "virtual", false
	}); !strings.Contains(log, "401 InvalidQuote: Quote could not be verified") {
		t.Errorf("the virtual platform:\n%s", log)
	}
	list(2)
	next = newMachine(t)
	if log := w.refused(func(config map[string]any) { delete(config["chancery"].(map[string]any), "snp_revocations") }); !strings.Contains(log, "401 InvalidQuote: Quote could not be verified") {
		t.Errorf("a revoked intermediate certificate:\n%s", log)
	}
	if log, err := os.ReadFile(filepath.Join(w.primary().dir, "out")); err != nil || !bytes.Contains(log, []byte("a certificate is revoked: the ASK")) {
		t.Errorf("the service's log does not name the revocation: %v", err)
	}
	list(7)
	w.forgeries(machines[w.nodes[0].name])
	if n := w.rows(); n != 3 {
		t.Errorf("%d nodes have rows, want 3", n)
	}

	left := w.nodes[2]
	for _, n := range w.nodes {
		n.ends(os.Kill)
	}
	w.nodes = nil
	n := w.beginRecovery(left)
	w.cli(n, "gov", "open", "service_cert.pem", "--previous", "previous_cert.pem")
	w.recovered(n)
	again := w.client(n)
	defer again.Close()
	if resp, err := again.Do(t.Context(), get(1)); err != nil || !strings.Contains(string(resp.Body), "on three processors") {
		t.Errorf("after the recovery: %v", err)
	}
}

// forgeries asks as no honest node would: with evidence of others, or changed. None is
// given anything.
func (w *network) forgeries(m *snptest.Machine) {
	w.t.Helper()
	t := w.t
	curve, err := identity.CurveByName("secp384r1")
	must(t, err)
	key, err := identity.GenerateKey(curve)
	must(t, err)
	subject, err := identity.ParseSubject("CN=CCF Node")
	must(t, err)
	v, err := identity.ValidFor(time.Now(), 1)
	must(t, err)
	cert, err := identity.SelfSignedNode(key, subject, nil, v)
	must(t, err)
	pair, err := identity.TLSCertificate(cert, key)
	must(t, err)
	digest, err := identity.KeyDigest(key.Public())
	must(t, err)
	encryption, err := identity.GenerateEncryptionKey()
	must(t, err)
	public, err := identity.PublicKeyPEM(encryption.Public())
	must(t, err)
	var lead api.Quote
	must(t, w.primary().getJSON("/node/quotes/self", &lead))
	replayed, err := base64.StdEncoding.DecodeString(lead.Raw)
	must(t, err)
	good := m.Evidence(t, digest)
	for name, edit := range map[string]func(e *attest.Evidence){
		"replayed":         func(e *attest.Evidence) { e.Quote = replayed },
		"changed":          func(e *attest.Evidence) { e.Quote[0x90] ^= 1 },
		"oversized":        func(e *attest.Evidence) { e.Quote = make([]byte, 300<<10) },
		"no endorsements":  func(e *attest.Evidence) { e.Endorsements = nil },
		"of SGX":           func(e *attest.Evidence) { e.Format = attest.FormatSGX },
		"an odd UVM":       func(e *attest.Evidence) { e.UVMEndorsements = []byte("x") },
		"of another round": func(e *attest.Evidence) { e.EndorsedTCB = "0000000000000001" },
	} {
		e := good
		e.Quote, e.Endorsements = bytes.Clone(good.Quote), bytes.Clone(good.Endorsements)
		edit(&e)
		face := map[string]any{"bind_address": "127.0.0.1:1"}
		quote, err := json.Marshal(e)
		must(t, err)
		body, err := json.Marshal(map[string]any{
			"node_info_network": map[string]any{"node_to_node_interface": face, "rpc_interfaces": map[string]any{"main": face}},
			"quote_info":        json.RawMessage(bytes.ReplaceAll(quote, []byte(`"endorsements":null`), []byte(`"endorsements":""`))), "public_encryption_key": string(public), "startup_seqno": 0,
		})
		must(t, err)
		tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*pair}}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://127.0.0.1:"+w.primary().ports[rpc]+"/node/join", bytes.NewReader(body))
		must(t, err)
		resp, err := tr.RoundTrip(req)
		must(t, err)
		answer, err := io.ReadAll(resp.Body)
		must(t, err)
		must(t, resp.Body.Close())
		if resp.StatusCode != http.StatusUnauthorized || !bytes.Contains(answer, []byte("InvalidQuote")) || bytes.Contains(answer, []byte("network_info")) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, answer)
		}
	}
}

// TestReleaseBelievesAMDAlone: the program that is released has nothing of the fake
// processor in it, nor of the variable that names one; the one of the tests has both.
func TestReleaseBelievesAMDAlone(t *testing.T) {
	for name, want := range map[string]bool{"chanceryd": false, "chancery": false, onFakeSNP: true} {
		program, err := os.ReadFile(binary(t, name))
		must(t, err)
		for _, trace := range []string{"chancery/attest/snp/snptest", "CHANCERY_FAKE_SNP"} {
			if bytes.Contains(program, []byte(trace)) != want {
				t.Errorf("%s holds %q: %t, want %t", name, trace, !want, want)
			}
		}
	}
}

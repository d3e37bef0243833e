package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// minimal is the least that CCF accepts as a Start configuration.
const minimal = `{
  "network": {
    "node_to_node_interface": {"bind_address": "127.0.0.1:8081"},
    "rpc_interfaces": {"primary_rpc_interface": {"bind_address": "127.0.0.1:8080"}}
  },
  "command": {
    "type": "Start",
    "start": {
      "members": [{"certificate_file": "member0_cert.pem", "encryption_public_key_file": "member0_enc_pubk.pem"}],
      "constitution_files": ["actions.js", "apply.js"],
      "service_configuration": {"recovery_threshold": 0}
    }
  }
}`

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return c
}

func readTestdata(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDefaults(t *testing.T) {
	c := mustParse(t, minimal)
	want := Default()
	want.Network = c.Network
	want.Command.Start.ServiceConfiguration.Raw = json.RawMessage(`{"recovery_threshold": 0}`)
	if raw := c.Network.RPCInterfaces["primary_rpc_interface"].Raw; string(raw) != `{"bind_address": "127.0.0.1:8080"}` {
		t.Errorf("raw interface %s", raw)
	}
	want.Command.Type = CommandStart
	want.Command.given = c.Command.given
	want.Command.Start.Members = []Member{{CertificateFile: "member0_cert.pem", EncryptionPublicKeyFile: "member0_enc_pubk.pem"}}
	want.Command.Start.ConstitutionFiles = []string{"actions.js", "apply.js"}
	want.Command.Start.ServiceConfiguration.RecoveryThreshold = 1
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(Command{})); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	i := c.Network.RPCInterfaces["primary_rpc_interface"]
	if i.PublishedAddress != "127.0.0.1:8080" || i.MaxOpenSessionsSoft != 1000 || i.MaxOpenSessionsHard != 1010 ||
		i.HTTPConfiguration.MaxBodySize != MB || i.Endorsement.Authority != AuthorityService || i.ForwardingTimeoutMS != 3000 {
		t.Errorf("defaults of an interface: %+v", i)
	}
}

// TestCCFTemplates parses what CCF's tools render from their template.
func TestCCFTemplates(t *testing.T) {
	c := mustParse(t, readTestdata(t, "suite.json"))
	if c.NodeClientInterface != "127.100.0.0" {
		t.Errorf("node_client_interface %q", c.NodeClientInterface)
	}
	if c.Command.Join.RetryTimeout != time.Second {
		t.Errorf(`retry_timeout "None" should leave the default, got %v`, c.Command.Join.RetryTimeout)
	}
	if c.Command.Recover.PreviousServiceIdentityFile != "" {
		t.Errorf(`previous_service_identity_file "None" should be absent, got %q`, c.Command.Recover.PreviousServiceIdentityFile)
	}
	if c.Ledger.ChunkSize != 20*KB || c.Consensus.ElectionTimeout != 4*time.Second {
		t.Errorf("chunk_size %v, election_timeout %v", c.Ledger.ChunkSize, c.Consensus.ElectionTimeout)
	}
	if got := c.Network.RPCInterfaces["file_serving_interface"]; !got.Enables(SnapshotRead) || got.Enables(SnapshotCreate) {
		t.Errorf("operator features: %v", got.EnabledOperatorFeatures)
	}
	mustParse(t, readTestdata(t, "join.json"))
	mustParse(t, readTestdata(t, "recover.json"))
}

func TestProblems(t *testing.T) {
	// Each row replaces one text of the minimal configuration.
	insert := `"network": {`
	tests := []struct{ name, old, with, want string }{
		{"unknown key", insert, `"netwerk": 1, ` + insert, `netwerk: unknown key; the nearest one here is "network"`},
		{"unknown inside", `"certificate_file"`, `"certificate_fil": "x", "certificate_file"`, `command.start.members[0].certificate_fil: unknown key; the nearest one here is "certificate_file"`},
		{"key of another place", insert, `"election_timeout": "1s", ` + insert, `election_timeout: unknown key; election_timeout exists elsewhere, as consensus.election_timeout`},
		{"retired", insert, `"output_files": {"sealed_ledger_secret_location": "x"}, ` + insert, `output_files.sealed_ledger_secret_location: was removed in CCF 7.0; remove it`},
		{"sealing on virtual", insert, `"sealing_recovery": {"location": {"name": "a", "address": "127.0.0.1:1"}}, ` + insert, `sealing_recovery: Sealing ledger secrets is only supported on SEV-SNP platforms; for development, chancery.sealing_key_file names a file that stands for the processor's key`},
		{"sealing nowhere", insert, `"chancery": {"sealing_key_file": "key"}, "sealing_recovery": {"location": {"name": "", "address": "here"}}, ` + insert, `sealing_recovery.location.address: "here" is not host:port`},
		{"sealing without a place", insert, `"chancery": {"sealing_key_file": "key"}, "sealing_recovery": {}, ` + insert, `sealing_recovery.location: is missing`},
		{"sealing key in production", insert, `"chancery": {"sealing_key_file": "key", "production": true}, ` + insert, `chancery.sealing_key_file: holds a key in the clear and is refused where chancery.production is true`},
		{"revocations nowhere", insert, `"chancery": {"snp_revocations": {}}, ` + insert, `chancery.snp_revocations.directory: is missing`},
		{"revocations never", insert, `"chancery": {"snp_revocations": {"directory": "a", "refresh_interval": "0s"}}, ` + insert, `chancery.snp_revocations.refresh_interval: must be more than 0`},
		{"nobody decides", insert, `"chancery": {"sealing_key_file": "key"}, "sealing_recovery": {"location": {"name": "a", "address": "h:1"}, "recovery_decision_protocol": {}}, ` + insert, `sealing_recovery.recovery_decision_protocol.expected_locations: is missing`},
		{"others decide", insert, `"chancery": {"sealing_key_file": "key"}, "sealing_recovery": {"location": {"name": "a", "address": "h:1"}, "recovery_decision_protocol": {"expected_locations": [{"name": "b", "address": "h:1"}]}}, ` + insert, `sealing_recovery.recovery_decision_protocol.expected_locations: lacks the node's own location "a"`},
		{"one decides twice", insert, `"chancery": {"sealing_key_file": "key"}, "sealing_recovery": {"location": {"name": "a", "address": "h:1"}, "recovery_decision_protocol": {"expected_locations": [{"name": "a", "address": "h:1"}, {"name": "a", "address": "h:2"}]}}, ` + insert, `sealing_recovery.recovery_decision_protocol.expected_locations[1].name: "a" stands there twice`},
		{"no time to decide", insert, `"chancery": {"sealing_key_file": "key"}, "sealing_recovery": {"location": {"name": "a", "address": "h:1"}, "recovery_decision_protocol": {"message_retry_timeout": "0s", "expected_locations": [{"name": "a", "address": "h:1"}]}}, ` + insert, `sealing_recovery.recovery_decision_protocol.message_retry_timeout: must be more than 0`},
		{"twice", insert, `"ledger": {}, "ledger": {}, ` + insert, `ledger: is given twice`},
		{"wrong type", insert, `"ledger": [], ` + insert, `ledger: must be an object, not an array`},
		{"number for text", insert, `"ledger": {"directory": 1}, ` + insert, `ledger.directory: must be a string, not the number 1`},
		{"text for number", insert, `"snapshots": {"tx_count": "1"}, ` + insert, `snapshots.tx_count: must be a whole number, not the string "1"`},
		{"fraction", insert, `"snapshots": {"tx_count": 1.5}, ` + insert, `snapshots.tx_count: must be a whole number, not 1.5`},
		{"negative", insert, `"worker_threads": -1, ` + insert, `worker_threads: must not be negative, but is -1`},
		{"too small", insert, `"snapshots": {"tx_count": 0}, ` + insert, `snapshots.tx_count: must be at least 1, but is 0`},
		{"text for bool", insert, `"ignore_first_sigterm": "yes", ` + insert, `ignore_first_sigterm: must be true or false, not the string "yes"`},
		{"null", insert, `"ledger": null, ` + insert, `ledger: must not be null`},
		{"unit", insert, `"ledger": {"chunk_size": "5XB"}, ` + insert, `ledger.chunk_size: "5XB" has the unknown unit "XB"; write one of B, KB, MB, GB, TB or PB`},
		{"time unit", insert, `"tick_interval": "5d", ` + insert, `tick_interval: "5d" has the unknown unit "d"; write one of us, ms, s, min or h`},
		{"negative time", insert, `"tick_interval": "-5ms", ` + insert, `tick_interval: "-5ms" is negative`},
		{"number for time", insert, `"tick_interval": 5, ` + insert, `tick_interval: must be a string with a unit, not the number 5`},
		{"large size", insert, `"ledger": {"chunk_size": "99999999PB"}, ` + insert, `ledger.chunk_size: "99999999PB" is too large`},
		{"enum", `"Start"`, `"Begin"`, `command.type: "Begin" is not one of Start, Join, Recover, Resume`},
		{"missing", `"type": "Start",`, ``, `command.type: is missing`},
		{"section", `"start": {`, `"strat": {`, `command.strat: unknown key; the nearest one here is "start"`},
		{"other section", `"Start"`, `"Join"`, `command.join: is missing, and command.type is Join`},
		{"udp", `"bind_address": "127.0.0.1:8080"`, `"bind_address": "127.0.0.1:8080", "protocol": "udp"`, `network.rpc_interfaces.primary_rpc_interface.protocol: udp is experimental in CCF and not supported; use tcp`},
		{"ACME", `"bind_address": "127.0.0.1:8080"`, `"bind_address": "127.0.0.1:8080", "endorsement": {"authority": "ACME"}`, `network.rpc_interfaces.primary_rpc_interface.endorsement.authority: ACME is deprecated in CCF and not supported; use Service or Node, and put a certificate of a public authority on a proxy`},
		{"clash", `127.0.0.1:8080`, `127.0.0.1:8081`, `network.rpc_interfaces.primary_rpc_interface.bind_address: 127.0.0.1:8081 is taken by network.node_to_node_interface`},
		{"clash of metrics", insert, `"chancery": {"metrics": {"bind_address": "127.0.0.1:8080"}}, ` + insert, `chancery.metrics.bind_address: 127.0.0.1:8080 is taken by network.rpc_interfaces.primary_rpc_interface`},
		{"address", `127.0.0.1:8080`, `127.0.0.1`, `network.rpc_interfaces.primary_rpc_interface.bind_address: "127.0.0.1" is not host:port`},
		{"port", `127.0.0.1:8080`, `127.0.0.1:70000`, `network.rpc_interfaces.primary_rpc_interface.bind_address: the port of "127.0.0.1:70000" is not a number from 0 to 65535`},
		{"caps", `"bind_address": "127.0.0.1:8080"`, `"bind_address": "127.0.0.1:8080", "max_open_sessions_soft": 20, "max_open_sessions_hard": 10`, `network.rpc_interfaces.primary_rpc_interface.max_open_sessions_hard: 10 is less than max_open_sessions_soft (20)`},
		{"unsecured", `"bind_address": "127.0.0.1:8080"`, `"bind_address": "127.0.0.1:8080", "endorsement": {"authority": "Unsecured"}`, `network.rpc_interfaces.primary_rpc_interface.accepted_endpoints: must be given where endorsement.authority is Unsecured`},
		{"threshold", `"recovery_threshold": 0`, `"recovery_threshold": 2`, `command.start.service_configuration.recovery_threshold: 2 is more than the number of members that receive a recovery share (1)`},
		{"no member", `[{"certificate_file": "member0_cert.pem", "encryption_public_key_file": "member0_enc_pubk.pem"}]`, `[]`, `command.start.members: must have at least one member`},
		{"san", insert, `"node_certificate": {"subject_alt_names": ["127.0.0.1"]}, ` + insert, `node_certificate.subject_alt_names[0]: "127.0.0.1" begins with neither iPAddress: nor dNSName:`},
		{"cleanup", insert, `"files_cleanup": {"max_committed_ledger_chunks": 3}, ` + insert, `files_cleanup.max_committed_ledger_chunks: needs at least one ledger.read_only_directories entry, since chunks are removed only once one of them holds the same bytes`},
		{"no cleanup interval", insert, `"files_cleanup": {"interval": "0s"}, ` + insert, `files_cleanup.interval: must be more than 0`},
		{"no idle time", insert, `"idle_connection_timeout": "0s", ` + insert, `idle_connection_timeout: must be more than 0; null never closes an idle session`},
		{"no time to connect", insert, `"client_connection_timeout": "0s", ` + insert, `client_connection_timeout: must be more than 0`},
		{"no window", `"bind_address": "127.0.0.1:8080"`, `"bind_address": "127.0.0.1:8080", "http_configuration": {"initial_window_size": "0"}`, `network.rpc_interfaces.primary_rpc_interface.http_configuration.initial_window_size: must be more than 0 and less than 2GB, but is 0B`},
		{"no refresh interval", insert, `"jwt": {"key_refresh_interval": "0s"}, ` + insert, `jwt.key_refresh_interval: must be more than 0`},
		{"no fetch timeout", insert, `"chancery": {"jwt_fetch_timeout": "0s"}, ` + insert, `chancery.jwt_fetch_timeout: must be more than 0`},
		{"production platform", insert, `"chancery": {"production": true}, ` + insert, `chancery.platform: virtual proves nothing and is refused where chancery.production is true`},
		{"keys on snp", insert, `"chancery": {"platform": "snp", "key_file": "keys.json"}, ` + insert, `chancery.key_file: holds keys in the clear and is for the virtual platform alone`},
		{"production", insert, `"chancery": {"production": true, "fsync": "never"}, ` + insert, `chancery.fsync: never is refused where chancery.production is true`},
		{"resume without keys", `"Start"`, `"Resume"`, `chancery.key_file: is missing: Resume takes the node's keys from it`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(minimal, tt.old, tt.with, 1)
			if text == minimal {
				t.Fatalf("the minimal configuration has no %s", tt.old)
			}
			_, err := Parse([]byte(text))
			var invalid *InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("Parse: %v, want an InvalidError", err)
			}
			for _, p := range invalid.Problems {
				if p.String() == tt.want {
					return
				}
			}
			t.Errorf("problems:\n%v\nwant among them:\n%s", err, tt.want)
		})
	}
}

func TestSyntax(t *testing.T) {
	tests := []struct {
		name, text string
		line       int
		incomplete bool
	}{
		{"empty", "", 1, true},
		{"cut", "{\n\"network\": {", 2, true},
		{"cut in a string", "{\n\"netw", 2, true},
		{"tail", "{}\n{}", 2, false},
		{"comma", "{\n\"a\": 1\n\"b\": 2}", 3, false},
		{"deep", strings.Repeat("[", 100), 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text))
			var s *SyntaxError
			if !errors.As(err, &s) {
				t.Fatalf("Parse: %v, want a SyntaxError", err)
			}
			if s.Line != tt.line || s.Incomplete != tt.incomplete {
				t.Errorf("got line %d, incomplete %t (%v)", s.Line, s.Incomplete, s)
			}
		})
	}
}

func TestRecoveryThreshold(t *testing.T) {
	const key = `"certificate_file": "c", "encryption_public_key_file": "k"`
	tests := []struct {
		name, members, threshold string
		want                     int64 // -1: refused
	}{
		{"zero counts participants", `{` + key + `}, {` + key + `}, {"certificate_file": "c"}`, "0", 2},
		{"only owners", `{` + key + `, "recovery_role": "Owner"}, {` + key + `, "recovery_role": "Owner"}`, "0", 1},
		{"only owners, two", `{` + key + `, "recovery_role": "Owner"}`, "2", -1},
		{"no keys", `{"certificate_file": "c"}`, "0", 0},
		{"no keys, one", `{"certificate_file": "c"}`, "1", -1},
		{"owner does not count", `{` + key + `}, {` + key + `, "recovery_role": "Owner"}`, "2", -1},
		{"role without a key", `{"certificate_file": "c", "recovery_role": "Participant"}, {` + key + `}`, "0", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(minimal, `{"certificate_file": "member0_cert.pem", "encryption_public_key_file": "member0_enc_pubk.pem"}`, tt.members, 1)
			text = strings.Replace(text, `"recovery_threshold": 0`, `"recovery_threshold": `+tt.threshold, 1)
			c, err := Parse([]byte(text))
			if tt.want < 0 {
				if err == nil {
					t.Error("accepted")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Command.Start.ServiceConfiguration.RecoveryThreshold; got != tt.want {
				t.Errorf("threshold %d, want %d", got, tt.want)
			}
		})
	}
}

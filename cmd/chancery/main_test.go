package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestCommands runs command lines that need no service, and looks at the exit code and
// at what they print.
func TestCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("config.json", `{"network": {"node_to_node_interface": {"bind_address": "127.0.0.1:0"}, "rpc_interfaces": {"main": {"bind_address": "127.0.0.1:0"}}},
		"command": {"type": "Start", "start": {"members": [{"certificate_file": "alice_cert.pem"}], "constitution_files": []}}}`)
	write("wrong.json", `{"network": {}, "comand": {}}`)
	write("receipt.json", `{"signature": "x"}`)
	if err := os.Mkdir("empty", 0o700); err != nil {
		t.Fatal(err)
	}
	const unreachable = " --url https://127.0.0.1:1 --service-cert alice_cert.pem --cert alice_cert.pem --key alice_privk.pem"
	for _, c := range []struct {
		args   string
		code   int
		prints string
	}{
		{"version", exitDone, `chancery \S+`},
		{"completion bash", exitDone, `bash completion`},
		{"--help", exitDone, `Usage:`},
		{"nonsense", exitUsage, `unexpected argument "nonsense"`},
		{"gov nonsense", exitUsage, `nonsense`},
		{"up --port 0", exitUsage, `--port 0 is no port`},
		{"up --app nowhere", exitFailed, `nowhere`},
		{"key gen", exitUsage, `NAME is missing`},
		{"key gen ../alice", exitUsage, `not a plain name`},
		{"key gen alice --curve ed25519", exitUsage, `not a curve`},
		{"key gen alice --days 0", exitUsage, `--days`},
		{"key gen alice --enc", exitDone, `^[0-9a-f]{64}\n$`},
		{"key gen alice", exitFailed, `alice_privk.pem exists; use --force`},
		{"key gen alice --enc --force", exitDone, `^[0-9a-f]{64}\n$`},
		{"config check config.json", exitDone, `config.json is valid`},
		{"config check wrong.json", exitFailed, `comand: .*command`},
		{"config check nowhere.json", exitUsage, `nowhere.json`},
		{"receipt verify receipt.json", exitUsage, `--service-cert is missing`},
		{"receipt verify receipt.json --service-cert alice_cert.pem", exitUnverified, `receipt`},
		{"receipt verify nowhere.json --service-cert alice_cert.pem", exitUsage, `nowhere.json`},
		{"receipt get two" + unreachable, exitUsage, `two`},
		{"tx status 2.1" + unreachable, exitUnreachable, `not reachable`},
		{"tx status 2.1 --workspace nowhere", exitUsage, `no workspace nowhere`},
		{"tx status 2.1 --workspace nowhere --cert alice_cert.pem", exitUsage, `no workspace nowhere`},
		{"gov show --workspace nowhere", exitUsage, `no workspace nowhere`},
		{"status --workspace nowhere", exitUsage, `no workspace nowhere`},
		{"status -o xml" + unreachable, exitUsage, `--output is "xml"`},
		{"status" + unreachable, exitUnreachable, `not reachable`},
		{"doctor", exitUsage, `FILE is missing`},
		{"doctor nowhere.json", exitUsage, `nowhere.json does not exist`},
		{"ledger verify", exitUsage, `DIR is missing`},
		{"ledger verify nowhere", exitFailed, `nowhere`},
		{"ledger show empty 2.1", exitFailed, `empty`},
	} {
		var out bytes.Buffer
		code := execute(t.Context(), strings.Fields(c.args), streams{out: &out, err: &out})
		if code != c.code || !regexp.MustCompile(c.prints).Match(out.Bytes()) {
			t.Errorf("chancery %s: exit code %d, want %d; want %q in\n%.300s", c.args, code, c.code, c.prints, &out)
		}
	}
	for _, name := range []string{"alice_privk.pem", "alice_enc_privk.pem"} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

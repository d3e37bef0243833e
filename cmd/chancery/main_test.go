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
		{"backup", exitUsage, `say which: \[create drill list restore schedule verify\]`},
		{"backup create", exitUsage, `STORE is missing`},
		{"backup create b --workspace nowhere", exitUsage, `no workspace nowhere`},
		{"backup create b --keep -1" + unreachable, exitUsage, `must not be negative`},
		{"backup create b --ledger x --snapshot", exitUsage, `--snapshot to a running service`},
		{"backup create b --ledger nowhere", exitFailed, `nowhere`},
		{"backup create b" + unreachable, exitUnreachable, `not reachable`},
		{"backup create ftp://b" + unreachable, exitUsage, `not to ftp`},
		{"backup create s3:// --ledger x", exitUsage, `names no bucket`},
		{"backup list b", exitDone, `no backups`},
		{"backup verify b", exitFailed, `b holds no backup`},
		{"backup verify b --expect two", exitUsage, `two`},
		{"backup restore b r --to tomorrow", exitUsage, `neither a transaction, like 2.345, nor a time`},
		{"backup restore b r --member x", exitUsage, `belong to --start`},
		{"backup restore b r", exitFailed, `b holds no backup`},
		{"backup drill b --member nobody", exitUsage, `member nobody`},
		{"backup schedule b --workspace nowhere", exitUsage, `no workspace of chancery up`},
		{"status --workspace nowhere", exitUsage, `no workspace nowhere`},
		{"status -o xml" + unreachable, exitUsage, `--output is "xml"`},
		{"status" + unreachable, exitUnreachable, `not reachable`},
		{"doctor", exitUsage, `FILE is missing`},
		{"doctor nowhere.json", exitUsage, `nowhere.json does not exist`},
		{"app init", exitUsage, `DIR is missing`},
		{"app init hello --template nonsense", exitUsage, `there are empty, logging and banking`},
		{"app init hello", exitDone, `chancery app test hello`},
		{"app init hello", exitUsage, `hello is not empty`},
		{"app test hello", exitDone, `1 tests passed`},
		{"app test nowhere", exitFailed, `nowhere`},
		{"app build hello", exitDone, `"metadata"`},
		{"app init failing --template banking", exitDone, `failing`},
		{"app dev nowhere", exitUsage, `nowhere does not exist`},
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
	// A test that fails says why, where, and what was printed.
	write("failing/test/more.test.ts", "\nexport function testMore(): void {\n  console.log('printed');\n  chancery.equal(1, 2);\n}\n")
	var out bytes.Buffer
	if code := execute(t.Context(), []string{"app", "test", "failing"}, streams{out: &out, err: &out}); code != exitFailed {
		t.Errorf("exit code %d of a failing test", code)
	}
	for _, want := range []string{"ok    test/banking.test.js  testTransfer", "FAIL  test/more.test.ts  testMore", "got 1, want 2", "test/more.test.ts:4", "printed", "1 of 4 tests failed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	for _, name := range []string{"alice_privk.pem", "alice_enc_privk.pem"} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

package daemon

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"chancery/internal/nodelog"
)

// TestExitCodes runs command lines that end without a node.
func TestExitCodes(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const valid = `{"network": {"node_to_node_interface": {"bind_address": "127.0.0.1:0"}, "rpc_interfaces": {"main": {"bind_address": "127.0.0.1:0"}}},
		"command": {"type": "Start", "start": {"members": [{"certificate_file": "member.pem"}], "constitution_files": []}}}`
	write("valid.json", valid)
	write("cut.json", valid[:50])
	write("unknown.json", strings.Replace(valid, `"network"`, `"netwrok"`, 1))
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--version", exitOK, `^chanceryd \S+\nPlatform: Virtual\n$`},
		{"-v", exitOK, `^chanceryd `},
		{"--help", exitOK, `--config FILE`},
		{"", exitRequired, `--config is required`},
		{"--config", exitMissingValue, `needs an argument`},
		{"--nonsense", exitExtra, `nonsense`},
		{"--config valid.json more", exitExtra, `more`},
		{"--config valid.json --config-timeout soon", exitConversion, `config-timeout`},
		{"--config valid.json --check=perhaps", exitConversion, `perhaps`},
		{"--config valid.json --log-level loud", exitInvalid, `log-level`},
		{"--config nowhere.json", exitFile, `nowhere.json`},
		{"--config cut.json", exitInvalid, `cut.json: line 1`},
		{"--config unknown.json --check", exitInvalid, `netwrok: .*network`},
		{"--config valid.json --check", exitOK, `valid.json is valid`},
		{"-c valid.json", exitInvalid, `command.start.members\[0\].certificate_file: member.pem does not exist`},
	} {
		var out bytes.Buffer
		if code := Run(strings.Fields(c.args), &out, nil); code != c.code || !regexp.MustCompile(c.says).Match(out.Bytes()) {
			t.Errorf("%q: exit code %d, want %d; want %q in\n%s", c.args, code, c.code, c.says, &out)
		}
	}
}

func testLog(out *bytes.Buffer) *slog.Logger {
	return nodelog.New(out, nodelog.Text, slog.LevelInfo)
}

// TestPIDFile: the file holds the process id while the node runs, and goes with it; one
// that is there before is not touched.
func TestPIDFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "node.pid")
	var out bytes.Buffer
	log := testLog(&out)
	ran := false
	code := withPIDFile(log, name, func() int {
		ran = true
		text, err := os.ReadFile(name)
		if err != nil || string(text) != strconv.Itoa(os.Getpid()) {
			t.Errorf("PID file %q, %v", text, err)
		}
		if code := withPIDFile(log, name, func() int { t.Error("a second node ran"); return exitOK }); code != exitFile {
			t.Errorf("a second node: exit code %d, want %d", code, exitFile)
		}
		return 7
	})
	if code != 7 || !ran {
		t.Errorf("exit code %d, want 7", code)
	}
	if !strings.HasSuffix(out.String(), "PID file "+name+" already exists. Exiting.\n") {
		t.Errorf("the second node's last line:\n%s", &out)
	}
	if files, err := os.ReadDir(filepath.Dir(name)); err != nil || len(files) != 0 {
		t.Errorf("files are left: %v, %v", files, err)
	}
	if code := withPIDFile(log, filepath.Join(name, "no", "directory"), func() int { return exitOK }); code != exitFile {
		t.Errorf("an unwritable PID file: exit code %d, want %d", code, exitFile)
	}
}

package main

import (
	"bytes"
	"crypto/elliptic"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"chancery/attest/snp/guest"
	"chancery/internal/durable"
	"chancery/internal/identity"
)

// place is a directory in which a node could be started.
type place struct {
	t   *testing.T
	dir string
}

func newPlace(t *testing.T) *place {
	p := &place{t, t.TempDir()}
	p.member(time.Now(), 365)
	p.write("constitution.js", "// none")
	p.write("config.json", `{"network": {"node_to_node_interface": {"bind_address": "127.0.0.1:0"}, "rpc_interfaces": {"main": {"bind_address": "127.0.0.1:0"}}},
		"command": {"type": "Start", "start": {"members": [{"certificate_file": "alice_cert.pem"}], "constitution_files": ["constitution.js"], "service_configuration": {"recovery_threshold": 0}}}}`)
	return p
}

// member makes the certificate of alice.
func (p *place) member(from time.Time, days int) {
	p.t.Helper()
	alice, err := identity.NewParticipant("alice", elliptic.P384(), from, days, false)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := alice.Save(durable.OS(), p.dir, "alice"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// replace edits the configuration.
func (p *place) replace(old, with string) {
	p.t.Helper()
	path := filepath.Join(p.dir, "config.json")
	text, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(text, []byte(old)) {
		p.t.Fatalf("no %s in the configuration: %v", old, err)
	}
	p.write("config.json", strings.Replace(string(text), old, with, 1))
}

func (p *place) remove(name string) {
	p.t.Helper()
	if err := os.Remove(filepath.Join(p.dir, name)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) doctor(args ...string) (int, string) {
	var out bytes.Buffer
	code := execute(p.t.Context(), append([]string{"doctor", filepath.Join(p.dir, "config.json")}, args...), streams{out: &out, err: &out})
	return code, out.String()
}

// TestDoctor makes one thing wrong at a time: it is found, with a remedy, and the exit
// code says whether the node could run.
func TestDoctor(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*place)
		code  int
		finds string // a regular expression; "" for no problem
	}{
		{"nothing", func(*place) {}, exitDone, `nothing stands against running this node`},
		{"syntax", func(p *place) { p.write("config.json", `{"network":`) }, exitFailed, `problem: configuration: .*ends too early\n    edit`},
		{"unknown key", func(p *place) { p.replace(`"command"`, `"comand": {}, "command"`) }, exitFailed, `comand: unknown key; the nearest one here is "command"\n    edit .*schema`},
		{"deprecated key", func(p *place) { p.replace(`"command"`, `"snapshots": {"read_only_directory": "x"}, "command"`) }, exitDone, `note: configuration: snapshots.read_only_directory is deprecated\n    edit`},
		{"missing file", func(p *place) { p.remove("constitution.js") }, exitFailed, `constitution_files\[0\]: .*constitution.js does not exist\n    put the file there`},
		{"directory for a file", func(p *place) { p.replace("constitution.js", ".") }, exitFailed, `is a directory\n    put`},
		{"ledger there", func(p *place) { p.write("ledger/ledger_1", "x") }, exitFailed, `ledger.directory: .*ledger is not empty and command.type is Start\n    empty it`},
		{"ledger is a file", func(p *place) { p.write("ledger", "x") }, exitFailed, `ledger.directory: .*not a directory\n    see to it`},
		{"no ledger", func(p *place) {
			p.replace(`"Start"`, `"Resume"`)
			p.replace(`"command"`, `"chancery": {"key_file": "keys.json"}, "command"`)
			p.write("keys.json", "{}")
		}, exitFailed, `holds no ledger and command.type is Resume\n    put the ledger's files there`},
		{"open keys", func(p *place) {
			p.replace(`"command"`, `"chancery": {"key_file": "keys.json"}, "command"`)
			p.write("keys.json", "{}")
			if err := os.Chmod(filepath.Join(p.dir, "keys.json"), 0o644); err != nil {
				p.t.Fatal(err)
			}
		}, exitFailed, `others may read .*keys.json.*\n    chmod 600`},
		{"read-only directory", func(p *place) { p.replace(`"command"`, `"ledger": {"read_only_directories": ["/nowhere"]}, "command"`) }, exitFailed, `read_only_directories\[0\]: open /nowhere`},
		{"left PID file", func(p *place) { p.write("node.pid", "0") }, exitFailed, `PID file is left .*\n    remove .*node.pid`},
		{"running node", func(p *place) {
			p.write("node.pid", strconv.Itoa(os.Getpid()))
			p.write("ledger/ledger_1", "x")
			p.write("service_cert.pem", "x") // what a running node wrote is looked at
		}, exitFailed, `note: directory: a node runs here, process \d+`},
		{"no certificate", func(p *place) { p.write("alice_cert.pem", "x") }, exitFailed, `members\[0\].certificate_file: .*no PEM certificate\n    put one certificate there`},
		{"expired", func(p *place) { p.member(time.Now().AddDate(-2, 0, 0), 365) }, exitFailed, `problem: certificate: .*alice_cert.pem expired .*\n    ask the member`},
		{"expires soon", func(p *place) { p.member(time.Now().AddDate(-1, 0, 7), 365) }, exitDone, `note: certificate: .*ends in 6 days`},
		{"no processor", func(p *place) {
			if _, err := guest.Open(); err == nil {
				p.replace("constitution.js", "nowhere.js") // this machine has one: anything else that is wrong will do
			}
			p.replace(`"command"`, `"chancery": {"platform": "snp"}, "command"`)
		}, exitFailed, `problem: platform: chancery.platform is snp: this machine is no SEV-SNP guest.*\n    start the node in|nowhere.js`},
		{"not yet valid", func(p *place) { p.member(time.Now().AddDate(1, 0, 0), 365) }, exitFailed, `problem: clock: .*is valid from .*\n    set the clock`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t)
			tt.spoil(p)
			code, out := p.doctor()
			if code != tt.code || !regexp.MustCompile(tt.finds).MatchString(out) {
				t.Errorf("exit code %d, want %d; want %q in\n%s", code, tt.code, tt.finds, out)
			}
			if strings.Contains(strings.ToLower(out), "%!") {
				t.Errorf("a broken format:\n%s", out)
			}
		})
	}
}

// TestDoctorPort finds a port that somebody listens on.
func TestDoctorPort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := newPlace(t)
	p.replace(`{"main": {"bind_address": "127.0.0.1:0"`, `{"main": {"bind_address": "`+ln.Addr().String()+`"`)
	code, out := p.doctor()
	if code != exitFailed || !strings.Contains(out, "network.rpc_interfaces.main.bind_address") || !strings.Contains(out, "choose another address") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// TestDoctorJSON reads the findings as a script does.
func TestDoctorJSON(t *testing.T) {
	p := newPlace(t)
	p.remove("constitution.js")
	_, out := p.doctor("-o", "json")
	var got struct{ Findings []finding }
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, f := range got.Findings {
		if f.Level == levelProblem && f.About == "configuration" && f.Remedy != "" && strings.Contains(f.Text, "constitution.js") {
			return
		}
	}
	t.Errorf("not among the findings: %+v", got.Findings)
}

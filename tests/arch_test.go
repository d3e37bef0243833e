package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// levels is the import table of docs/architecture.md: a package may import packages
// of lower levels only.
var levels = map[string]int{
	"kv/writeset": 0, "ledger/merkle": 0, "internal/durable": 0, "internal/cose": 0, "internal/shamir": 0,
	"internal/secmem": 0, "internal/nodelog": 0, "internal/version": 0, "internal/appbuild": 0, "internal/ccftest": 0, "internal/oidc": 0,
	"server/api": 0, "gov/constitution": 0, "attest": 0, "node/config": 0, "samples": 0,
	"kv": 1, "internal/identity": 1, "ledger": 1, "internal/durable/memfs": 1,
	"attest/virtual": 1, "attest/snp": 1, "attest/sgx": 1, "attest/uvm": 1,
	"gov/tables": 2, "js": 2, "raftfsm": 2, "attest/platform": 2, "attest/snp/snptest": 2, "attest/snp/guest": 2,
	"gov": 3, "internal/apptest": 3,
	"server": 4, "client": 4, "internal/replay": 4,
	"node": 5, "internal/supervise": 5, "internal/backup": 5, "internal/ledgertest": 2, "internal/testnet": 3,
	"node/daemon": 6, "internal/backupjob": 6,
	"cmd/chanceryd": 7, "cmd/chancery": 7, "samples/logging/native": 7, "samples/programmability": 7,
	"tests": 8, "tests/bench": 8, "tests/faultnode": 8,
}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports", "chancery/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestArchitectureImports(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "chancery/")
		level, ok := levels[name]
		if !ok {
			t.Errorf("package %s has no level: docs/architecture.md and this table must name it", name)
			continue
		}
		for _, imported := range p.Imports {
			below, ours := strings.CutPrefix(imported, "chancery/")
			if ours && levels[below] >= level {
				t.Errorf("%s (level %d) imports %s (level %d)", name, level, below, levels[below])
			}
		}
	}
}

// TestArchitectureDocs demands a comment on every package.
func TestArchitectureDocs(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		documented := slices.ContainsFunc(p.GoFiles, func(file string) bool {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.PackageClauseOnly|parser.ParseComments)
			return err == nil && f.Doc != nil
		})
		if !documented {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// forbidden are calls that a package must not make, with the reason.
var forbidden = []struct {
	in, pkg, call, why string
}{
	{"kv", "time", "Now", "state must not depend on the clock"},
	{"kv", "rand", "*", "state must not depend on chance"},
	{"raftfsm", "time", "Now", "the clock comes in through Config"},
	{"raftfsm", "rand", "*", "verdicts must not depend on chance"},
	{"*", "log", "Fatal", "errors are returned"},
	{"*", "os", "Exit", "only programs exit"},
}

func TestArchitectureCalls(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "chancery/")
		for _, file := range p.GoFiles {
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, file), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				x, ok := sel.X.(*ast.Ident)
				if !ok {
					return true
				}
				for _, rule := range forbidden {
					in := rule.in == name || rule.in == "*" && f.Name.Name != "main"
					if in && x.Name == rule.pkg && (rule.call == "*" || rule.call == sel.Sel.Name) {
						t.Errorf("%s: %s.%s: %s", fset.Position(n.Pos()), x.Name, sel.Sel.Name, rule.why)
					}
				}
				if sel.Sel.Name == "Fsync" && (x.Name == "unix" || x.Name == "syscall") && name != "internal/durable" {
					t.Errorf("%s: only internal/durable calls fsync", fset.Position(n.Pos()))
				}
				return true
			})
		}
	}
}

var update = flag.Bool("update", false, "rewrite docs/tcb.txt")

// TestTCB compares what chanceryd links with docs/tcb.txt: what runs, and is measured,
// inside the TEE changes only by review.
func TestTCB(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "chancery/cmd/chanceryd").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile("../docs/tcb.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("../docs/tcb.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("chanceryd links other packages than docs/tcb.txt lists; review them, then run: go test ./tests -run TestTCB -update")
	}
}

// TestArchitectureFakes: no program can be made to believe the fake processor, since none
// links it.
func TestArchitectureFakes(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "chancery/cmd/...", "chancery/samples/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "chancery/attest/snp") {
		t.Error("no program links attest/snp: this test looks at nothing")
	}
	for _, fake := range []string{"chancery/attest/snp/snptest", "github.com/google/go-sev-guest/testing", "chancery/internal/ccftest", "chancery/internal/ledgertest", "chancery/internal/testnet"} {
		if slices.Contains(deps, fake) {
			t.Errorf("a program links %s", fake)
		}
	}
}

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// builds holds the programs that this test run has built, by name.
var builds = struct {
	sync.Mutex
	dir   string
	built map[string]error
}{built: map[string]error{}}

// programs are the packages of programs that do not lie under cmd.
var programs = map[string]string{
	"logging": "samples/logging/native", "programmability": "samples/programmability", onFakeSNP: "cmd/chanceryd",
	"faultnode": "tests/faultnode",
}

// onFakeSNP is chanceryd as only tests build it: on a fake processor, and believing in it.
const onFakeSNP = "chanceryd-fakesnp"

// binary builds one of the programs once per test run and returns its path.
// Under the race detector the program is built with it too.
func binary(t testing.TB, name string) string {
	t.Helper()
	builds.Lock()
	defer builds.Unlock()
	path := filepath.Join(builds.dir, name)
	err, done := builds.built[name]
	if !done {
		err = build(path, name)
		builds.built[name] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func build(path, name string) error {
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	if name == onFakeSNP {
		args = append(args, "-tags=fakesnp")
	}
	dir, ok := programs[name]
	if !ok {
		dir = "cmd/" + name
	}
	cmd := exec.Command("go", append(args, "chancery/"+dir)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return nil
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "chancery-tests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	builds.dir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"chancery/gov/constitution"
	"chancery/internal/ccftest"
)

// TestAnswers asks a node the questions that were asked of CCF 7.0.2, and fails on
// every answer that differs in status, error code, content type or a recorded header,
// unless docs/differences.md lists the question with its reason.
func TestAnswers(t *testing.T) {
	probe(t, "run.py", "ccf-answers.json")
}

// TestClusterAnswers asks the same way of three nodes and their replacements: joining,
// forwarding, redirection, retirement, failover.
func TestClusterAnswers(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("it takes more than a minute")
	}
	probe(t, "cluster.py", "ccf-cluster.json")
}

// TestRecoveryAnswers asks in each state of disaster recovery, and of starts that are refused.
func TestRecoveryAnswers(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("it takes more than a minute")
	}
	probe(t, "recovery.py", "ccf-recovery.json")
}

// probe runs a prober on chanceryd and compares what it records with CCF's answers.
func probe(t *testing.T, prober, answers string) {
	t.Helper()
	dir := ccftest.Answers(t)
	for _, tool := range []string{"python3", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: the prober needs %s", tool)
		}
	}
	work := t.TempDir()
	source := filepath.Join(work, "constitution.js")
	if err := os.WriteFile(source, []byte(constitution.Default()), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(work, "answers.json")
	cmd := exec.CommandContext(t.Context(), "python3", filepath.Join(dir, prober), binary(t, "chanceryd"), out, source)
	cmd.Env = append(os.Environ(), "FEATURES=1", "TMPDIR="+work, "PYTHONDONTWRITEBYTECODE=1")
	if printed, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the prober: %v\n%s", err, printed)
	}
	compareAnswers(t, filepath.Join(dir, answers), out)
}

// answer is what the prober records of one question, as far as it is compared.
type answer struct {
	Status  any               `json:"status"` // a number, or CRASH, or HANG
	Code    *string           `json:"code"`
	Headers map[string]string `json:"headers"`
	Paths   []string          `json:"paths"`
}

// unsteady are questions whose answer depends on the machine: a busy one may let a node
// take a request after it was told to freeze, a quick one has read the private state
// before it is asked about it.
func unsteady(question string) bool {
	return question == "frozen primary: forwarded put" || strings.HasPrefix(question, "reading: ")
}

// compareAnswers holds ours against CCF's.
func compareAnswers(t *testing.T, ccfFile, oursFile string) {
	t.Helper()
	ccf, ours, listed := readAnswers(t, ccfFile), readAnswers(t, oursFile), readDifferences(t)
	compared, withheld := 0, 0
	for _, q := range slices.Sorted(maps.Keys(ccf)) {
		if string(ccf[q]) == `"withheld"` {
			withheld++
			continue
		}
		compared++
		diff := differs(ccf[q], ours[q])
		if diff == "" || unsteady(q) || listed.explains(q) {
			continue
		}
		t.Errorf("question %q (-CCF +ours):\n%s", q, diff)
	}
	t.Logf("%d answers compared, %d withheld", compared, withheld)
	for pattern, used := range listed.used {
		if !used && !slices.ContainsFunc(questions(t, filepath.Dir(ccfFile)), func(q string) bool { return matches(pattern, q) }) {
			t.Logf("docs/differences.md lists %q, which no question matches", pattern)
		}
	}
}

// questions are those of all probers.
func questions(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "ccf-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range files {
		all = slices.AppendSeq(all, maps.Keys(readAnswers(t, file)))
	}
	return all
}

// differs compares what a client can branch on; "" says that nothing differs.
func differs(ccf, ours json.RawMessage) string {
	var a, b answer
	if json.Unmarshal(ccf, &a) != nil || json.Unmarshal(ours, &b) != nil {
		if string(ccf) == string(ours) { // an exit code, a count
			return ""
		}
		return fmt.Sprintf("-%s\n+%s", ccf, ours)
	}
	return cmp.Diff(a, b)
}

func readAnswers(t *testing.T, file string) map[string]json.RawMessage {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return all
}

// differences are the questions that docs/differences.md lists: of each table row the
// back-quoted words of the first column, in which * stands for any text.
type differences struct{ used map[string]bool }

var quoted = regexp.MustCompile("`([^`]+)`")

func readDifferences(t *testing.T) differences {
	t.Helper()
	raw, err := os.ReadFile("../docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	d := differences{used: map[string]bool{}}
	for line := range strings.Lines(string(raw)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			d.used[m[1]] = false
		}
	}
	return d
}

func (d differences) explains(question string) bool {
	for pattern := range d.used {
		if matches(pattern, question) {
			d.used[pattern] = true
			return true
		}
	}
	return false
}

// matches is path.Match without its meaning of "/".
func matches(pattern, question string) bool {
	hide := strings.NewReplacer("/", "\x00", "[", "\x01", "]", "\x02", "\\", "\x03", "?", "\x04")
	ok, err := path.Match(hide.Replace(pattern), hide.Replace(question))
	return err == nil && ok
}

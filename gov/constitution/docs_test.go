package constitution

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryActionIsDocumented compares docs/governance.md with the actions of all
// variants, in both directions, with their arguments.
func TestEveryActionIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/governance.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z]+_[a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			rows[m[1]] = line
		}
	}
	defined := map[string]bool{}
	for _, name := range slices.Concat(actions, slices.Collect(maps.Values(extras)), []string{"actions_timelock.js"}) {
		source, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^define\(\s*"([a-z_]+)"`).FindAllStringSubmatchIndex(string(source), -1) {
			action := string(source[m[2]:m[3]])
			defined[action] = true
			row, ok := rows[action]
			if !ok {
				t.Errorf("%s of %s is not in docs/governance.md", action, name)
				continue
			}
			body := regexp.MustCompile(`(?s)(\n\}?\);|\n\n).*`).ReplaceAllString(string(source[m[1]:]), "")
			for _, arg := range regexp.MustCompile(`\bargs\.([a-z_]+)`).FindAllStringSubmatch(body, -1) {
				if !strings.Contains(row, arg[1]) {
					t.Errorf("%s: its argument %s is not in docs/governance.md", action, arg[1])
				}
			}
		}
	}
	for action := range rows {
		if !defined[action] {
			t.Errorf("docs/governance.md has %s, which no constitution of ours has", action)
		}
	}
	if len(defined) < 45 {
		t.Errorf("only %d actions were found", len(defined))
	}
}

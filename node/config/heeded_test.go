package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// unheeded are the beginnings of keys that no code outside this package reads by their
// field, with the reason.
var unheeded = map[string]string{
	"command.start.service_configuration.maximum_":  "kept as given (Raw)",
	"command.start.service_configuration.recent_":   "kept as given (Raw)",
	"command.join.host_data_transparent_statement_": "anything but null is refused",
}

// TestEveryKeyIsHeeded: each key is read by the program, or says in its comment that it
// has no effect, or is among those that are warned of.
func TestEveryKeyIsHeeded(t *testing.T) {
	used := map[string]bool{}
	selector := regexp.MustCompile(`\.([A-Z][A-Za-z0-9]*)\b`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(filepath.ToSlash(path), "../../node/config/") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range selector.FindAllStringSubmatch(string(text), -1) {
			used[m[1]] = true
		}
		return err
	})
	if err != nil || len(used) < 100 {
		t.Fatalf("%d selectors: %v", len(used), err)
	}
	all := readComments(t)
	heeded, excused := 0, map[string]bool{}
	excuse := func(at string) bool {
		for prefix := range unheeded {
			if strings.HasPrefix(at, prefix) {
				excused[prefix] = true
				return true
			}
		}
		return false
	}
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || typ == durationType {
			return
		}
		for i := range typ.NumField() {
			f := typ.Field(i)
			r, ok := fieldRules(f)
			if !ok {
				continue
			}
			at := join(path, r.key)
			if effectless := strings.Contains(all.of(typ, f), "no effect"); effectless {
				continue
			}
			if !used[f.Name] && !excuse(at) {
				t.Errorf("%s: nothing reads it, and its comment does not say that it has no effect", at)
			}
			heeded++
			walk(f.Type, at)
		}
	}
	walk(reflect.TypeFor[Config](), "")
	for prefix, reason := range unheeded {
		if !excused[prefix] {
			t.Logf("%s is heeded now; it need not be excused (%s)", prefix, reason)
		}
	}
	if heeded < 80 {
		t.Errorf("only %d keys", heeded)
	}
}

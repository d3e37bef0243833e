package config

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// key is one key of the configuration as it can be written.
type key struct {
	path  string // as problems name it
	steps []any  // how to get there: names and indexes
	typ   reflect.Type
	rules rules
}

// everyKey lists all keys under a type. Elements of maps and arrays get one instance:
// "main" in a map, index 0 in an array.
func everyKey(t reflect.Type, path string, steps []any, found func(key)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == durationType || t == sizeType:
	case t.Kind() == reflect.Map:
		everyKey(t.Elem(), join(path, "main"), append(slices.Clip(steps), "main"), found)
	case t.Kind() == reflect.Slice:
		everyKey(t.Elem(), path+"[0]", append(slices.Clip(steps), 0), found)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			r, ok := fieldRules(t.Field(i))
			if !ok {
				continue
			}
			k := key{join(path, r.key), append(slices.Clip(steps), r.key), t.Field(i).Type, r}
			found(k)
			everyKey(k.typ, k.path, k.steps, found)
		}
	}
}

// put returns a configuration in which the value stands at the steps; what leads there is
// made, over the minimal configuration.
func put(t *testing.T, steps []any, value any) string {
	t.Helper()
	var root any
	text := strings.Replace(minimal, "primary_rpc_interface", "main", 1)
	if err := json.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	root = putAt(root, steps, value)
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func putAt(at any, steps []any, value any) any {
	if len(steps) == 0 {
		return value
	}
	if index, ok := steps[0].(int); ok {
		list, _ := at.([]any)
		for len(list) <= index {
			list = append(list, map[string]any{})
		}
		list[index] = putAt(list[index], steps[1:], value)
		return list
	}
	object, _ := at.(map[string]any)
	if object == nil {
		object = map[string]any{}
	}
	name := steps[0].(string)
	object[name] = putAt(object[name], steps[1:], value)
	return object
}

// badValues are values that a key of the type must refuse, by what is wrong with them.
func badValues(k key) map[string]any {
	t := k.typ
	pointer := t.Kind() == reflect.Pointer
	if pointer {
		t = t.Elem()
	}
	bad := map[string]any{}
	if !k.rules.nullable {
		bad["null"] = nil
	}
	switch {
	case t == durationType, t == sizeType:
		maps.Copy(bad, map[string]any{
			"number": 5, "unit": "5 parsecs", "another unit": map[bool]string{true: "5KB", false: "5ms"}[t == durationType],
			"sign": "-5ms", "no number": "ms", "fraction": "1.5s", "empty": "", "too large": "99999999999999999999h", "boolean": true,
		})
	case t.Kind() == reflect.Struct, t.Kind() == reflect.Map:
		maps.Copy(bad, map[string]any{"string": "x", "array": []any{}, "number": 1})
	case t.Kind() == reflect.Slice:
		maps.Copy(bad, map[string]any{"string": "x", "object": map[string]any{}, "number": 1})
	case t.Kind() == reflect.String:
		maps.Copy(bad, map[string]any{"number": 1, "boolean": false, "array": []any{"x"}})
		if _, ok := reflect.Zero(t).Interface().(enumerated); ok {
			bad["value"] = "Nonsense"
		}
	case t.Kind() == reflect.Bool:
		maps.Copy(bad, map[string]any{"string": "true", "number": 1})
	case t.Kind() == reflect.Int64:
		maps.Copy(bad, map[string]any{"string": "1", "fraction": 1.5, "boolean": true, "too large": json.Number("99999999999999999999")})
		if k.rules.min != nil {
			bad["sign"] = *k.rules.min - 1
		}
	}
	return bad
}

// TestEveryKeyRefuses gives every key every kind of wrong value: the configuration is
// refused, and the problem names that key.
func TestEveryKeyRefuses(t *testing.T) {
	keys, cases := 0, 0
	everyKey(reflect.TypeFor[Config](), "", nil, func(k key) {
		keys++
		for what, value := range badValues(k) {
			cases++
			_, err := Parse([]byte(put(t, k.steps, value)))
			if !names(err, k.path) {
				t.Errorf("%s with the wrong %s (%v): %v", k.path, what, value, err)
			}
		}
	})
	if keys < 100 || cases < 400 {
		t.Errorf("only %d keys and %d cases", keys, cases)
	}
}

// TestEveryObjectRefusesUnknownKeys misspells every key: the right one is suggested.
func TestEveryObjectRefusesUnknownKeys(t *testing.T) {
	everyKey(reflect.TypeFor[Config](), "", nil, func(k key) {
		name := k.steps[len(k.steps)-1].(string)
		wrong := name[:len(name)-1] + "_" + name[len(name)-1:]
		steps := append(slices.Clone(k.steps[:len(k.steps)-1]), wrong)
		_, err := Parse([]byte(put(t, steps, "x")))
		path := strings.TrimSuffix(k.path, name) + wrong
		if !names(err, path) || !strings.Contains(err.Error(), `"`+name+`"`) {
			t.Errorf("%s: %v", path, err)
		}
	})
}

// names says whether an error is a refusal with a problem at the path.
func names(err error, path string) bool {
	var invalid *InvalidError
	return errors.As(err, &invalid) && slices.ContainsFunc(invalid.Problems, func(p Problem) bool { return p.Path == path })
}

// TestCheckFiles gives every key that names a file one that is missing, a directory, or
// not readable.
func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "locked"), nil, 0); err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{"nowhere": "does not exist", "directory": "is a directory", "locked": "is not readable for this user"}
	if os.Geteuid() == 0 {
		t.Log("left out: root may read every file")
		delete(reasons, "locked")
	}
	for name, reason := range reasons {
		c := Default()
		c.NodeDataJSONFile, c.ServiceDataJSONFile, c.Chancery.KeyFile, c.Command.ServiceCertificateFile = name, name, name, name
		c.Command.Start.Members = []Member{{CertificateFile: name, EncryptionPublicKeyFile: name, DataJSONFile: name}}
		c.Command.Start.ConstitutionFiles = []string{name}
		c.Command.Recover.PreviousServiceIdentityFile = name
		for command, keys := range map[CommandType][]string{
			CommandStart: {
				"command.start.members[0].certificate_file", "command.start.members[0].encryption_public_key_file", "command.start.members[0].data_json_file",
				"command.start.constitution_files[0]", "node_data_json_file", "service_data_json_file",
			},
			CommandJoin:    {"command.service_certificate_file", "node_data_json_file"},
			CommandRecover: {"command.recover.previous_service_identity_file", "node_data_json_file", "service_data_json_file"},
			CommandResume:  {"chancery.key_file", "node_data_json_file", "service_data_json_file"},
		} {
			c.Command.Type = command
			err := c.CheckFiles(dir)
			var invalid *InvalidError
			if !errors.As(err, &invalid) || len(invalid.Problems) != len(keys) {
				t.Fatalf("%s, %s: %v", command, name, err)
			}
			for i, p := range invalid.Problems {
				if p.Path != keys[i] || !strings.HasSuffix(p.Text, reason) {
					t.Errorf("%s, %s: %v, want %s", command, name, p, keys[i])
				}
			}
		}
	}
}

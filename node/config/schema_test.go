package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write docs/chanceryd.schema.json anew")

const schemaFile = "../../docs/chanceryd.schema.json"

type schema = map[string]any

// schemaMaker makes a schema from the structs: their fields' types, tags and comments,
// and the defaults.
type schemaMaker struct{ comments comments }

// of makes the schema of a value that is at its default.
func (m schemaMaker) of(v reflect.Value, r rules) schema {
	var s schema
	switch t := v.Type(); {
	case t.Kind() == reflect.Pointer:
		s = m.of(fresh(t.Elem()), rules{min: r.min})
	case t == durationType:
		s = schema{"type": "string", "pattern": `^([0-9]+([uU][sS]|[mM][sS]|[sS]|[mM][iI][nN]|[hH])?|None)$`}
	case t == sizeType:
		s = schema{"type": "string", "pattern": `^([0-9]+([kKmMgGtTpP]?[bB])?|None)$`}
	case t.Kind() == reflect.Struct:
		s = m.structOf(v, true)
	case t.Kind() == reflect.Map:
		s = schema{"type": "object", "additionalProperties": m.of(fresh(t.Elem()), rules{})}
	case t.Kind() == reflect.Slice:
		s = schema{"type": "array", "items": m.of(fresh(t.Elem()), rules{})}
	case t.Kind() == reflect.Bool:
		s = schema{"type": "boolean"}
	case t.Kind() == reflect.Int64:
		s = schema{"type": "integer"}
		if r.min != nil {
			s["minimum"] = *r.min
		}
	default:
		s = schema{"type": "string"}
		if e, ok := reflect.Zero(t).Interface().(enumerated); ok {
			s["enum"] = e.Enum()
		}
	}
	if r.nullable {
		return schema{"anyOf": []any{s, schema{"type": "null"}}}
	}
	return s
}

// fresh is a new value of a type, at its defaults.
func fresh(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	setDefaults(p)
	return p.Elem()
}

func (m schemaMaker) structOf(v reflect.Value, demand bool) schema {
	t := v.Type()
	properties, required := schema{}, []string{}
	for i := range t.NumField() {
		r, ok := fieldRules(t.Field(i))
		if !ok {
			continue
		}
		var s schema
		if t == commandType && t.Field(i).Type.Kind() == reflect.Struct {
			s = m.structOf(v.Field(i), false) // only the selected section must be complete
		} else {
			s = m.of(v.Field(i), r)
		}
		s["description"] = m.comments.of(t, t.Field(i))
		if r.required && demand {
			required = append(required, r.key)
		} else if d, ok := defaultOf(v.Field(i)); ok && !r.required {
			s["default"] = d
		} else if r.nullable {
			s["default"] = nil
		}
		properties[r.key] = s
	}
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func generateSchema(t *testing.T) []byte {
	t.Helper()
	s := schemaMaker{readComments(t)}.structOf(reflect.ValueOf(Default()).Elem(), true)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Configuration of chanceryd"
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// eachProperty visits the keys of a schema with their paths; "<name>" and "[]" stand for
// the elements of maps and arrays.
func eachProperty(s schema, path string, visit func(path string, s schema)) {
	if any, ok := s["anyOf"].([]any); ok {
		eachProperty(any[0].(schema), path, visit)
	}
	if more, ok := s["additionalProperties"].(schema); ok {
		eachProperty(more, path+".<name>", visit)
	}
	if items, ok := s["items"].(schema); ok {
		eachProperty(items, path+"[]", visit)
	}
	properties, _ := s["properties"].(schema)
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		p := properties[key].(schema)
		visit(join(path, key), p)
		eachProperty(p, join(path, key), visit)
	}
}

// TestSchemaDescribes demands a description of every key, and checks that a
// configuration that spells out every default means the same as one without.
func TestSchemaDescribes(t *testing.T) {
	var root schema
	if err := json.Unmarshal(generateSchema(t), &root); err != nil {
		t.Fatal(err)
	}
	keys, defaults := 0, 0
	eachProperty(root, "", func(path string, s schema) {
		keys++
		text, _ := s["description"].(string)
		if !strings.HasSuffix(text, ".") || strings.Contains(text, "Address ") {
			t.Errorf("%s: description %q", path, text)
		}
		if _, ok := s["default"]; ok {
			defaults++
		}
	})
	if keys < 100 || defaults < 70 {
		t.Errorf("%d keys, %d defaults", keys, defaults)
	}
	var spelled schema
	if err := json.Unmarshal([]byte(minimal), &spelled); err != nil {
		t.Fatal(err)
	}
	spellDefaults(root, spelled)
	text, err := json.Marshal(spelled)
	if err != nil {
		t.Fatal(err)
	}
	got, want := mustParse(t, string(text)), mustParse(t, minimal)
	want.Command.given = got.Command.given
	ignore := cmpopts.IgnoreTypes(json.RawMessage{})
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Command{}), ignore); diff != "" {
		t.Errorf("with every default spelled out (-without +with):\n%s\n%s", diff, text)
	}
}

// spellDefaults writes the defaults of a schema into an instance, where nothing is given.
func spellDefaults(s, instance schema) {
	properties, _ := s["properties"].(schema)
	for key, p := range properties {
		p := p.(schema)
		value, given := instance[key]
		if d, ok := p["default"]; ok && !given {
			instance[key] = d
			continue
		}
		_, isObject := p["properties"]
		_, incomplete := p["required"] // nothing that could be written by default
		if isObject && !incomplete && !given && key != "redirections" {
			value = schema{}
			instance[key] = value
		}
		if inner, ok := value.(schema); ok {
			spellDefaults(p, inner)
			if more, ok := p["additionalProperties"].(schema); ok {
				for _, element := range inner {
					spellDefaults(more, element.(schema))
				}
			}
		}
	}
}

// TestSchemaIsTheStructs holds the shipped schema and the structs together.
func TestSchemaIsTheStructs(t *testing.T) {
	want := generateSchema(t)
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/chanceryd.schema.json is not what the structs say; run go test ./node/config -run Schema -update")
	}
}

// TestSchemaAgreesWithParse asks both of what CCF's tools render, and of mistakes in
// single values.
func TestSchemaAgreesWithParse(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(generateSchema(t)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	insert := `"network": {`
	texts := map[string]string{
		"minimal": minimal, "suite": readTestdata(t, "suite.json"),
		"join": readTestdata(t, "join.json"), "recover": readTestdata(t, "recover.json"),
	}
	for _, mistake := range []string{
		`"netwerk": 1, `, `"ledger": [], `, `"ledger": null, `, `"ledger": {"chunk_size": "5XB"}, `,
		`"tick_interval": "-5ms", `, `"tick_interval": 5, `, `"snapshots": {"tx_count": 0}, `,
		`"snapshots": {"tx_count": 1.5}, `, `"worker_threads": -1, `, `"logging": {"format": "Xml"}, `,
		`"chancery": {"respond": "later"}, `,
	} {
		texts[mistake] = strings.Replace(minimal, insert, mistake+insert, 1)
	}
	for name, text := range texts {
		instance, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		bySchema := compiled.Validate(instance)
		_, byParse := Parse([]byte(text))
		if (bySchema == nil) != (byParse == nil) {
			t.Errorf("%s: schema says %v, Parse says %v", name, bySchema, byParse)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(minimal)
	f.Add("{")
	f.Add(`{"network": null, "command": {"type": 1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse([]byte(text))
		if err == nil && c.Command.Type == "" {
			t.Error("accepted without a command")
		}
	})
}

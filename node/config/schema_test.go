package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write docs/chanceryd.schema.json anew")

const schemaFile = "../../docs/chanceryd.schema.json"

type schema = map[string]any

// schemaOf makes the schema of a type from its fields' tags.
func schemaOf(t reflect.Type, r rules) schema {
	var s schema
	switch {
	case t.Kind() == reflect.Pointer:
		s = schemaOf(t.Elem(), rules{min: r.min})
	case t == durationType:
		s = schema{"type": "string", "pattern": `^([0-9]+([uU][sS]|[mM][sS]|[sS]|[mM][iI][nN]|[hH])?|None)$`}
	case t == sizeType:
		s = schema{"type": "string", "pattern": `^([0-9]+([kKmMgGtTpP]?[bB])?|None)$`}
	case t.Kind() == reflect.Struct:
		s = structSchema(t, true)
	case t.Kind() == reflect.Map:
		s = schema{"type": "object", "additionalProperties": schemaOf(t.Elem(), rules{})}
	case t.Kind() == reflect.Slice:
		s = schema{"type": "array", "items": schemaOf(t.Elem(), rules{})}
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

func structSchema(t reflect.Type, demand bool) schema {
	properties, required := schema{}, []string{}
	for i := range t.NumField() {
		r, ok := fieldRules(t.Field(i))
		if !ok {
			continue
		}
		section := t == commandType && t.Field(i).Type.Kind() == reflect.Struct
		if section { // only the selected section must be complete
			properties[r.key] = structSchema(t.Field(i).Type, false)
		} else {
			properties[r.key] = schemaOf(t.Field(i).Type, r)
		}
		if r.required && demand {
			required = append(required, r.key)
		}
	}
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func generateSchema(t *testing.T) []byte {
	t.Helper()
	s := structSchema(reflect.TypeFor[Config](), true)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Configuration of chanceryd"
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
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

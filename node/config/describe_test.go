package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// comments are the comments of the package's struct fields, by type and field.
type comments map[string]map[string]string

// readComments reads them from the package's source.
func readComments(t *testing.T) comments {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := comments{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, all.read)
	}
	return all
}

// read takes the comments of a struct's fields.
func (c comments) read(n ast.Node) bool {
	spec, ok := n.(*ast.TypeSpec)
	if !ok {
		return true
	}
	if s, ok := spec.Type.(*ast.StructType); ok {
		fields := map[string]string{}
		for _, f := range s.Fields.List {
			for _, name := range f.Names {
				fields[name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
			}
		}
		c[spec.Name.Name] = fields
	}
	return true
}

var word = regexp.MustCompile(`[A-Za-z0-9]+`)

// goWords words for an editor what a comment says to a Go programmer.
var goWords = strings.NewReplacer("nil (null)", "null", "absent (nil)", "absent", "; nil ", "; if absent, ")

// of is the comment of a field, in which Go's names of the type's fields are replaced by
// their keys. A single capitalised word is a name only where it begins the comment.
func (c comments) of(t reflect.Type, f reflect.StructField) string {
	text := goWords.Replace(c[t.Name()][f.Name])
	return word.ReplaceAllStringFunc(text, func(w string) string {
		other, ok := t.FieldByName(w)
		if !ok || w != f.Name && strings.ToLower(w[1:]) == w[1:] {
			return w
		}
		if r, ok := fieldRules(other); ok {
			return r.key
		}
		return w
	})
}

// defaultOf writes the value that a key has when it is not given; ok is false where
// there is nothing to write (a missing file, a null, an object).
func defaultOf(v reflect.Value) (value any, ok bool) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, false
		}
		v = v.Elem()
	}
	switch {
	case v.Type() == durationType:
		return FormatTime(time.Duration(v.Int())), true
	case v.Type() == sizeType:
		return Size(v.Uint()).String(), true
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), v.String() != ""
	case reflect.Bool:
		return v.Bool(), true
	case reflect.Int64:
		return v.Int(), true
	}
	return nil, false
}

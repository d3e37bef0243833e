package js

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/dop251/goja"
	"github.com/evanw/esbuild/pkg/api"
)

// Module is one compiled ES module without imports: a constitution, a ballot. It is
// immutable and safe for concurrent use; every Call runs in an interpreter of its own.
type Module struct {
	name   string
	linked *linked
}

// Compile compiles one ES module. name is what traces and messages call it. The error
// is an *Exception that names the line; an import is an error, since governance has no
// module loader.
func Compile(name, source string) (*Module, error) {
	l, err := link(name, func(k string) (string, bool) { return source, k == key(name) })
	if err != nil {
		return nil, err
	}
	return &Module{name: name, linked: l}, nil
}

// Exports returns the names that the module exports. The slice is not to be changed.
func (m *Module) Exports() []string { return m.linked.exports }

// Call runs the module and calls the function that it exports under the given name.
// Each argument is nil, a bool, string, int, float64, []byte (an ArrayBuffer),
// json.RawMessage (parsed), Object, []any or goja.Value. The error is an *Exception,
// or an error that ends the request where CCF would have thrown in C++.
func (m *Module) Call(ctx context.Context, env Env, export string, args ...any) (Value, error) {
	s := newSandbox(false, ccfTable)
	var out Value
	err := s.call(ctx, &env, func() error {
		if env.Extend != nil {
			env.Extend(s.vm, s.ccf)
		}
		f, err := s.export(m.linked, m.name, export)
		if err != nil {
			return err
		}
		values := make([]goja.Value, len(args))
		for i, a := range args {
			values[i] = s.value(a)
		}
		result, err := f(goja.Undefined(), values...)
		if err != nil {
			return err
		}
		out = s.exported(result)
		return nil
	}, nil)
	return out, err
}

// exports are a module that has been evaluated in an interpreter.
type exports struct {
	get   goja.Callable            // from a name to the value
	found map[string]goja.Callable // what was asked for before
}

// export evaluates a linked module, unless that was done, and returns the function that
// it exports.
func (s *sandbox) export(l *linked, module, name string) (goja.Callable, error) {
	e, err := s.evaluated(l, module)
	if err != nil {
		return nil, err
	}
	if f := e.found[name]; f != nil {
		return f, nil
	}
	v, err := e.get(goja.Undefined(), s.vm.ToValue(name))
	if err != nil {
		return nil, err
	}
	if goja.IsUndefined(v) {
		return nil, &Exception{setup: true, cause: ErrNoExport, Reason: fmt.Sprintf("Failed to find export '%s' in module '%s'", name, module)}
	}
	f, ok := goja.AssertFunction(v)
	if !ok {
		return nil, &Exception{setup: true, cause: ErrNoExport, Reason: fmt.Sprintf("Export '%s' of module '%s' is not a function", name, module)}
	}
	if l.constant {
		e.found[name] = f
	}
	return f, nil
}

// evaluated returns a module's exports. A constant module is evaluated once for each
// hardened interpreter, any other once for each call.
func (s *sandbox) evaluated(l *linked, module string) (*exports, error) {
	if e := s.loaded[l]; e != nil {
		return e, nil
	}
	if e := s.constants[l]; e != nil {
		return e, nil
	}
	v, err := s.vm.RunProgram(l.program)
	if err != nil {
		return nil, s.evaluationFailure(module, err)
	}
	get, _ := goja.AssertFunction(v)
	e := &exports{get: get, found: make(map[string]goja.Callable)}
	if s.hardened && l.constant {
		roots, err := get(goja.Undefined(), s.vm.ToValue(constantsName))
		if err == nil {
			_, err = s.freezeAll(goja.Undefined(), roots)
		}
		if err != nil {
			return nil, err
		}
		if s.constants == nil {
			s.constants = make(map[*linked]*exports, 1)
		}
		s.constants[l] = e
		return e, nil
	}
	if s.loaded == nil {
		s.loaded = make(map[*linked]*exports, 1)
	}
	s.loaded[l] = e
	return e, nil
}

// evaluationFailure words what a module threw at its top level. What was stopped by a
// limit stays what it is.
func (s *sandbox) evaluationFailure(module string, err error) error {
	var thrown *goja.Exception
	if !errors.As(err, &thrown) {
		return err
	}
	ex := s.exception(err)
	ex.prefix = fmt.Sprintf("Failed to execute %s: ", module)
	ex.Reason = ex.prefix + ex.Reason
	ex.cause = ErrNoExport
	return ex
}

// compileScript compiles what wrap made.
func compileScript(name, script string) (*goja.Program, error) {
	p, err := compileBounded(name, script, true)
	if err != nil {
		return nil, &Exception{Reason: err.Error()}
	}
	return p, nil
}

// inlineMap returns the source map as the comment that goja reads: one line further
// down, since wrap puts a line in front, and with the modules under their own names.
func inlineMap(text string) (string, error) {
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return "", fmt.Errorf("reading the linker's source map: %w", err)
	}
	m["mappings"] = ";" + m["mappings"].(string)
	if sources, ok := m["sources"].([]any); ok {
		for i, source := range sources {
			name, _ := source.(string)
			if _, rest, ok := strings.Cut(name, namespace+":"); ok {
				name = rest
			}
			sources[i] = name
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("writing the source map: %w", err)
	}
	return "\n//# sourceMappingURL=data:application/json;base64," + base64.StdEncoding.EncodeToString(b), nil
}

// syntaxError words an error of esbuild as QuickJS words a SyntaxError.
func syntaxError(m api.Message) error {
	e := &Exception{Reason: "SyntaxError: " + strings.ReplaceAll(m.Text, namespace+":", "")}
	if at := m.Location; at != nil {
		file := strings.TrimPrefix(at.File, namespace+":")
		e.Trace = fmt.Sprintf("    at %s:%d\n", path.Clean(file), at.Line)
	}
	return e
}

package appbuild

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Bundle is an application as set_js_app takes it.
type Bundle struct {
	// Metadata is app.json.
	Metadata json.RawMessage `json:"metadata"`
	// Modules are sorted by name.
	Modules []Module `json:"modules"`
}

// Module is one ES module.
type Module struct {
	// Name is the path below src, with slashes: "b/c.js".
	Name string `json:"name"`
	// Module is the source text.
	Module string `json:"module"`
}

const (
	metadataFile = "app.json"
	sourceDir    = "src"
	// maxSource bounds a source file; a service takes far less in one request.
	maxSource = 16 << 20
)

// Build makes the bundle of the application in a directory.
func Build(dir string) (*Bundle, error) {
	app, err := read(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("building the application in %s: %w", dir, err)
	}
	if app.needsLinking() {
		if app.modules, err = link(dir, app.entries); err != nil {
			return nil, fmt.Errorf("building the application in %s: %w", dir, err)
		}
	}
	b, err := app.bundle()
	if err != nil {
		return nil, fmt.Errorf("building the application in %s: %w", dir, err)
	}
	return b, nil
}

// BuildFS makes the bundle of an application that needs no linking, from any file
// system.
func BuildFS(files fs.FS) (*Bundle, error) {
	app, err := read(files)
	if err != nil {
		return nil, fmt.Errorf("building the application: %w", err)
	}
	if app.needsLinking() {
		return nil, errors.New("building the application: TypeScript and packages can be linked from a directory only")
	}
	return app.bundle()
}

// application is what stands in the directory.
type application struct {
	metadata json.RawMessage
	entries  []string // modules that app.json names, sorted, each once
	modules  []Module // the JavaScript files below src
	typed    bool     // there are TypeScript files
}

func read(files fs.FS) (*application, error) {
	text, err := fs.ReadFile(files, metadataFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s", metadataFile)
	} else if err != nil {
		return nil, err
	}
	app := &application{metadata: text}
	if app.entries, err = entries(text); err != nil {
		return nil, fmt.Errorf("%s: %w", metadataFile, err)
	}
	err = fs.WalkDir(files, sourceDir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return app.source(files, name)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no directory %s", sourceDir)
	}
	return app, err
}

// source takes in one file below src.
func (a *application) source(files fs.FS, name string) error {
	switch path.Ext(name) {
	case ".ts", ".tsx", ".mts":
		a.typed = a.typed || !strings.HasSuffix(name, ".d.ts")
		return nil
	case ".js", ".mjs":
	default:
		return nil
	}
	info, err := fs.Stat(files, name)
	if err != nil {
		return err
	}
	if info.Size() > maxSource {
		return fmt.Errorf("%s is larger than %d bytes", name, maxSource)
	}
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	a.modules = append(a.modules, Module{Name: strings.TrimPrefix(name, sourceDir+"/"), Module: string(text)})
	return nil
}

// entries returns the modules that app.json names.
func entries(text []byte) ([]string, error) {
	var app struct {
		Endpoints map[string]map[string]struct {
			Module *string `json:"js_module"`
		} `json:"endpoints"`
	}
	if err := json.Unmarshal(text, &app); err != nil {
		return nil, err
	}
	if len(app.Endpoints) == 0 {
		return nil, errors.New("endpoints is missing or empty")
	}
	var names []string
	for endpoint, methods := range app.Endpoints {
		if !strings.HasPrefix(endpoint, "/") {
			return nil, fmt.Errorf("endpoint %q does not begin with /", endpoint)
		}
		for method, m := range methods {
			if m.Module == nil {
				return nil, fmt.Errorf("endpoint %s %s has no js_module", method, endpoint)
			}
			if !slices.Contains(names, *m.Module) {
				names = append(names, *m.Module)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// bareImport matches an import from a package: not "./x", "../x" or "/x".
var bareImport = regexp.MustCompile(`(?m)^\s*(?:(?:import|export)\b[^"';=()]*?\bfrom\s*|import\s*)["']([^./"'][^"']*)["']`)

// needsLinking says whether the modules cannot be taken as they stand.
func (a *application) needsLinking() bool {
	if a.typed {
		return true
	}
	names := map[string]bool{}
	for _, m := range a.modules {
		names[m.Name] = true
	}
	for _, m := range a.modules {
		for _, found := range bareImport.FindAllStringSubmatch(m.Module, -1) {
			if !names[found[1]] { // "a/b.js" is a module of the bundle, from its root
				return true
			}
		}
	}
	return false
}

// bundle puts the parts together; every module that an endpoint names must be there.
func (a *application) bundle() (*Bundle, error) {
	slices.SortFunc(a.modules, func(x, y Module) int { return strings.Compare(x.Name, y.Name) })
	for _, name := range a.entries {
		if !slices.ContainsFunc(a.modules, func(m Module) bool { return m.Name == strings.TrimPrefix(name, "/") }) {
			return nil, fmt.Errorf("%s names the module %q, which is not below %s", metadataFile, name, sourceDir)
		}
	}
	return &Bundle{Metadata: a.metadata, Modules: a.modules}, nil
}

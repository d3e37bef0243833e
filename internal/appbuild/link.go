package appbuild

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// link makes one self-contained ES module of each entry, which it takes from the
// TypeScript or JavaScript file of that name below src.
func link(dir string, entries []string) ([]Module, error) {
	modules := make([]Module, 0, len(entries))
	for _, name := range entries {
		file, err := sourceOf(filepath.Join(dir, sourceDir), name)
		if err != nil {
			return nil, err
		}
		m, err := linkFile(dir, file, strings.TrimPrefix(name, "/"))
		if err != nil {
			return nil, err
		}
		modules = append(modules, m)
	}
	return modules, nil
}

// linkFile makes one self-contained ES module of a file of the application in dir. Its
// source map has the files' names relative to the module's, so that traces name the line
// that the developer wrote; what is made does not depend on where dir lies.
func linkFile(dir, file, name string) (Module, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return Module{}, err
	}
	if file, err = filepath.Abs(file); err != nil {
		return Module{}, err
	}
	result := api.Build(api.BuildOptions{
		EntryPoints:    []string{file},
		AbsWorkingDir:  root,
		Outfile:        filepath.Join(root, filepath.FromSlash(name)),
		Bundle:         true,
		Format:         api.FormatESModule,
		Platform:       api.PlatformNeutral,
		MainFields:     []string{"module", "main"},
		Target:         api.ES2020,
		Charset:        api.CharsetUTF8,
		Sourcemap:      api.SourceMapInline,
		SourcesContent: api.SourcesContentExclude,
		LogLevel:       api.LogLevelSilent,
		Write:          false,
	})
	if len(result.Errors) > 0 {
		return Module{}, linkError(result.Errors)
	}
	return Module{Name: name, Module: string(result.OutputFiles[0].Contents)}, nil
}

// sourceOf finds the source file of a module that app.json names.
func sourceOf(src, name string) (string, error) {
	clean := strings.TrimPrefix(name, "/")
	if !filepath.IsLocal(filepath.FromSlash(clean)) {
		return "", fmt.Errorf("%s names the module %q, which lies outside", metadataFile, name)
	}
	stem := filepath.Join(src, filepath.FromSlash(strings.TrimSuffix(clean, ".js")))
	for _, ext := range []string{".ts", ".mts", ".js", ".mjs"} {
		if info, err := os.Stat(stem + ext); err == nil && info.Mode().IsRegular() {
			return stem + ext, nil
		}
	}
	return "", fmt.Errorf("%s names the module %q, and there is neither %s.ts nor %s.js", metadataFile, name, stem, stem)
}

// linkError says what esbuild found, one line each.
func linkError(messages []api.Message) error {
	var errs []error
	for _, m := range messages {
		if l := m.Location; l != nil {
			errs = append(errs, fmt.Errorf("%s:%d:%d: %s", l.File, l.Line, l.Column+1, m.Text))
		} else {
			errs = append(errs, errors.New(m.Text))
		}
	}
	return errors.Join(errs...)
}

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
func link(src string, entries []string) ([]Module, error) {
	modules := make([]Module, 0, len(entries))
	for _, name := range entries {
		file, err := sourceOf(src, name)
		if err != nil {
			return nil, err
		}
		result := api.Build(api.BuildOptions{
			EntryPoints: []string{file},
			Bundle:      true,
			Format:      api.FormatESModule,
			Platform:    api.PlatformNeutral,
			MainFields:  []string{"module", "main"},
			Target:      api.ES2020,
			Charset:     api.CharsetUTF8,
			LogLevel:    api.LogLevelSilent,
			Write:       false,
		})
		if len(result.Errors) > 0 {
			return nil, linkError(result.Errors)
		}
		modules = append(modules, Module{Name: strings.TrimPrefix(name, "/"), Module: string(result.OutputFiles[0].Contents)})
	}
	return modules, nil
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

package appbuild

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// testDir holds the tests of an application.
const testDir = "test"

// Tests returns the tests of the application in a directory, each file as one
// self-contained module, sorted by name ("test/a.test.ts"). There may be none.
func Tests(dir string) ([]Module, error) {
	var modules []Module
	err := filepath.WalkDir(filepath.Join(dir, testDir), func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isTest(file) {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		m, err := linkFile(dir, file, filepath.ToSlash(name))
		modules = append(modules, m)
		return err
	})
	if err != nil && !(errors.Is(err, fs.ErrNotExist) && len(modules) == 0 && !exists(filepath.Join(dir, testDir))) {
		return nil, fmt.Errorf("building the tests in %s: %w", dir, err)
	}
	slices.SortFunc(modules, func(a, b Module) int { return strings.Compare(a.Name, b.Name) })
	return modules, nil
}

func isTest(file string) bool {
	ext := filepath.Ext(file)
	return slices.Contains([]string{".ts", ".mts", ".js", ".mjs"}, ext) && strings.HasSuffix(strings.TrimSuffix(file, ext), ".test")
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

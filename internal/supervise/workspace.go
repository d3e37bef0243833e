package supervise

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"chancery/internal/durable"
	"chancery/internal/identity"
)

// layout is the version of the workspace's layout.
const layout = 1

// Workspace is the directory of a service that Run started.
type Workspace string

// about is the workspace's version file.
type about struct {
	Version int    `json:"version"`
	URL     string `json:"url"`
}

// Common returns the path of a file that all parties use: certificates and keys.
func (w Workspace) Common(name string) string {
	return filepath.Join(string(w), "sandbox_common", name)
}

func (w Workspace) node(name string) string { return filepath.Join(string(w), "sandbox_0", name) }

func (w Workspace) versionFile() string { return filepath.Join(string(w), "chancery.json") }

// URL returns the address of the service's node. The error wraps fs.ErrNotExist when
// there is no workspace.
func (w Workspace) URL() (string, error) {
	a, err := w.read()
	return a.URL, err
}

func (w Workspace) read() (about, error) {
	var a about
	text, err := os.ReadFile(w.versionFile())
	if err != nil {
		return a, fmt.Errorf("reading the workspace: %w", err)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("%s is damaged: %w", w.versionFile(), err)
	}
	if a.Version != layout {
		return a, fmt.Errorf("the workspace %s has layout %d, this program knows %d: use the program that made it, or another --workspace", w, a.Version, layout)
	}
	return a, nil
}

// prepare checks that a service can live here, and makes the directories.
func (w Workspace) prepare(url, bind string) error {
	if _, err := w.read(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, dir := range []string{w.Common(""), w.node("")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("the workspace can't be written (choose another with --workspace): %w", err)
		}
	}
	ln, err := net.Listen("tcp", bind)
	if err != nil {
		return fmt.Errorf("port taken (choose another with --port, or stop what listens there): %w", err)
	}
	if err := ln.Close(); err != nil {
		return err
	}
	text, err := json.Marshal(about{Version: layout, URL: url})
	if err != nil {
		return err
	}
	if err := durable.WriteFileAtomic(durable.OS(), w.versionFile(), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("the workspace can't be written (choose another with --workspace): %w", err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	cert, err := identity.ParseCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cert, nil
}

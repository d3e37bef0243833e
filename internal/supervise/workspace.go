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
	"slices"

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
	URL     string `json:"url"` // of the first node
	// URLs are those of all nodes, in a service of several.
	URLs []string `json:"urls,omitempty"`
	// Zones are the zones of places, host:port.
	Zones map[string]string `json:"zones,omitempty"`
}

// Common returns the path of a file that all parties use: certificates and keys.
func (w Workspace) Common(name string) string {
	return filepath.Join(string(w), "sandbox_common", name)
}

// File returns the path of a file of the workspace itself.
func (w Workspace) File(name string) string { return filepath.Join(string(w), name) }

// home is a node's working directory.
type home string

func (h home) file(name string) string { return filepath.Join(string(h), name) }

// home returns the directory of the k-th node that was ever started here.
func (w Workspace) home(k int) home {
	return home(filepath.Join(string(w), fmt.Sprintf("sandbox_%d", k)))
}

// homes returns the numbers of the nodes that can be resumed, and the first free number.
func (w Workspace) homes() (resumable []int, next int, err error) {
	entries, err := os.ReadDir(string(w))
	if err != nil {
		return nil, 0, fmt.Errorf("reading the workspace: %w", err)
	}
	for _, e := range entries {
		var k int
		if _, err := fmt.Sscanf(e.Name(), "sandbox_%d", &k); err != nil || e.Name() != fmt.Sprintf("sandbox_%d", k) {
			continue
		}
		next = max(next, k+1)
		if exists(w.home(k).file(keyFile)) {
			resumable = append(resumable, k)
		}
	}
	slices.Sort(resumable)
	return resumable, next, nil
}

// Files returns the ledger and the key file of a node whose keys are at hand: the first.
func (w Workspace) Files() (ledger, keys string, err error) {
	resumable, _, err := w.homes()
	if err != nil {
		return "", "", err
	}
	if len(resumable) == 0 {
		return "", "", fmt.Errorf("no node of the workspace %s has its keys there", w)
	}
	h := w.home(resumable[0])
	return h.file("ledger"), h.file(keyFile), nil
}

func (w Workspace) versionFile() string { return w.File("chancery.json") }

// URLs returns the addresses of the service's nodes, at least one. The error wraps
// fs.ErrNotExist when there is no workspace.
func (w Workspace) URLs() ([]string, error) {
	a, err := w.read()
	if len(a.URLs) == 0 {
		a.URLs = []string{a.URL}
	}
	return a.URLs, err
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

// zones returns the zone of each place: as they are named, in turn, or as the workspace
// remembers them where none are.
func (w Workspace) zones(named []string, port int) (map[string]string, error) {
	a, err := w.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(named) == 0 {
		return a.Zones, nil
	}
	out := map[string]string{}
	for k := range MaxNodes {
		out[placeOf(k, port).bind] = named[k%len(named)]
	}
	return out, nil
}

// prepare checks that a service can live here, and makes the directories.
func (w Workspace) prepare(nodes []*node) error {
	if err := os.MkdirAll(w.Common(""), 0o700); err != nil {
		return fmt.Errorf("the workspace can't be written (choose another with --workspace): %w", err)
	}
	for _, n := range nodes {
		if err := n.at.free(); err != nil {
			return fmt.Errorf("port taken (choose another with --port, or stop what listens there): %w", err)
		}
	}
	return w.record(nodes)
}

// free says whether nobody listens at a place.
func (p place) free() error {
	ln, err := net.Listen("tcp", p.bind)
	if err != nil {
		return err
	}
	return ln.Close()
}

// record writes which nodes there are.
func (w Workspace) record(nodes []*node) error {
	a, err := w.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	a.Version, a.URL, a.URLs = layout, nodes[0].at.url(), nil
	if a.Zones == nil { // those of places that are empty stay
		a.Zones = map[string]string{}
	}
	for _, n := range nodes {
		if len(nodes) > 1 {
			a.URLs = append(a.URLs, n.at.url())
		}
		if n.zone != "" {
			a.Zones[n.at.bind] = n.zone
		}
	}
	text, err := json.Marshal(a)
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

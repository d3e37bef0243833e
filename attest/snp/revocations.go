package snp

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"chancery/internal/durable"
)

// Revocations are lists of revoked certificates: AMD's (kdsintf.amd.com/vcek/v1/LINE/crl),
// one for each line of processors.
type Revocations interface {
	// Lists returns those that are at hand, of whatever lines.
	Lists() ([]*x509.RevocationList, error)
}

// Lists are lists in memory.
type Lists []*x509.RevocationList

// Lists returns the lists.
func (l Lists) Lists() ([]*x509.RevocationList, error) { return l, nil }

// ListDir is a directory whose files NAME.crl are lists. They are read when they are
// needed, so that whoever replaces one need not start anything again.
type ListDir struct {
	FS  durable.FS
	Dir string
}

// maxList bounds a list in bytes; AMD's have some hundred.
const maxList = 1 << 20

// Lists reads the files. A directory that is not there has none.
func (d ListDir) Lists() ([]*x509.RevocationList, error) {
	entries, err := d.FS.ReadDir(d.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading lists of revocations: %w", err)
	}
	var out []*x509.RevocationList
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".crl") {
			continue
		}
		path := filepath.Join(d.Dir, e.Name())
		text, err := d.FS.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading lists of revocations: %w", err)
		}
		list, err := ParseList(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, list)
	}
	return out, nil
}

// ParseList reads a list, DER or PEM.
func ParseList(text []byte) (*x509.RevocationList, error) {
	if len(text) > maxList {
		return nil, fmt.Errorf("a list of revoked certificates of %d bytes", len(text))
	}
	if bytes.HasPrefix(text, []byte("-----")) {
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, errors.New("this is no list of revoked certificates")
		}
		text = block.Bytes
	}
	list, err := x509.ParseRevocationList(text)
	if err != nil {
		return nil, fmt.Errorf("this is no list of revoked certificates: %w", err)
	}
	return list, nil
}

// revoked looks the chain up in the lists: the ASK in the root's, of which there must be
// one, and the VCEK in those of the ASK. AMD does not revoke single chips so far: an older
// TCB version is what a policy refuses. It returns how many lists it looked into.
func (c *chain) revoked(source Revocations, now time.Time) (int, error) {
	if source == nil {
		return 0, nil
	}
	lists, err := source.Lists()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoList, err)
	}
	n, root := 0, false
	for _, list := range lists {
		what, cert := "ASK", c.ask
		switch {
		case list.CheckSignatureFrom(c.ark) == nil:
			root = true
		case c.ask.CheckSignature(list.SignatureAlgorithm, list.RawTBSRevocationList, list.Signature) == nil:
			what, cert = "VCEK", c.vcek
		default:
			continue // another line's
		}
		if now.After(list.NextUpdate) {
			return n, fmt.Errorf("%w: the list of AMD's revocations ended at %s; fetch a new one", ErrValidity, list.NextUpdate.UTC().Format(time.RFC3339))
		}
		n++
		for _, entry := range list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return n, fmt.Errorf("%w: the %s, since %s", ErrRevoked, what, entry.RevocationTime.UTC().Format(time.RFC3339))
			}
		}
	}
	if !root {
		return n, ErrNoList
	}
	return n, nil
}

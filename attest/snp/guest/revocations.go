package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"

	"chancery/attest"
	"chancery/attest/snp"
	"chancery/internal/durable"
)

// FetchLists asks AMD's server for the lists of revoked certificates of all lines, and
// keeps them in a directory, Milan.crl and so on. A list that is older than the one that is
// there is not taken: who stands between could hand out an old one.
func FetchLists(ctx context.Context, server string, fsys durable.FS, dir string) error {
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("fetching lists of revocations: %w", err)
	}
	f, done := newFetcher()
	defer done()
	var failed []error
	for _, p := range []attest.Product{attest.Milan, attest.Genoa, attest.Turin} {
		if err := f.fetchList(ctx, server, p, fsys, filepath.Join(dir, string(p)+".crl")); err != nil {
			failed = append(failed, fmt.Errorf("fetching the list of revocations of %s: %w", p, err))
		}
	}
	return errors.Join(failed...)
}

func (f *fetcher) fetchList(ctx context.Context, server string, p attest.Product, fsys durable.FS, path string) error {
	text, err := f.get(ctx, Server{Protocol: AMD, Address: server}, url.URL{Scheme: "https", Path: "/vcek/v1/" + string(p) + "/crl"})
	if err != nil {
		return err
	}
	list, err := snp.ParseList(text)
	if err != nil {
		return err
	}
	old, err := fsys.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		if had, err := snp.ParseList(old); err == nil && !list.ThisUpdate.After(had.ThisUpdate) {
			return nil
		}
	}
	return durable.WriteFileAtomic(fsys, path, text, 0o644)
}

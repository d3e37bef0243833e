package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"chancery/client"
	"chancery/internal/durable"
	"chancery/ledger"
	"chancery/server/api"
)

func newLedgerFetch(s streams) *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "fetch DIR",
		Short: "Mirror the ledger of a running service, and verify it as it arrives",
		Long: `Downloads the service's committed ledger chunks into DIR, and audits each when it is
complete, as ledger verify does. Called again it goes on where it ended, in the middle of a
chunk too. What an audit has established is kept beside DIR, in DIR.checkpoint.json.

The node's interface must have LedgerChunkRead among its enabled_operator_features. The
transactions behind the last closed chunk are not part of the mirror yet. Exit code 5: what
arrived does not hold; it is set aside as .ignored, and named.`,
		Example: "  chancery ledger fetch mirror --url https://127.0.0.1:8000 --service-cert service_cert.pem",
		Args:    exactly("DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			service, err := t.connect()
			if err != nil {
				return err
			}
			defer service.Close()
			cert, err := readCertificate(t.serviceCert)
			if err != nil {
				return err
			}
			m := &mirror{s: s, service: service, cert: cert, dir: filepath.Clean(args[0])}
			return m.run(c.Context())
		},
	}
	t.flags(c)
	return c
}

// mirror is a local copy of a service's committed chunks.
type mirror struct {
	s       streams
	service *client.Client
	cert    *x509.Certificate
	dir     string

	checkpoint *ledger.Checkpoint
	progress   *progress
}

// pieceSize is how much one request asks for.
const pieceSize = 4 << 20

func (m *mirror) checkpointFile() string { return m.dir + ".checkpoint.json" }

func (m *mirror) run(ctx context.Context) error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	lock, err := durable.OS().Lock(m.dir)
	if err != nil {
		return fmt.Errorf("%s: %w", m.dir, err)
	}
	defer lock.Close()
	if m.checkpoint, err = readCheckpoint(m.checkpointFile()); err != nil {
		return err
	}
	m.progress = newProgress(m.s.err, "fetching")
	fetched, bytes := 0, int64(0)
	for {
		through, err := ledger.CommittedThrough(durable.OS(), m.dir)
		if err != nil {
			return err
		}
		name, size, err := m.fetch(ctx, through+1)
		if err != nil {
			m.progress.end()
			return err
		}
		if name == "" {
			m.progress.end()
			return m.finish(ctx, through, fetched, bytes)
		}
		fetched++
		bytes += size
		if err := m.audit(ctx, name); err != nil {
			m.progress.end()
			return err
		}
	}
}

// finish audits what there is against the service's certificate.
func (m *mirror) finish(ctx context.Context, through uint64, fetched int, bytes int64) error {
	if through == 0 {
		return errors.New("the service has no committed ledger chunk yet")
	}
	if err := m.verify(ctx, ledger.VerifyOptions{CommittedOnly: true, Checkpoint: m.checkpoint, Service: m.cert}); err != nil {
		return err
	}
	fmt.Fprintf(m.s.out, "%d chunks fetched, %d bytes; the mirror reaches seqno %d, and is good\n", fetched, bytes, through)
	return nil
}

// audit verifies what has arrived since the last checkpoint. A chunk that does not hold
// is set aside, so that the next call fetches it again.
func (m *mirror) audit(ctx context.Context, name string) error {
	err := m.verify(ctx, ledger.VerifyOptions{CommittedOnly: true, Checkpoint: m.checkpoint})
	var refused unverified
	if errors.As(err, &refused) {
		path := filepath.Join(m.dir, name)
		return errors.Join(err, os.Rename(path, path+".ignored"))
	}
	return err
}

func (m *mirror) verify(ctx context.Context, opts ledger.VerifyOptions) error {
	r, err := ledger.Verify(ctx, durable.OS(), []string{m.dir}, opts)
	var corrupt *ledger.CorruptError
	switch {
	case errors.As(err, &corrupt):
		return unverified{err}
	case err != nil:
		return err
	}
	m.checkpoint = r.Checkpoint
	return saveCheckpoint(m.checkpointFile(), r.Checkpoint)
}

// offered is a chunk that the service has.
type offered struct {
	name   string
	size   int64
	digest string // SHA-256 in the form of a Repr-Digest
}

// fetch downloads the chunk that holds seqno, and returns its name; "" when the service
// has no such chunk.
func (m *mirror) fetch(ctx context.Context, seqno uint64) (string, int64, error) {
	o, err := m.ask(ctx, seqno)
	if err != nil || o.name == "" {
		return "", 0, err
	}
	if first, _, ok := ledger.IsCommittedChunk(o.name); !ok || first != seqno {
		return "", 0, unverified{fmt.Errorf("the service offers %q as the chunk that begins at %d", o.name, seqno)}
	}
	part := filepath.Join(m.dir, "."+o.name+".part")
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return "", 0, err
	}
	if err := errors.Join(m.download(ctx, f, seqno, o), f.Sync(), f.Close()); err != nil {
		return "", 0, err
	}
	if err := os.Rename(part, filepath.Join(m.dir, o.name)); err != nil {
		return "", 0, err
	}
	return o.name, o.size, durable.OS().SyncDir(m.dir)
}

func chunkAt(seqno uint64) string { return "/node/ledger_chunk?since=" + strconv.FormatUint(seqno, 10) }

// ask finds out which chunk holds seqno.
func (m *mirror) ask(ctx context.Context, seqno uint64) (offered, error) {
	resp, err := m.service.Do(ctx, client.Request{Method: http.MethodHead, Path: chunkAt(seqno), Header: http.Header{"Want-Repr-Digest": {"sha-256=1"}}})
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return offered{}, m.explain(ctx, seqno)
	}
	if err != nil {
		return offered{}, err
	}
	size, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64)
	if err != nil || size <= 0 {
		return offered{}, fmt.Errorf("the service does not say how long the chunk with seqno %d is", seqno)
	}
	return offered{name: resp.Header.Get(api.HeaderChunkName), size: size, digest: resp.Header.Get(api.HeaderReprDigest)}, nil
}

// explain tells a service without such a chunk, which is no error, from one that does not
// let its chunks be read. The answer to HEAD has no body that would tell.
func (m *mirror) explain(ctx context.Context, seqno uint64) error {
	_, err := m.service.Do(ctx, client.Request{Path: chunkAt(seqno)})
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		if refused.Code == api.ResourceNotFound {
			return nil
		}
		return errors.New("the service does not let its ledger be read: enabled_operator_features of the interface must have LedgerChunkRead")
	}
	if err == nil {
		return nil // closed meanwhile: the next call has it
	}
	return err
}

// download fills f with the chunk, from where an earlier call ended.
func (m *mirror) download(ctx context.Context, f *os.File, seqno uint64, o offered) error {
	at, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if at > o.size {
		at = 0 // of another chunk; the digest would tell too
	}
	for at < o.size {
		last := min(at+pieceSize, o.size) - 1
		resp, err := m.service.Do(ctx, client.Request{Path: chunkAt(seqno), Header: http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", at, last)}}})
		if err != nil {
			return err
		}
		if int64(len(resp.Body)) != last-at+1 || resp.Header.Get(api.HeaderChunkName) != o.name {
			return fmt.Errorf("the service answered with %d bytes of %q instead of bytes %d to %d of %s", len(resp.Body), resp.Header.Get(api.HeaderChunkName), at, last, o.name)
		}
		if _, err := f.WriteAt(resp.Body, at); err != nil {
			return err
		}
		at = last + 1
		m.progress.at(at, o.size)
	}
	if err := f.Truncate(o.size); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, o.size)); err != nil {
		return err
	}
	if have := "sha-256=:" + base64.StdEncoding.EncodeToString(h.Sum(nil)) + ":"; o.digest != "" && have != o.digest {
		if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return fmt.Errorf("%s has another SHA-256 than the service says; it is fetched anew by the next call", o.name)
	}
	return nil
}

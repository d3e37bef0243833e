package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"chancery/internal/backup"
	"chancery/internal/durable"
	"chancery/ledger"
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
			m := &mirror{s: s, source: &backup.Running{Client: service, URL: t.url}, cert: cert, dir: filepath.Clean(args[0])}
			return m.run(c.Context())
		},
	}
	t.flags(c)
	return c
}

// mirror is a local copy of a service's committed chunks.
type mirror struct {
	s      streams
	source *backup.Running
	cert   *x509.Certificate
	dir    string

	checkpoint *ledger.Checkpoint
	progress   *progress
}

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
	if err != nil {
		return doubted(err)
	}
	m.checkpoint = r.Checkpoint
	return saveCheckpoint(m.checkpointFile(), r.Checkpoint)
}

// fetch downloads the chunk that begins at seqno, and returns its name; "" when the
// service has no such chunk.
func (m *mirror) fetch(ctx context.Context, seqno uint64) (string, int64, error) {
	o, ok, err := m.source.Chunk(ctx, seqno)
	if err != nil || !ok {
		return "", 0, err
	}
	if first, _, ok := ledger.IsCommittedChunk(o.Name); !ok || first != seqno {
		return "", 0, unverified{fmt.Errorf("the service offers %q as the chunk that begins at %d", o.Name, seqno)}
	}
	part := filepath.Join(m.dir, "."+o.Name+".part")
	if _, err := backup.Fetch(ctx, durable.OS(), m.source, o, part, m.progress.at); err != nil {
		return "", 0, err
	}
	if err := syncFile(part); err != nil {
		return "", 0, err
	}
	if err := os.Rename(part, filepath.Join(m.dir, o.Name)); err != nil {
		return "", 0, err
	}
	return o.Name, o.Size, durable.OS().SyncDir(m.dir)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

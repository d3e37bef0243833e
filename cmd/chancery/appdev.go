package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"chancery/internal/appbuild"
	"chancery/internal/supervise"
)

func newAppDev(s streams) *cobra.Command {
	var workspace string
	var o supervise.Options
	c := &cobra.Command{
		Use:   "dev [DIR]",
		Short: "Run a service here with an application, and deploy it again whenever a file changes",
		Long: `Starts a service as "chancery up" does, or resumes the one that is here, and deploys the
application in DIR. When a file below DIR changes it is built and deployed again, by
governance; an application that does not build leaves the one before it in place. Data
stays. What the application prints or throws is shown here; in a new service, the caller
is told what was thrown too. Ctrl-C stops the service.`,
		Args: between("", 0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Workspace = supervise.Workspace(workspace)
			ctx, cancel := context.WithCancel(c.Context())
			var watcher sync.WaitGroup
			defer watcher.Wait()
			defer cancel()
			w := &appWatch{s: s, dir: appDir(args), workspace: workspace}
			var err error
			if w.last, err = w.fingerprint(); err != nil {
				return fileError(w.dir, err)
			}
			_, known := os.Stat(workspace)
			w.fresh = errors.Is(known, fs.ErrNotExist)
			o.Opened = func(string) { watcher.Go(func() { w.run(ctx) }) }
			return up(ctx, s, w.dir, o)
		},
	}
	c.Flags().StringVar(&workspace, "workspace", "workspace", "directory of the service's files")
	c.Flags().IntVar(&o.Port, "port", 8000, "port on 127.0.0.1")
	c.Flags().IntVar(&o.Nodes, "nodes", 1, "number of nodes")
	return c
}

// lookEvery is how often the files are looked at; what is seen changed is deployed when
// it has stayed the same for as long, so that an editor's writes are not cut in two.
const lookEvery = 250 * time.Millisecond

// appWatch deploys an application again when its files change.
type appWatch struct {
	s              streams
	dir, workspace string
	last           [sha256.Size]byte // of the files that were deployed or did not build
	fresh          bool              // the service is a new one
}

// run looks at the files, and shows what the application prints, until ctx is done.
func (w *appWatch) run(ctx context.Context) {
	log := &appLog{out: w.s.out, workspace: w.workspace}
	log.skip()
	if w.fresh {
		if err := w.propose(ctx, supervise.ShowExceptions); err != nil && ctx.Err() == nil {
			fmt.Fprintf(w.s.err, "exceptions are not shown: %v\n", err)
		}
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	before := w.last
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		log.show()
		now, err := w.fingerprint()
		if err == nil && now == before && now != w.last {
			w.last = now
			if err := w.deploy(ctx); err != nil && ctx.Err() == nil {
				fmt.Fprintf(w.s.err, "not deployed: %v\n", err)
			}
		}
		before = now // an error is a file that went away just now: look again
	}
}

// deploy builds the application and proposes it.
func (w *appWatch) deploy(ctx context.Context) error {
	bundle, err := appbuild.Build(w.dir)
	if err != nil {
		return err
	}
	if err := w.propose(ctx, func() ([]byte, error) { return supervise.SetApp(bundle) }); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.s.out, "deployed %s\n", w.dir)
	return err
}

// propose has the service's first member propose what text returns.
func (w *appWatch) propose(ctx context.Context, text func() ([]byte, error)) error {
	proposal, err := text()
	if err != nil {
		return err
	}
	t := target{workspace: w.workspace, role: "member0"}
	return propose(ctx, streams{out: io.Discard, err: w.s.err}, &t, sending{}, proposal)
}

// fingerprint is a digest of which files there are below the application's directory, how
// large they are and when they were written. The service's own may lie there too.
func (w *appWatch) fingerprint() (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	err = filepath.WalkDir(w.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "node_modules" || d.Name() == ".git" || sameFile(name, w.workspace) {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(h, name, info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	h.Sum(sum[:0])
	return sum, err
}

// sameFile says whether two names are those of one file or directory.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

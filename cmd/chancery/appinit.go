package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"chancery/samples"
)

func newAppInit(s streams) *cobra.Command {
	var template string
	c := &cobra.Command{
		Use:   "init DIR",
		Short: "Begin an application: DIR with app.json, src, tests, and the types for an editor",
		Long: `Begins an application from a template:

  empty    two endpoints, in TypeScript
  logging  CCF's logging application: records, history, receipts, callers
  banking  accounts, transfers, statements, proofs of transfers

DIR must not be there, or be empty. Nothing has to be installed: "chancery app test DIR"
runs its tests, "chancery app dev DIR" a service with it.`,
		Args: exactly("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			files, ok := samples.Template(template)
			if !ok {
				return usagef("--template is %q; there are empty, logging and banking", template)
			}
			if err := beginApp(args[0], files); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.out, "%[1]s holds the application. Its tests:   chancery app test %[1]s\nA service with it, kept up to date:    chancery app dev %[1]s\n", args[0])
			return err
		},
	}
	c.Flags().StringVar(&template, "template", "empty", "empty, logging or banking")
	return c
}

// beginApp writes a template and the types into a directory that is empty or new.
func beginApp(dir string, files fs.FS) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return usagef("%s is not empty", dir)
	}
	if err := os.CopyFS(dir, files); err != nil {
		return fmt.Errorf("writing the application: %w", err)
	}
	if err := os.CopyFS(filepath.Join(dir, "types"), samples.Types()); err != nil {
		return fmt.Errorf("writing the types: %w", err)
	}
	return nil
}

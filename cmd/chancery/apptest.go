package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chancery/internal/appbuild"
	"chancery/internal/apptest"
	"chancery/js"
)

func newAppTest(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "test [DIR]",
		Short: "Run an application's tests in the service's engine, without a service",
		Long: `Runs the tests of DIR/test/*.test.js and *.test.ts: exported functions whose names begin
with "test", each over a fresh store in memory that holds the application alone. They ask
it with chancery.call; types/test.d.ts says what else there is.

There is no ledger: endpoints of mode historical are tried in a service (chancery app dev).`,
		Args: between("", 0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			bundle, err := appbuild.Build(appDir(args))
			if err != nil {
				return err
			}
			tests, err := appbuild.Tests(appDir(args))
			if err != nil {
				return err
			}
			all, failed := 0, 0
			err = apptest.Run(c.Context(), bundle, tests, func(r apptest.Result) {
				all++
				if r.Err != nil {
					failed++
				}
				showTest(s, r)
			})
			switch {
			case err != nil:
				return err
			case all == 0:
				return fmt.Errorf("there is no test: no function test... in %s", filepath.Join(appDir(args), "test", "*.test.js or *.test.ts"))
			case failed > 0:
				return fmt.Errorf("%d of %d tests failed", failed, all)
			}
			_, err = fmt.Fprintf(s.out, "%d tests passed\n", all)
			return err
		},
	}
}

// showTest prints the outcome of a test: why it failed, where, and what was printed.
func showTest(s streams, r apptest.Result) {
	verdict := "ok  "
	if r.Err != nil {
		verdict = "FAIL"
	}
	fmt.Fprintf(s.out, "%s  %s  %s  %v\n", verdict, r.File, r.Name, r.Took.Round(time.Millisecond))
	if r.Err == nil {
		return
	}
	indent(s, r.Err.Error())
	if x := (*js.Exception)(nil); errors.As(r.Err, &x) {
		indent(s, x.Trace)
	}
	for _, line := range r.Log {
		indent(s, line)
	}
}

func indent(s streams, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(s.out, "        %s\n", strings.TrimRight(line, "\n"))
	}
}

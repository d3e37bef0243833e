package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"chancery/client"
	"chancery/internal/backup"
	"chancery/internal/version"
	"chancery/ledger"
)

// streams is where a command writes.
type streams struct{ out, err io.Writer }

// The exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitRefused     = 4
	exitUnverified  = 5
)

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// unverified says that a proof, read as such, does not hold.
type unverified struct{ err error }

func (e unverified) Error() string { return e.err.Error() }
func (e unverified) Unwrap() error { return e.err }

// doubted marks the errors of an audit that say that what was read does not hold.
func doubted(err error) error {
	var corrupt *ledger.CorruptError
	if errors.As(err, &corrupt) {
		return unverified{err}
	}
	for _, kind := range []error{ledger.ErrUntrusted, ledger.ErrUnexpected, backup.ErrUnverified} {
		if errors.Is(err, kind) {
			return unverified{err}
		}
	}
	return err
}

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// execute runs a command line and returns the exit code.
func execute(ctx context.Context, args []string, s streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	root.SetOut(s.out)
	root.SetErr(s.err)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(s.err, "chancery: %v\n", err)
	code := exitCode(err)
	if code == exitUsage {
		fmt.Fprintf(s.err, "Run %q for how to use it.\n", command.CommandPath()+" --help")
	}
	return code
}

// exitCode says what an error means to a script.
func exitCode(err error) int {
	var usage usageError
	var refused *client.Error
	var doubt unverified
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &doubt), errors.Is(err, client.ErrUntrusted):
		return exitUnverified
	case errors.Is(err, client.ErrUnreachable):
		return exitUnreachable
	case errors.As(err, &refused), errors.Is(err, client.ErrRolledBack):
		return exitRefused
	}
	return exitFailed
}

func newRoot(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "chancery",
		Short:         "Run, govern, use and audit a confidential ledger service",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          needsCommand,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newUp(s), newNode(s), newStatus(s), newDoctor(s), newApp(s), newGov(s), newTx(s), newReceipt(s), newAttest(s), newLedger(s), newBackup(s), newRecover(s), newSnapshot(s),
		newKey(s), newConfig(s), newVersion(s),
	)
	return root
}

func newVersion(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintf(s.out, "chancery %s\n", version.String())
			return nil
		},
	}
}

// group returns a command that has only sub-commands.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: needsCommand}
	c.AddCommand(commands...)
	return c
}

// needsCommand runs where a sub-command is missing.
func needsCommand(c *cobra.Command, _ []string) error {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	slices.Sort(names)
	return usagef("say which: %v", names)
}

// noArgs refuses arguments; a mistyped sub-command arrives here.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("unknown command %q, did you mean %q?", args[0], near[0])
	}
	return usagef("unexpected argument %q", args[0])
}

// exactly demands arguments by their names.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef("%s is missing", names[len(args)])
		case len(args) > len(names):
			return usagef("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

// between demands from least to most arguments; names says what the least ones are.
func between(names string, least, most int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s: %d argument(s) given", names, len(args))
		case len(args) > most:
			return usagef("unexpected argument %q", args[most])
		}
		return nil
	}
}

// readInput reads a file, or standard input for "-", and no more than limit bytes of it.
func readInput(name string, limit int64) ([]byte, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fileError(name, err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, limit))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return data, nil
}

// fileError turns "not found" on a file named on the command line into one line.
func fileError(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("%s does not exist", name)
	}
	return err
}

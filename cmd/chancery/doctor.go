package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"chancery/node/config"
)

// finding is one thing that doctor has to say.
type finding struct {
	// About is what was looked at: configuration, directory, certificate, clock or platform.
	About string `json:"about"`
	// Level is problem (the node will not start, or not work) or note.
	Level string `json:"level"`
	// Text says what was found, Remedy what to do.
	Text   string `json:"text"`
	Remedy string `json:"remedy"`
}

const (
	levelProblem = "problem"
	levelNote    = "note"
)

// doctor collects findings over one configuration file.
type doctor struct {
	file string // the configuration file
	dir  string // where the node is started
	now  time.Time
	cfg  *config.Config

	running  int // pid of the node that runs here, 0 for none
	findings []finding
}

func (d *doctor) problem(about, remedy, format string, args ...any) {
	d.findings = append(d.findings, finding{about, levelProblem, fmt.Sprintf(format, args...), remedy})
}

func (d *doctor) note(about, remedy, format string, args ...any) {
	d.findings = append(d.findings, finding{about, levelNote, fmt.Sprintf(format, args...), remedy})
}

// in is a path of the configuration, as the node takes it.
func (d *doctor) in(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(d.dir, path)
}

func newDoctor(s streams) *cobra.Command {
	var dir, output string
	c := &cobra.Command{
		Use:   "doctor FILE",
		Short: "Say what is wrong with a node's configuration, directory, certificates and clock",
		Long: `Reads a node's configuration file as chanceryd does and looks at what it names, on the
machine where the node runs or is to run: files, directories, ports, certificates and
the clock. Each finding comes with its remedy. Nothing is changed. The exit code is 1
when the node would not start or not work.`,
		Example: "  chancery doctor workspace/sandbox_0/config.json",
		Args:    exactly("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			d := &doctor{file: args[0], dir: dir, now: time.Now()}
			if dir == "" {
				d.dir = filepath.Dir(args[0])
			}
			if err := d.examine(c.Context()); err != nil {
				return fileError(args[0], err)
			}
			return d.report(s, output)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "where the node is started, from which it takes file names (default: the directory of FILE)")
	outputFlag(c, &output)
	return c
}

// examine looks at everything. The error says that the file itself can't be read.
func (d *doctor) examine(ctx context.Context) error {
	if !d.configuration(ctx) {
		return d.missing()
	}
	d.processes()
	d.directories()
	d.ports(ctx)
	d.certificates()
	d.clock()
	d.platform()
	return nil
}

// missing returns an error where there is no configuration file at all.
func (d *doctor) missing() error {
	_, err := os.Stat(d.file)
	return err
}

// configuration reads the file; false says that there is no more to look at.
func (d *doctor) configuration(ctx context.Context) bool {
	remedy := "edit " + d.file + "; docs/chanceryd.schema.json describes the keys"
	cfg, err := config.Load(ctx, d.file, 0)
	var invalid *config.InvalidError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false
	case errors.As(err, &invalid):
		for _, p := range invalid.Problems {
			d.problem("configuration", remedy, "%s", p)
		}
		return false
	case err != nil:
		d.problem("configuration", remedy, "%v", err)
		return false
	}
	d.cfg = cfg
	for _, w := range cfg.Warnings {
		d.note("configuration", remedy, "%s", w)
	}
	if err := cfg.CheckFiles(d.dir); errors.As(err, &invalid) {
		for _, p := range invalid.Problems {
			d.problem("configuration", "put the file there, or correct the key; names are taken from "+d.dir+" (--dir)", "%s", p)
		}
	}
	return true
}

func (d *doctor) report(s streams, output string) error {
	problems := 0
	for _, f := range d.findings {
		if f.Level == levelProblem {
			problems++
		}
	}
	if output == outputJSON {
		all := d.findings
		if all == nil {
			all = []finding{}
		}
		if err := printJSON(s, map[string]any{"findings": all}); err != nil {
			return err
		}
	} else {
		for _, f := range d.findings {
			fmt.Fprintf(s.out, "%s: %s: %s\n    %s\n", f.Level, f.About, f.Text, f.Remedy)
		}
		if problems == 0 {
			fmt.Fprintln(s.out, "nothing stands against running this node")
		}
	}
	if problems > 0 {
		return fmt.Errorf("%d problem(s) with %s", problems, d.file)
	}
	return nil
}

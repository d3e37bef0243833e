package daemon

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"chancery/internal/nodelog"
	"chancery/internal/version"
	"chancery/node/config"
)

// The exit codes, CCF's (which has them from its command line library).
const (
	exitOK            = 0
	exitFailed        = 1
	exitFile          = 103
	exitConversion    = 104
	exitInvalid       = 105
	exitRequired      = 106
	exitExtra         = 109
	exitMissingValue  = 114
	platformIsVirtual = "Virtual"
)

// options are the command line.
type options struct {
	config        string
	configTimeout time.Duration
	check         bool
	level         slog.Level
}

const usage = `Runs a single node of a Chancery service, based on a configuration file.

Options:
  -h, --help                 print this and exit
  -v, --version              print the version and the platform, and exit
  -c, --config FILE          the configuration file, JSON (required)
      --config-timeout TIME  wait this long for a configuration file that is missing
                             or not yet complete (us, ms, s, min or h; default 0s)
      --check                check the configuration file and exit
      --log-level LEVEL      trace, debug, info, fail or fatal (default info)
                             (security critical: debug and trace may show more than
                             the host should see)
`

// parseFlags reads the command line. done says that the program ends here, with code.
func parseFlags(args []string, stdout io.Writer) (o options, code int, done bool) {
	var showVersion bool
	var level string
	var timeout string
	f := flag.NewFlagSet("chanceryd", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.config, "config", "", "")
	f.StringVar(&o.config, "c", "", "")
	f.StringVar(&timeout, "config-timeout", "0s", "")
	f.BoolVar(&o.check, "check", false, "")
	f.BoolVar(&showVersion, "version", false, "")
	f.BoolVar(&showVersion, "v", false, "")
	f.StringVar(&level, "log-level", "info", "")

	fail := func(code int, format string, args ...any) (options, int, bool) {
		fmt.Fprintf(stdout, format+"\nRun with --help for more information.\n", args...)
		return options{}, code, true
	}
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return o, exitOK, true
	case err != nil && strings.Contains(err.Error(), "needs an argument"):
		return fail(exitMissingValue, "%v", err)
	case err != nil && strings.Contains(err.Error(), "invalid"):
		return fail(exitConversion, "%v", err)
	case err != nil:
		return fail(exitExtra, "%v", err)
	case f.NArg() > 0:
		return fail(exitExtra, "there are no arguments without a dash: %s", strings.Join(f.Args(), " "))
	case showVersion:
		fmt.Fprintf(stdout, "chanceryd %s\nPlatform: %s\n", version.String(), platformIsVirtual)
		return o, exitOK, true
	case o.config == "":
		return fail(exitRequired, "--config is required")
	}
	var err error
	if o.configTimeout, err = config.ParseTime(timeout); err != nil {
		return fail(exitConversion, "--config-timeout: %v", err)
	}
	if o.level, err = nodelog.ParseLevel(level); err != nil {
		return fail(exitInvalid, "--log-level: %v", err)
	}
	return o, exitOK, false
}

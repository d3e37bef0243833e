// Command chanceryd is one node of a Chancery service: the program that runs, and is
// measured, inside the trusted execution environment.
//
// It takes the command line of a CCF node and one configuration file; see package
// node/config for the file's keys.
//
//	chanceryd --config FILE [--config-timeout TIME] [--check] [--log-level LEVEL]
//	chanceryd --version
//
// Everything it has to say goes to standard output. Standard error stays empty unless
// the program crashes.
//
// # Exit codes
//
//	0    stopped by a signal, or nothing to do (--check, --version, --help)
//	1    the node failed; the last line of the log says why
//	103  a file problem: the configuration cannot be read, the PID file exists
//	104  a value of an option does not convert
//	105  the configuration, or what it found (a ledger directory that is not empty), is not valid
//	106  --config is missing
//	109  an argument that does not exist
//	114  an option without its value
//
// # Signals
//
// SIGTERM, SIGHUP and SIGINT stop the node: it ends within ten seconds. Under
// ignore_first_sigterm the first SIGTERM only announces the end (stop_notice in
// /node/state). SIGPIPE is ignored.
package main

import (
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout))
}

// run is the program with its arguments and its output.
func run(args []string, stdout io.Writer) int {
	o, code, done := parseFlags(args, stdout)
	if done {
		return code
	}
	return start(o, stdout)
}

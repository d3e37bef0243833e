// Package daemon is the program around a node: command line, configuration file, PID
// file, signals, exit codes. It behaves as a CCF node's process does, so that existing
// scripts can start, watch and stop it.
//
// cmd/chanceryd is Run without an application of its own. An application in Go is
// compiled in by a main that gives it:
//
//	func main() { os.Exit(daemon.Run(os.Args[1:], os.Stdout, app)) }
//
// Everything a node has to say goes to standard output. Standard error stays empty
// unless the program crashes.
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
package daemon

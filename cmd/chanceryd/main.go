// Command chanceryd is one node of a Chancery service: the program that runs, and is
// measured, inside the trusted execution environment. Its applications are in
// JavaScript, deployed by governance.
//
// It takes the command line of a CCF node and one configuration file; see package
// node/config for the file's keys, and node/daemon for exit codes and signals.
//
//	chanceryd --config FILE [--config-timeout TIME] [--check] [--log-level LEVEL]
//	chanceryd --version
package main

import (
	"os"

	"chancery/node/daemon"
)

func main() {
	os.Exit(daemon.Run(os.Args[1:], os.Stdout, nil))
}

// Command chancery is everything outside a node: it brings up a development service,
// and is the tool of its members, operators, developers and auditors.
//
//	chancery up                      a one-node service on this machine
//	chancery status                  where a node and its service stand
//	chancery doctor FILE             what is wrong with a node's surroundings
//	chancery app init|test|dev       an application in the making
//	chancery app build|deploy        an application that is made
//	chancery gov propose|vote|show   governance, with a member's key
//	chancery tx status|wait          a transaction's fate
//	chancery receipt get|verify      the proof that it is in the ledger
//	chancery ledger verify|show      the ledger's files
//	chancery backup create|restore   copies of it elsewhere
//	chancery key gen                 keys and certificates
//	chancery config check            a node's configuration file
//	chancery version
//	chancery completion bash|zsh|fish|powershell
//
// Results go to standard output; progress and errors to standard error.
//
// # Exit codes
//
//	0  done
//	1  failed
//	2  usage: the command line is wrong
//	3  the service could not be reached
//	4  the service refused
//	5  it does not verify
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run())
}

// run is main with its deferred calls run before the exit.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return execute(ctx, os.Args[1:], streams{out: os.Stdout, err: os.Stderr})
}

// Command bench measures services on loopback and prints one table.
//
// It starts release builds with `chancery up` (the logging sample in JavaScript, the one
// that is compiled in, and an application of its own in JavaScript), drives them from this second process over TLS 1.3 and
// HTTP/1.1 with keep-alive, and puts the same load, in the same run, on an empty gin
// handler behind the same TLS configuration. A row is void where this client used more
// than 45 % of the cores. Nothing leaves the loopback interface; every load is bounded
// in time.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	chancery := flag.String("chancery", "bin/chancery", "the command-line program, with chanceryd beside it")
	native := flag.String("native", "bin/logging", "the node with the logging application compiled in")
	duration := flag.Duration("time", 2*time.Second, "time per row")
	rows := flag.String("rows", "", "measure only the rows whose name matches this regular expression (and the empty handler)")
	conns := flag.String("conns", "1,16,64,256", "numbers of connections")
	empty := flag.String("empty", "", "serve the empty gin handler with the certificates of this directory (used by itself)")
	backup := flag.Int64("backup", 1<<30, "bytes of the ledger that is backed up; 0 leaves these rows out")
	times := flag.Int("failovers", 5, "how often the primary of three nodes is killed; 0 leaves these rows out")
	nodes := flag.Bool("only-nodes", false, "measure nothing but services of several nodes")
	alone := flag.Bool("only-backup", false, "measure nothing but backups")
	entries := flag.Int("entries", 1_000_000, "entries of the ledger that is audited, reopened and recovered; 0 leaves these rows out")
	recovered := flag.Int("recovered", 1_000_000, "entries of the service that is recovered whole; 0 leaves these rows out")
	joined := flag.Int("joined", 1_000_000, "entries of the three nodes that a fourth one joins; 0 leaves these rows out")
	onlyJoin := flag.Bool("only-join", false, "measure nothing but a fourth node that joins")
	onlyRecovery := flag.Bool("only-recovery", false, "measure nothing but the recovery of a whole service")
	onlyLedger := flag.Bool("only-ledger", false, "measure nothing but audit, receipts, reopening and recovery of a ledger")
	flag.Parse()
	var err error
	b := &bench{duration: *duration, rows: *rows, conns: *conns}
	switch {
	case *empty != "":
		err = serveEmpty(*empty)
	case *nodes:
		err = runNodes(*chancery, *native, *times, b)
	case *alone:
		err = b.alone(func() error { return b.printBackup(*chancery, *backup) })
	case *onlyLedger:
		err = b.alone(func() error { return b.printLedger(*chancery, *entries) })
	case *onlyJoin:
		err = b.alone(func() error { return b.printJoin(*chancery, *native, *joined) })
	case *onlyRecovery:
		err = b.alone(func() error { return b.printRecovery(*chancery, *native, *recovered) })
	default:
		if err = run(*chancery, *native, b); err == nil {
			err = runNodes(*chancery, *native, *times, b)
		}
		if err == nil {
			err = b.alone(func() error {
				return errors.Join(b.printLedger(*chancery, *entries), b.printRecovery(*chancery, *native, *recovered), b.printJoin(*chancery, *native, *joined), b.printBackup(*chancery, *backup))
			})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// alone measures what needs no server.
func (b *bench) alone(rows func() error) (err error) {
	if b.dir, err = os.MkdirTemp("", "chancery-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	return rows()
}

// run starts the servers, measures, and stops them.
func run(chancery, native string, b *bench) (err error) {
	if b.dir, err = os.MkdirTemp("", "chancery-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	defer b.stop()
	if b.js, err = b.startService("js", chancery); err != nil {
		return err
	}
	if b.native, err = b.startService("native", chancery, "--node", native); err != nil {
		return err
	}
	if err := b.startApp(chancery); err != nil {
		return err
	}
	if b.empty, err = b.startEmpty(); err != nil {
		return err
	}
	if err := b.measure(); err != nil {
		return err
	}
	return b.printJS(chancery)
}

package main

import (
	"crypto/elliptic"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"chancery/internal/durable"
	"chancery/internal/ledgertest"
	"chancery/ledger"
)

// Of the ledger that is backed up: transactions with values of a kilobyte, a signature
// behind each thousand, and chunks of about five megabytes.
const (
	backupValue  = 1 << 10
	backupSpan   = 1000
	backupSpans  = 5 // in a chunk
	backupAppend = 10
)

// backupBench measures backups against cp and sha256sum of the same bytes, in one run.
type backupBench struct {
	chancery, dir string
	point         ledger.TxID // in the middle
	cp, sha       float64     // MB/s
}

// printBackup writes the rows about backups of a ledger of so many bytes.
func (b *bench) printBackup(chancery string, size int64) error {
	rows, err := regexp.Compile(b.rows)
	if err != nil {
		return err
	}
	if size == 0 || !rows.MatchString("backup") {
		return nil
	}
	x := &backupBench{dir: filepath.Join(b.dir, "backup")}
	if x.chancery, err = filepath.Abs(chancery); err != nil {
		return err
	}
	return x.run(size)
}

func (x *backupBench) run(size int64) error {
	if err := os.Mkdir(x.dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(x.dir)
	l, err := ledgertest.New(durable.OS(), x.path("ledger"), elliptic.P384(), time.Now)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := os.WriteFile(x.path("service.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.Service.Raw}), 0o600); err != nil {
		return err
	}
	chunk := int64(backupSpans * backupSpan * backupValue)
	n := max(size/chunk, 2)
	for i := range n {
		id := x.chunk(l)
		if i == n/2 {
			x.point = id
		}
	}
	bytes, err := sizeOf(x.path("ledger"))
	if err != nil {
		return err
	}
	fmt.Printf("\n| backup of %d MB in %d chunks, values of %d bytes, a signature behind %d | MB/s | of cp | of sha256sum | CPU |\n|---|---|---|---|---|\n", bytes>>20, n, backupValue, backupSpan)
	if x.cp, err = x.row("cp", bytes, "cp", "-r", x.path("ledger"), x.path("copied")); err != nil {
		return err
	}
	if x.sha, err = x.row("sha256sum", bytes, "sh", "-c", "sha256sum "+x.path("ledger")+"/*"); err != nil {
		return err
	}
	create := []string{x.chancery, "backup", "create", x.path("backups"), "--ledger", x.path("ledger")}
	if _, err = x.row("create, first: copied, hashed, audited, synced", bytes, create...); err != nil {
		return err
	}
	more := max(n/backupAppend, 1)
	for range more {
		x.chunk(l)
	}
	after, err := sizeOf(x.path("ledger"))
	if err != nil {
		return err
	}
	if _, err = x.row(fmt.Sprintf("create, incremental: %d MB more", (after-bytes)>>20), after-bytes, create...); err != nil {
		return err
	}
	if _, err = x.row("create, nothing new", 0, create...); err != nil {
		return err
	}
	if _, err = x.row("verify", after, x.chancery, "backup", "verify", x.path("backups"), "--service-cert", x.path("service.pem")); err != nil {
		return err
	}
	_, err = x.row("restore to the middle", bytes/2, x.chancery, "backup", "restore", x.path("backups"), x.path("restored"), "--to", x.point.String())
	return errors.Join(err, l.Close())
}

func (x *backupBench) path(name string) string { return filepath.Join(x.dir, name) }

// chunk writes a chunk, and returns a signature in it.
func (x *backupBench) chunk(l *ledgertest.Ledger) (id ledger.TxID) {
	for i := range backupSpans {
		l.Write(backupSpan-1, backupValue)
		if at := l.Sign(i == backupSpans-1); i == 0 {
			id = at
		}
	}
	return id
}

// sizeOf adds up the committed chunks of a directory.
func sizeOf(dir string) (n int64, err error) {
	found, err := filepath.Glob(filepath.Join(dir, "*.committed"))
	if err != nil {
		return 0, err
	}
	for _, path := range found {
		info, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		n += info.Size()
	}
	return n, nil
}

// row runs a command over so many bytes, and prints how fast it was.
func (x *backupBench) row(name string, bytes int64, command ...string) (rate float64, err error) {
	cmd := exec.Command(command[0], command[1:]...)
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(begun)
	if err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if bytes == 0 {
		fmt.Printf("| %s | %v | | | %v |\n", name, took.Round(time.Millisecond), cpu.Round(time.Millisecond))
		return 0, nil
	}
	rate = float64(bytes) / took.Seconds() / 1e6
	ratio := func(to float64) string {
		if to == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f", rate/to)
	}
	fmt.Printf("| %s | %.0f | %s | %s | %v |\n", name, rate, ratio(x.cp), ratio(x.sha), cpu.Round(time.Millisecond))
	return rate, nil
}

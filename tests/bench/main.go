// Command bench measures a service on loopback and prints one table.
//
// It starts a release build with `chancery up`, drives it from this second process
// over TLS 1.3 and HTTP/1.1 with keep-alive, and puts the same load, in the same run,
// on an empty gin handler behind the same TLS configuration. A row is void where this
// client used more than 45 % of the cores. Nothing leaves the loopback interface;
// every load is bounded in time.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/internal/supervise"
)

func main() {
	chancery := flag.String("chancery", "bin/chancery", "the command-line program, with chanceryd beside it")
	duration := flag.Duration("time", 2*time.Second, "time per row")
	empty := flag.String("empty", "", "serve the empty gin handler with the certificates of this directory (used by itself)")
	flag.Parse()
	var err error
	if *empty != "" {
		err = serveEmpty(*empty)
	} else {
		err = run(*chancery, *duration)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run starts both servers, measures, and stops them.
func run(chancery string, duration time.Duration) error {
	dir, err := os.MkdirTemp("", "chancery-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	port, err := freePort()
	if err != nil {
		return err
	}
	up := exec.Command(chancery, "up", "--workspace", filepath.Join(dir, "workspace"), "--port", fmt.Sprint(port))
	opened := &watcher{want: "Ctrl-C stops it", seen: make(chan struct{})}
	up.Stdout, up.Stderr = opened, opened
	if err := up.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", chancery, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- up.Wait() }()
	defer func() {
		_ = up.Process.Signal(os.Interrupt)
		<-ended
	}()
	select {
	case <-opened.seen:
	case err := <-ended:
		ended <- err
		return fmt.Errorf("the service ended: %w\n%s", err, opened.text())
	case <-time.After(2 * time.Minute):
		return errors.New("the service does not open")
	}
	w := supervise.Workspace(filepath.Join(dir, "workspace"))
	b := &bench{duration: duration, address: fmt.Sprintf("127.0.0.1:%d", port), workspace: w, dir: dir}
	if err := b.prepare(); err != nil {
		return err
	}
	return b.measure()
}

// prepare makes the client's TLS configuration and starts the empty handler.
func (b *bench) prepare() error {
	text, err := os.ReadFile(b.workspace.Common("service_cert.pem"))
	if err != nil {
		return err
	}
	service, err := identity.ParseCertificate(text)
	if err != nil {
		return err
	}
	own, err := tls.LoadX509KeyPair(b.workspace.Common("user0_cert.pem"), b.workspace.Common("user0_privk.pem"))
	if err != nil {
		return err
	}
	b.tls = identity.ClientTLS(service, &own)
	if b.node, err = nodePID(b.workspace); err != nil {
		return err
	}
	return b.startEmpty()
}

// startEmpty runs this program again as the empty handler.
func (b *bench) startEmpty() error {
	curve, err := identity.CurveByName("secp384r1")
	if err != nil {
		return err
	}
	who, err := identity.NewParticipant("empty", curve, time.Now(), 1, false)
	if err != nil {
		return err
	}
	if err := who.Save(durable.OS(), b.dir, "empty"); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-empty", b.dir)
	ready := &watcher{want: "\n", seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = ready, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	b.stopEmpty = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	b.empty = cmd.Process.Pid
	select {
	case <-ready.seen:
	case <-time.After(time.Minute):
		return errors.New("the empty handler does not start")
	}
	b.emptyAddress = strings.TrimSpace(ready.text())
	b.emptyTLS = &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, Certificates: b.tls.Certificates, VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return nil }}
	return nil
}

func freePort() (int, error) {
	var lc net.ListenConfig
	for port := 20000; port < 32000; port += 7 {
		if ln, err := lc.Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, ln.Close()
		}
	}
	return 0, errors.New("no free port")
}

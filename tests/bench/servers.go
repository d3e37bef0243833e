package main

import (
	"context"
	"crypto/tls"
	"errors"
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

// bench is one run: its servers and how to stop them.
type bench struct {
	duration          time.Duration
	rows, conns       string // what to measure
	dir               string
	js, native, empty *target
	app               *target // the bench's own application
	stops             []func()
}

// stop ends the servers, the last first.
func (b *bench) stop() {
	for i := len(b.stops) - 1; i >= 0; i-- {
		b.stops[i]()
	}
	b.stops = nil
}

// startService runs `chancery up` until the service is open.
func (b *bench) startService(name, chancery string, args ...string) (*target, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	w := supervise.Workspace(filepath.Join(b.dir, name))
	up := exec.Command(chancery, append([]string{"up", "--workspace", string(w), "--port", fmt.Sprint(port)}, args...)...)
	opened := &watcher{want: "Ctrl-C stops it", seen: make(chan struct{})}
	up.Stdout, up.Stderr = opened, opened
	if err := up.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", chancery, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- up.Wait() }()
	b.stops = append(b.stops, func() {
		_ = up.Process.Signal(os.Interrupt)
		<-ended
	})
	select {
	case <-opened.seen:
	case err := <-ended:
		ended <- err
		return nil, fmt.Errorf("the service ended: %w\n%s", err, opened.text())
	case <-time.After(2 * time.Minute):
		return nil, errors.New("the service does not open")
	}
	return serviceTarget(w, fmt.Sprintf("127.0.0.1:%d", port))
}

// serviceTarget is how to reach an open service as its user.
func serviceTarget(w supervise.Workspace, address string) (*target, error) {
	text, err := os.ReadFile(w.Common("service_cert.pem"))
	if err != nil {
		return nil, err
	}
	service, err := identity.ParseCertificate(text)
	if err != nil {
		return nil, err
	}
	own, err := tls.LoadX509KeyPair(w.Common("user0_cert.pem"), w.Common("user0_privk.pem"))
	if err != nil {
		return nil, err
	}
	pid, err := nodePID(w)
	if err != nil {
		return nil, err
	}
	return &target{address: address, tls: identity.ClientTLS(service, &own), service: service, own: &own, pid: pid, ledger: w}, nil
}

// startEmpty runs this program again as the empty handler.
func (b *bench) startEmpty() (*target, error) {
	curve, err := identity.CurveByName("secp384r1")
	if err != nil {
		return nil, err
	}
	who, err := identity.NewParticipant("empty", curve, time.Now(), 1, false)
	if err != nil {
		return nil, err
	}
	if err := who.Save(durable.OS(), b.dir, "empty"); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-empty", b.dir)
	ready := &watcher{want: "\n", seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = ready, os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.stops = append(b.stops, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	select {
	case <-ready.seen:
	case <-time.After(time.Minute):
		return nil, errors.New("the empty handler does not start")
	}
	return &target{
		address: strings.TrimSpace(ready.text()), pid: cmd.Process.Pid,
		tls: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, Certificates: b.js.tls.Certificates},
	}, nil
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

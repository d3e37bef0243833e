package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"chancery/client"
)

// stopWithin is how long a node may take to stop before it is killed.
const stopWithin = 10 * time.Second

// process is a running node.
type process struct {
	home  home
	cmd   *exec.Cmd
	ended chan struct{} // closed once the process is gone
	err   error         // why; valid after ended
}

// start runs chanceryd in the node's directory, in a process group of its own, so that
// Ctrl-C reaches this program alone. The node gets SIGTERM if this program dies.
func (h home) start(chanceryd string) (*process, error) {
	if err := h.clearPID(); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(h.file("out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the node's log: %w", err)
	}
	cmd := exec.Command(chanceryd, "--config", "config.json")
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = string(h), out, out, []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p := &process{home: h, cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Pdeathsig follows the thread that started the process, so it is kept.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.ended)
		}
	}()
	err = <-started
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", chanceryd, err)
	}
	return p, nil
}

// clearPID removes the PID file of a node that was killed.
func (h home) clearPID() error {
	text, err := os.ReadFile(h.file("node.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the PID file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil && pid > 0 {
		if h.holds(pid) {
			return fmt.Errorf("a node of this workspace still runs as process %d: stop it, or choose another --workspace", pid)
		}
	}
	return os.Remove(h.file("node.pid"))
}

// holds says whether a process works in the node's directory, as a node does.
func (h home) holds(pid int) bool {
	there, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return false
	}
	here, err := os.Stat(string(h))
	return err == nil && os.SameFile(here, there)
}

// stop ends the node: it signs what it has and exits.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping the node: %w", err)
	}
	late := time.NewTimer(stopWithin)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("killing the node: %w", err)
		}
		<-p.ended
	}
	if p.err != nil {
		return fmt.Errorf("the node ended: %w", p.err)
	}
	return nil
}

// until runs step again and again until it succeeds, the node ends or ctx does.
func (p *process) until(ctx context.Context, step func(context.Context) error) error {
	err := repeat(ctx, 50*time.Millisecond, p.ended, step)
	if errors.Is(err, errEnded) {
		return p.died()
	}
	return err
}

// service waits until the node serves a service that has its certificate in a file, and
// returns a client and what the service says of itself.
func (p *process) service(ctx context.Context, certificate, url string) (c *client.Client, info *client.ServiceInfo, err error) {
	err = p.until(ctx, func(ctx context.Context) error {
		cert, err := readCertificate(certificate)
		if err != nil {
			return err
		}
		if c == nil {
			if c, err = client.New(client.Config{URLs: []string{url}, Service: cert}); err != nil {
				return err
			}
		}
		info, err = c.ServiceInfo(ctx)
		return err
	})
	if err != nil && c != nil {
		c.Close()
	}
	return c, info, err
}

// errDied says that a node's process ended.
var errDied = errors.New("the node ended")

// died says how the node ended, and what its log says last.
func (p *process) died() error {
	return fmt.Errorf("%w (%w); its log %s says:\n%s", errDied, orExit(p.err), p.home.file("out"), p.home.lastLines())
}

func orExit(err error) error {
	if err == nil {
		return errors.New("exit 0")
	}
	return err
}

// lastLines returns the end of the node's log.
func (h home) lastLines() string {
	text, err := os.ReadFile(h.file("out"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

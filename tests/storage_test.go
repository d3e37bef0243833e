package tests

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"chancery/client"
)

// prepared is a sandbox whose service was opened and stopped, ready to be resumed by
// start, with record 0.
func prepared(t *testing.T) *sandbox {
	t.Helper()
	s := newSandbox(t)
	s.up()
	c := s.client()
	defer c.Close()
	if _, err := c.Do(t.Context(), put(0, "before")); err != nil {
		t.Fatal(err)
	}
	s.interrupt()
	s.configure(command("Resume"))
	return s
}

// fill commits records 1 to last, and returns all that the service holds then.
func (s *sandbox) fill(c *client.Client, last int, msg string) map[int]string {
	s.t.Helper()
	records := map[int]string{0: "before"}
	for id := 1; id <= last; id++ {
		if _, err := c.Do(s.t.Context(), put(id, msg)); err != nil {
			s.t.Fatal(err)
		}
		records[id] = msg
	}
	return records
}

// mount puts a file system under the node's directory, with what was there.
func (s *sandbox) mount(args ...string) {
	s.t.Helper()
	aside := s.home() + ".aside"
	if err := os.Rename(s.home(), aside); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Mkdir(s.home(), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command("mount", append(args, s.home())...).CombinedOutput(); err != nil {
		s.t.Skipf("needs root and a kernel that mounts: mount %v: %v\n%s", args, err, out)
	}
	s.t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", s.home()).CombinedOutput(); err != nil {
			s.t.Errorf("umount: %v\n%s", err, out)
		}
	})
	if out, err := exec.Command("cp", "-a", aside+"/.", s.home()).CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	unix.Sync()
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// TestFaultDiskFull fills the disk of ledger and Raft under a running node: nothing is
// acknowledged that is not there, reads go on while the node lives, and with more room
// (for the same process, or for the next one) the service takes writes again.
func TestFaultDiskFull(t *testing.T) {
	s := prepared(t)
	s.mount("-t", "tmpfs", "-o", "size=6m", "tmpfs")
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	acked := map[int]string{0: "before"}
	big := strings.Repeat("x", 200<<10)
	var refused error
	for id := 1; refused == nil; id++ {
		if id > 200 {
			t.Fatal("the disk does not fill up")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, refused = c.Do(ctx, put(id, big)); refused == nil {
			acked[id] = big
		}
		cancel()
	}
	t.Logf("%d records fit; then: %v", len(acked), refused)
	if strings.Contains(refused.Error(), "stopping") {
		n.await(20 * time.Second)
	} else {
		s.holds(c, acked)
	}
	tool(t, "mount", "-o", "remount,size=256m", s.home())
	if n.gone() {
		if n.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(n.log(), "no space left on device") {
			t.Fatalf("exit code %d, and the log does not name the disk:\n%s", n.cmd.ProcessState.ExitCode(), n.log())
		}
		n = s.start()
		n.open(c)
	}
	until(t, "writes are taken again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := c.Do(ctx, put(1000, "after"))
		return err == nil
	})
	acked[1000] = "after"
	s.holds(c, acked)
	n.stop()
	n = s.start()
	n.open(c)
	s.holds(c, acked)
	n.stop()
	s.sh("bin/chancery ledger verify workspace/sandbox_0/ledger")
}

// goingDown is ext4's ioctl that makes every later access to the file system fail, as
// a disk does that is pulled out.
const goingDown = 0x8004587d

// TestFaultDiskGone takes the disk away under a running node: it ends by itself, with a
// message, and what it had acknowledged is there when the disk comes back.
func TestFaultDiskGone(t *testing.T) {
	s := prepared(t)
	image := filepath.Join(s.dir, "disk")
	tool(t, "truncate", "-s", "96M", image)
	if out, err := exec.Command("mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		t.Skipf("needs mkfs.ext4: %v\n%s", err, out)
	}
	s.mount("-o", "loop", image)
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	acked := s.fill(c, 20, "kept")
	dir, err := os.Open(s.home())
	if err != nil {
		t.Fatal(err)
	}
	noFlush := uint32(2) // what is not on the disk yet is lost
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), goingDown, uintptr(unsafe.Pointer(&noFlush)))
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	if errno != 0 {
		t.Skipf("needs an ext4 that can be shut down: %v", errno)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.Do(ctx, put(21, "lost")); err == nil {
		t.Error("a commit was acknowledged without a disk")
	}
	if code := n.await(20 * time.Second); code != 1 || !strings.Contains(n.log(), "input/output error") {
		t.Errorf("exit code %d, want 1 and a log that names the disk:\n%s", code, n.log())
	}
	tool(t, "umount", s.home())
	tool(t, "mount", "-o", "loop", image, s.home())
	n = s.start()
	n.open(c)
	s.holds(c, acked)
	n.stop()
	s.sh("bin/chancery ledger verify workspace/sandbox_0/ledger")

	tool(t, "mount", "-o", "remount,ro", s.home())
	n = s.run("--config", "config.json")
	if code := n.await(20 * time.Second); code == 0 || !strings.Contains(n.log(), "read-only file system") {
		t.Errorf("on a read-only disk: exit code %d\n%s", code, n.log())
	}
}

// TestFaultOpenFiles leaves a running node few file descriptors, and clients take all
// they get: sessions that are there go on, chunks are closed and begun, and once the
// clients have gone, new sessions are served again (row 25 of the fault matrix).
func TestFaultOpenFiles(t *testing.T) {
	s := prepared(t)
	s.configure(func(c map[string]any) { c["ledger"] = map[string]any{"chunk_size": "20KB"} })
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	if err := unix.Prlimit(n.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: 1000}, nil); err != nil {
		t.Fatal(err)
	}
	var idle []net.Conn
	refused := func() bool { // the node closes what it does not take
		conn, err := tls.Dial("tcp", "127.0.0.1:"+s.port, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			idle = append(idle, conn)
		}
		return err != nil
	}
	for i := 0; !refused(); i++ {
		if i > 100 {
			t.Fatal("more sessions than file descriptors")
		}
	}
	acked := s.fill(c, 40, strings.Repeat("x", 2000))
	chunks, err := filepath.Glob(filepath.Join(s.home(), "ledger", "*.committed"))
	if err != nil || len(chunks) < 3 {
		t.Errorf("%d chunks were closed meanwhile (%v)", len(chunks), err)
	}
	for _, conn := range idle {
		if err := conn.Close(); err != nil {
			t.Log(err)
		}
	}
	until(t, "new sessions are served", func() bool { return !refused() })
	s.holds(c, acked)
	n.stop()
}

// TestFaultMemory leaves a node no more memory than it has, under load: whether it ends
// or not, nothing acknowledged is lost.
func TestFaultMemory(t *testing.T) {
	s := prepared(t)
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	var status unix.Rlimit
	if err := unix.Prlimit(n.cmd.Process.Pid, unix.RLIMIT_AS, nil, &status); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(n.cmd.Process.Pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: 1 << 20, Max: status.Max}, nil); err != nil {
		t.Fatal(err)
	}
	acked := map[int]string{0: "before"}
	big := strings.Repeat("m", 300<<10)
	for id := 1; id < 300 && !n.gone(); id++ {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := c.Do(ctx, put(id, big)); err == nil {
			acked[id] = big
		}
		cancel()
	}
	t.Logf("%d records, ended: %v", len(acked), n.gone())
	n.kill()
	n = s.start()
	n.open(c)
	s.holds(c, acked)
	n.stop()
}

// TestWrongCommand starts nodes on directories that are not what their command needs:
// each ends at once, says why, and touches nothing (rows 11 and 31 of the fault matrix).
func TestWrongCommand(t *testing.T) {
	s := prepared(t)
	const sums = "cd workspace/sandbox_0; find ledger ledger.raft insecure_keys.json -type f | sort | xargs sha256sum"
	before := s.sh(sums)
	ended := func(name string, code int, texts ...string) {
		t.Helper()
		n := s.run("--config", "config.json")
		if got := n.await(20 * time.Second); got != code {
			t.Errorf("%s: exit code %d, want %d", name, got, code)
		}
		for _, text := range texts {
			if !strings.Contains(n.log(), text) {
				t.Errorf("%s: the log does not say %q:\n%s", name, text, n.log())
			}
		}
	}
	s.configure(command("Start"))
	ended("Start over a ledger", 105, "ledger.directory: On start, ledger directory should not exist or be empty (ledger)", "insecure_keys.json exists")
	if after := s.sh(sums); after != before {
		t.Errorf("files were changed: before\n%safter\n%s", before, after)
	}
	s.configure(command("Resume"))
	if err := os.WriteFile(filepath.Join(s.home(), "node.pid"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended("with a PID file", 103, "PID file node.pid already exists. Exiting.\n")
	if err := os.Remove(filepath.Join(s.home(), "node.pid")); err != nil {
		t.Fatal(err)
	}
	n := s.start()
	c := s.client()
	defer c.Close()
	n.open(c)
	s.configure(func(c map[string]any) {
		c["output_files"] = map[string]any{"pid_file": "second.pid"}
		c["network"].(map[string]any)["rpc_interfaces"].(map[string]any)["primary_rpc_interface"].(map[string]any)["bind_address"] = "127.0.0.1:0"
	})
	ended("two nodes on one directory", 1, "ledger", "another process")
	n.stop()
	s.configure(func(c map[string]any) {
		delete(c, "output_files")
		c["network"].(map[string]any)["rpc_interfaces"].(map[string]any)["primary_rpc_interface"].(map[string]any)["bind_address"] = "127.0.0.1:" + s.port
	})

	foreign := prepared(t)
	for name, move := range map[string]string{"ledger": "the ledger of another service", "insecure_keys.json": "the keys of another service"} {
		own, other := filepath.Join(s.home(), name), filepath.Join(foreign.home(), name)
		if err := errors.Join(os.Rename(own, own+".own"), os.Rename(other, own)); err != nil {
			t.Fatal(err)
		}
		ended(move, 1)
		if err := errors.Join(os.Rename(own, other), os.Rename(own+".own", own)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(s.home(), "ledger"), filepath.Join(s.home(), "ledger.own")); err != nil {
		t.Fatal(err)
	}
	ended("Resume without a ledger", 1, "holds no signed transaction")
	if err := errors.Join(os.RemoveAll(filepath.Join(s.home(), "ledger")), os.Rename(filepath.Join(s.home(), "ledger.own"), filepath.Join(s.home(), "ledger"))); err != nil {
		t.Fatal(err)
	}
	n = s.start()
	n.open(c)
	s.holds(c, map[int]string{0: "before"})
	n.stop()
}

// TestFaultEditedRaft changes bytes of Raft's file under a running node and then kills
// it: the next one either has all that was acknowledged or refuses to begin, naming
// what is wrong. It never begins with less.
func TestFaultEditedRaft(t *testing.T) {
	s := prepared(t)
	paths, err := filepath.Glob(filepath.Join(s.home(), "ledger.raft", "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files of Raft's: %v", err)
	}
	for step := range 4 {
		c := s.client()
		n := s.start()
		n.open(c)
		acked := s.fill(c, 5, "kept")
		saved := s.save(t)
		for _, path := range paths {
			damage(t, path, step)
		}
		for id := 6; id <= 8 && !n.gone(); id++ { // from memory, or not at all
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			if _, err := c.Do(ctx, put(id, "on a damaged file")); err == nil {
				acked[id] = "on a damaged file"
			}
			cancel()
		}
		n.kill()
		n = s.start()
		if s.opens(n, c) {
			s.holds(c, acked)
			n.stop()
		} else {
			t.Logf("step %d: refused: %s", step, lastLine(n.log()))
			if n.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(lastLine(n.log()), "raft") {
				t.Errorf("step %d: exit code %d, and the last line does not name Raft's file: %s", step, n.cmd.ProcessState.ExitCode(), lastLine(n.log()))
			}
		}
		c.Close()
		s.restore(t, saved)
	}
}

func lastLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return lines[len(lines)-1]
}

// opens waits until the node serves or ends.
func (s *sandbox) opens(n *node, c *client.Client) (open bool) {
	s.t.Helper()
	until(s.t, "the node serves or ends", func() bool {
		open = ready(s.t, c)
		return open || n.gone()
	})
	return open
}

// save copies the node's directory; restore puts the copy back.
func (s *sandbox) save(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "saved")
	tool(t, "cp", "-a", s.home(), dir)
	return dir
}

func (s *sandbox) restore(t *testing.T, saved string) {
	t.Helper()
	if err := os.RemoveAll(s.home()); err != nil {
		t.Fatal(err)
	}
	tool(t, "cp", "-a", saved, s.home())
}

// damage changes a file in one of several ways, in place.
func damage(t *testing.T, path string, how int) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	switch how {
	case 0: // a bit in each page
		for i := 100; i < len(data); i += 4096 {
			data[i] ^= 4
		}
	case 1: // the data, not the pages' headers
		for i := range data {
			if i%4096 > 2048 {
				data[i] ^= 1
			}
		}
	case 2: // zeroes in the second half
		clear(data[len(data)/2:])
	case 3: // all of it
		for i := range data {
			data[i] ^= 0xff
		}
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

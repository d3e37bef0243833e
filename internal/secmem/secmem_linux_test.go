package secmem

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestMapping reads the kernel's view of a buffer's pages: locked ("lo") and
// left out of dumps ("dd").
func TestMapping(t *testing.T) {
	buf, err := New(32)
	if err != nil {
		t.Fatal(err)
	}
	defer buf.Wipe()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skipf("SKIPPED: no smaps here: %v", err)
	}
	start := fmt.Sprintf("%x", uintptr(unsafe.Pointer(unsafe.SliceData(buf.Bytes()))))
	_, rest, ok := strings.Cut(string(smaps), start+"-")
	if !ok {
		// The kernel merges neighbouring mappings with equal flags.
		t.Skip("SKIPPED: the page is part of a larger mapping")
	}
	_, flags, _ := strings.Cut(rest, "VmFlags:")
	flags, _, _ = strings.Cut(flags, "\n")
	if !strings.Contains(flags, " dd") {
		t.Errorf("page flags %q lack dd: it would be dumped", flags)
	}
	if buf.Locked() && !strings.Contains(flags, " lo") {
		t.Errorf("page flags %q lack lo: it is not locked", flags)
	}
}

// TestHardenProcess hardens a child process and asks it what became of it.
func TestHardenProcess(t *testing.T) {
	if os.Getenv("SECMEM_CHILD") == "1" {
		hardenedChild()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestHardenProcess$")
	cmd.Env = append(os.Environ(), "SECMEM_CHILD=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("core 0 dumpable 0 memlock full")) {
		t.Errorf("child says %s", out)
	}
}

func hardenedChild() {
	if err := HardenProcess(); err != nil {
		fmt.Println("harden:", err)
	}
	var core, lock unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	_ = unix.Getrlimit(unix.RLIMIT_MEMLOCK, &lock)
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	memlock := "full"
	if lock.Cur != lock.Max {
		memlock = "partial"
	}
	fmt.Printf("core %d dumpable %d memlock %s %v\n", core.Max, dumpable, memlock, err)
	os.Exit(0)
}

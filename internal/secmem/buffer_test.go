package secmem

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
)

func TestBuffer(t *testing.T) {
	src := []byte("a secret")
	buf, err := From(src)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(src, make([]byte, len(src))) {
		t.Error("From left the secret in its source")
	}
	if got := string(buf.Bytes()); got != "a secret" {
		t.Errorf("Bytes is %q", got)
	}
	if cap(buf.Bytes()) != len(src) {
		t.Error("the slice reaches beyond the secret")
	}
	buf.Wipe()
	buf.Wipe()
	if buf.Bytes() != nil {
		t.Error("a wiped buffer still gives bytes")
	}
}

func TestSizes(t *testing.T) {
	for _, n := range []int{0, 1, 32, 4095, 4096, 4097, 1 << 20} {
		buf, err := New(n)
		if err != nil {
			t.Fatal(err)
		}
		if len(buf.Bytes()) != n || !bytes.Equal(buf.Bytes(), make([]byte, n)) {
			t.Errorf("New(%d) is not %d zero bytes", n, n)
		}
		for i := range buf.Bytes() {
			buf.Bytes()[i] = 0xa5
		}
		buf.Wipe()
	}
	if _, err := New(-1); err == nil {
		t.Error("a negative size was accepted")
	}
}

// TestRedaction prints a buffer in every way that a log could.
func TestRedaction(t *testing.T) {
	buf, err := From([]byte("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	defer buf.Wipe()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", buf)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", buf)
	j, err := json.Marshal(map[string]any{"key": buf})
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%v %+v %#v %s %x %d ", buf, buf, buf, buf, buf, buf) + log.String() + string(j)
	for _, leak := range []string{"hunter2", "68756e74657232", "104 117"} {
		if bytes.Contains([]byte(out), []byte(leak)) {
			t.Errorf("the secret shows: %s", out)
		}
	}
}

func TestConcurrentReaders(t *testing.T) {
	buf, err := From([]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if b := buf.Bytes(); b[0] != 1 || b[2] != 3 {
					t.Error("torn read")
				}
			}
		})
	}
	wg.Wait()
	buf.Wipe()
}

package main

import (
	"bufio"
	"crypto/tls"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed app
var appFiles embed.FS

// startApp runs a service with the bench's own JavaScript application.
func (b *bench) startApp(chancery string) error {
	files, err := fs.Sub(appFiles, "app")
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "app")
	if err := os.CopyFS(dir, files); err != nil {
		return err
	}
	b.app, err = b.startService("app-service", chancery, "--app", dir)
	return err
}

// jsLoads are the rows about the engine: what an endpoint costs that does nothing, reads,
// writes a document of 1 KB, verifies a signature; and what a kept interpreter saves.
func (b *bench) jsLoads() ([]load, error) {
	if _, err := b.app.writeOne(post("/app/setup", "wait=commit", "{}")); err != nil {
		return nil, err
	}
	ask := func(path string) func(uint64) string { return func(uint64) string { return get(path) } }
	return []load{
		{"JS empty", b.app, ask("/app/empty")},
		{"JS empty, reused", b.app, ask("/app/reused/empty")},
		{"JS small read", b.app, ask("/app/read")},
		{"JS small read, reused", b.app, ask("/app/reused/read")},
		{"JS verify P-256", b.app, ask("/app/verify")},
		{"JS write, 1 KB of JSON", b.app, func(n uint64) string { return post("/app/write", "respond-async", document(n)) }},
	}, nil
}

// document is 1 KB of JSON.
func document(n uint64) string {
	const item = `{"name": "an item", "count": 12, "tags": ["a", "b"]}`
	items := strings.Repeat(item+", ", 18) + item
	return fmt.Sprintf(`{"id": "%d", "items": [%s]}`, n%10000, items)
}

// printJS measures what is no rate: the first request to an application of 50 KB of
// TypeScript, and how late an endless loop is stopped.
func (b *bench) printJS(chancery string) error {
	cold, warm, err := b.coldStart(chancery)
	if err != nil {
		return err
	}
	late, err := b.interrupt(chancery)
	if err != nil {
		return err
	}
	fmt.Printf("first request to an application of 50 KB of TypeScript: %v, later ones %v\n", cold.Round(10*time.Microsecond), warm.Round(10*time.Microsecond))
	fmt.Printf("an endless loop is answered %v after its limit of %v\n", late.Round(10*time.Microsecond), loopLimit)
	return nil
}

// command runs a command of chancery on the service of the bench's application.
func (b *bench) command(chancery string, args ...string) error {
	cmd := exec.Command(chancery, append(args, "--workspace", string(b.app.ledger))...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// bundleBytes is the size of the application whose first request is measured.
const bundleBytes = 50_000

// coldStart deploys an application and times its first request, and the median of later
// ones, on a connection that is open already.
func (b *bench) coldStart(chancery string) (cold, warm time.Duration, err error) {
	dir := filepath.Join(b.dir, "cold")
	if err := os.MkdirAll(filepath.Join(dir, "src"), 0o755); err != nil {
		return 0, 0, err
	}
	const metadata = `{"endpoints": {"/cold": {"get": {"js_module": "cold.js", "js_function": "handler", "mode": "readonly", "forwarding_required": "sometimes", "authn_policies": ["user_cert"], "openapi": {}}}}}`
	if err := os.WriteFile(filepath.Join(dir, "app.json"), []byte(metadata), 0o644); err != nil {
		return 0, 0, err
	}
	var colds []time.Duration
	for round := range 5 {
		if err := os.WriteFile(filepath.Join(dir, "src", "cold.ts"), []byte(largeSource(round)), 0o644); err != nil {
			return 0, 0, err
		}
		if err := b.command(chancery, "app", "deploy", dir); err != nil {
			return 0, 0, err
		}
		c, err := tls.Dial("tcp", b.app.address, b.app.tls)
		if err != nil {
			return 0, 0, err
		}
		defer c.Close()
		r := bufio.NewReader(c)
		if _, _, err := timed(c, r, "/app/commit"); err != nil { // the handshake is over
			return 0, 0, err
		}
		took, status, err := timed(c, r, "/app/cold")
		if err != nil || status != http.StatusOK {
			return 0, 0, fmt.Errorf("the first request: %d, %w", status, err)
		}
		colds = append(colds, took)
		warm, err = median(100, func(int) error {
			_, _, err := timed(c, r, "/app/cold")
			return err
		})
		if err != nil {
			return 0, 0, err
		}
	}
	return middle(colds), warm, nil
}

// largeSource is bundleBytes of TypeScript of an ordinary kind.
func largeSource(round int) string {
	var s strings.Builder
	fmt.Fprintf(&s, "const round: number = %d;\n", round)
	n := 0
	for ; s.Len() < bundleBytes; n++ {
		fmt.Fprintf(&s, `
interface Shape%[1]d { readonly name: string; sides: number[]; }
function area%[1]d(shape: Shape%[1]d, scale: number = %[1]d): number {
  if (shape.sides.length === 0) { throw new Error("shape " + shape.name + " has no sides"); }
  return shape.sides.map((side) => side * scale).reduce((sum, side) => sum + side, 0) + round;
}
`, n)
	}
	fmt.Fprintf(&s, "\nexport function handler() {\n  return { body: [")
	for i := range n {
		fmt.Fprintf(&s, "area%[1]d, ", i)
	}
	fmt.Fprintf(&s, "].length + area0({ name: \"a\", sides: [1, 2] }) };\n}\n")
	return s.String()
}

// loopLimit is the execution time that endless loops are given.
const loopLimit = 200 * time.Millisecond

// interrupt is by how much an endless loop outlives its limit, in the median.
func (b *bench) interrupt(chancery string) (time.Duration, error) {
	proposal, err := json.Marshal(map[string]any{"actions": []any{map[string]any{"name": "set_js_runtime_options", "args": map[string]any{
		"max_heap_bytes": 100 << 20, "max_stack_bytes": 1 << 20, "max_execution_time_ms": loopLimit.Milliseconds(),
		"log_exception_details": false, "return_exception_details": false,
	}}}})
	if err != nil {
		return 0, err
	}
	file := filepath.Join(b.dir, "options.json")
	if err := os.WriteFile(file, proposal, 0o600); err != nil {
		return 0, err
	}
	if err := b.command(chancery, "gov", "propose", file); err != nil {
		return 0, err
	}
	if err := b.command(chancery, "app", "deploy", filepath.Join(b.dir, "app")); err != nil {
		return 0, err
	}
	c, err := tls.Dial("tcp", b.app.address, b.app.tls)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	took, err := median(7, func(int) error {
		_, status, err := timed(c, r, "/app/loop")
		if err == nil && status != http.StatusInternalServerError {
			err = fmt.Errorf("an endless loop is answered %d", status)
		}
		return err
	})
	return took - loopLimit, err
}

// timed asks once, and returns how long the answer took and its status.
func timed(c *tls.Conn, r *bufio.Reader, path string) (time.Duration, int, error) {
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	if _, err := io.WriteString(c, get(path)); err != nil {
		return 0, 0, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, 0, err
	}
	return time.Since(begun), resp.StatusCode, nil
}

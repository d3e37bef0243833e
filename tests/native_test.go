package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"chancery/client"
)

// TestNativeApp runs the logging application that is compiled into a node, and the one
// in JavaScript, and asks both the same: status, code and body are the same.
func TestNativeApp(t *testing.T) {
	native := newSandbox(t)
	if err := os.Link(binary(t, "logging"), filepath.Join(native.dir, "bin", "logging")); err != nil {
		t.Fatal(err)
	}
	native.up("--node", "bin/logging")
	script := newSandbox(t)
	script.up()
	a, b := native.client(), script.client()
	defer a.Close()
	defer b.Close()
	post := func(path string, body any) client.Request {
		return client.Request{Method: "POST", Path: path, JSON: body}
	}
	for _, kind := range []string{"private", "public"} {
		at := "/app/log/" + kind
		for _, r := range []client.Request{
			post(at, map[string]any{"id": 7, "msg": "seven"}),
			post(at, map[string]any{"id": 8, "msg": "eight"}),
			{Method: "GET", Path: at + "?id=7"},
			{Method: "GET", Path: at + "?id=9"},
			{Method: "GET", Path: at + "/count"},
			post(at, map[string]any{"id": 7, "msg": ""}),
			post(at, map[string]any{"msg": "no id"}),
			{Method: "DELETE", Path: at + "?id=7"},
			{Method: "GET", Path: at + "?id=7"},
			{Method: "DELETE", Path: at + "/all"},
			{Method: "GET", Path: at + "/count"},
			{Method: "PUT", Path: at + "/count"},
		} {
			if got, want := said(t, a, r), said(t, b, r); got != want {
				t.Errorf("%s %s %v: in Go %s, in JavaScript %s", r.Method, r.Path, r.JSON, got, want)
			}
		}
	}
	claim := post("/app/log/public", map[string]any{"id": 1, "msg": "claimed", "record_claim": true})
	claim.Wait = client.ForReceipt
	resp, err := a.Do(t.Context(), claim)
	if err != nil || resp.Receipt == nil {
		t.Fatalf("a claim with its receipt: %+v, %v", resp, err)
	}
	native.interrupt()
	native.up("--node", "bin/logging") // resumes
	if got := said(t, a, client.Request{Method: "GET", Path: "/app/log/public?id=1"}); got != `200 {"msg":"claimed"}` {
		t.Errorf("after a restart: %s", got)
	}
}

// said is an answer's status and body.
func said(t *testing.T, c *client.Client, r client.Request) string {
	t.Helper()
	resp, err := c.Do(t.Context(), r)
	var refused *client.Error
	switch {
	case err == nil:
		return fmt.Sprintf("%d %s", resp.Status, resp.Body)
	case errors.As(err, &refused):
		return fmt.Sprintf("%d %s", refused.Status, refused.Message)
	}
	t.Fatalf("%s %s: %v", r.Method, r.Path, err)
	return ""
}

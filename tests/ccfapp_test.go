package tests

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/client"
	"chancery/samples"
)

// notThere are members that the package declares and CCF's runtime does not have either,
// with the reason.
var notThere = map[string]string{
	"ccf.generateAesKey":        "deprecated: moved to ccf.crypto",
	"ccf.generateRsaKeyPair":    "deprecated: moved to ccf.crypto",
	"ccf.generateEcdsaKeyPair":  "deprecated: moved to ccf.crypto",
	"ccf.wrapKey":               "deprecated: moved to ccf.crypto",
	"ccf.digest":                "deprecated: moved to ccf.crypto",
	"ccf.isValidX509CertBundle": "deprecated: moved to ccf.crypto",
	"ccf.isValidX509CertChain":  "deprecated: moved to ccf.crypto",
}

// interfaces are the declared interfaces whose members are at a path.
var interfaces = map[string]string{
	"CCF": "ccf", "CCFCrypto": "ccf.crypto", "CCFRpc": "ccf.rpc", "CCFConsensus": "ccf.consensus", "CCFHistorical": "ccf.historical",
	"KvMap": "ccf.kv.m", "SnpAttestation": "snp_attestation",
}

// TestCCFAppPackage builds, checks and runs an application over CCF's npm package, of the
// version that testdata/ccfapp/package.json pins: typed maps, claims, states of the past,
// cryptography; and asks for every function that the package declares.
func TestCCFAppPackage(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches a package")
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("SKIPPED: applications over @microsoft/ccf-app are tested where npm is installed")
	}
	dir := filepath.Join(t.TempDir(), "app")
	if err := os.CopyFS(dir, os.DirFS("testdata/ccfapp")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "types"), samples.Types()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, "install", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: the package @microsoft/ccf-app could not be fetched: %v\n%.500s", err, out)
	}
	checkTypes(t, dir)
	s := newSandbox(t)
	s.up("--app", dir)
	c := s.client()
	defer c.Close()
	t.Run("declared", func(t *testing.T) {
		declaredThere(t, c, filepath.Join(dir, "node_modules/@microsoft/ccf-app/global.d.ts"))
	})
	t.Run("typed", func(t *testing.T) { typed(t, c) })
	t.Run("crypto", func(t *testing.T) {
		wants(t, c, "GET", "/crypto", nil, `200 {"digest":"3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7",`+
			`"ECDSA":[true,false],"EdDSA":[true,false],"RSA-PSS":[true,false],"AES-KWP":true,"RSA-OAEP":true,"RSA-OAEP-AES-KWP":true,`+
			`"jwk":[true,true,true,true,true,true],"certs":[false,false]}`)
	})
	t.Run("converters", func(t *testing.T) { wants(t, c, "POST", "/converters", object{}, `200 []`) })
}

// declaredThere asks the engine for each member of the interfaces.
func declaredThere(t *testing.T, c *client.Client, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	member := regexp.MustCompile(`(?m)^    (\w+)(\??)(<[^(]*>)?([(:])`)
	want := make(map[string]string)
	for name, path := range interfaces {
		_, rest, ok := strings.Cut(string(text), "export interface "+name+" {\n")
		block, _, closed := strings.Cut(rest, "\n}\n")
		if !ok || !closed {
			t.Fatalf("no interface %s", name)
		}
		for _, m := range member.FindAllStringSubmatch(block, -1) {
			kind := "function"
			switch {
			case m[2] == "?": // of some endpoints only
				continue
			case m[1] == "size":
				kind = "number"
			case m[4] == ":":
				kind = "object"
			}
			want[path+"."+m[1]] = kind
		}
	}
	for path := range notThere {
		if want[path] == "" {
			t.Errorf("%s is listed as absent and not declared", path)
		}
		want[path] = "undefined"
	}
	if len(want) < 57 {
		t.Fatalf("only %d members are declared: %v", len(want), slices.Sorted(maps.Keys(want)))
	}
	resp, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/app/kinds", JSON: slices.Sorted(maps.Keys(want))})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(resp.Body, &got); err != nil {
		t.Fatal(err)
	}
	for path, kind := range want {
		if got[path] != kind {
			t.Errorf("%s is %q, want %q", path, got[path], kind)
		}
	}
}

// typed writes, reads, and looks back, by ids and values that have types.
func typed(t *testing.T, c *client.Client) {
	item := object{"text": "one", "tags": []string{"b", "a"}}
	resp, err := c.Do(t.Context(), client.Request{Method: "PUT", Path: "/app/items/7", JSON: item, Wait: client.ForCommit})
	if err != nil || resp.Status != 201 || string(resp.Body) != `{"size":1,"tags":2}` {
		t.Fatalf("put: %+v, %v", resp, err)
	}
	const stored = `{"tags":["b","a"],"text":"one"}`
	wants(t, c, "GET", "/items/8", nil, "404 ")
	wants(t, c, "GET", "/items/7", nil, fmt.Sprintf(`200 {"item":%s,"tags":["a","b"],"version":%d,"policy":"user_cert","last":2}`, stored, resp.TxID.Seqno))
	wants(t, c, "DELETE", "/items/7", nil, "404 ")
	wants(t, c, "GET", "/items/7", nil, fmt.Sprintf(`200 {"item":%s,"tags":["a","b"],"version":%d,"policy":"user_cert","last":2}`, stored, resp.TxID.Seqno))
	wants(t, c, "DELETE", "/items/7?apply", nil, "404 ")
	wants(t, c, "GET", "/items/7", nil, "404 ")

	sum := sha256.Sum256([]byte(stored))
	then := fmt.Sprintf(`"item":%s,"id":%q,"claims":%q`, stored, resp.TxID, hex.EncodeToString(sum[:]))
	past, err := c.Do(t.Context(), client.Request{Path: "/app/past/7", Header: http.Header{"X-Ms-Ccf-Transaction-Id": {resp.TxID.String()}}, Fetched: true})
	if err != nil || string(past.Body) != "{"+then+"}" {
		t.Errorf("past: %v, %v; want {%s}", past, err, then)
	}
	bounds := object{"from": resp.TxID.Seqno, "to": resp.TxID.Seqno}
	found, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/app/range/7", JSON: bounds, Fetched: true, Idempotent: true})
	if want := `{"body":[{` + then + `,"status":"Committed"}],"dropped":true}`; err != nil || string(found.Body) != want {
		t.Errorf("range: %v, %v; want %s", found, err, want)
	}
}

package js

import (
	"fmt"
	"strings"
	"testing"
)

// TestAccessMatrix is CCF's table of rights, by name and context: r, w, rw, - for a
// handle without rights, x for no handle.
func TestAccessMatrix(t *testing.T) {
	contexts := []Access{GovReadOnly, GovReadWrite, AppReadOnly, AppReadWrite}
	for _, row := range []string{
		"public:ccf.internal.signatures r r r r",
		"public:ccf.gov.members.info r rw r r",
		"public:ccf.gov.chancery.x r rw r r",
		"public:records - w r rw",
		"public: - w r rw",
		"ccf.internal.x - - - -",
		"public:chancery.internal.x r r r r",
		"chancery.internal.x - - - -",
		"ccf.gov.x - - - -",
		"records - - r rw",
		"Public:ccf.gov.x - - r rw",
		"CCF.gov.x - - r rw",
		"public:CCF.gov.x - w r rw",
		"ccfx - - r rw",
		"ccf.x x x x x",
		"ccf. x x x x",
		"public:ccf.x x x x x",
		"public:ccf.govx x x x x",
	} {
		f := strings.Fields(row)
		for i, a := range contexts {
			r, ok := a.rightsOf(f[0])
			got := map[rights]string{0: "-", mayRead: "r", mayWrite: "w", mayRead | mayWrite: "rw"}[r]
			if !ok {
				got = "x"
			}
			if got != f[1+i] {
				t.Errorf("%s in %s context: %s, want %s", f[0], a, got, f[1+i])
			}
		}
	}
	if r, _ := AppReadWrite.rightsOf(""); r != mayRead|mayWrite {
		t.Errorf("the map without a name: %v", r)
	}
}

// TestRefusals calls every method where it is refused: nothing happens to the map.
func TestRefusals(t *testing.T) {
	for method, args := range map[string]string{
		"get": `(k)`, "has": `(k)`, "size": ``, "forEach": `(() => {})`, "getVersionOfPreviousWrite": `(k)`,
		"set": `(k, k)`, "delete": `(k)`, "clear": `()`,
	} {
		source := fmt.Sprintf(`export function f() { const k = ccf.strToBuf("k"); try { ccf.kv["ccf.gov.x"].%s%s; } catch (e) { return e.name + ": " + e.message; } }`, method, args)
		v, err := call(t, Env{Access: AppReadOnly}, source, "f")
		if err != nil {
			t.Fatal(err)
		}
		want := "TypeError: " + refusal(method, "ccf.gov.x", inaccessible, AppReadOnly)
		if got, _ := v.Text(); got != want {
			t.Errorf("%s: got %q, want %q", method, got, want)
		}
	}
}

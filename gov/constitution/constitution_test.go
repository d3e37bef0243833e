package constitution

import (
	"strings"
	"testing"
)

func TestSource(t *testing.T) {
	for _, variant := range Variants() {
		for _, extra := range []string{"", "+virtual", "+roles", "+virtual+roles"} {
			src, err := Source(variant + extra)
			if err != nil {
				t.Errorf("%s: %v", variant+extra, err)
			}
			for _, name := range []string{"validate", "resolve", "apply"} {
				if n := strings.Count(src, "\nexport function "+name+"("); n != 1 {
					t.Errorf("%s: %d functions %s", variant+extra, n, name)
				}
			}
			if got, want := strings.Contains(src, "add_virtual_measurement"), strings.Contains(extra, "virtual"); got != want {
				t.Errorf("%s: virtual actions %t", variant+extra, got)
			}
		}
	}
	for _, bad := range []string{"", "none", "default+none", "default+", "resolve.js"} {
		if _, err := Source(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	if Default() == "" {
		t.Error("no default")
	}
}

// TestFilesUsed finds a fragment that no variant has.
func TestFilesUsed(t *testing.T) {
	all := ""
	for _, variant := range Variants() {
		src, err := Source(variant + "+virtual+roles")
		if err != nil {
			t.Fatal(err)
		}
		all += src
	}
	list, err := files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		b, err := files.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(all, string(b)) {
			t.Errorf("%s is in no variant", f.Name())
		}
	}
}

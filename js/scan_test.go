package js

import (
	"strings"
	"testing"

	"github.com/dop251/goja"
)

func TestScan(t *testing.T) {
	deep := func(open, shut string) string {
		return "x = " + strings.Repeat(open, maxNesting+1) + strings.Repeat(shut, maxNesting+1)
	}
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"brackets":               {deep("[", "]"), false},
		"braces":                 {deep("{a:", "}"), false},
		"parentheses":            {deep("(", ")"), false},
		"template holes":         {deep("`${", "}`"), false},
		"mixed":                  {deep("([{a:", "}])"), false},
		"hidden behind comments": {strings.Repeat("[/*]*/", maxNesting+1), false},
		"hidden behind strings":  {strings.Repeat(`["]",`, maxNesting+1), false},
		"hidden behind regexps":  {strings.Repeat(`[/]]/,`, maxNesting+1), false},
		"hidden behind division": {strings.Repeat("[(a)/", maxNesting+1) + ")/", false},
		"in a regexp":            {"x = /" + strings.Repeat("(", maxNesting+1) + "/", false},
		"not":                    {strings.Repeat("!", maxChain+1) + "1", false},
		"sum":                    {"1" + strings.Repeat("+1", maxChain), false},
		"members":                {"a" + strings.Repeat(".a", maxChain), false},
		"ifs":                    {strings.Repeat("if(a)", maxChain), false},
		"in strings":             {`x = "` + strings.Repeat("[", 10*maxNesting) + `"`, true},
		"in comments":            {"/*" + strings.Repeat("[", 10*maxNesting) + "*/", true},
		"in templates":           {"x = `" + strings.Repeat("[", 10*maxNesting) + "`", true},
		"long list":              {"x = [" + strings.Repeat("1, ", 10*maxChain) + "]", true},
		"long program":           {strings.Repeat("f(a)[1].b = {c: [/\\//, `${d}`]};\n", 10*maxChain), true},
		"division":               {strings.Repeat("a = (b) / (c) / d;\n", 10*maxNesting), true},
	} {
		if err := scanText(c.text); (err == nil) != c.ok {
			t.Errorf("%s: %v, want accepted = %t", name, err, c.ok)
		}
	}
}

// FuzzScan: what the scanner accepts, the parser must survive, and neither must hang.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{"a = b / c / d", "x = /[/]/.test(`${a}`)", "if (a) /re/.test(b); else { c++ / d }", "`${`${a}`}`", "/", "'", "`${", "a\n/b/g", ")/]/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if scanText(text) == nil {
			_, _ = goja.Compile("fuzz", text, false)
		}
	})
}

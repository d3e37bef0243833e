package js

import (
	"strings"
	"testing"
	"time"

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
		"brackets":                {deep("[", "]"), false},
		"braces":                  {deep("{a:", "}"), false},
		"parentheses":             {deep("(", ")"), false},
		"template holes":          {deep("`${", "}`"), false},
		"mixed":                   {deep("([{a:", "}])"), false},
		"hidden behind comments":  {strings.Repeat("[/*]*/", maxNesting+1), false},
		"hidden behind strings":   {strings.Repeat(`["]",`, maxNesting+1), false},
		"hidden behind regexps":   {strings.Repeat(`[/]]/,`, maxNesting+1), false},
		"hidden behind division":  {strings.Repeat("[(a)/", maxNesting+1) + ")/", false},
		"in a regexp":             {"x = /" + strings.Repeat("(", maxNesting+1) + "/", false},
		"not":                     {strings.Repeat("!", maxChain+1) + "1", false},
		"sum":                     {"1" + strings.Repeat("+1", maxChain), false},
		"members":                 {"a" + strings.Repeat(".a", maxChain), false},
		"ifs":                     {strings.Repeat("if(a)", maxChain), false},
		"sequence":                {"x = (1" + strings.Repeat(",1", maxCommas+1) + ")", false},
		"sequence in a block":     {"{" + strings.Repeat("a?b:c,", maxCommas+1) + "1}", false},
		"sequence after an arrow": {"x = () => {" + strings.Repeat("a,", maxCommas+1) + "1}", false},
		"arrow parameters":        {"x = " + strings.Repeat("(a=", maxArrows+1) + "1" + strings.Repeat(")/**/ =>1", maxArrows+1), false},
		"callbacks":               {"x = " + strings.Repeat("f((a) => ", 50) + "1" + strings.Repeat(")", 50), true},
		"large object":            {"x = {" + strings.Repeat("a: b ? c : d, ", 10*maxCommas) + "}", true},
		"objects in an object":    {"x = {" + strings.Repeat("a: {b: 1, c: [1, 2]}, ", 10*maxCommas) + "}", true},
		"returned object":         {"return {" + strings.Repeat("a: 1, ", 10*maxCommas) + "}", true},
		"large array":             {"x = [" + strings.Repeat("{a: 1, b: 2}, ", 10*maxCommas) + "]", true},
		"in strings":              {`x = "` + strings.Repeat("[", 10*maxNesting) + `"`, true},
		"in comments":             {"/*" + strings.Repeat("[", 10*maxNesting) + "*/", true},
		"in templates":            {"x = `" + strings.Repeat("[", 10*maxNesting) + "`", true},
		"long list":               {"x = [" + strings.Repeat("1, ", 10*maxChain) + "]", true},
		"long program":            {strings.Repeat("f(a)[1].b = {c: [/\\//, `${d}`]};\n", 10*maxChain), true},
		"division":                {strings.Repeat("a = (b) / (c) / d;\n", 10*maxNesting), true},
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

// TestLargestAccepted: texts that the scanner just accepts go through both parsers.
func TestLargestAccepted(t *testing.T) {
	for name, text := range map[string]string{
		"not":        "x = " + strings.Repeat("!", maxChain-10) + "1",
		"sum":        "x = 1" + strings.Repeat("+1", maxChain/2-10),
		"power":      "x = 1" + strings.Repeat("**1", maxChain/3-10),
		"members":    "x = a" + strings.Repeat(".a", maxChain/2-10),
		"optional":   "x = a" + strings.Repeat("?.a", maxChain/3-10),
		"calls":      "x = a" + strings.Repeat("()", maxChain-20),
		"indices":    "x = a" + strings.Repeat("[0]", maxChain-20),
		"arrows":     "x = " + strings.Repeat("a=>", maxChain/(nestedWeight+3)-10) + "1",
		"parameters": "x = " + strings.Repeat("(a=", maxArrows) + "1" + strings.Repeat(")=>1", maxArrows),
		"choices":    "x = " + strings.Repeat("a?b:", maxChain/4-10) + "1",
		"assigns":    "let a; " + strings.Repeat("a=", maxChain/2-10) + "1",
		"ifs":        strings.Repeat("if(a)", maxChain/(nestedWeight+2)-10) + "b()",
		"elses":      strings.Repeat("if(a){}else ", 20000) + "b()",
		"labels":     strings.Repeat("l:", 400) + "b()",
		"new":        "x = " + strings.Repeat("new ", maxChain-10) + "a",
		"commas":     "x = (1" + strings.Repeat(",1", maxCommas-1) + ")",
		"brackets":   "x = " + strings.Repeat("[", maxNesting-1) + strings.Repeat("]", maxNesting-1),
		"functions":  strings.Repeat("(function(){", maxNesting/2-2) + strings.Repeat("})()", maxNesting/2-2),
		"templates":  "x = " + strings.Repeat("`${", maxNesting-2) + "1" + strings.Repeat("}`", maxNesting-2),
		"blocks":     strings.Repeat("{", maxNesting-1) + strings.Repeat("}", maxNesting-1),
		"strings":    `x = "a"` + strings.Repeat(`+"a"`, maxChain/2-10),
		"statements": strings.Repeat("f();\n", 50000),
	} {
		t.Run(name, func(t *testing.T) {
			if err := scanText(text); err != nil {
				t.Skipf("refused by the scanner: %v", err)
			}
			start := time.Now()
			_, err := Compile("large", text)
			t.Logf("%v after %v", err, time.Since(start))
		})
	}
}

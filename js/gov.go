package js

import (
	"context"
	"fmt"
	"slices"

	"github.com/dop251/goja"
)

// ValidateConstitution checks that source is a module with the functions that a
// constitution must export. The errors have CCF's texts.
func ValidateConstitution(source string) error {
	const name = "proposed constitution"
	want := []struct {
		function string
		lo, hi   int64
		args     string
	}{
		{"apply", 2, 2, "2 args (proposal, proposerId)"},
		{"resolve", 3, 4, "between 3 and 4 args (proposal, proposerId, votes[, proposalId])"},
		{"validate", 1, 1, "1 arg (input)"},
	}
	without := func(function, format string, args ...any) error {
		return &Exception{Reason: fmt.Sprintf("%s does not export a function named %s: ", name, function) + fmt.Sprintf(format, args...)}
	}
	missing := func(function string) error {
		return without(function, "Failed to find export '%s' in module '%s'", function, name)
	}
	m, err := Compile(name, source)
	if err != nil {
		return without(want[0].function, "Failed to compile %s: %v", name, err)
	}
	if first := want[0].function; !slices.Contains(m.linked.exports, first) { // known before it runs
		return missing(first)
	}
	s := newSandbox(false, ccfTable)
	env := &Env{Access: GovReadOnly}
	return s.call(context.Background(), env, func() error {
		v, err := s.vm.RunProgram(m.linked.program)
		if err != nil {
			return err
		}
		exports, _ := goja.AssertFunction(v)
		for _, w := range want {
			if !slices.Contains(m.linked.exports, w.function) {
				return missing(w.function)
			}
			v, err := exports(goja.Undefined(), s.vm.ToValue(w.function))
			if err != nil {
				return err
			}
			if _, ok := goja.AssertFunction(v); !ok {
				return without(w.function, "Export '%s' of module '%s' is not a function", w.function, name)
			}
			if n := v.(*goja.Object).Get("length").ToInteger(); n < w.lo || n > w.hi {
				plural := "args"
				if n == 1 {
					plural = "arg"
				}
				return &Exception{Reason: fmt.Sprintf("%s exports function %s with %d %s, expected %s", name, w.function, n, plural, w.args)}
			}
		}
		return nil
	}, nil)
}

func (s *sandbox) validateConstitution(c goja.FunctionCall) goja.Value {
	s.arity(c, 1)
	if !goja.IsString(c.Arguments[0]) {
		s.throwType("constitution is not a string")
	}
	source := c.Arguments[0].String()
	if source == "" {
		s.throwType("constitution is empty")
	}
	if err := ValidateConstitution(source); err != nil {
		s.throwType("%s", err)
	}
	return s.vm.ToValue(true)
}

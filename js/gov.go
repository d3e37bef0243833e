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
	m, err := Compile(name, source)
	if err != nil {
		return fmt.Errorf("proposed constitution does not compile: %w", err)
	}
	want := []struct {
		name   string
		lo, hi int64
		args   string
	}{
		{"apply", 2, 2, "2 args (proposal, proposal_id)"},
		{"validate", 1, 1, "1 arg (input)"},
		{"resolve", 3, 4, "3 or 4 args (proposal, proposer_id, votes[, proposal_id])"},
	}
	for _, w := range want {
		if !slices.Contains(m.linked.exports, w.name) {
			return &Exception{Reason: fmt.Sprintf("%s does not export a function named %s: Failed to find export '%s' in module '%s'", name, w.name, w.name, name)}
		}
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
			v, err := exports(goja.Undefined(), s.vm.ToValue(w.name))
			if err != nil {
				return err
			}
			if _, ok := goja.AssertFunction(v); !ok {
				return &Exception{Reason: fmt.Sprintf("%s exports %s, which is not a function", name, w.name)}
			}
			if n := v.(*goja.Object).Get("length").ToInteger(); n < w.lo || n > w.hi {
				return &Exception{Reason: fmt.Sprintf("%s exports function %s with %d args, expected %s", name, w.name, n, w.args)}
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

package js

import (
	_ "embed"
	"regexp"
	"sync"

	"github.com/dop251/goja"
)

// engineFile is the name of our own scripts in stack traces, which leave them out.
const engineFile = "<engine>"

//go:embed harden.js
var hardenSource string

var hardenProgram = goja.MustCompile(engineFile, hardenSource, true)

// harden freezes every built-in object that scripts can reach, so that the interpreter
// can serve one request after another: nothing that one of them does can be seen by
// the next. The method is that of Hardened JavaScript (SES): properties that programs
// commonly override by assignment become accessors, so that the assignment still works
// on objects that inherit them.
func (s *sandbox) harden() {
	f, _ := goja.AssertFunction(s.must(s.vm.RunProgram(hardenProgram)))
	s.freezeAll, _ = goja.AssertFunction(s.must(f(goja.Undefined(), s.vm.ToValue([]any{s.errs.internal}))))
}

// freshGlobals gives the coming call a global object of its own, which inherits the
// frozen built-ins.
func (s *sandbox) freshGlobals() {
	global := s.vm.CreateObject(s.base)
	_ = global.DefineDataProperty("globalThis", global, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	s.setBounds(global)
	s.vm.SetGlobalObject(global)
	s.install(appTable)
}

// serve makes the interpreter one of the application's: constant modules of another
// one are dropped.
func (s *sandbox) serve(a *App) {
	if s.owner != a {
		s.owner, s.constants = a, nil
	}
}

// idlers keeps hardened interpreters between requests. Of applications they hold
// constant modules only.
type idlers struct {
	mu   sync.Mutex
	free []*sandbox
}

// maxIdle bounds the hardened interpreters that are kept; each holds under 1 MiB.
const maxIdle = 32

// turns bounds the endpoints that run at once, so that the interpreter one needs is
// among those kept: making one costs more than most endpoints.
var turns = make(chan struct{}, maxIdle)

var hardenedIdlers idlers

func (p *idlers) take() *sandbox {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		p.mu.Unlock()
		return s
	}
	p.mu.Unlock()
	return newSandbox(true, nil)
}

func (p *idlers) put(s *sandbox) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < maxIdle {
		p.free = append(p.free, s)
	}
}

// patches matches sources that plainly change built-ins, which are run in interpreters
// of their own from the start.
var patches = regexp.MustCompile(`\b(Object|Function|Array|String|Number|Boolean|Symbol|Error|Promise|RegExp|Date|Map|Set|Math|JSON|Reflect|ArrayBuffer|Uint8Array)(\.prototype)?(\.\w+|\[[^\]]+\])\s*(=[^=>]|\+=|\?\?=|\|\|=)|\b(defineProperty|defineProperties|assign|setPrototypeOf)\(\s*(Object|Function|Array|String|Number|Error|Promise|RegExp|Date|Map|Set|Math|JSON|globalThis)\b`)

// refused matches what writing to a frozen built-in throws.
var refused = regexp.MustCompile(`^TypeError: (Cannot (assign to read only property|add property|redefine property|delete property|define property)|.* is not extensible)`)

package js

import (
	"math/big"
	"reflect"
	"strings"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/token"
	"github.com/dop251/goja/unistring"
)

// maxBigInt bounds the bits that one shift or power adds to a BigInt, as QuickJS bounds
// the whole: a machine's memory is exceeded with one instruction otherwise, which nothing
// survives. What grows by many operations, the watchdog sees.
const maxBigInt = 1 << 20

// The functions that bounded puts in. No script can have such a name in its text, and they
// are properties of the global object that nobody can change.
const (
	shiftBy  = "%shiftBy"  // returns its argument, unless it is too large to shift by
	power    = "%power"    // **
	exponent = "%exponent" // returns its argument, unless it is too large as an exponent
)

// smallExponent is the BigInt up to which an exponent needs no look at its base.
const smallExponent = 16

// bounded puts checks into a program wherever it could make a BigInt of any size: around
// what is shifted by, unless that is a number, and in place of powers.
func bounded(program *ast.Program) {
	b := bounder{seen: make(map[any]bool)}
	b.visit(reflect.ValueOf(program))
}

type bounder struct{ seen map[any]bool }

var astPackage = reflect.TypeFor[ast.Program]().PkgPath()

// visit goes through everything below a value of the syntax tree.
func (b *bounder) visit(v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() || v.Elem().Kind() != reflect.Pointer {
			return
		}
		b.visit(v.Elem())
		if e, ok := v.Interface().(ast.Expression); ok && v.CanSet() {
			if by := replacement(e); by != nil {
				v.Set(reflect.ValueOf(by))
			}
		}
	case reflect.Pointer:
		if v.IsNil() || v.Elem().Type().PkgPath() != astPackage || b.seen[v.Interface()] {
			return
		}
		b.seen[v.Interface()] = true
		b.visit(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			b.visit(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				b.visit(v.Field(i))
			}
		}
	}
}

// replacement is what an expression becomes; nil: it stays, or was changed where it is.
func replacement(e ast.Expression) ast.Expression {
	switch e := e.(type) {
	case *ast.BinaryExpression:
		switch e.Operator {
		case token.SHIFT_LEFT, token.SHIFT_RIGHT:
			e.Right = checked(shiftBy, e.Right, maxBigInt)
		case token.EXPONENT:
			if !literal(e.Right, smallExponent) {
				return callTo(power, e.Left, e.Right)
			}
		}
	case *ast.AssignExpression:
		switch e.Operator {
		case token.SHIFT_LEFT, token.SHIFT_RIGHT:
			e.Right = checked(shiftBy, e.Right, maxBigInt)
		case token.EXPONENT:
			if name, ok := e.Left.(*ast.Identifier); ok {
				read := *name
				return &ast.AssignExpression{Operator: token.ASSIGN, Left: e.Left, Right: callTo(power, &read, e.Right)}
			}
			e.Right = checked(exponent, e.Right, smallExponent)
		}
	}
	return nil
}

// literal says whether an operand is a number as it is written, or a BigInt up to most.
func literal(e ast.Expression, most int64) bool {
	n, ok := e.(*ast.NumberLiteral)
	if !ok {
		return false
	}
	b, ok := n.Value.(*big.Int)
	return !ok || b.CmpAbs(big.NewInt(most)) <= 0
}

func checked(name string, e ast.Expression, most int64) ast.Expression {
	if literal(e, most) {
		return e
	}
	return callTo(name, e)
}

func callTo(name string, args ...ast.Expression) ast.Expression {
	at := args[0].Idx0()
	return &ast.CallExpression{
		Callee:          &ast.Identifier{Name: unistring.NewFromString(name), Idx: at},
		LeftParenthesis: at, ArgumentList: args, RightParenthesis: at,
	}
}

// compileBounded compiles a script, with checks where it could make a BigInt of any size.
func compileBounded(name, text string, strict bool) (*goja.Program, error) {
	program, err := goja.Parse(name, text)
	if err != nil {
		return nil, err
	}
	bounded(program)
	return goja.CompileAST(program, strict)
}

// unbounded says whether a text may have an operator that makes large BigInts.
func unbounded(text string) bool {
	return strings.Contains(text, "<<") || strings.Contains(text, ">>") || strings.Contains(text, "**")
}

// runText runs a script that came as a text, and returns its value.
func (s *sandbox) runText(text string) goja.Value {
	program, err := compileBounded("<eval>", text, false)
	if err != nil {
		s.throwSyntax("%s", err)
	}
	v, err := s.vm.RunProgram(program)
	if err != nil {
		panic(err)
	}
	return v
}

var numericProgram = goja.MustCompile(engineFile, "(v) => -(-v)", true)
var powerProgram = goja.MustCompile(engineFile, "(x, y) => x ** y", true)

// guardBigInts bounds the built-ins that make BigInts, and makes the functions that
// bounded puts in.
func (s *sandbox) guardBigInts() {
	numeric, _ := goja.AssertFunction(s.must(s.vm.RunProgram(numericProgram)))
	primitive := func(v goja.Value) goja.Value {
		if o, ok := v.(*goja.Object); ok {
			out, err := numeric(goja.Undefined(), o)
			if err != nil {
				panic(err)
			}
			return out
		}
		return v
	}
	most := func(limit int64) native {
		return func(c goja.FunctionCall) goja.Value {
			v := primitive(c.Argument(0))
			if n, ok := bigInt(v); ok && n.CmpAbs(big.NewInt(limit)) > 0 {
				s.throwRange("BigInt is too large to allocate")
			}
			return v
		}
	}
	raw, _ := goja.AssertFunction(s.must(s.vm.RunProgram(powerProgram)))
	s.bounds = map[string]goja.Value{
		shiftBy: s.vm.ToValue(most(maxBigInt)), exponent: s.vm.ToValue(most(smallExponent)),
		power: s.vm.ToValue(func(c goja.FunctionCall) goja.Value {
			x, y := primitive(c.Argument(0)), primitive(c.Argument(1))
			if base, ok := bigInt(x); ok && base.BitLen() > 1 {
				if e, ok := bigInt(y); ok && (e.CmpAbs(big.NewInt(maxBigInt)) > 0 || e.Int64()*int64(base.BitLen()) > maxBigInt && e.Int64() > smallExponent) {
					s.throwRange("BigInt is too large to allocate")
				}
			}
			v, err := raw(goja.Undefined(), x, y)
			if err != nil {
				panic(err)
			}
			return v
		}),
	}
	old := s.global("BigInt")
	make := nativeOf(old)
	f := s.vm.ToValue(func(c goja.FunctionCall) goja.Value {
		s.digits(c.Argument(0))
		return make(c)
	}).(*goja.Object)
	s.like(f, old)
	for _, name := range []string{"asIntN", "asUintN"} {
		s.wrap(old, name, func(old native) native {
			return func(c goja.FunctionCall) goja.Value {
				if c.Argument(0).ToFloat() > maxBigInt {
					s.throwRange("BigInt is too large to allocate")
				}
				s.digits(c.Argument(1))
				return old(c)
			}
		})
		_ = f.DefineDataProperty(name, old.Get(name), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	}
	proto := old.Get("prototype").(*goja.Object)
	_ = f.DefineDataProperty("prototype", proto, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE)
	_ = proto.DefineDataProperty("constructor", f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	_ = s.base.DefineDataProperty("BigInt", f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	s.setBounds(s.base)
}

// digits throws for a text of more digits than a BigInt may have: reading it takes time
// that grows with the square.
func (s *sandbox) digits(v goja.Value) {
	if goja.IsString(v) && textLen(v) > maxBigInt/3 {
		s.throwRange("BigInt is too large to allocate")
	}
}

// setBounds gives a global object the functions that bounded puts in, for good.
func (s *sandbox) setBounds(global *goja.Object) {
	for name, f := range s.bounds {
		_ = global.DefineDataProperty(name, f, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE)
	}
}

func bigInt(v goja.Value) (*big.Int, bool) {
	if goja.IsNumber(v) {
		return nil, false
	}
	n, ok := v.Export().(*big.Int)
	return n, ok
}

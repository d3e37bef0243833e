package js

import (
	"reflect"
	"slices"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/parser"
	"github.com/dop251/goja/token"
)

// constantNames finds out whether a linked script (see wrap) is constant: whether
// evaluating it anew could give nothing but what it gave before. That is so when its
// top level binds functions, classes and literals only, calls nothing, and nothing in
// it assigns to those names or to their properties by name. What remains (writing to
// one of those objects by another name) is prevented by freezing them. The names are
// those of the bindings; ok is false for any other script.
func constantNames(script string) (names []string, ok bool) {
	program, err := parser.ParseFile(nil, "", script, 0, parser.WithDisableSourceMaps)
	if err != nil || len(program.Body) != 1 {
		return nil, false
	}
	body := wrapped(program.Body[0])
	if body == nil {
		return nil, false
	}
	c := constants{bound: make(map[string]bool)}
	for _, s := range body.List { // functions are bound before anything runs
		if f, isFunction := s.(*ast.FunctionDeclaration); isFunction && f.Function.Name != nil {
			c.bind(f.Function.Name.Name.String())
		}
	}
	for _, s := range body.List {
		if !c.statement(s) {
			return nil, false
		}
	}
	return c.names, !c.assigned(reflect.ValueOf(body))
}

// wrapped is the body of the function that wrap put around a bundle.
func wrapped(s ast.Statement) *ast.BlockStatement {
	e, ok := s.(*ast.ExpressionStatement)
	if !ok {
		return nil
	}
	call, ok := e.Expression.(*ast.CallExpression)
	if !ok {
		return nil
	}
	f, ok := call.Callee.(*ast.FunctionLiteral)
	if !ok {
		return nil
	}
	return f.Body
}

// constants are the names that a script binds at its top level.
type constants struct {
	bound map[string]bool
	names []string
}

func (c *constants) bind(name string) {
	if !c.bound[name] {
		c.bound[name] = true
		c.names = append(c.names, name)
	}
}

// statement says whether a statement of the top level only binds constants.
func (c *constants) statement(s ast.Statement) bool {
	switch s := s.(type) {
	case *ast.FunctionDeclaration, *ast.EmptyStatement, *ast.ReturnStatement: // the only return is wrap's
		return true
	case *ast.ExpressionStatement: // "use strict"
		_, isText := s.Expression.(*ast.StringLiteral)
		return isText
	case *ast.ClassDeclaration:
		if s.Class.Name == nil || !c.class(s.Class) {
			return false
		}
		c.bind(s.Class.Name.Name.String())
		return true
	case *ast.VariableStatement:
		return c.bindings(s.List)
	case *ast.LexicalDeclaration:
		return c.bindings(s.List)
	}
	return false
}

func (c *constants) bindings(list []*ast.Binding) bool {
	for _, b := range list {
		target, ok := b.Target.(*ast.Identifier)
		if !ok || b.Initializer == nil || !c.inert(b.Initializer) {
			return false
		}
		c.bind(target.Name.String())
	}
	return true
}

// inert says whether evaluating an expression runs no code of the script and reads
// nothing but constants.
func (c *constants) inert(e ast.Expression) bool {
	switch e := e.(type) {
	case *ast.FunctionLiteral, *ast.ArrowFunctionLiteral:
		return true
	case *ast.ClassLiteral:
		return c.class(e)
	case *ast.ArrayLiteral:
		return !slices.ContainsFunc(e.Value, func(v ast.Expression) bool { return v != nil && !c.inert(v) })
	case *ast.ObjectLiteral:
		return !slices.ContainsFunc(e.Value, func(p ast.Property) bool { return !c.property(p) })
	case *ast.Identifier:
		return c.bound[e.Name.String()]
	}
	return primitive(e)
}

func (c *constants) property(p ast.Property) bool {
	switch p := p.(type) {
	case *ast.PropertyShort:
		return p.Initializer == nil && c.bound[p.Name.Name.String()]
	case *ast.PropertyKeyed:
		return !p.Computed && c.inert(p.Value)
	}
	return false
}

// primitive says whether an expression is made of literals, and so gives the same
// primitive value each time, or a regular expression that keeps no position.
func primitive(e ast.Expression) bool {
	switch e := e.(type) {
	case *ast.NumberLiteral, *ast.StringLiteral, *ast.BooleanLiteral, *ast.NullLiteral:
		return true
	case *ast.RegExpLiteral:
		return !slices.ContainsFunc([]byte(e.Flags), func(f byte) bool { return f == 'g' || f == 'y' })
	case *ast.TemplateLiteral:
		return e.Tag == nil && !slices.ContainsFunc(e.Expressions, func(x ast.Expression) bool { return !primitive(x) })
	case *ast.UnaryExpression:
		return e.Operator != token.DELETE && !e.Postfix && e.Operator != token.INCREMENT && e.Operator != token.DECREMENT && primitive(e.Operand)
	case *ast.BinaryExpression:
		return primitive(e.Left) && primitive(e.Right)
	}
	return false
}

// class says whether making a class runs no code: no static parts but methods, no
// computed names, and a parent that is a constant.
func (c *constants) class(l *ast.ClassLiteral) bool {
	if parent, ok := l.SuperClass.(*ast.Identifier); l.SuperClass != nil && (!ok || !c.bound[parent.Name.String()] && parent.Name != "Error") {
		return false
	}
	for _, e := range l.Body {
		switch e := e.(type) {
		case *ast.MethodDefinition:
			if e.Computed {
				return false
			}
		case *ast.FieldDefinition:
			if e.Computed || e.Static {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// assigned says whether anything below a node of the syntax tree assigns to a bound
// name or to a property of one, whatever the scope that the name there belongs to.
func (c *constants) assigned(v reflect.Value) bool {
	return below(v, func(node any) bool {
		switch n := node.(type) {
		case *ast.AssignExpression:
			return c.mentioned(n.Left)
		case *ast.UnaryExpression:
			changes := n.Operator == token.INCREMENT || n.Operator == token.DECREMENT || n.Operator == token.DELETE
			return changes && c.mentioned(n.Operand)
		case *ast.ForIntoExpression:
			return c.mentioned(n.Expression)
		}
		return false
	})
}

// mentioned says whether a bound name stands anywhere in an expression.
func (c *constants) mentioned(e ast.Expression) bool {
	return below(reflect.ValueOf(e), func(node any) bool {
		id, ok := node.(*ast.Identifier)
		return ok && c.bound[id.Name.String()]
	})
}

// below says whether a node of the syntax tree, or one below it, is a hit.
func below(v reflect.Value, hit func(node any) bool) bool {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		return !v.IsNil() && (hit(v.Interface()) || below(v.Elem(), hit))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "DeclarationList" && below(v.Field(i), hit) { // it repeats the body
				return true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if below(v.Index(i), hit) {
				return true
			}
		}
	}
	return false
}

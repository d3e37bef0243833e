package js

import (
	"errors"
	"fmt"
)

// Bounds of a source text. The parsers of esbuild and goja recurse once or more for
// each level of nesting, and for each operator of a chain; a Go stack that overflows
// ends the process.
const (
	maxNesting = 500  // brackets, braces, parentheses, template holes
	maxChain   = 5000 // tokens in a row without a separator (comma, semicolon, brace)
	maxCommas  = 1000 // commas of one sequence; esbuild's time grows with their square
	maxArrows  = 6    // parameter lists of arrow functions in such lists; goja parses each twice
)

// nestedWeight is what a function or statement in a chain counts: goja's time grows
// with the square of how deeply those nest.
const nestedWeight = 10

// scanSource refuses a text that nests too deeply, before any parser sees it.
func scanSource(name, source string) error {
	if err := scanText(source); err != nil {
		return &Exception{Reason: fmt.Sprintf("SyntaxError: %s in module '%s'", err, name)}
	}
	return nil
}

// scanText is the check for one text of JavaScript.
func scanText(source string) error {
	if hugeNumber(source) {
		return errHugeNumber
	}
	sc := scanner{src: source}
	return sc.run()
}

var errHugeNumber = errors.New("a number has too many digits")

// hugeNumber says whether a text may have a BigInt in it that takes long to read.
func hugeNumber(source string) bool {
	digits := 0
	for i := range len(source) {
		switch c := source[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F', c == '_', c == 'x', c == 'X', c == 'o', c == 'O':
			digits++
		case c == 'n' && digits > maxBigInt/3:
			return true
		default:
			digits = 0
		}
	}
	return false
}

// scanner walks over the tokens of a text, as far as its nesting needs them told
// apart. Where it cannot tell a division from a regular expression without parsing
// (after a closing bracket), it assumes what gives the greater depth.
type scanner struct {
	src   string
	at    int
	holes []int // for each open template hole, the depth at which it closes
	depth int
	level []level // by depth
	prev  byte    // last byte of the previous token, 'a' for a word
	value bool    // the previous token ends an operand: a slash divides
	maybe bool    // the previous token is ")" or "}": a slash may be either
}

// level is what is known of an open bracket, or of the text around all of them.
type level struct {
	chain  int  // tokens since the last separator
	commas int  // commas since the last semicolon
	list   bool // an array or object literal, where commas make no sequence
	arrows int  // nesting of parameter lists of arrow functions inside
}

type nestingError struct{ what string }

func (e *nestingError) Error() string { return e.what }

func (s *scanner) run() error {
	s.level = append(s.level, level{})
	for s.at < len(s.src) {
		if err := s.token(); err != nil {
			return err
		}
	}
	return nil
}

// open enters a bracket. list says that commas in it separate elements.
func (s *scanner) open(list bool) error {
	s.depth++
	if s.depth > maxNesting {
		return &nestingError{fmt.Sprintf("nesting is deeper than %d levels", maxNesting)}
	}
	if s.depth == len(s.level) {
		s.level = append(s.level, level{})
	}
	s.level[s.depth] = level{list: list}
	s.value, s.maybe = false, false
	return nil
}

// close leaves a bracket. parameters says that it was a parenthesis before an arrow.
func (s *scanner) close(parameters bool) error {
	if s.depth == 0 {
		return nil
	}
	arrows := s.level[s.depth].arrows
	if parameters {
		arrows++
	}
	if arrows > maxArrows {
		return &nestingError{fmt.Sprintf("parameters of arrow functions nest more than %d levels", maxArrows)}
	}
	s.depth--
	s.level[s.depth].arrows = max(s.level[s.depth].arrows, arrows)
	return nil
}

// count adds one token to the chain at the current depth.
func (s *scanner) count() error {
	s.level[s.depth].chain++
	if s.level[s.depth].chain > maxChain {
		return &nestingError{fmt.Sprintf("an expression has more than %d parts", maxChain)}
	}
	return nil
}

func (s *scanner) token() error {
	c := s.src[s.at]
	switch {
	case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		s.at++
		return nil
	case c == '/' && s.peek(1) == '/':
		s.line()
		return nil
	case c == '/' && s.peek(1) == '*':
		s.comment()
		return nil
	case c == '/':
		return s.slash()
	case c == '"' || c == '\'':
		s.str(c)
		s.prev = 'a'
		s.value, s.maybe = true, false
		return s.count()
	case c == '`':
		s.at++
		return s.template()
	case isWord(c):
		return s.word()
	}
	return s.punctuation(c)
}

func (s *scanner) peek(n int) byte {
	if s.at+n < len(s.src) {
		return s.src[s.at+n]
	}
	return 0
}

func (s *scanner) punctuation(c byte) error {
	s.at++
	before := s.prev
	s.prev = c
	switch c {
	case '(', '[', '{':
		if err := s.count(); err != nil {
			return err
		}
		if c == '{' {
			s.level[s.depth].chain = 0
		}
		return s.open(c == '[' || c == '{' && s.literal(before))
	case ')', ']', '}':
		return s.closing(c)
	case ',':
		return s.comma()
	case ';':
		s.level[s.depth].chain, s.level[s.depth].commas = 0, 0
		s.value, s.maybe = false, false
		return nil
	}
	if c == '>' && before == '=' {
		s.prev = 'f' // an arrow: the brace after it opens a block
		s.level[s.depth].chain += nestedWeight
	}
	// "++" and "--" after an operand leave it one; a slash then divides.
	if (c == '+' || c == '-') && s.peek(0) == c {
		s.at++
		return s.count()
	}
	s.value, s.maybe = false, false
	return s.count()
}

// literal tells whether a brace after a token that ends in before opens an object. In
// doubt it does not, and its commas count.
func (s *scanner) literal(before byte) bool {
	switch before {
	case '(', '[', ',', '=', '?', '&', '|':
		return true
	case ':':
		return s.level[s.depth].list
	}
	return false
}

func (s *scanner) closing(c byte) error {
	if n := len(s.holes); c == '}' && n > 0 && s.holes[n-1] == s.depth {
		s.holes = s.holes[:n-1]
		if err := s.close(false); err != nil {
			return err
		}
		return s.template()
	}
	err := s.close(c == ')' && s.arrowAhead())
	s.value, s.maybe = true, c != ']'
	return err
}

// comma ends a chain, and counts where it may make a sequence.
func (s *scanner) comma() error {
	l := &s.level[s.depth]
	l.chain = 0
	s.value, s.maybe = false, false
	if l.list {
		return nil
	}
	if l.commas++; l.commas > maxCommas {
		return &nestingError{fmt.Sprintf("an expression has more than %d parts", maxCommas)}
	}
	return nil
}

// arrowAhead tells whether "=>" comes next, behind white space and comments.
func (s *scanner) arrowAhead() bool {
	look := scanner{src: s.src, at: s.at}
	for look.at < len(look.src) {
		switch c := look.src[look.at]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			look.at++
		case c == '/' && look.peek(1) == '/':
			look.line()
		case c == '/' && look.peek(1) == '*':
			look.comment()
		default:
			return c == '=' && look.peek(1) == '>'
		}
	}
	return false
}

// keywords after which an operand begins, so that a slash opens a regular expression.
var beforeOperand = map[string]bool{
	"return": true, "typeof": true, "instanceof": true, "in": true, "of": true, "new": true, "delete": true,
	"void": true, "throw": true, "case": true, "do": true, "else": true, "await": true, "yield": true,
}

func (s *scanner) word() error {
	start := s.at
	for s.at < len(s.src) && isWord(s.src[s.at]) {
		s.at++
	}
	w := s.src[start:s.at]
	s.prev = 'a'
	if w == "if" || w == "for" || w == "while" {
		s.level[s.depth].chain += nestedWeight
	}
	if w == "return" || w == "default" {
		s.prev = '=' // a brace after it opens an object
	}
	member := start > 0 && s.src[start-1] == '.'
	s.value, s.maybe = member || !beforeOperand[w], !member && (w == "of" || w == "await" || w == "yield")
	if s.maybe {
		s.value = true
	}
	return s.count()
}

func isWord(c byte) bool {
	return c == '_' || c == '$' || c == '\\' || c >= 0x80 || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func (s *scanner) line() {
	for s.at < len(s.src) && s.src[s.at] != '\n' && s.src[s.at] != '\r' {
		s.at++
	}
}

func (s *scanner) comment() {
	for s.at += 2; s.at < len(s.src); s.at++ {
		if s.src[s.at] == '*' && s.peek(1) == '/' {
			s.at += 2
			return
		}
	}
}

// str skips a string literal; a line end closes a broken one.
func (s *scanner) str(quote byte) {
	for s.at++; s.at < len(s.src); s.at++ {
		switch s.src[s.at] {
		case '\\':
			s.at++
		case quote:
			s.at++
			return
		case '\n', '\r':
			return
		}
	}
}

// template skips the text of a template literal up to its end or its next hole.
func (s *scanner) template() error {
	for ; s.at < len(s.src); s.at++ {
		switch c := s.src[s.at]; {
		case c == '\\':
			s.at++
		case c == '`':
			s.at++
			s.value, s.maybe = true, false
			return s.count()
		case c == '$' && s.peek(1) == '{':
			s.at += 2
			if err := s.open(false); err != nil {
				return err
			}
			s.holes = append(s.holes, s.depth)
			return nil
		}
	}
	return nil
}

// slash reads a division or a regular expression.
func (s *scanner) slash() error {
	body, ok := s.regexp()
	switch {
	case !ok || s.value && !s.maybe:
		s.at++
		s.prev = '/'
		s.value, s.maybe = false, false
		return s.count()
	case s.maybe:
		return s.ambiguous(body)
	}
	if len(body) > maxPattern || patternDepth(body) > maxNesting {
		return &nestingError{"a regular expression is too large or nests too deeply"}
	}
	s.at += len(body) + 2
	s.value, s.maybe = true, false
	return s.count()
}

// ambiguous passes over text that is either the body of a regular expression or code
// between two divisions: its opening brackets count, its closing ones only as far as
// they belong to those.
func (s *scanner) ambiguous(body string) error {
	open := 0
	for i := range len(body) {
		switch body[i] {
		case '(', '[', '{':
			open++
		case ')', ']', '}':
			open = max(open-1, 0)
		}
	}
	for range open {
		if err := s.open(true); err != nil {
			return err
		}
	}
	s.at += len(body) + 2
	s.value, s.maybe = true, false
	return s.count()
}

// regexp returns the text between the slash at the cursor and the one that would end
// a regular expression on the same line.
func (s *scanner) regexp() (body string, ok bool) {
	class := false
	for i := s.at + 1; i < len(s.src); i++ {
		switch s.src[i] {
		case '\\':
			i++
		case '[':
			class = true
		case ']':
			class = false
		case '\n', '\r':
			return "", false
		case '/':
			if !class {
				return s.src[s.at+1 : i], true
			}
		}
	}
	return "", false
}

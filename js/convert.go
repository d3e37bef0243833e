package js

import (
	"chancery/attest"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dop251/goja"
)

func (s *sandbox) strToBuf(c goja.FunctionCall) goja.Value {
	return s.newBuffer([]byte(s.text1(c)))
}

func (s *sandbox) bufToStr(c goja.FunctionCall) goja.Value {
	return s.vm.ToValue(utf8Text(s.key(c)))
}

// utf8Text decodes UTF-8 as QuickJS does: a byte that begins no valid sequence is U+FFFD.
func utf8Text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	out.Grow(len(b) + 8)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		out.WriteRune(r)
		b = b[n:]
	}
	return out.String()
}

func (s *sandbox) jsonToBuf(c goja.FunctionCall) goja.Value {
	s.arity(c, 1)
	text := s.stringify(c.Arguments[0])
	if !goja.IsString(text) {
		s.throwType("Argument must be a string")
	}
	return s.newBuffer([]byte(text.String()))
}

func (s *sandbox) bufToJSON(c goja.FunctionCall) goja.Value {
	return s.parseJSON(utf8Text(s.key(c)))
}

func (s *sandbox) pemToID(c goja.FunctionCall) goja.Value {
	id, err := certID(s.text1(c))
	if err != nil {
		s.throwInternal("Failed to parse PEM: %s", err)
	}
	return s.vm.ToValue(id)
}

// enableMetricsLogging switches the line that is logged for each request, and returns
// what it was.
func (s *sandbox) enableMetricsLogging(c goja.FunctionCall) goja.Value {
	s.arity(c, 1)
	was := !s.quiet
	s.quiet = !c.Arguments[0].ToBoolean()
	return s.vm.ToValue(was)
}

// enableUntrustedDateTime does nothing, as in CCF since 5: Date is the host's clock.
func (s *sandbox) enableUntrustedDateTime(c goja.FunctionCall) goja.Value {
	s.arity(c, 1)
	return s.vm.ToValue(c.Arguments[0].ToBoolean())
}

// tcbHexToPolicy unpacks an SEV-SNP TCB version (8 bytes, hex) into its components,
// whose places depend on the processor family named by cpuid (4 bytes, hex).
func (s *sandbox) tcbHexToPolicy(c goja.FunctionCall) goja.Value {
	s.arity(c, 2)
	cpuid, tcb := s.stringArg(c.Arguments[0]), s.stringArg(c.Arguments[1])
	policy, err := tcbPolicy(cpuid, tcb)
	if err != nil {
		s.abort(&abort{err.Error()})
	}
	return s.object(policy...)
}

// field is one property of an object.
type field struct {
	name  string
	value any
}

// object makes a plain object with properties in the order given.
func (s *sandbox) object(fields ...field) goja.Value {
	o := s.vm.NewObject()
	for _, f := range fields {
		_ = o.Set(f.name, f.value)
	}
	return o
}

// tcbPolicy is the pure part of tcbHexToPolicy. The order of the fields is CCF's.
func tcbPolicy(cpuidHex, tcbHex string) ([]field, error) {
	if err := decodeHex(make([]byte, 4), cpuidHex); err != nil {
		return nil, err
	}
	if err := decodeHex(make([]byte, 8), tcbHex); err != nil {
		return nil, err
	}
	cpu, err := attest.ParseCPUID(cpuidHex)
	if err != nil {
		return nil, err
	}
	product, err := cpu.Product()
	if err != nil {
		return nil, err
	}
	tcb, err := attest.DecodeTCB(product, tcbHex)
	if err != nil {
		return nil, err
	}
	out := []field{{"hexstring", tcbHex}}
	for _, c := range []struct {
		name  string
		value *uint32
	}{{"microcode", tcb.Microcode}, {"snp", tcb.SNP}, {"tee", tcb.TEE}, {"boot_loader", tcb.BootLoader}, {"fmc", tcb.FMC}} {
		if c.value != nil {
			out = append(out, field{c.name, int64(*c.value)})
		}
	}
	return out, nil
}

// decodeHex decodes exactly len(dst) bytes; the texts are CCF's.
func decodeHex(dst []byte, text string) error {
	if len(text)%2 != 0 {
		return ccfText(fmt.Sprintf("Input string '%s' is not of even length: %d", text, len(text)))
	}
	if len(text) != 2*len(dst) {
		return ccfText(fmt.Sprintf("Output container of size %d cannot fit decoded hex str %d", len(dst), len(text)/2))
	}
	if _, err := hex.Decode(dst, []byte(text)); err != nil {
		return fmt.Errorf("decoding hex string %q: %w", text, err)
	}
	return nil
}

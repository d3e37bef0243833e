package js

import (
	"encoding/binary"
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
	o := s.vm.NewObject()
	for _, f := range policy {
		_ = o.Set(f.name, f.value)
	}
	return o
}

type tcbField struct {
	name  string
	value any
}

// tcbPolicy is the pure part of tcbHexToPolicy. Both numbers are written big-endian;
// the byte layouts are TCB_VERSION of AMD's SEV-SNP ABI: that of Milan and Genoa
// (family 19h), and that of Turin (family 1Ah), which has an fmc component.
func tcbPolicy(cpuidHex, tcbHex string) ([]tcbField, error) {
	var cpuid [4]byte
	var tcb [8]byte
	if err := decodeHex(cpuid[:], cpuidHex); err != nil {
		return nil, err
	}
	if err := decodeHex(tcb[:], tcbHex); err != nil {
		return nil, err
	}
	eax := binary.BigEndian.Uint32(cpuid[:])
	family := eax>>8&0xF + eax>>20&0xFF // base and extended family
	at := func(i int) any { return int64(tcb[7-i]) }
	switch family {
	case 0x19:
		return []tcbField{{"hexstring", tcbHex}, {"microcode", at(7)}, {"snp", at(6)}, {"tee", at(1)}, {"boot_loader", at(0)}}, nil
	case 0x1A:
		return []tcbField{{"hexstring", tcbHex}, {"microcode", at(7)}, {"snp", at(3)}, {"tee", at(2)}, {"boot_loader", at(1)}, {"fmc", at(0)}}, nil
	}
	return nil, fmt.Errorf("unsupported SEV-SNP processor family %#x of CPUID %s", family, cpuidHex)
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

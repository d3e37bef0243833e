package ledger

import (
	"bytes"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// otherBytes returns what to replace byte b with: each of its bits flipped, and
// the characters that a lenient reader would let through somewhere.
func otherBytes(b byte) []byte {
	var out []byte
	for bit := range 8 {
		out = append(out, b^1<<bit)
	}
	out = append(out, " \t\n\"\\/=0aAfFz"...)
	return bytes.ReplaceAll(out, []byte{b}, nil)
}

// mutate calls accept with data in which one byte is replaced, for each byte
// and several values, and fails the test when accept returns nil. Since a
// signature check is slow, only the first variant of a byte that can still be
// parsed is verified.
func mutate(t *testing.T, data []byte, accept func(changed []byte, verify bool) (parsed bool, err error)) {
	t.Helper()
	if _, err := accept(data, true); err != nil {
		t.Fatalf("unchanged: %v", err)
	}
	changed := bytes.Clone(data)
	for i, b := range data {
		verified := 0
		for _, other := range otherBytes(b) {
			changed[i] = other
			parsed, err := accept(changed, verified < 1)
			if parsed {
				verified++
			}
			if err == nil && (!parsed || verified <= 1) {
				t.Errorf("byte %d: %q accepted in place of %q (after %q)", i, other, b, data[max(0, i-20):i])
			}
		}
		changed[i] = b
	}
}

// TestReceiptEveryByte replaces every byte of a receipt of every form and
// spelling; none may still verify.
func TestReceiptEveryByte(t *testing.T) {
	s := newTestServiceOn(t, elliptic.P256()) // P-384 takes ten times as long
	endorsed := s.afterRecovery(t, 4)
	withNext, withS := s.next.cert, s.cert
	forms := map[string]*Receipt{
		"write":     s.receipt(t, 5, Digest{1, 2, 3}),
		"signature": s.signatureReceipt(t),
		"1.x":       s.bareReceipt(t, 3),
		"endorsed":  endorsed,
	}
	for name, r := range forms {
		for _, spelling := range []string{"compact", "indented with newline"} {
			if spelling != "compact" && name != "write" {
				continue
			}
			t.Run(name+"/"+spelling, func(t *testing.T) {
				t.Parallel()
				data, err := json.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				if spelling != "compact" {
					var buf bytes.Buffer
					if err := json.Indent(&buf, data, "", "  "); err != nil {
						t.Fatal(err)
					}
					data = append(buf.Bytes(), '\n')
				}
				service := withS
				if name == "endorsed" {
					service = withNext
				}
				mutate(t, data, func(changed []byte, verify bool) (bool, error) {
					r, err := ParseReceipt(changed)
					if err != nil || !verify {
						return err == nil, err
					}
					return true, r.Verify(service)
				})
			})
		}
	}
}

// TestVectorReceiptEveryByte does the same with receipts that CCF issued.
func TestVectorReceiptEveryByte(t *testing.T) {
	vectors := receiptVectors(t)
	for _, name := range []string{"seven/2.76#bb", "acme_containing/2.12#ab"} {
		v, ok := vectors[name]
		if !ok {
			t.Errorf("no vector %s", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := v.service(t)
			mutate(t, v.bytesAsServed(t), func(changed []byte, verify bool) (bool, error) {
				r, err := ParseReceipt(changed)
				if err != nil || !verify {
					return err == nil, err
				}
				return true, r.Verify(service)
			})
			if v.COSE == "" {
				return
			}
			signer := mustCert(t, v.ServiceCert)
			mutate(t, mustHex(t, v.COSE), func(changed []byte, verify bool) (bool, error) {
				r, err := ParseCOSEReceipt(changed)
				if err != nil || !verify {
					return err == nil, err
				}
				return true, r.Verify(signer.PublicKey)
			})
		})
	}
}

// TestReceiptSpellings offers other spellings of one and the same receipt.
func TestReceiptSpellings(t *testing.T) {
	s := newTestService(t)
	data, err := json.Marshal(s.receipt(t, 5, Digest{1, 2, 3}))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	replace := func(from, to string) string {
		if !strings.Contains(text, from) {
			t.Fatalf("nothing to replace: %s", from)
		}
		return strings.Replace(text, from, to, 1)
	}
	var tabbed bytes.Buffer
	if err := json.Indent(&tabbed, data, "", "\t"); err != nil {
		t.Fatal(err)
	}
	claims := hexOf(Digest{1, 2, 3})
	for name, bad := range map[string]string{
		"empty":               "",
		"null":                "null",
		"array":               "[" + text + "]",
		"space before":        " " + text,
		"space after":         text + " ",
		"two newlines":        text + "\n\n",
		"carriage return":     text + "\r\n",
		"two receipts":        text + text,
		"tabs":                tabbed.String(),
		"cut short":           text[:len(text)-1],
		"unknown member":      replace(`"node_id"`, `"extra":1,"node_id"`),
		"member twice":        replace(`"node_id"`, `"node_id":"","node_id"`),
		"member twice, alike": replace(`"proof":[`, `"proof":[],"proof":[`),
		"case of a member":    replace(`"node_id"`, `"Node_id"`),
		"order of members":    replace(`{"cert"`, `{"leaf_components":null,"cert"`),
		"null member":         replace(`"signature"`, `"service_endorsements":null,"signature"`),
		"upper-case hex":      replace(claims, strings.ToUpper(claims[:1])+"F"+claims[2:]),
		"short hex":           replace(claims, claims[2:]),
		"escaped letter":      replace(`"node_id"`, "\"\\u006eode_id\""),
		"escaped slash":       replace(`-----BEGIN`, `-----\u0042EGIN`),
		"PEM without newline": replace(`-----END CERTIFICATE-----\n`, `-----END CERTIFICATE-----`),
		"PEM with text":       replace(`-----BEGIN`, `text\n-----BEGIN`),
		"PEM line break":      replace(`\n`, `\r\n`),
		"two certificates":    replace(`"cert":"`, `"cert":"`+strings.ReplaceAll(s.pem, "\n", `\n`)),
		"padding of base64":   replace(text[len(text)-4:], text[len(text)-4:len(text)-2]+`=`+`"}`),
		"both sides":          replace(`{"left":`, `{"right":"`+claims+`","left":`),
		"no side":             replace(`"proof":[`, `"proof":[{},`),
		"no proof":            replace(`"proof":`, `"prof":`),
		"evidence of view 0":  replace(`ce:2.5:`, `ce:0.5:`),
		"evidence padded":     replace(`ce:2.5:`, `ce:02.5:`),
		"evidence unprefixed": replace(`ce:2.5:`, `2.5:`),
		"leaf as well":        replace(`"leaf_components"`, `"leaf":"`+claims+`","leaf_components"`),
		"wrong kind stated":   replace(`"leaf_components"`, `"is_signature_transaction":true,"leaf_components"`),
		"too many steps":      replace(`"proof":[`, `"proof":[`+strings.Repeat(`{"left":"`+claims+`"},`, 65)),
		"too long":            text + strings.Repeat(" ", MaxReceiptSize),
		"deep":                strings.Repeat("[", 20000),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseReceipt([]byte(bad)); !errors.Is(err, ErrMalformedReceipt) {
				t.Errorf("error %v, want ErrMalformedReceipt", err)
			}
		})
	}
	for name, good := range map[string]string{
		"kind stated":     replace(`"leaf_components"`, `"is_signature_transaction":false,"leaf_components"`),
		"no endorsements": replace(`"signature"`, `"service_endorsements":[],"signature"`),
	} {
		r, err := ParseReceipt([]byte(good))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := r.Verify(s.cert); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseReceipt checks that what is accepted has one spelling.
func FuzzParseReceipt(f *testing.F) {
	s := newTestService(f)
	for _, r := range []*Receipt{s.receipt(f, 5, Digest{1, 2, 3}), s.signatureReceipt(f), s.bareReceipt(f, 3), s.afterRecovery(f, 4)} {
		data, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"cert":"","leaf":"","node_id":"","proof":[],"signature":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseReceipt(data)
		if err != nil {
			if !errors.Is(err, ErrMalformedReceipt) {
				t.Errorf("error %v does not wrap ErrMalformedReceipt", err)
			}
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, again, "", "  "); err != nil {
			t.Fatal(err)
		}
		body := bytes.TrimSuffix(data, []byte("\n"))
		if !bytes.Equal(body, again) && !bytes.Equal(body, indented.Bytes()) {
			t.Errorf("accepted %q, which is written %q", data, again)
		}
		for _, c := range r.Explain(s.cert) {
			_ = fmt.Sprint(c)
		}
	})
}

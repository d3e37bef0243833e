package ledger

import (
	"bytes"
	"errors"
	"testing"

	"chancery/internal/cose"
)

// TestStatements: a statement keeps what was signed and loses what was not; the receipt
// that makes it transparent can be taken out again.
func TestStatements(t *testing.T) {
	s := newTestService(t)
	receipt := s.coseReceipt(t, 5)
	statement, err := SignedStatement(receipt)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := SignedStatement(statement); err != nil || !bytes.Equal(again, statement) {
		t.Errorf("%x of %x, %v", again, statement, err)
	}
	whole, err := TransparentStatement(statement, receipt)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := cose.Parse(whole)
	if err != nil {
		t.Fatal(err)
	}
	before, err := cose.Parse(receipt)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(parsed.Protected, before.Protected) || !bytes.Equal(parsed.Signature, before.Signature) {
		t.Error("what was signed is another")
	}
	header, err := cose.DecodeMap(parsed.Unprotected)
	if err != nil {
		t.Fatal(err)
	}
	list, err := member[cose.Array](header, int64(labelVDP))
	if err != nil || len(list) != 1 || !bytes.Equal(list[0].([]byte), receipt) {
		t.Errorf("the receipts are %x, %v", list, err)
	}
	if back, err := SignedStatement(whole); err != nil || !bytes.Equal(back, statement) {
		t.Errorf("%x without its receipt, %v", back, err)
	}
	for _, bad := range [][]byte{nil, []byte("junk"), statement[1:], statement[:len(statement)-1]} {
		if _, err := SignedStatement(bad); !errors.Is(err, ErrMalformedReceipt) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

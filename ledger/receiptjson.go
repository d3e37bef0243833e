package ledger

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"chancery/ledger/merkle"
)

// receiptJSON is the JSON form. Fields stand in the order in which they are
// written: by name, bytewise, as CCF does.
type receiptJSON struct {
	Cert         string     `json:"cert"`
	IsSignature  *bool      `json:"is_signature_transaction,omitzero"`
	Leaf         *string    `json:"leaf,omitzero"`
	Components   *leafJSON  `json:"leaf_components,omitzero"`
	NodeID       string     `json:"node_id"`
	Proof        []stepJSON `json:"proof"`
	Endorsements []string   `json:"service_endorsements,omitzero"`
	Signature    string     `json:"signature"`
}

type leafJSON struct {
	Claims   *string `json:"claims_digest,omitzero"`
	Evidence string  `json:"commit_evidence"`
	WriteSet string  `json:"write_set_digest"`
}

type stepJSON struct {
	Left  *string `json:"left,omitzero"`
	Right *string `json:"right,omitzero"`
}

// MarshalJSON returns the canonical form: compact, keys in bytewise order,
// lower-case hex, padded standard base64, PEM with its newlines. These are the
// bytes of CCF's own receipts.
func (r *Receipt) MarshalJSON() ([]byte, error) {
	j := receiptJSON{
		Cert:         r.NodeCert,
		NodeID:       r.NodeID,
		Proof:        make([]stepJSON, len(r.Path)),
		Endorsements: r.Endorsements,
		Signature:    base64.StdEncoding.EncodeToString(r.Signature),
	}
	for i, s := range r.Path {
		h := hex.EncodeToString(s.Hash[:])
		if s.Left {
			j.Proof[i].Left = &h
		} else {
			j.Proof[i].Right = &h
		}
	}
	if r.kindStated {
		is := r.Kind == ReceiptSignature
		j.IsSignature = &is
	}
	if r.Kind == ReceiptWrite {
		j.Components = &leafJSON{
			Evidence: r.Leaf.Evidence,
			WriteSet: hex.EncodeToString(r.Leaf.WriteSet[:]),
		}
		if r.Leaf.Claims != nil {
			c := hex.EncodeToString(r.Leaf.Claims[:])
			j.Components.Claims = &c
		}
	} else {
		l := hex.EncodeToString(r.Bare[:])
		j.Leaf = &l
	}
	out, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("encoding receipt: %w", err)
	}
	return out, nil
}

// ParseReceipt reads a JSON receipt. It accepts the bytes that MarshalJSON
// produces for the value it returns, the same indented by two spaces (as jq
// prints them), and either with one newline after; nothing else. So for every
// receipt there is no second spelling: no other case, spacing, escape, key
// order, repeated or unknown member, padding or trailing byte is let through,
// and replacing any one byte of a valid receipt gives a refused one.
//
// Errors wrap ErrMalformedReceipt. A parsed receipt proves nothing yet: call
// Verify.
func ParseReceipt(data []byte) (*Receipt, error) {
	r, err := parseReceipt(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformedReceipt, err)
	}
	return r, nil
}

func parseReceipt(data []byte) (*Receipt, error) {
	if len(data) > MaxReceiptSize {
		return nil, fmt.Errorf("%d bytes, at most %d allowed", len(data), MaxReceiptSize)
	}
	var j receiptJSON
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("bytes after the receipt")
	}
	r, err := j.receipt()
	if err != nil {
		return nil, err
	}
	if err := checkCanonical(r, data); err != nil {
		return nil, err
	}
	return r, nil
}

// checkCanonical compares data with the spellings that ParseReceipt allows.
func checkCanonical(r *Receipt, data []byte) error {
	compact, err := r.MarshalJSON()
	if err != nil {
		return err
	}
	body := bytes.TrimSuffix(data, []byte{'\n'})
	if bytes.Equal(body, compact) {
		return nil
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, compact, "", "  "); err != nil {
		return err
	}
	if bytes.Equal(body, indented.Bytes()) {
		return nil
	}
	at := max(commonPrefix(body, compact), commonPrefix(body, indented.Bytes()))
	return fmt.Errorf("not in canonical form: differs at byte %d", at)
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// receipt checks each field for its strict form and returns the value.
func (j *receiptJSON) receipt() (*Receipt, error) {
	r := &Receipt{NodeID: j.NodeID, NodeCert: j.Cert, Endorsements: j.Endorsements}
	if err := j.body(r); err != nil {
		return nil, err
	}
	if err := j.kind(r); err != nil {
		return nil, err
	}
	if _, err := parseHexDigest(j.NodeID); err != nil {
		return nil, fmt.Errorf("node_id: %w", err)
	}
	if _, err := parsePEMCert(j.Cert); err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	if len(j.Endorsements) > MaxReceiptEndorsements {
		return nil, fmt.Errorf("service_endorsements: %d certificates, at most %d allowed", len(j.Endorsements), MaxReceiptEndorsements)
	}
	for i, c := range j.Endorsements {
		if _, err := parsePEMCert(c); err != nil {
			return nil, fmt.Errorf("service_endorsements[%d]: %w", i, err)
		}
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(j.Signature)
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	if err := checkECDSASignature(sig); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	r.Signature = sig
	return r, nil
}

// body reads leaf and path.
func (j *receiptJSON) body(r *Receipt) (err error) {
	if len(j.Proof) > MaxReceiptPath {
		return fmt.Errorf("proof: %d steps, at most %d allowed", len(j.Proof), MaxReceiptPath)
	}
	for i, s := range j.Proof {
		step, err := s.step()
		if err != nil {
			return fmt.Errorf("proof[%d]: %w", i, err)
		}
		r.Path = append(r.Path, step)
	}
	if j.Leaf != nil {
		if r.Bare, err = parseHexDigest(*j.Leaf); err != nil {
			return fmt.Errorf("leaf: %w", err)
		}
	}
	if j.Components == nil {
		return nil
	}
	c := j.Components
	if r.Leaf.WriteSet, err = parseHexDigest(c.WriteSet); err != nil {
		return fmt.Errorf("write_set_digest: %w", err)
	}
	if _, err = parseEvidence(c.Evidence); err != nil {
		return err
	}
	r.Leaf.Evidence = c.Evidence
	if c.Claims != nil {
		d, err := parseHexDigest(*c.Claims)
		if err != nil {
			return fmt.Errorf("claims_digest: %w", err)
		}
		r.Leaf.Claims = &d
	}
	return nil
}

// kind finds out which form j has.
func (j *receiptJSON) kind(r *Receipt) error {
	switch {
	case j.Components != nil && j.Leaf != nil:
		return errors.New("both leaf and leaf_components")
	case j.Components != nil && len(j.Proof) == 0:
		return errors.New("proof is empty")
	case j.Components != nil:
		r.Kind = ReceiptWrite
	case j.Leaf == nil:
		return errors.New("neither leaf nor leaf_components")
	case len(j.Proof) == 0:
		r.Kind = ReceiptSignature
	default:
		r.Kind = ReceiptBare
	}
	if j.IsSignature != nil {
		r.kindStated = true
		if *j.IsSignature != (r.Kind == ReceiptSignature) {
			return fmt.Errorf("is_signature_transaction is %t in the form of a %v receipt", *j.IsSignature, r.Kind)
		}
	}
	return nil
}

func (s stepJSON) step() (merkle.Step, error) {
	text := s.Left
	if text == nil {
		text = s.Right
	}
	if text == nil || s.Left != nil && s.Right != nil {
		return merkle.Step{}, errors.New("want exactly one of left and right")
	}
	h, err := parseHexDigest(*text)
	if err != nil {
		return merkle.Step{}, err
	}
	return merkle.Step{Left: s.Left != nil, Hash: h}, nil
}

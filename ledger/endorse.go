package ledger

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"chancery/internal/cose"
	"chancery/kv/writeset"
)

// Members of "ccf.v1" in an identity endorsement.
const (
	epochStart = "epoch.start.txid"
	epochEnd   = "epoch.end.txid"
	epochRoot  = "epoch.end.merkle.root"
)

// recoveryViews is by how much the view grows from the last transaction of a
// service to the first of the one that recovers it.
const recoveryViews = 2

// Epoch is the part of a ledger that one service identity signed.
type Epoch struct {
	Begin TxID
	End   TxID   // the last one, a signature; zero while the epoch lasts
	Root  Digest // the last root signed; counts only with End
}

// Contains reports whether a transaction lies in the epoch.
func (e Epoch) Contains(id TxID) bool {
	if id.Seqno < e.Begin.Seqno || id.View < e.Begin.View {
		return false
	}
	return e.Open() || id.Seqno <= e.End.Seqno && id.View <= e.End.View
}

// Open reports whether the epoch has no end yet.
func (e Epoch) Open() bool { return e.End == TxID{} }

// precedes reports whether newer begins right after e ends.
func (e Epoch) precedes(newer Epoch) bool {
	return !e.Open() && newer.Begin == TxID{View: e.End.View + recoveryViews, Seqno: e.End.Seqno + 1}
}

// ordered reports whether the epoch does not end before it begins.
func (e Epoch) ordered() bool {
	return e.Open() || e.Begin.Seqno <= e.End.Seqno && e.Begin.View <= e.End.View
}

// IdentityEndorsement is the statement of a service identity about the one
// before it: that key signed the ledger during that epoch. The first service
// of a ledger endorses itself, with an open epoch. It is kept in the table
// public:ccf.internal.previous_service_identity_endorsement.
type IdentityEndorsement struct {
	Raw      []byte // the tagged COSE_Sign1
	Key      []byte // SPKI DER of the endorsed key, the payload
	Epoch    Epoch
	IssuedAt int64 // seconds since the epoch

	message *cose.Sign1
}

// EndorseIdentity signs with the present service key that the given key (SPKI
// DER) signed the ledger during epoch, and returns the COSE_Sign1. For the
// endorsement of a service by itself, key is its own and the epoch is open.
func EndorseIdentity(service crypto.Signer, key []byte, epoch Epoch, at time.Time) ([]byte, error) {
	if epoch.Begin.IsZero() || !epoch.ordered() {
		return nil, fmt.Errorf("endorsing a service identity: epoch from %v to %v", epoch.Begin, epoch.End)
	}
	alg, err := cose.AlgorithmFor(service.Public())
	if err != nil {
		return nil, fmt.Errorf("endorsing a service identity: %w", err)
	}
	protected, err := encodeEpoch(alg, epoch, at.Unix())
	if err != nil {
		return nil, fmt.Errorf("endorsing a service identity: %w", err)
	}
	out, err := cose.SignAttached(service, protected, key)
	if err != nil {
		return nil, fmt.Errorf("endorsing a service identity: %w", err)
	}
	return out, nil
}

// encodeEpoch returns the protected header, in the order of CCF 7: text keys by
// length, then bytewise.
func encodeEpoch(alg cose.Algorithm, epoch Epoch, at int64) ([]byte, error) {
	ledger := cose.Map{{Key: epochStart, Value: epoch.Begin.String()}}
	if !epoch.Open() {
		ledger = cose.Map{
			{Key: epochEnd, Value: epoch.End.String()},
			{Key: epochStart, Value: epoch.Begin.String()},
			{Key: epochRoot, Value: epoch.Root[:]},
		}
	}
	return cose.EncodeMap(
		cose.Pair{Key: labelAlg, Value: alg},
		cose.Pair{Key: labelClaims, Value: cose.Map{{Key: claimIssuedAt, Value: at}}},
		cose.Pair{Key: labelCCF, Value: ledger},
	)
}

// ParseIdentityEndorsement reads an endorsement. It checks the form only: an
// endorsement whose epoch ends before it begins, as an old fault of CCF left
// them in ledgers, can be read, but does not verify. Errors wrap
// ErrMalformedReceipt.
func ParseIdentityEndorsement(data []byte) (*IdentityEndorsement, error) {
	e, err := parseIdentityEndorsement(data)
	if err != nil {
		return nil, fmt.Errorf("%w: identity endorsement: %w", ErrMalformedReceipt, err)
	}
	return e, nil
}

func parseIdentityEndorsement(data []byte) (*IdentityEndorsement, error) {
	if len(data) > MaxReceiptSize {
		return nil, fmt.Errorf("%d bytes, at most %d allowed", len(data), MaxReceiptSize)
	}
	s, err := cose.Parse(data)
	if err != nil {
		return nil, err
	}
	if s.Payload == nil {
		return nil, errors.New("payload is detached")
	}
	if s.Header.Crit {
		return nil, errors.New("critical parameters, of which none is known")
	}
	m, err := cose.DecodeMap(s.Protected)
	if err != nil {
		return nil, err
	}
	e := &IdentityEndorsement{Raw: data, Key: s.Payload, message: s}
	cwt, err := memberMap(m, labelClaims)
	if err != nil {
		return nil, err
	}
	if e.IssuedAt, err = member[int64](cwt, claimIssuedAt); err != nil {
		return nil, err
	}
	ledger, err := memberMap(m, labelCCF)
	if err != nil {
		return nil, err
	}
	e.Epoch, err = parseEpoch(ledger)
	return e, err
}

func parseEpoch(m cose.Map) (e Epoch, err error) {
	text, err := member[string](m, epochStart)
	if err != nil {
		return Epoch{}, err
	}
	if e.Begin, err = writeset.ParseTxID(text); err != nil {
		return Epoch{}, fmt.Errorf("%s: %w", epochStart, err)
	}
	_, hasEnd := m.Get(epochEnd)
	_, hasRoot := m.Get(epochRoot)
	if !hasEnd && !hasRoot {
		return e, nil
	}
	if text, err = member[string](m, epochEnd); err != nil {
		return Epoch{}, err
	}
	if e.End, err = writeset.ParseTxID(text); err != nil {
		return Epoch{}, fmt.Errorf("%s: %w", epochEnd, err)
	}
	root, _ := m.Get(epochRoot)
	if e.Root, err = digestOf(root); err != nil {
		return Epoch{}, fmt.Errorf("%s: %w", epochRoot, err)
	}
	return e, nil
}

// PublicKey returns the endorsed key.
func (e *IdentityEndorsement) PublicKey() (*ecdsa.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(e.Key)
	if err != nil {
		return nil, fmt.Errorf("endorsed key: %w", err)
	}
	pub, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("endorsed key is a %T, want ECDSA", key)
	}
	return pub, nil
}

// Verify reports whether the key by signed the endorsement, and whether its
// epoch can be one. The error wraps ErrNotEndorsed.
func (e *IdentityEndorsement) Verify(by crypto.PublicKey) error {
	if !e.Epoch.ordered() {
		return fmt.Errorf("%w: epoch from %v to %v", ErrNotEndorsed, e.Epoch.Begin, e.Epoch.End)
	}
	if err := e.message.Verify(by); err != nil {
		return fmt.Errorf("%w: endorsement of the epoch from %v: %w", ErrNotEndorsed, e.Epoch.Begin, err)
	}
	return nil
}

// self reports whether the key endorsed is the one that signed.
func (e *IdentityEndorsement) self() bool {
	key, err := e.PublicKey()
	return err == nil && e.message.Verify(key) == nil
}

// EndorsementsFor selects, from the endorsements of a ledger in the order in
// which they were written, those that lead from the present identity back to
// the one that signed transaction id: newest first. It returns none if the
// present identity signed id itself. Self-endorsements and those whose epoch
// ends before it begins, which an old fault of CCF left in ledgers, are passed
// over. The result is not verified, see EndorsedKey; ErrNotEndorsed if no
// endorsement reaches back to id.
func EndorsementsFor(written []*IdentityEndorsement, id TxID) ([]*IdentityEndorsement, error) {
	var chain []*IdentityEndorsement
	for i := len(written) - 1; i >= 0; i-- {
		e := written[i]
		if e.Epoch.Open() || !e.Epoch.ordered() || e.self() {
			continue
		}
		if id.Seqno > e.Epoch.End.Seqno {
			break
		}
		chain = append(chain, e)
		if e.Epoch.Contains(id) {
			return chain, nil
		}
	}
	if len(chain) > 0 {
		return nil, fmt.Errorf("%w: no endorsement reaches back to %v", ErrNotEndorsed, id)
	}
	return nil, nil
}

// EndorsedKey walks a chain of endorsements, newest first, from the trusted
// present key back to the key that signed transaction id, and returns that key:
// present itself if chain is empty. Each link must be signed by the key found
// so far, the epochs must follow one another without a gap, and the last one
// must contain id; otherwise the error wraps ErrNotEndorsed.
func EndorsedKey(present *ecdsa.PublicKey, chain []*IdentityEndorsement, id TxID) (*ecdsa.PublicKey, error) {
	key := present
	for i, e := range chain {
		if err := e.Verify(key); err != nil {
			return nil, err
		}
		if e.Epoch.Open() {
			return nil, fmt.Errorf("%w: the epoch from %v has no end", ErrNotEndorsed, e.Epoch.Begin)
		}
		if i > 0 && !e.Epoch.precedes(chain[i-1].Epoch) {
			return nil, fmt.Errorf("%w: epoch until %v does not lead up to the one from %v",
				ErrNotEndorsed, e.Epoch.End, chain[i-1].Epoch.Begin)
		}
		next, err := e.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotEndorsed, err)
		}
		key = next
	}
	if n := len(chain); n > 0 && !chain[n-1].Epoch.Contains(id) {
		last := chain[n-1].Epoch
		return nil, fmt.Errorf("%w: %v is outside of the epoch from %v to %v", ErrNotEndorsed, id, last.Begin, last.End)
	}
	return key, nil
}

// VerifyWithEndorsements verifies a COSE receipt of an earlier identity under
// the present service key: the chain (newest first) leads back to the key that
// signed it.
func (r *COSEReceipt) VerifyWithEndorsements(present *ecdsa.PublicKey, chain []*IdentityEndorsement, want ...Expectation) error {
	key, err := EndorsedKey(present, chain, r.TxID())
	if err != nil {
		return err
	}
	return r.Verify(key, want...)
}

// String describes the endorsement in one line.
func (e *IdentityEndorsement) String() string {
	id := "unreadable key"
	if key, err := e.PublicKey(); err == nil {
		if id, err = keyID(key); err != nil {
			id = hex.EncodeToString(e.Key)
		}
	}
	if e.Epoch.Open() {
		return fmt.Sprintf("key %s from %v on", id, e.Epoch.Begin)
	}
	return fmt.Sprintf("key %s from %v to %v", id, e.Epoch.Begin, e.Epoch.End)
}

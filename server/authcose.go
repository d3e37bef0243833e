package server

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"

	"chancery/gov/tables"
	"chancery/internal/cose"
	"chancery/server/api"
)

// UserCOSE accepts a body that is a COSE Sign1 signed by a user.
var UserCOSE Policy = cosePolicy{
	name: "user_cose_sign1", parse: cose.ParseUser, unknown: "Signer is not a known user",
	certs: tables.UsersCerts, data: userData,
}

// TypedUserCOSE is UserCOSE for messages of one type of an application's own, which the
// protected header of the given name holds ("app.msg.type").
func TypedUserCOSE(msgType, header string) Policy {
	p := UserCOSE.(cosePolicy)
	p.msgType, p.header = msgType, header
	return p
}

// ProtectedText returns a parameter of the protected header of the caller's envelope; ok
// is false where there is no text of that name.
func (c *Caller) ProtectedText(name string) (value string, ok bool) {
	value, ok = c.protected(name).(string)
	return value, ok
}

// ProtectedInt is ProtectedText for a number that is not negative.
func (c *Caller) ProtectedInt(name string) (value uint64, ok bool) {
	switch n := c.protected(name).(type) {
	case int64:
		return uint64(n), n >= 0
	case uint64:
		return n, true
	}
	return 0, false
}

func (c *Caller) protected(name string) any {
	if c == nil || c.COSE == nil {
		return nil
	}
	m, err := cose.DecodeMap(c.COSE.Protected)
	if err != nil { // it was decoded when the envelope was
		return nil
	}
	for _, p := range m {
		if p.Key == name {
			return p.Value
		}
	}
	return nil
}

// MemberCOSE accepts a body that is a COSE Sign1 signed by a member, of the given
// message type.
func MemberCOSE(msgType string) Policy {
	return cosePolicy{
		name: "member_cose_sign1", parse: cose.ParseMember, unknown: "Signer is not a known member",
		certs: tables.MembersCerts, data: memberData, msgType: msgType,
	}
}

// ActiveMemberCOSE is MemberCOSE for members whose status is Active.
func ActiveMemberCOSE(msgType string) Policy {
	p := MemberCOSE(msgType).(cosePolicy)
	p.name, p.active = "active_member_cose_sign1", true
	return p
}

type cosePolicy struct {
	name, unknown string
	parse         func([]byte) (*cose.Sign1, error)
	certs         tables.Map[string]
	data          func(tables.Reader, string) (json.RawMessage, error)
	msgType       string // "": any, or none
	header        string // that holds the type; "": governance's
	active        bool
}

func (p cosePolicy) Name() string { return p.name }

func (p cosePolicy) refuse(format string, args ...any) error {
	return &refusal{reason: fmt.Sprintf(format, args...), challenge: api.ChallengeCOSE}
}

func (p cosePolicy) authenticate(_ *Server, c *Call) (*Caller, error) {
	types := c.Header["Content-Type"]
	switch {
	case len(types) == 0:
		return nil, p.refuse("Missing content-type header")
	case types[0] != api.TypeCOSE:
		return nil, p.refuse("Content type is not set to application/cose")
	}
	msg, err := p.parse(c.Body)
	switch {
	case errors.Is(err, cose.ErrUnsupportedAlgorithm):
		return nil, p.refuse("Unsupported algorithm: %d", int64(msg.Header.Alg))
	case err != nil: // CCF lets an undecodable envelope end the request
		return nil, api.Errorf(http.StatusInternalServerError, api.InternalError, "%s", err)
	}
	caller, err := p.signer(c, msg)
	if err != nil {
		return nil, err
	}
	if p.header != "" {
		switch t, ok := caller.ProtectedText(p.header); {
		case !ok:
			return nil, p.refuse("Missing %[1]s, expected %[1]s to be %[2]s", p.header, p.msgType)
		case t != p.msgType:
			return nil, p.refuse("Found %[1]s set to %[3]s, expected %[1]s to be %[2]s", p.header, p.msgType, t)
		}
	} else if p.msgType != "" {
		switch t := msg.Header.MsgType; {
		case t == nil:
			return nil, p.refuse("Missing ccf.gov.msg.type, expected ccf.gov.msg.type to be %s", p.msgType)
		case *t != p.msgType:
			return nil, p.refuse("Found ccf.gov.msg.type set to %s, expected ccf.gov.msg.type to be %s", *t, p.msgType)
		}
	}
	return caller, nil
}

// signer finds the key that the envelope names and verifies the signature with it.
func (p cosePolicy) signer(c *Call, msg *cose.Sign1) (*Caller, error) {
	id := msg.Header.KID
	text, ok, err := p.certs.Get(c.Tx, id)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, p.refuse("%s", p.unknown)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, fmt.Errorf("the certificate of %s in %s is no PEM", id, p.certs.Name())
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the certificate of %s in %s: %w", id, p.certs.Name(), err)
	}
	if err := msg.Verify(cert.PublicKey); err != nil {
		return nil, p.refuse("Failed to validate COSE Sign1")
	}
	if p.active {
		m, ok, err := tables.MembersInfo.Get(c.Tx, id)
		switch {
		case err != nil:
			return nil, err
		case !ok || m.Status != tables.MemberActive:
			return nil, p.refuse("Signer is not an ACTIVE member")
		}
	}
	data, err := p.data(c.Tx, id)
	if err != nil {
		return nil, err
	}
	return &Caller{Policy: p.name, ID: id, Cert: text, Data: data, COSE: msg}, nil
}

package gov

import (
	"encoding/json"
	"unicode/utf8"

	"chancery/gov/tables"
	"chancery/internal/cose"
)

// Signed is a message of a member whose envelope, type, signature and status the caller
// has checked against the same transaction that it gives with it.
type Signed struct {
	// Member is the id of the signer.
	Member string
	// Envelope is the message, Raw its bytes as received; they are recorded.
	Envelope *cose.Sign1
	Raw      []byte
}

func (s Signed) payload() []byte { return s.Envelope.Payload }

// parseObject reads a signed payload. Of members with the same name the last counts,
// and names are matched exactly.
func parseObject(payload []byte) (map[string]json.RawMessage, *Error) {
	var v any
	if !utf8.Valid(payload) {
		return nil, refuse(Invalid, CodeInvalidInput, "parsing JSON: invalid UTF-8")
	}
	if err := tables.Unmarshal(payload, &v); err != nil {
		return nil, refuse(Invalid, CodeInvalidInput, "%s", err)
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, nil
	}
	fields := make(map[string]json.RawMessage)
	if err := tables.Unmarshal(payload, &fields); err != nil {
		return nil, refuse(Invalid, CodeInvalidInput, "%s", err)
	}
	return fields, nil
}

// stringField returns the text of a member of an object, false when it is not there or
// no text.
func stringField(fields map[string]json.RawMessage, name string) (string, bool) {
	var v any
	if json.Unmarshal(fields[name], &v) != nil {
		return "", false
	}
	s, ok := v.(string)
	return s, ok
}

// requireString is stringField with an error in the words of CCF's JSON library.
func requireString(payload []byte, name string) (string, error) {
	fields, refused := parseObject(payload)
	if refused != nil {
		return "", refused
	}
	if fields == nil {
		var v any
		_ = json.Unmarshal(payload, &v)
		return "", refuse(Invalid, CodeInvalidInput,
			"[json.exception.type_error.305] cannot use operator[] with a string argument with %s", jsonType(v))
	}
	text, ok := stringField(fields, name)
	if !ok {
		var v any
		_ = json.Unmarshal(fields[name], &v) // absent reads as null
		return "", refuse(Invalid, CodeInvalidInput,
			"[json.exception.type_error.302] type must be string, but is %s", jsonType(v))
	}
	return text, nil
}

func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

// checkProposalID checks the id in a request's path, and for a signed request that the
// signer named the same proposal.
func checkProposalID(id string) *Error {
	if !isHexID(id) {
		return refuse(Invalid, CodeInvalidResourceName, "'%s' is not a valid hex-encoded proposal ID", id)
	}
	return nil
}

func checkMemberID(id string) *Error {
	if !isHexID(id) {
		return refuse(Invalid, CodeInvalidResourceName, "'%s' is not a valid hex-encoded member ID", id)
	}
	return nil
}

func (s Signed) checkProposal(id string) *Error {
	if err := checkProposalID(id); err != nil {
		return err
	}
	if named := s.Envelope.Header.ProposalID; named == nil || *named != id {
		return refuse(Invalid, CodeInvalidResourceName, "Authenticated proposal id does not match URL")
	}
	return nil
}

func (s Signed) checkMember(id string) *Error {
	if err := checkMemberID(id); err != nil {
		return err
	}
	if s.Member != id {
		return refuse(Invalid, CodeInvalidResourceName, "Authenticated member id does not match URL")
	}
	return nil
}

// checkSigner is checkMember for the endpoints that do not look at the form of the id.
func (s Signed) checkSigner(id string) *Error {
	if s.Member != id {
		return refuse(Invalid, CodeInvalidAuthenticationInfo,
			"Member ID from path parameter (%s) does not match member ID from body signature (%s).",
			memberText(id), memberText(s.Member))
	}
	return nil
}

// isHexID says whether id is 64 hex digits of either case.
func isHexID(id string) bool {
	if len(id) != 64 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

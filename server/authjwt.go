package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"

	"chancery/gov/tables"
	"chancery/server/api"
)

// JWT accepts a bearer token that is signed by a key of the service's JWT tables,
// within its time and the key's issuer constraint. The audience is the application's
// business.
var JWT Policy = jwtPolicy{}

type jwtPolicy struct{}

func (jwtPolicy) Name() string { return "jwt" }

func refuseJWT(format string, args ...any) error {
	return &refusal{reason: fmt.Sprintf(format, args...), challenge: api.ChallengeJWT}
}

func (jwtPolicy) authenticate(s *Server, c *Call) (*Caller, error) {
	text, err := bearer(c.Header["Authorization"])
	if err != nil {
		return nil, err
	}
	t, err := parseToken(text)
	if err != nil {
		return nil, err
	}
	keys, _, err := tables.JWTKeys.Get(c.Tx, t.kid)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, refuseJWT("JWT signing key not found for kid %s", t.kid)
	}
	now := s.now().Unix()
	for _, k := range keys {
		if err = s.checkToken(t, k, now); err == nil {
			return &Caller{Policy: "jwt", JWT: &Token{Issuer: k.Issuer, Header: t.header, Payload: t.payload}}, nil
		}
	}
	return nil, err
}

// bearer takes the token out of the authorization header.
func bearer(values []string) (string, error) {
	if len(values) == 0 {
		return "", refuseJWT("Missing authorization header")
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	switch {
	case !ok:
		return "", refuseJWT("Authorization header only contains one field")
	case scheme != "Bearer":
		return "", refuseJWT("Authorization header does not have Bearer scheme")
	}
	return token, nil
}

// token is a token taken apart; its signature is not checked yet.
type token struct {
	jws             *jose.JSONWebSignature
	header, payload json.RawMessage
	kid, iss        string
	tid             *string
	exp             float64
	nbf             *float64
}

// algorithms are the ones that a token's header may name. The key decides; go-jose
// refuses a key that is not for the header's algorithm (CCF does not look).
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256}

// parseToken takes a token apart.
func parseToken(text string) (*token, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, refuseJWT("Malformed JWT: must contain exactly 3 parts")
	}
	var raw [3][]byte
	for i, name := range [...]string{"header", "payload", "signature"} {
		if parts[i] == "" {
			return nil, refuseJWT("JWT part is empty (%s)", name)
		}
		b, err := base64.RawURLEncoding.Strict().DecodeString(parts[i])
		if err != nil {
			return nil, refuseJWT("Failed to parse base64url in JWT (%s)", name)
		}
		raw[i] = b
	}
	t := &token{header: raw[0], payload: raw[1]}
	if err := t.readHeader(); err != nil {
		return nil, err
	}
	if err := t.readClaims(); err != nil {
		return nil, err
	}
	var err error
	if t.jws, err = jose.ParseSignedCompact(text, algorithms); err != nil {
		return nil, refuseJWT("JWT header does not follow schema: %s", err)
	}
	return t, nil
}

// object decodes a part of the token as a JSON object of bounded depth.
func object(part []byte) (map[string]json.RawMessage, error) {
	var m map[string]json.RawMessage
	if err := decodeJSON(part, &m); err != nil || m == nil {
		return nil, refuseJWT("JWT header or payload is not valid JSON")
	}
	return m, nil
}

func (t *token) readHeader() error {
	m, err := object(t.header)
	if err != nil {
		return err
	}
	var alg string
	if json.Unmarshal(m["alg"], &alg) != nil || json.Unmarshal(m["kid"], &t.kid) != nil {
		return refuseJWT("JWT header does not follow schema: alg and kid are required")
	}
	if alg != string(jose.RS256) && alg != string(jose.ES256) {
		return refuseJWT("JWT header does not follow schema: unknown alg")
	}
	return nil
}

func (t *token) readClaims() error {
	m, err := object(t.payload)
	if err != nil {
		return err
	}
	for _, name := range [...]string{"exp", "iss"} {
		if _, ok := m[name]; !ok {
			return refuseJWT("JWT payload is missing required field: %s", name)
		}
	}
	if err := claim(m["exp"], "number", &t.exp); err != nil {
		return err
	}
	if err := claim(m["iss"], "string", &t.iss); err != nil {
		return err
	}
	if v, ok := m["nbf"]; ok {
		if err := claim(v, "number", &t.nbf); err != nil {
			return err
		}
	}
	if v, ok := m["tid"]; ok {
		return claim(v, "string", &t.tid)
	}
	return nil
}

// claim decodes one claim. One of the wrong type ends the request with 400, as in CCF.
func claim(raw json.RawMessage, kind string, out any) error {
	if json.Unmarshal(raw, out) == nil && !bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return nil
	}
	return api.Errorf(http.StatusBadRequest, api.InvalidInput, "[json.exception.type_error.302] type must be %s, but is %s", kind, jsonKind(raw))
}

// jsonKind names the type of a JSON value.
func jsonKind(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "null"
	}
	switch raw[0] {
	case '"':
		return "string"
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}

// checkToken checks a token against one key of the tables.
func (s *Server) checkToken(t *token, k tables.JWTKey, now int64) error {
	key, err := s.keys.get(k.PublicKey)
	if err != nil {
		return refuseJWT("Signature verification failed")
	}
	if _, err := t.jws.Verify(key); err != nil {
		return refuseJWT("Signature verification failed")
	}
	switch {
	case t.nbf != nil && float64(now) < math.Trunc(*t.nbf):
		return refuseJWT("Current time %d is before token's Not Before (nbf) claim %.0f", now, *t.nbf)
	case float64(now) > math.Trunc(t.exp):
		return refuseJWT("Current time %d is after token's Expiration Time (exp) claim %.0f", now, t.exp)
	case k.Constraint != nil && !issuerAllowed(t.iss, t.tid, *k.Constraint):
		return refuseJWT("Kid %s failed issuer constraint validation %s", t.kid, *k.Constraint)
	}
	return nil
}

// issuerAllowed checks a token's issuer against a key's constraint. Keys of
// Microsoft's multi-tenant endpoint name the tenant by a placeholder, which the
// token's tid replaces; elsewhere the issuer must be equal and there must be no tid.
func issuerAllowed(iss string, tid *string, constraint string) bool {
	c, err := url.Parse(constraint)
	if err != nil {
		return false
	}
	if c.Host != "login.microsoftonline.com" {
		return iss == constraint && tid == nil
	}
	if tid == nil || iss != strings.Replace(constraint, "{tenantid}", *tid, 1) {
		return false
	}
	u, err := url.Parse(iss)
	if err != nil {
		return false
	}
	for _, segment := range strings.Split(u.Path, "/") {
		if segment != "" {
			return segment == *tid
		}
	}
	return false
}

// maxCachedKeys bounds the parsed keys that are kept.
const maxCachedKeys = 64

// keyCache keeps parsed public keys by their DER form.
type keyCache struct {
	mu   sync.Mutex
	keys map[string]any // guarded by mu
}

func (c *keyCache) get(der []byte) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if key, ok := c.keys[string(der)]; ok {
		return key, nil
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	switch key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
	default:
		return nil, fmt.Errorf("a key of type %T signs no tokens here", key)
	}
	if c.keys == nil || len(c.keys) >= maxCachedKeys {
		c.keys = make(map[string]any)
	}
	c.keys[string(der)] = key
	return key, nil
}

package gov

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/dop251/goja"
	"github.com/go-jose/go-jose/v4"

	"chancery/gov/tables"
	"chancery/kv"
)

// jwk is what is used of one key of a JWK set.
type jwk struct {
	KID    *string  `json:"kid"`
	KTY    string   `json:"kty"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
	CRV    string   `json:"crv"`
	X5C    []string `json:"x5c"`
	Issuer *string  `json:"issuer"`
}

func (h *host) setJWTPublicSigningKeys(c call) (any, error) {
	if err := c.arity(3); err != nil {
		return nil, err
	}
	raw, err := jsonArgument(c.args[2])
	if err != nil {
		return nil, fmt.Errorf("jwks argument is not a JSON object: %w", err)
	}
	return nil, SetJWTKeys(h.tx, c.args[0].String(), raw)
}

func (h *host) removeJWTPublicSigningKeys(c call) (any, error) {
	if err := c.arity(1); err != nil {
		return nil, err
	}
	if err := removeJWTKeys(h.tx, c.args[0].String(), nil); err != nil {
		return nil, fmt.Errorf("Failed to remove JWT public signing keys: %w", err)
	}
	return nil, nil
}

// jsonArgument is the JSON text of a script's value.
func jsonArgument(v goja.Value) ([]byte, error) {
	o, ok := v.(*goja.Object)
	if !ok {
		return nil, fmt.Errorf("it is %s", v.String())
	}
	return o.MarshalJSON()
}

// SetJWTKeys makes the keys of a JWK set (JSON) the signing keys of an issuer: those it
// had and that are not in the set are removed. A key in the set may carry a constraint, in
// its member "issuer": the iss that tokens signed with it must have, whose host must be
// the issuer's or a domain above it. One bad key refuses the whole set. Rows that would
// not change are not written.
func SetJWTKeys(tx *kv.Tx, issuer string, jwks []byte) error {
	keys, err := parseJWKS(issuer, jwks)
	if err != nil {
		return fmt.Errorf("set_jwt_public_signing_keys() failed: %w", err)
	}
	for _, kid := range slices.Sorted(maps.Keys(keys)) {
		if err := setJWTKey(tx, kid, keys[kid]); err != nil {
			return err
		}
	}
	return removeJWTKeys(tx, issuer, func(kid string) bool { _, keep := keys[kid]; return keep })
}

// setJWTKey puts an issuer's key in the list of those with the same kid.
func setJWTKey(tx *kv.Tx, kid string, key tables.JWTKey) error {
	list, _, err := tables.JWTKeys.Get(tx, kid)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(k tables.JWTKey) bool { return k.Issuer == key.Issuer })
	switch {
	case i < 0:
		list = append(list, key)
	case sameKey(list[i], key):
		return nil
	default:
		list[i] = key
	}
	return tables.JWTKeys.Put(tx, kid, list)
}

func sameKey(a, b tables.JWTKey) bool {
	if (a.Constraint == nil) != (b.Constraint == nil) || a.Constraint != nil && *a.Constraint != *b.Constraint {
		return false
	}
	return a.Issuer == b.Issuer && slices.Equal(a.PublicKey, b.PublicKey)
}

// removeJWTKeys removes the keys of an issuer, but those that keep says; nil keeps none.
func removeJWTKeys(tx *kv.Tx, issuer string, keep func(kid string) bool) error {
	all, err := tables.JWTKeys.All(tx)
	if err != nil {
		return err
	}
	for _, row := range all {
		if keep != nil && keep(row.Key) {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(row.Value), func(k tables.JWTKey) bool { return k.Issuer == issuer })
		switch {
		case len(left) == len(row.Value):
		case len(left) == 0:
			tables.JWTKeys.Delete(tx, row.Key)
		default:
			if err := tables.JWTKeys.Put(tx, row.Key, left); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseJWKS reads a set; of keys with the same kid the first counts.
func parseJWKS(issuer string, raw []byte) (map[string]tables.JWTKey, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := tables.Unmarshal(raw, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) == 0 {
		return nil, fmt.Errorf("JWKS has no keys")
	}
	out := make(map[string]tables.JWTKey)
	for _, k := range set.Keys {
		if k.KID == nil {
			return nil, fmt.Errorf("Missing kid for JWT signing key")
		}
		der, err := k.publicKey()
		if err != nil {
			return nil, fmt.Errorf("JWKS kid %s: %w", *k.KID, err)
		}
		if k.Issuer != nil && !allowsConstraint(issuer, *k.Issuer) {
			return nil, fmt.Errorf("JWKS kid %s with issuer constraint %s fails validation against issuer %s", *k.KID, *k.Issuer, issuer)
		}
		if _, ok := out[*k.KID]; !ok {
			out[*k.KID] = tables.JWTKey{PublicKey: der, Issuer: issuer, Constraint: k.Issuer}
		}
	}
	return out, nil
}

// publicKey returns the key as SPKI DER: from n and e, else from x, y and crv, else from
// the first certificate.
func (k jwk) publicKey() ([]byte, error) {
	switch {
	case k.N != "" && k.E != "":
		return keyDER(map[string]string{"kty": "RSA", "n": k.N, "e": k.E})
	case k.X != "" && k.Y != "" && k.CRV != "":
		return keyDER(map[string]string{"kty": "EC", "x": k.X, "y": k.Y, "crv": k.CRV})
	case len(k.X5C) > 0:
		der, err := base64.StdEncoding.DecodeString(k.X5C[0])
		if err != nil {
			return nil, fmt.Errorf("x5c: %w", err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("x5c: %w", err)
		}
		return x509.MarshalPKIXPublicKey(cert.PublicKey)
	}
	return nil, fmt.Errorf("neither RSA/EC public key or x5c")
}

func keyDER(members map[string]string) ([]byte, error) {
	urlSafe := strings.NewReplacer("+", "-", "/", "_", "=", "")
	for name, value := range members {
		if name != "kty" && name != "crv" { // numbers: CCF takes them in base64 as well
			members[name] = urlSafe.Replace(value)
		}
	}
	raw, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	switch pub := key.Key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
		return x509.MarshalPKIXPublicKey(pub)
	}
	return nil, fmt.Errorf("a key of type %T", key.Key)
}

// allowsConstraint says whether keys of an issuer may be constrained to tokens of
// another: one on the same host, or on a domain above it.
func allowsConstraint(issuer, constraint string) bool {
	from, to := hostOf(issuer), hostOf(constraint)
	return to != "" && (from == to || strings.HasSuffix(from, "."+to))
}

func hostOf(u string) string {
	parsed, err := url.Parse(u)
	if err != nil {
		return ""
	}
	return parsed.Hostname()
}

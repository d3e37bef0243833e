package gov_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
)

// rsaJWK is a JWK of a participant's RSA key; extra members are added.
func rsaJWK(t *testing.T, i int, kid string, extra args) args {
	t.Helper()
	pub := participant(t, i).Encryption.PublicKey
	e := []byte{byte(pub.E >> 16), byte(pub.E >> 8), byte(pub.E)}
	out := args{"kid": kid, "kty": "RSA",
		"n": base64.RawURLEncoding.EncodeToString(pub.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(e)}
	for k, v := range extra {
		out[k] = v
	}
	return out
}

func keysOf(s *service, kid string) []tables.JWTKey {
	s.t.Helper()
	keys, _, err := tables.JWTKeys.Get(s.head(), kid)
	must(s.t, err)
	return keys
}

// TestJWTKeys rotates the keys of two issuers that share a kid.
func TestJWTKeys(t *testing.T) {
	s := newService(t, 1, "sandbox", 1)
	const a, b = "https://a.example/x", "https://login.b.example"
	s.accept(action{"set_jwt_issuer", args{"issuer": a, "odd": 1, "jwks": args{"keys": []any{rsaJWK(t, 0, "k1", nil), rsaJWK(t, 1, "k2", nil)}}}},
		action{"set_jwt_issuer", args{"issuer": b}},
		action{"set_jwt_public_signing_keys", args{"issuer": b, "jwks": args{"keys": []any{rsaJWK(t, 1, "k1", args{"issuer": "https://b.example/v2"})}}}})
	if raw, _ := s.head().Get(tables.NameJWTIssuers, []byte(a)); string(raw) != `{"issuer":"`+a+`","odd":1}` {
		t.Errorf("issuer row %s: want all arguments but the keys", raw)
	}
	keys := keysOf(s, "k1")
	if len(keys) != 2 || keys[0].Issuer != a || keys[0].Constraint != nil || keys[1].Issuer != b || *keys[1].Constraint != "https://b.example/v2" {
		t.Fatalf("k1: got %+v", keys)
	}
	want, err := x509.MarshalPKIXPublicKey(&participant(t, 0).Encryption.PublicKey)
	must(t, err)
	if string(keys[0].PublicKey) != string(want) {
		t.Error("k1: not the SPKI of the key")
	}

	// k2 goes, k3 comes, k1 stays with the other issuer's entry beside it.
	rotate := func() {
		s.accept(action{"set_jwt_public_signing_keys", args{"issuer": a, "jwks": args{"keys": []any{rsaJWK(t, 0, "k1", nil), rsaJWK(t, 1, "k3", nil)}}}})
	}
	rotate()
	if len(keysOf(s, "k1")) != 2 || len(keysOf(s, "k2")) != 0 || len(keysOf(s, "k3")) != 1 {
		t.Errorf("after rotation: k1 %d, k2 %d, k3 %d keys", len(keysOf(s, "k1")), len(keysOf(s, "k2")), len(keysOf(s, "k3")))
	}
	ws, err := s.run(func(tx *kv.Tx, _ *effects) error {
		return gov.SetJWTKeys(tx, a, jwks(t, rsaJWK(t, 0, "k1", nil), rsaJWK(t, 1, "k3", nil)))
	})
	must(t, err)
	if len(ws) != 0 {
		t.Errorf("the same keys again wrote %v", ws)
	}
	view, err := gov.JWK(s.head())
	must(t, err)
	if len(view.Issuers) != 2 || len(view.Keys["k1"]) != 2 {
		t.Errorf("view: got %+v", view)
	}
	s.accept(action{"remove_jwt_issuer", args{"issuer": a}})
	if left := keysOf(s, "k1"); len(left) != 1 || left[0].Issuer != b || len(keysOf(s, "k3")) != 0 {
		t.Errorf("after removal: got %+v", left)
	}
	s.accept(action{"cleanup_legacy_jwt_records", args{"ensure_new_records_exist": true}})
}

func jwks(t *testing.T, keys ...args) []byte {
	t.Helper()
	b, err := json.Marshal(args{"keys": keys})
	must(t, err)
	return b
}

func TestJWKForms(t *testing.T) {
	cert, err := identity.ParseCertificate(participant(t, 0).Cert)
	must(t, err)
	x5c := base64.StdEncoding.EncodeToString(cert.Raw)
	const x, y = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
	for _, c := range []struct {
		name string
		key  args
		ok   bool
	}{
		{"RSA", rsaJWK(t, 0, "k", nil), true},
		{"EC", args{"kid": "k", "kty": "EC", "crv": "P-256", "x": x, "y": y}, true},
		{"EC, base64", args{"kid": "k", "kty": "EC", "crv": "P-256", "x": x + "=", "y": strings.NewReplacer("-", "+", "_", "/").Replace(y) + "="}, true},
		{"certificate", args{"kid": "k", "kty": "EC", "x5c": []string{x5c}}, true},
		{"certificate, bad base64", args{"kid": "k", "kty": "EC", "x5c": []string{"%"}}, false},
		{"certificate, junk", args{"kid": "k", "kty": "EC", "x5c": []string{"AAAA"}}, false},
		{"EC, point off the curve", args{"kid": "k", "kty": "EC", "crv": "P-256", "x": x, "y": x}, false},
		{"EC, unknown curve", args{"kid": "k", "kty": "EC", "crv": "P-1", "x": x, "y": y}, false},
		{"no kid", args{"kty": "RSA", "n": "AQAB", "e": "AQAB"}, false},
		{"no key", args{"kid": "k", "kty": "RSA"}, false},
		{"constraint on the host itself", rsaJWK(t, 0, "k", args{"issuer": "https://sub.host.example/y"}), true},
		{"constraint on a domain above", rsaJWK(t, 0, "k", args{"issuer": "https://host.example"}), true},
		{"constraint on a domain below", rsaJWK(t, 0, "k", args{"issuer": "https://x.sub.host.example"}), false},
		{"constraint elsewhere", rsaJWK(t, 0, "k", args{"issuer": "https://ost.example"}), false},
		{"constraint without host", rsaJWK(t, 0, "k", args{"issuer": "nowhere"}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx := kv.NewStore().Begin()
			err := gov.SetJWTKeys(tx, "https://sub.host.example/x", jwks(t, c.key))
			if (err == nil) != c.ok {
				t.Errorf("got %v, want ok %t", err, c.ok)
			}
			if !c.ok && tx.Dirty() {
				t.Error("a refused set wrote something")
			}
		})
	}
}

// FuzzSetJWTKeys feeds key sets to the reader; a refused one writes nothing.
func FuzzSetJWTKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kid":"k","kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kid":"k","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","issuer":"https://a"}]}`))
	f.Add([]byte(`{"keys":[{"kid":"k","x5c":["AAAA"]}]}`))
	f.Add([]byte(`{"keys":5}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tx := kv.NewStore().Begin()
		if err := gov.SetJWTKeys(tx, "https://a", b); err != nil && tx.Dirty() {
			t.Errorf("%q: refused (%v), and written", b, err)
		}
	})
}

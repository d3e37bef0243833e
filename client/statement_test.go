package client

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"

	"chancery/internal/cose"
	"chancery/internal/identity"
	"chancery/server/api"
)

// TestCheckStatement changes a node's statement in each of its parts.
func TestCheckStatement(t *testing.T) {
	key := newKey(t)
	digest, err := identity.KeyDigest(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public, err := identity.PublicKeyPEM(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	other, err := identity.PublicKeyPEM(&newKey(t).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	want := api.AttestationStatement{Nonce: "bm9uY2U=", NodeID: "id", ServiceCertificate: "digest"}
	payload, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(contentType any, payload []byte) string {
		t.Helper()
		protected, err := cose.EncodeMap(cose.Pair{Key: cose.LabelAlg, Value: cose.ES384}, cose.Pair{Key: 3, Value: contentType})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := cose.SignAttached(key, protected, payload)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(raw)
	}
	good := sign(api.TypeAttestation, payload)
	for _, c := range []struct {
		name string
		a    api.NodeAttestation
		ok   bool
	}{
		{"good", api.NodeAttestation{Statement: good, PublicKey: string(public)}, true},
		{"another key", api.NodeAttestation{Statement: good, PublicKey: string(other)}, false},
		{"no key", api.NodeAttestation{Statement: good}, false},
		{"no statement", api.NodeAttestation{PublicKey: string(public)}, false},
		{"no base64", api.NodeAttestation{Statement: "?", PublicKey: string(public)}, false},
		{"no COSE", api.NodeAttestation{Statement: "AAAA", PublicKey: string(public)}, false},
		{"changed", api.NodeAttestation{Statement: good[:len(good)-8] + "AAAAAAA=", PublicKey: string(public)}, false},
		{"something else", api.NodeAttestation{Statement: sign("application/json", payload), PublicKey: string(public)}, false},
		{"type a number", api.NodeAttestation{Statement: sign(3, payload), PublicKey: string(public)}, false},
		{"no JSON", api.NodeAttestation{Statement: sign(api.TypeAttestation, []byte("x")), PublicKey: string(public)}, false},
		{"huge", api.NodeAttestation{Statement: sign(api.TypeAttestation, make([]byte, maxStatement)), PublicKey: string(public)}, false},
	} {
		got, of, err := CheckStatement(&c.a)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.ok && (*got != want || of != digest) {
			t.Errorf("%s: %+v, key %x", c.name, got, of)
		}
	}
}

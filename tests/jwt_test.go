package tests

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"chancery/client"
	"chancery/server/api"
)

// tokenIssuer is an OpenID issuer on loopback with one signing key at a time.
type tokenIssuer struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	key    *rsa.PrivateKey
	kid    string
	broken bool
}

func newTokenIssuer(t *testing.T) *tokenIssuer {
	i := &tokenIssuer{t: t}
	i.rotate("first")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL, i.URL+"/keys")
	})
	mux.HandleFunc("GET /keys", i.serveKeys)
	i.Server = httptest.NewUnstartedServer(mux)
	i.Config.ErrorLog = log.New(t.Output(), "issuer: ", 0)
	i.StartTLS()
	t.Cleanup(i.Close)
	return i
}

func (i *tokenIssuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.broken {
		http.Error(w, "out of order", http.StatusInternalServerError)
		return
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: i.kid, Algorithm: "RS256", Use: "sig"}}}
	if err := json.NewEncoder(w).Encode(set); err != nil {
		i.t.Error(err)
	}
}

// rotate replaces the signing key.
func (i *tokenIssuer) rotate(kid string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.kid = key, kid
}

func (i *tokenIssuer) setBroken(broken bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.broken = broken
}

// token signs a token with the key of now.
func (i *tokenIssuer) token() string {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: i.key, KeyID: i.kid}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		i.t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(jwt.Claims{Issuer: i.URL, Subject: "ada", Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour))}).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

// refreshed waits until the node's figures are what done accepts.
func (s *sandbox) refreshed(c *client.Client, what string, done func(api.RefreshMetrics) bool) api.RefreshMetrics {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		var m api.RefreshMetrics
		if err := c.Get(s.t.Context(), "/node/jwt_keys/refresh/metrics", nil, &m); err != nil {
			s.t.Fatal(err)
		}
		if done(m) {
			return m
		}
		select {
		case <-tick.C:
		case <-late:
			s.t.Fatalf("%s: never, the figures are %+v", what, m)
		}
	}
}

// propose has the sandbox's member change the service.
func (s *sandbox) propose(proposal any) {
	s.t.Helper()
	text, err := json.Marshal(proposal)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "proposal.json"), text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.sh("W=workspace/sandbox_common\nbin/chancery gov propose proposal.json --url https://127.0.0.1:8000 --service-cert $W/service_cert.pem --cert $W/member0_cert.pem --key $W/member0_privk.pem")
}

// TestTokenKeysRefresh has a node fetch the keys of an issuer by itself: the tokens of
// its present key count, those of the one before no longer, and while the issuer is out
// of order the keys stay.
func TestTokenKeysRefresh(t *testing.T) {
	issuer := newTokenIssuer(t)
	s := newSandbox(t)
	s.up()
	c := s.client()
	defer c.Close()
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw})
	type m = map[string]any
	setIssuer := m{"name": "set_jwt_issuer", "args": m{"issuer": issuer.URL, "auto_refresh": true, "ca_cert_bundle_name": "issuer"}}
	read := func(token string) error {
		r := client.Request{Path: "/app/log/private?id=7", Header: http.Header{"Authorization": {"Bearer " + token}}}
		anonymous := s.anonymous()
		defer anonymous.Close()
		_, err := anonymous.Do(t.Context(), r)
		return err
	}
	status := func(err error) int {
		var refused *client.Error
		if errors.As(err, &refused) {
			return refused.Status
		}
		if err != nil {
			t.Fatal(err)
		}
		return http.StatusOK
	}
	post := client.Request{Method: "POST", Path: "/app/log/private", JSON: m{"id": 7, "msg": "seven"}}
	if _, err := c.Do(t.Context(), post); err != nil {
		t.Fatal(err)
	}
	first := issuer.token()
	if got := status(read(first)); got != http.StatusUnauthorized {
		t.Fatalf("a token of nobody: status %d", got)
	}

	s.propose(m{"actions": []any{m{"name": "set_ca_cert_bundle", "args": m{"name": "issuer", "cert_bundle": string(bundle)}}, setIssuer}})
	s.refreshed(c, "first fetch", func(f api.RefreshMetrics) bool { return f.Successes == 1 })
	if got := status(read(first)); got != http.StatusOK {
		t.Errorf("a token of the fetched key: status %d", got)
	}

	issuer.rotate("second")
	second := issuer.token()
	if got := status(read(second)); got != http.StatusUnauthorized {
		t.Errorf("a token of a key that is not fetched yet: status %d", got)
	}
	s.propose(m{"actions": []any{setIssuer}})
	s.refreshed(c, "second fetch", func(f api.RefreshMetrics) bool { return f.Successes == 2 })
	if got := status(read(second)); got != http.StatusOK {
		t.Errorf("a token of the new key: status %d", got)
	}
	if got := status(read(first)); got != http.StatusUnauthorized {
		t.Errorf("a token of the withdrawn key: status %d", got)
	}

	issuer.setBroken(true)
	s.propose(m{"actions": []any{setIssuer}})
	f := s.refreshed(c, "failed fetch", func(f api.RefreshMetrics) bool { return f.Failures == 1 })
	if f.Attempts != 3 || f.Successes != 2 {
		t.Errorf("figures: %+v", f)
	}
	if got := status(read(second)); got != http.StatusOK {
		t.Errorf("a token of the key that stays: status %d", got)
	}
}

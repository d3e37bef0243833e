package oidc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"chancery/internal/oidc"
)

const keySet = `{"keys":[{"kid":"a","kty":"RSA","n":"AQAB","e":"AQAB"}]}`

// issuer serves metadata and keys over TLS; either handler may be replaced.
type issuer struct {
	*httptest.Server
	metadata, keys http.HandlerFunc
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) { i.metadata(w, r) })
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) { i.keys(w, r) })
	i.Server = httptest.NewTLSServer(mux)
	t.Cleanup(i.Close)
	i.Config.ErrorLog = nil
	i.metadata = answer(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, i.URL, i.URL+"/keys"))
	i.keys = answer(keySet)
	return i
}

func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

func (i *issuer) bundle() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw}))
}

var limits = oidc.Limits{Timeout: 10 * time.Second, Bytes: 4096}

func TestKeys(t *testing.T) {
	i := newIssuer(t)
	for _, url := range []string{i.URL, i.URL + "/"} {
		got, err := oidc.Keys(context.Background(), url, i.bundle(), limits)
		if err != nil || string(got) != keySet {
			t.Errorf("%s: got %s, %v", url, got, err)
		}
	}
}

// TestKeysAtLimit takes a body of exactly the bytes allowed.
// TestServerNames: a certificate that members put into the bundle needs no name; one that
// only chains to the bundle is for the host's name, or refused.
func TestServerNames(t *testing.T) {
	i := newIssuer(t)
	port := i.Listener.Addr().(*net.TCPAddr).Port
	i.metadata = answer(fmt.Sprintf(`{"jwks_uri":"https://localhost:%d/keys"}`, port))
	at := fmt.Sprintf("https://localhost:%d", port) // httptest's certificate is for example.com and addresses
	if _, err := oidc.Keys(t.Context(), at, i.bundle(), limits); err != nil {
		t.Errorf("a pinned certificate with another name: %v", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	ca, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	must(t, err)
	bundle := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca}))
	for name, fails := range map[string]bool{"localhost": false, "other": true} {
		leaf := template
		leaf.SerialNumber, leaf.Subject, leaf.IsCA, leaf.DNSNames = big.NewInt(2), pkix.Name{CommonName: "localhost"}, false, []string{name}
		der, err := x509.CreateCertificate(rand.Reader, &leaf, &template, &key.PublicKey, key)
		must(t, err)
		i.TLS.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
		if _, err := oidc.Keys(t.Context(), at, bundle, limits); (err != nil) != fails {
			t.Errorf("a certificate for %s under a CA: %v", name, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeysAtLimit(t *testing.T) {
	i := newIssuer(t)
	body := keySet + strings.Repeat(" ", int(limits.Bytes)-len(keySet))
	i.keys = answer(body)
	if _, err := oidc.Keys(context.Background(), i.URL, i.bundle(), limits); err != nil {
		t.Error(err)
	}
	i.keys = answer(body + " ")
	if _, err := oidc.Keys(context.Background(), i.URL, i.bundle(), limits); err == nil || !strings.Contains(err.Error(), "larger than 4096 bytes") {
		t.Errorf("one byte more: got %v", err)
	}
}

func TestKeysRefused(t *testing.T) {
	other := newIssuer(t)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for name, c := range map[string]struct {
		change func(*issuer)
		bundle func(*issuer) string
		issuer string
		want   string
	}{
		"foreign bundle":   {bundle: func(*issuer) string { return foreignCA }, want: "certificate"},
		"empty bundle":     {bundle: func(*issuer) string { return "" }, want: "holds no certificate"},
		"plain http":       {issuer: plain.URL, want: "not an https address"},
		"user info":        {issuer: "https://me:secret@127.0.0.1:1", want: "not an https address"},
		"no jwks_uri":      {change: func(i *issuer) { i.metadata = answer(`{}`) }, want: "names no jwks_uri"},
		"jwks_uri file":    {change: func(i *issuer) { i.metadata = answer(`{"jwks_uri":"file:///etc/passwd"}`) }, want: "not an https address"},
		"jwks_uri plain":   {change: func(i *issuer) { i.metadata = answer(fmt.Sprintf(`{"jwks_uri":%q}`, plain.URL)) }, want: "not an https address"},
		"not JSON":         {change: func(i *issuer) { i.keys = answer("<html>") }, want: "not the JSON expected"},
		"jwks_uri missing": {change: func(i *issuer) { i.keys = http.NotFound }, want: "status 404"},
		"redirect": {change: func(i *issuer) {
			i.keys = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, other.URL+"/keys", http.StatusFound)
			}
		}, want: "status 302"},
		"endless": {change: func(i *issuer) {
			i.keys = func(w http.ResponseWriter, _ *http.Request) {
				for chunk := []byte(strings.Repeat(" ", 1024)); ; {
					if _, err := w.Write(chunk); err != nil {
						return
					}
				}
			}
		}, want: "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			if c.change != nil {
				c.change(i)
			}
			bundle, url := i.bundle(), i.URL
			if c.bundle != nil {
				bundle = c.bundle(i)
			}
			if c.issuer != "" {
				url = c.issuer
			}
			got, err := oidc.Keys(context.Background(), url, bundle, limits)
			if err == nil {
				t.Fatalf("got %s, want an error with %q", got, c.want)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %q, want %q in it", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error holds a password: %q", err)
			}
		})
	}
}

// TestKeysSlow ends with its time although the server never answers.
func TestKeysSlow(t *testing.T) {
	i := newIssuer(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	i.keys = func(http.ResponseWriter, *http.Request) { <-release }
	_, err := oidc.Keys(context.Background(), i.URL, i.bundle(), oidc.Limits{Timeout: 200 * time.Millisecond, Bytes: 4096})
	if err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("got %v, want the deadline", err)
	}
}

// foreignCA is a certificate that no test server chains to.
var foreignCA = func() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}()

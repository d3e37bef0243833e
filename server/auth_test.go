package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"chancery/gov/tables"
	"chancery/internal/cose"
	"chancery/kv"
	"chancery/server/api"
)

// whoami answers with the policy and the id that authentication found.
func whoami(_ context.Context, c *Call) error {
	if c.Caller == nil {
		return c.Response.JSON("nobody")
	}
	return c.Response.JSON(strings.TrimSpace(c.Caller.Policy + " " + c.Caller.ID))
}

// authService has an endpoint for each of some combinations of policies.
func authService(t *testing.T) *service {
	t.Helper()
	userAndToken, err := AllOf(UserCert, JWT)
	must(t, err)
	app := &App{}
	for path, auth := range map[string][]Policy{
		"/none": nil, "/no_auth": {NoAuth}, "/user": {UserCert}, "/member": {MemberCert}, "/any": {AnyCert}, "/jwt": {JWT},
		"/cose": {UserCOSE}, "/either": {UserCert, MemberCert}, "/either_or_none": {UserCert, NoAuth}, "/all": {userAndToken},
		"/member_cose": {MemberCOSE("ack")}, "/active": {ActiveMemberCOSE("proposal")},
	} {
		app.Handle(http.MethodPost, path, ReadOnly, auth, whoami)
	}
	return testService(t, func(c *Config, _ *InterfaceOptions) { c.App = app })
}

func (s *service) register(t *testing.T, who person, member bool, status tables.MemberStatus) {
	t.Helper()
	s.node.put(t, func(tx *kv.Tx) {
		if member {
			must(t, tables.MembersCerts.Put(tx, who.id, who.pem))
			must(t, tables.MembersInfo.Put(tx, who.id, tables.Member{Status: status}))
			return
		}
		must(t, tables.UsersCerts.Put(tx, who.id, who.pem))
		must(t, tables.UsersInfo.Put(tx, who.id, tables.User{Data: tables.Data(`{"x":1}`)}))
	})
}

func TestCertificates(t *testing.T) {
	s := authService(t)
	user, member, stranger := validIdentity(t), validIdentity(t), validIdentity(t)
	expired := newIdentity(t, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	s.register(t, user, false, "")
	s.register(t, expired, false, "")
	s.register(t, member, true, tables.MemberAccepted)
	expiredMember := newIdentity(t, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	s.register(t, expiredMember, true, tables.MemberAccepted)

	tests := []struct {
		path, who string
		person    *person
		want      string // the answer, or the reasons of a 401
		refused   bool
	}{
		{"/none", "nobody", nil, `"nobody"`, false},
		{"/no_auth", "user", &user, `"no_auth"`, false},
		{"/user", "user", &user, `"user_cert ` + user.id + `"`, false},
		{"/user", "nobody", nil, "No caller user certificate", true},
		{"/user", "stranger", &stranger, "Could not find matching user certificate", true},
		{"/user", "member", &member, "Could not find matching user certificate", true},
		{"/user", "expired", &expired, "is after certificate's Not After validity period", true},
		{"/member", "member", &member, `"member_cert ` + member.id + `"`, false},
		{"/member", "expired member", &expiredMember, `"member_cert ` + expiredMember.id + `"`, false},
		{"/member", "user", &user, "Could not find matching member certificate", true},
		{"/any", "stranger", &stranger, `"any_cert"`, false},
		{"/any", "expired", &expired, "is after certificate's Not After validity period", true},
		{"/any", "nobody", nil, "No caller certificate", true},
		{"/either", "member", &member, `"member_cert ` + member.id + `"`, false},
		{"/either", "stranger", &stranger, "Could not find matching user certificate; Could not find matching member certificate", true},
		{"/either_or_none", "stranger", &stranger, `"no_auth"`, false},
	}
	for _, tt := range tests {
		t.Run(tt.path+" "+tt.who, func(t *testing.T) {
			a := s.do(t, s.client(t, tt.person), http.MethodPost, "/app"+tt.path, "")
			if !tt.refused {
				if a.StatusCode != 200 || a.body != tt.want {
					t.Errorf("got %d %s, want %s", a.StatusCode, a.body, tt.want)
				}
				return
			}
			checkRefusal(t, a, tt.want, "")
		})
	}
}

// checkRefusal checks a 401: its code, the reasons in its details, its challenge.
func checkRefusal(t *testing.T, a answer, reasons, challenge string) {
	t.Helper()
	var body struct {
		Error struct {
			Code, Message string
			Details       []api.AuthDetail
		}
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.StatusCode != 401 {
		t.Fatalf("got %d %s, want a 401", a.StatusCode, a.body)
	}
	if body.Error.Code != "InvalidAuthenticationInfo" || body.Error.Message != "Invalid authentication credentials." {
		t.Errorf("got %s %q", body.Error.Code, body.Error.Message)
	}
	var got []string
	for _, d := range body.Error.Details {
		got = append(got, d.Message)
		if d.Code != api.InvalidAuthenticationInfo || d.Policy == "" {
			t.Errorf("detail %+v", d)
		}
	}
	if all := strings.Join(got, "; "); !strings.Contains(all, reasons) {
		t.Errorf("reasons %q, want %q", all, reasons)
	}
	if got := a.Header.Get("www-authenticate"); got != challenge {
		t.Errorf("challenge %q, want %q", got, challenge)
	}
}

// tokens signs JWTs with keys of the service's tables.
type tokens struct {
	rsa *rsa.PrivateKey
	ec  person
}

func newTokens(t *testing.T, s *service) tokens {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	k := tokens{rsa: key, ec: ecIdentity(t)}
	constraint, tenants := "https://issuer.example", "https://login.microsoftonline.com/{tenantid}/v2.0"
	s.node.put(t, func(tx *kv.Tx) {
		put := func(kid string, key any, constraint *string) {
			der, err := x509.MarshalPKIXPublicKey(key)
			must(t, err)
			must(t, tables.JWTKeys.Put(tx, kid, []tables.JWTKey{{PublicKey: der, Issuer: "https://issuer.example", Constraint: constraint}}))
		}
		put("rsa", key.Public(), &constraint)
		put("ec", k.ec.key.Public(), nil)
		put("tenants", key.Public(), &tenants)
	})
	return k
}

func (k tokens) sign(t *testing.T, header, payload string) string {
	t.Helper()
	enc := base64.RawURLEncoding.EncodeToString
	text := enc([]byte(header)) + "." + enc([]byte(payload))
	sum := sha256.Sum256([]byte(text))
	if strings.Contains(header, `"ec"`) {
		r, s, err := ecdsa.Sign(rand.Reader, k.ec.key, sum[:])
		must(t, err)
		return text + "." + enc(append(pad32(r), pad32(s)...))
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, k.rsa, 5 /* SHA-256 */, sum[:])
	must(t, err)
	return text + "." + enc(sig)
}

func pad32(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }

func TestJWT(t *testing.T) {
	s := authService(t)
	k := newTokens(t, s)
	now := time.Now().Unix()
	const rs, es = `{"alg":"RS256","kid":"rsa"}`, `{"alg":"ES256","kid":"ec"}`
	claims := func(iss string, exp int64, more string) string {
		return fmt.Sprintf(`{"iss":%q,"exp":%d%s}`, iss, exp, more)
	}
	good := claims("https://issuer.example", now+100, "")
	tests := []struct {
		name, auth string
		status     int
		reason     string
	}{
		{"good", "Bearer " + k.sign(t, rs, good), 200, ""},
		{"good ec", "Bearer " + k.sign(t, es, good), 200, ""},
		{"fractional exp", "Bearer " + k.sign(t, rs, fmt.Sprintf(`{"iss":"https://issuer.example","exp":%d.5}`, now+100)), 200, ""},
		{"tenant", "Bearer " + k.sign(t, `{"alg":"RS256","kid":"tenants"}`, claims("https://login.microsoftonline.com/t1/v2.0", now+100, `,"tid":"t1"`)), 200, ""},
		{"other tenant", "Bearer " + k.sign(t, `{"alg":"RS256","kid":"tenants"}`, claims("https://login.microsoftonline.com/t1/v2.0", now+100, `,"tid":"t2"`)), 401, "Kid tenants failed issuer constraint validation"},
		{"no tenant", "Bearer " + k.sign(t, `{"alg":"RS256","kid":"tenants"}`, claims("https://login.microsoftonline.com/t1/v2.0", now+100, "")), 401, "failed issuer constraint"},
		{"none", "", 401, "Missing authorization header"},
		{"one field", k.sign(t, rs, good), 401, "Authorization header only contains one field"},
		{"basic", "Basic " + k.sign(t, rs, good), 401, "Authorization header does not have Bearer scheme"},
		{"lower case", "bearer " + k.sign(t, rs, good), 401, "Authorization header does not have Bearer scheme"},
		{"two parts", "Bearer a.b", 401, "Malformed JWT: must contain exactly 3 parts"},
		{"four parts", "Bearer a.b.c.d", 401, "Malformed JWT: must contain exactly 3 parts"},
		{"empty header", "Bearer .YQ.YQ", 401, "JWT part is empty (header)"},
		{"bad base64", "Bearer Zm9v.=wwy.YmF6", 401, "Failed to parse base64url in JWT (payload)"},
		{"no JSON", "Bearer " + k.sign(t, rs, "x"), 401, "JWT header or payload is not valid JSON"},
		{"no kid", "Bearer " + k.sign(t, `{"alg":"RS256"}`, good), 401, "JWT header does not follow schema"},
		{"alg none", "Bearer " + k.sign(t, `{"alg":"none","kid":"rsa"}`, good), 401, "JWT header does not follow schema"},
		{"alg HS256", "Bearer " + k.sign(t, `{"alg":"HS256","kid":"rsa"}`, good), 401, "JWT header does not follow schema"},
		{"alg of another key", "Bearer " + k.sign(t, `{"alg":"ES256","kid":"rsa"}`, good), 401, "Signature verification failed"},
		{"unknown kid", "Bearer " + k.sign(t, `{"alg":"RS256","kid":"k2"}`, good), 401, "JWT signing key not found for kid k2"},
		{"bad signature", "Bearer " + k.sign(t, rs, good)[:len(k.sign(t, rs, good))-8] + "AAAAAAAA", 401, "Signature verification failed"},
		{"expired", "Bearer " + k.sign(t, rs, claims("https://issuer.example", now-10, "")), 401, "is after token's Expiration Time (exp) claim"},
		{"future", "Bearer " + k.sign(t, rs, claims("https://issuer.example", now+100, fmt.Sprintf(`,"nbf":%d`, now+50))), 401, "is before token's Not Before (nbf) claim"},
		{"no exp", "Bearer " + k.sign(t, rs, `{"iss":"https://issuer.example"}`), 401, "JWT payload is missing required field: exp"},
		{"no iss", "Bearer " + k.sign(t, rs, fmt.Sprintf(`{"exp":%d}`, now+100)), 401, "JWT payload is missing required field: iss"},
		{"other issuer", "Bearer " + k.sign(t, rs, claims("https://other.example", now+100, "")), 401, "Kid rsa failed issuer constraint validation https://issuer.example"},
		{"tid", "Bearer " + k.sign(t, rs, claims("https://issuer.example", now+100, `,"tid":"t"`)), 401, "failed issuer constraint"},
		{"text exp", "Bearer " + k.sign(t, rs, `{"iss":"https://issuer.example","exp":"soon"}`), 400, "[json.exception.type_error.302] type must be number, but is string"},
	}
	c := s.client(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var header []string
			if tt.auth != "" {
				header = []string{"authorization", tt.auth}
			}
			a := s.do(t, c, http.MethodPost, "/app/jwt", "", header...)
			switch tt.status {
			case 401:
				checkRefusal(t, a, tt.reason, api.ChallengeJWT)
			case 400:
				if code, message := errorOf(t, a); a.StatusCode != 400 || code != "InvalidInput" || message != tt.reason {
					t.Errorf("got %d %s %q", a.StatusCode, code, message)
				}
			default:
				if a.StatusCode != tt.status {
					t.Errorf("got %d %s", a.StatusCode, a.body)
				}
			}
		})
	}
}

// TestAllOf checks the order of the parts, by the challenge of the one that refuses.
func TestAllOf(t *testing.T) {
	s := authService(t)
	k := newTokens(t, s)
	user := validIdentity(t)
	s.register(t, user, false, "")
	good := []string{"authorization", "Bearer " + k.sign(t, `{"alg":"RS256","kid":"rsa"}`, fmt.Sprintf(`{"iss":"https://issuer.example","exp":%d}`, time.Now().Unix()+100))}
	a := s.do(t, s.client(t, &user), http.MethodPost, "/app/all", "", good...)
	if a.StatusCode != 200 || a.body != `"jwt+user_cert"` {
		t.Errorf("both: %d %s", a.StatusCode, a.body)
	}
	checkRefusal(t, s.do(t, s.client(t, &user), http.MethodPost, "/app/all", ""), "jwt:Missing authorization header", api.ChallengeJWT)
	checkRefusal(t, s.do(t, s.client(t, nil), http.MethodPost, "/app/all", "", good...), "user_cert:No caller user certificate", "")
	if _, err := AllOf(JWT, JWT); err == nil {
		t.Error("AllOf took a policy twice")
	}
}

func TestCOSE(t *testing.T) {
	s := authService(t)
	user, member, stranger := validIdentity(t), validIdentity(t), validIdentity(t)
	s.register(t, user, false, "")
	s.register(t, member, true, tables.MemberAccepted)
	now := time.Now().Unix()
	sign := func(who person, kid, msgType string, created *int64) string {
		h := cose.Header{KID: kid, CreatedAt: created}
		if msgType != "" {
			h.MsgType = &msgType
		}
		b, err := cose.Sign(who.key, h, []byte("payload"))
		must(t, err)
		return string(b)
	}
	flipped := []byte(sign(user, user.id, "", nil))
	flipped[len(flipped)-1] ^= 1
	tests := []struct {
		name, path, body, ctype string
		status                  int
		reason                  string
	}{
		{"user", "/cose", sign(user, user.id, "", nil), api.TypeCOSE, 200, ""},
		{"user with type", "/cose", sign(user, user.id, "x", &now), api.TypeCOSE, 200, ""},
		{"stranger", "/cose", sign(stranger, stranger.id, "", nil), api.TypeCOSE, 401, "Signer is not a known user"},
		{"kid of another", "/cose", sign(stranger, user.id, "", nil), api.TypeCOSE, 401, "Failed to validate COSE Sign1"},
		{"flipped bit", "/cose", string(flipped), api.TypeCOSE, 401, "Failed to validate COSE Sign1"},
		{"no content type", "/cose", sign(user, user.id, "", nil), "", 401, "Missing content-type header"},
		{"content type with parameter", "/cose", sign(user, user.id, "", nil), api.TypeCOSE + "; x=y", 401, "Content type is not set to application/cose"},
		{"junk", "/cose", "junk", api.TypeCOSE, 500, ""},
		{"member", "/member_cose", sign(member, member.id, "ack", &now), api.TypeCOSE, 200, ""},
		{"member without created_at", "/member_cose", sign(member, member.id, "ack", nil), api.TypeCOSE, 500, ""},
		{"other type", "/member_cose", sign(member, member.id, "ballot", &now), api.TypeCOSE, 401, "Found ccf.gov.msg.type set to ballot, expected ccf.gov.msg.type to be ack"},
		{"no type", "/member_cose", sign(member, member.id, "", &now), api.TypeCOSE, 401, "Missing ccf.gov.msg.type"},
		{"user as member", "/member_cose", sign(user, user.id, "ack", &now), api.TypeCOSE, 401, "Signer is not a known member"},
		{"accepted member", "/active", sign(member, member.id, "proposal", &now), api.TypeCOSE, 401, "Signer is not an ACTIVE member"},
	}
	c := s.client(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var header []string
			if tt.ctype != "" {
				header = []string{"content-type", tt.ctype}
			}
			a := s.do(t, c, http.MethodPost, "/app"+tt.path, tt.body, header...)
			switch {
			case tt.status == 401:
				checkRefusal(t, a, tt.reason, api.ChallengeCOSE)
			case a.StatusCode != tt.status:
				t.Errorf("got %d %s", a.StatusCode, a.body)
			}
		})
	}
}

func FuzzToken(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJ4IiwiZXhwIjoxfQ.YQ")
	f.Fuzz(func(t *testing.T, text string) {
		if tok, err := parseToken(text); err == nil && (tok.kid == "" && !strings.Contains(string(tok.header), `"kid"`) || tok.jws == nil) {
			t.Errorf("%q was taken", text)
		}
	})
}

func TestIssuerConstraint(t *testing.T) {
	tid := func(s string) *string { return &s }
	tests := []struct {
		iss        string
		tid        *string
		constraint string
		want       bool
	}{
		{"https://a.example", nil, "https://a.example", true},
		{"https://a.example/", nil, "https://a.example", false},
		{"https://a.example", tid("x"), "https://a.example", false},
		{"https://login.microsoftonline.com/x/v2.0", tid("x"), "https://login.microsoftonline.com/{tenantid}/v2.0", true},
		{"https://login.microsoftonline.com/x/v2.0", tid("x"), "https://login.microsoftonline.com/x/v2.0", true},
		{"https://login.microsoftonline.com/y/v2.0", tid("x"), "https://login.microsoftonline.com/{tenantid}/v2.0", false},
		{"https://login.microsoftonline.com/x/v2.0", nil, "https://login.microsoftonline.com/x/v2.0", false},
	}
	got := make([]bool, len(tests))
	want := make([]bool, len(tests))
	for i, tt := range tests {
		got[i], want[i] = issuerAllowed(tt.iss, tt.tid, tt.constraint), tt.want
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestRefresh checks who may replace the keys of an issuer, and of which.
func TestRefresh(t *testing.T) {
	s := testService(t, nil)
	node, stranger := validIdentity(t), validIdentity(t)
	id := newPeer(node.cert).KeyID
	s.node.put(t, func(tx *kv.Tx) {
		must(t, tables.NodesInfo.Put(tx, id, tables.Node{Status: tables.NodeTrusted}))
		must(t, tables.JWTIssuers.Put(tx, "https://auto.example", tables.JWTIssuer{AutoRefresh: true}))
		must(t, tables.JWTIssuers.Put(tx, "https://manual.example", tables.JWTIssuer{}))
	})
	ask := func(who person, issuer, jwks string) answer {
		return s.do(t, s.client(t, &who), http.MethodPost, "/node/jwt_keys/refresh", `{"issuer":"`+issuer+`","jwks":`+jwks+`}`)
	}
	x := base64.RawURLEncoding.EncodeToString
	point, err := stranger.key.PublicKey.Bytes() // 4, x, y
	must(t, err)
	good := `{"keys":[{"kid":"k","kty":"EC","crv":"P-384","x":"` + x(point[1:49]) + `","y":"` + x(point[49:]) + `"}]}`
	checkRefusal(t, ask(stranger, "https://auto.example", good), "Caller is not a known node", "")
	if a := ask(node, "https://auto.example", good); a.StatusCode != 500 {
		t.Errorf("a node that is not the primary: %d %s", a.StatusCode, a.body)
	}
	s.node.mu.Lock()
	s.node.info.PrimaryID = id
	s.node.mu.Unlock()
	for _, issuer := range []string{"https://manual.example", "https://unknown.example"} {
		if a := ask(node, issuer, good); a.StatusCode != 500 {
			t.Errorf("%s: %d %s", issuer, a.StatusCode, a.body)
		}
	}
	if a := ask(node, "https://auto.example", `{"keys":[]}`); a.StatusCode != 500 {
		t.Errorf("no keys: %d %s", a.StatusCode, a.body)
	}
	if a := ask(node, "https://auto.example", good); a.StatusCode != 200 || a.body != "true" {
		t.Errorf("good keys: %d %s", a.StatusCode, a.body)
	}
	if !tables.JWTKeys.Has(s.node.Begin(), "k") {
		t.Error("the key is not in the tables")
	}
}

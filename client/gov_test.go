package client

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/internal/cose"
	"chancery/internal/identity"
	"chancery/server/api"

	"github.com/google/go-cmp/cmp"
)

// govCall is what a node saw of a governance call, once its signature had been
// verified.
type govCall struct {
	URI, Type, KID, Proposal, Payload string
	CreatedAt                         int64
}

const someID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// TestMemberCalls makes every governance call, and compares what arrives with what
// CCF's API asks for.
func TestMemberCalls(t *testing.T) {
	i := newIssuer(t)
	p, err := identity.NewParticipant("member0", elliptic.P384(), time.Now(), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	var calls []govCall
	s := i.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		m, err := cose.ParseMember(body)
		if err != nil {
			t.Errorf("%s: %v", r.URL, err)
			return
		}
		if err := m.Verify(&p.Key.PublicKey); err != nil {
			t.Errorf("%s: %v", r.URL, err)
		}
		if ct := r.Header.Get(api.HeaderContentType); ct != api.TypeCOSE || r.Method != "POST" {
			t.Errorf("%s %s with %s", r.Method, r.URL, ct)
		}
		c := govCall{URI: r.RequestURI, Type: *m.Header.MsgType, KID: m.Header.KID, Payload: string(m.Payload), CreatedAt: *m.Header.CreatedAt}
		if m.Header.ProposalID != nil {
			c.Proposal = *m.Header.ProposalID
		}
		calls = append(calls, c)
		answerGov(w, r.URL.Path)
	}))
	c, _ := newClient(t, i, s.URL)
	c.cfg.Now = func() time.Time { return time.Unix(1_795_576_220, 0) }
	m, err := c.Member(certificate(t, p.Cert), p.Key)
	if err != nil {
		t.Fatal(err)
	}
	if m.ID() != p.ID {
		t.Errorf("id %s, want %s", m.ID(), p.ID)
	}
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	check(m.Activate(ctx))
	prop, err := m.Propose(ctx, []byte(`{"actions":[]}`))
	check(err)
	if prop.ID != someID || prop.State != ProposalOpen {
		t.Errorf("proposal %+v", prop)
	}
	_, err = m.Vote(ctx, someID, BallotYes)
	check(err)
	if gone, err := m.Withdraw(ctx, someID); gone != nil || err != nil {
		t.Errorf("withdrawing an unknown proposal: %v, %v", gone, err)
	}
	_, err = m.SubmitShare(ctx, []byte{1, 2, 3})
	check(err)

	const at, version = 1_795_576_220, "?api-version=2024-07-01"
	want := []govCall{
		{URI: "/gov/members/state-digests/" + p.ID + ":update" + version, Type: "state_digest", KID: p.ID, CreatedAt: at},
		{URI: "/gov/members/state-digests/" + p.ID + ":ack" + version, Type: "ack", KID: p.ID, Payload: `{"memberId":"` + p.ID + `","stateDigest":"abcd"}`, CreatedAt: at},
		{URI: "/gov/members/proposals:create" + version, Type: "proposal", KID: p.ID, Payload: `{"actions":[]}`, CreatedAt: at},
		{URI: "/gov/members/proposals/" + someID + "/ballots/" + p.ID + ":submit" + version, Type: "ballot", KID: p.ID, Proposal: someID, Payload: `{"ballot":"` + BallotYes + `"}`, CreatedAt: at},
		{URI: "/gov/members/proposals/" + someID + ":withdraw" + version, Type: "withdrawal", KID: p.ID, Proposal: someID, CreatedAt: at},
		{URI: "/gov/recovery/members/" + p.ID + ":recover" + version, Type: "recovery_share", KID: p.ID, Payload: `{"share":"AQID"}`, CreatedAt: at},
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Error(diff)
	}
}

// answerGov answers as the service does.
func answerGov(w http.ResponseWriter, path string) {
	switch {
	case strings.HasSuffix(path, ":ack"), strings.HasSuffix(path, ":withdraw"):
		w.WriteHeader(http.StatusNoContent)
	case strings.HasSuffix(path, ":update"):
		reply(w, StateDigest{Member: "m", Digest: "abcd"})
	case strings.HasSuffix(path, ":recover"):
		reply(w, Recovery{Message: "1/2 recovery shares successfully submitted", Submitted: 1, Threshold: 2})
	default:
		reply(w, Proposal{ID: someID, State: ProposalOpen})
	}
}

// TestProposeAgain loses the answer to a proposal: it is sent again, and found to
// be there already.
func TestProposeAgain(t *testing.T) {
	i := newIssuer(t)
	p, err := identity.NewParticipant("member0", elliptic.P256(), time.Now(), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	s := i.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			reply(w, Proposal{ID: someID, State: ProposalAccepted})
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if bodies = append(bodies, string(body)); len(bodies) == 1 {
			panic(http.ErrAbortHandler)
		}
		fail(w, http.StatusBadRequest, api.ProposalReplay, "Proposal submission replay, already exists as proposal "+someID)
	}))
	c, _ := newClient(t, i, s.URL)
	m, err := c.Member(certificate(t, p.Cert), p.Key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Propose(t.Context(), []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != someID || got.State != ProposalAccepted {
		t.Errorf("proposal %+v", got)
	}
	if len(bodies) != 2 || bodies[0] != bodies[1] {
		t.Errorf("%d submissions, want the same one twice", len(bodies))
	}
}

// TestGovReads decodes the documents that the service answers with.
func TestGovReads(t *testing.T) {
	i := newIssuer(t)
	docs := map[string]string{
		"/gov/members/proposals/" + someID:              `{"proposalId":"` + someID + `","proposerId":"p","proposalState":"Accepted","ballotCount":1,"finalVotes":{"m":true},"voteFailures":{}}`,
		"/gov/members/proposals":                        `{"value":[{"proposalId":"a","proposerId":"p","proposalState":"Open","ballotCount":0}]}`,
		"/gov/members/proposals/" + someID + "/actions": `{"actions":[]}`,
		"/gov/service/members":                          `{"value":[{"memberId":"m","status":"Active","recoveryRole":"Participant"}]}`,
		"/gov/service/info":                             `{"status":"Open","certificate":"c","recoveryCount":0,"configuration":{"recoveryThreshold":1,"maximumNodeCertificateValidityDays":365,"maximumServiceCertificateValidityDays":365,"recentCoseProposalsWindowSize":100}}`,
		"/gov/recovery/encrypted-shares/" + someID:      `{"memberId":"m","encryptedShare":"AQID"}`,
	}
	s := i.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "api-version=2024-07-01" {
			t.Errorf("query %q", r.URL.RawQuery)
		}
		_, _ = io.WriteString(w, docs[r.URL.Path])
	}))
	c, _ := newClient(t, i, s.URL)
	ctx := t.Context()
	p, err := c.Proposal(ctx, someID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Proposal{ID: someID, Proposer: "p", State: ProposalAccepted, Ballots: 1, FinalVotes: map[string]bool{"m": true}, VoteFailures: map[string]Failure{}}, p); diff != "" {
		t.Error(diff)
	}
	if ps, err := c.Proposals(ctx); err != nil || len(ps) != 1 || ps[0].ID != "a" {
		t.Errorf("proposals: %v, %v", ps, err)
	}
	if text, err := c.ProposalText(ctx, someID); err != nil || string(text) != `{"actions":[]}` {
		t.Errorf("text: %s, %v", text, err)
	}
	if ms, err := c.Members(ctx); err != nil || len(ms) != 1 || ms[0].Status != "Active" {
		t.Errorf("members: %v, %v", ms, err)
	}
	if info, err := c.ServiceInfo(ctx); err != nil || info.Status != "Open" || info.Configuration.RecentProposalsWindow != 100 {
		t.Errorf("service: %v, %v", info, err)
	}
	if share, err := c.EncryptedShare(ctx, someID); err != nil || string(share) != "\x01\x02\x03" {
		t.Errorf("share: %x, %v", share, err)
	}
	if _, err := c.Proposal(ctx, "../x"); err == nil {
		t.Error("an id that is none was put into a path")
	}
}

func TestDecryptShare(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, []byte("share"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecryptShare(key, sealed); err != nil || string(got) != "share" {
		t.Errorf("%q, %v", got, err)
	}
	sealed[0] ^= 1
	if _, err := DecryptShare(key, sealed); err == nil {
		t.Error("a damaged share was decrypted")
	}
}

func TestMemberRefuses(t *testing.T) {
	i := newIssuer(t)
	c, _ := newClient(t, i, "https://127.0.0.1:1")
	if _, err := c.Member(i.cert, newKey(t)); err == nil {
		t.Error("a key that is not the certificate's was accepted")
	}
	m, err := c.Member(i.cert, i.key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Vote(t.Context(), "x", BallotNo); err == nil {
		t.Error("a ballot on no proposal was sent")
	}
	c.cfg.Retry.Attempts = 1
	if _, err := m.Propose(t.Context(), []byte("{}")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("error %v, want ErrUnreachable", err)
	}
}

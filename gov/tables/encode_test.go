package tables

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestMarshal(t *testing.T) {
	one := uint64(1)
	for _, c := range []struct {
		name string
		in   any
		want string
	}{
		{"sorted", map[string]any{"b": 1, "a": nil, "B": true}, `{"B":true,"a":null,"b":1}`},
		{"nested", map[string]any{"x": []any{map[string]any{"z": 1, "y": 2}}}, `{"x":[{"y":2,"z":1}]}`},
		{"no HTML", `<a href="x">&</a>`, `"<a href=\"x\">&</a>"`},
		{"control", "\b\f\n\r\t\x00\x1f\x7f\\", `"\b\f\n\r\t\u0000\u001f` + "\x7f" + `\\"`},
		{"line separators", "\u2028\u2029é", "\"\u2028\u2029é\""},
		{"escaped in data", Data(`{"b":"\u0061","a":1.50}`), `{"a":1.50,"b":"a"}`},
		{"member", Member{Status: MemberAccepted}, `{"status":"Accepted"}`},
		{"member with null data", Member{Status: MemberActive, Data: Data("null")}, `{"status":"Active"}`},
		{"member with all", Member{MemberActive, Data(`{"x":1}`), Owner}, `{"member_data":{"x":1},"recovery_role":"Owner","status":"Active"}`},
		{"ack", MemberAck{}, `{"state_digest":""}`},
		{"config", Config{RecoveryThreshold: 1, MaxNodeCertDays: &one}, `{"maximum_node_certificate_validity_days":1,"recovery_threshold":1}`},
		{"open proposal", Proposal{ProposerID: "p", State: ProposalOpen, Ballots: map[string]string{}}, `{"ballots":{},"proposer_id":"p","state":"Open"}`},
		{"closed proposal", Proposal{ProposerID: "p", State: ProposalRejected, Ballots: map[string]string{}, FinalVotes: map[string]bool{}, VoteFailures: map[string]Failure{}},
			`{"ballots":{},"final_votes":{},"proposer_id":"p","state":"Rejected","vote_failures":{}}`},
		{"first link", SecretHistoryEntry{NextVersion: &one}, `{"next_version":1}`},
		{"rekeyed secret", []EncryptedSecret{{EncryptedSecret: []byte{1}}}, `[{"encrypted_secret":"AQ==","version":null}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Marshal(c.in)
			if err != nil || string(got) != c.want {
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
		})
	}
}

// TestMarshalMeans checks on drawn values that what Marshal writes is JSON of the same
// value, and that writing that again changes nothing.
func TestMarshalMeans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawJSON(t, 3)
		b, err := Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var back any
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if diff := cmp.Diff(v, back); diff != "" {
			t.Fatalf("%s means something else (-in +out):\n%s", b, diff)
		}
		again, err := Marshal(back)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("second time %s, %v, want %s", again, err, b)
		}
	})
}

func drawJSON(t *rapid.T, depth int) any {
	kinds := 6
	if depth == 0 {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return float64(rapid.IntRange(-1e6, 1e6).Draw(t, "number"))
	case 3:
		return rapid.String().Draw(t, "text")
	case 4:
		out := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			out = append(out, drawJSON(t, depth-1))
		}
		return out
	}
	out := map[string]any{}
	for range rapid.IntRange(0, 3).Draw(t, "members") {
		out[rapid.String().Draw(t, "name")] = drawJSON(t, depth-1)
	}
	return out
}

func TestUnmarshal(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"object", `{"status":"Active","odd":1}`, true},
		{"two values", `{} {}`, false},
		{"trailing junk", `{}x`, false},
		{"empty", ``, false},
		{"brackets in text", `{"member_data":"` + strings.Repeat("[", 1000) + `\"["}`, true},
		{"deep", `{"member_data":` + nested(63) + `}`, true},
		{"too deep", `{"member_data":` + nested(64) + `}`, false},
		{"much too deep", nested(1_000_000), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Member
			if err := Unmarshal([]byte(c.in), &m); (err == nil) != c.ok {
				t.Errorf("got %v, want ok %t", err, c.ok)
			}
		})
	}
	var m map[string]int
	if err := Unmarshal([]byte(`{"a":1,"a":2}`), &m); err != nil || m["a"] != 2 {
		t.Errorf("twice the same name: got %v, %v, want the last", m, err)
	}
}

// FuzzUnmarshal feeds rows to the schema's largest type: whatever decodes must encode,
// and then decode to the same.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"node_to_node_interface":{"bind_address":"a:1"},"rpc_interfaces":{"x":{"bind_address":"b:2","accepted_endpoints":[]}},"quote_info":{"format":"Insecure_Virtual","quote":"e30=","endorsements":""},"encryption_pub_key":"","status":"Trusted","node_data":{"a":[1]}}`))
	f.Add([]byte(`{"status":5}`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var n Node
		if Unmarshal(b, &n) != nil {
			return
		}
		first, err := Marshal(n)
		if err != nil {
			t.Fatalf("%q decodes and does not encode: %v", b, err)
		}
		var again Node
		if err := Unmarshal(first, &again); err != nil {
			t.Fatalf("%q became %q: %v", b, first, err)
		}
		second, err := Marshal(again)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%q became %q, then %q, %v", b, first, second, err)
		}
	})
}

package gov_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/ccftest"
)

// none stands for an action without args.
var none = struct{}{}

// actionCase is one action with the argument lists that CCF was asked about, in the
// order of the recorded answers "action <name> <i>".
type actionCase struct {
	name  string
	cases []any
}

func actionCases(s *service, pem, member string) []actionCase {
	zero := strings.Repeat("0", 64)
	endpoint := args{"js_module": "no.js", "js_function": "f", "mode": "readonly", "forwarding_required": "never", "authn_policies": []any{}}
	return []actionCase{
		{"set_user", []any{none, nil, args{}, args{"cert": 5}, args{"cert": "x"}, args{"cert": pem, "user_data": "text"}}},
		{"remove_user", []any{args{}, args{"user_id": "x"}, args{"user_id": zero}}},
		{"set_user_data", []any{args{}, args{"user_id": zero}, args{"user_id": zero, "user_data": 1}, args{"user_id": zero, "user_data": args{}}}},
		{"set_member", []any{args{}, args{"cert": "x"}, args{"cert": member, "encryption_pub_key": "x"}, args{"cert": member, "recovery_role": "Owner"}, args{"cert": member, "member_data": 1}}},
		{"remove_member", []any{args{}, args{"member_id": "x"}, args{"member_id": zero}, args{"member_id": s.members[0].ID}}},
		{"set_member_data", []any{args{}, args{"member_id": zero, "member_data": args{}}}},
		{"set_recovery_threshold", []any{args{}, args{"recovery_threshold": 0}, args{"recovery_threshold": 255}, args{"recovery_threshold": "1"}, args{"recovery_threshold": 5}, args{"recovery_threshold": 1.5}}},
		{"trigger_recovery_shares_refresh", []any{args{"x": 1}}},
		{"trigger_ledger_rekey", []any{args{"x": 1}}},
		{"transition_service_to_open", []any{args{}, args{"next_service_identity": "x"}, args{"next_service_identity": pem}, args{"next_service_identity": s.certPEM}}},
		{"set_js_app", []any{args{}, args{"bundle": args{}},
			args{"bundle": args{"metadata": args{"endpoints": args{}}, "modules": []any{}}, "disable_bytecode_cache": 1},
			args{"bundle": args{"metadata": args{"endpoints": args{"/x": args{"get": endpoint}}}, "modules": []any{}}}}},
		{"set_js_runtime_options", []any{args{}, args{"max_heap_bytes": 1}, args{"max_heap_bytes": "a", "max_stack_bytes": 1, "max_execution_time_ms": 1}}},
		{"set_ca_cert_bundle", []any{args{}, args{"name": "a"}, args{"name": "a", "cert_bundle": "x"}, args{"name": "a", "cert_bundle": pem}}},
		{"remove_ca_cert_bundle", []any{args{}, args{"name": "none"}, args{"name": "a"}}},
		{"set_jwt_issuer", []any{args{}, args{"issuer": "x"}, args{"issuer": "https://x", "auto_refresh": true},
			args{"issuer": "http://x", "auto_refresh": true, "ca_cert_bundle_name": "a"}, args{"issuer": "https://x", "jwks": args{}},
			args{"issuer": "https://x", "jwks": args{"keys": []any{}}}}},
		{"set_jwt_public_signing_keys", []any{args{}, args{"issuer": "nobody", "jwks": args{"keys": []any{args{"kid": "k", "kty": "RSA", "n": "AQAB", "e": "AQAB"}}}}}},
		{"remove_jwt_issuer", []any{args{}, args{"issuer": "nobody"}}},
		{"add_node_code", []any{args{}, args{"code_id": 1}, args{"code_id": "ab"}}},
		{"remove_node_code", []any{args{"code_id": "ab"}}},
		{"add_snp_measurement", []any{args{}, args{"measurement": "ab"}}},
		{"remove_snp_measurement", []any{args{"measurement": "ab"}}},
		{"add_snp_host_data", []any{args{}, args{"host_data": "ab", "security_policy": "x"}, args{"host_data": "ab", "security_policy": ""}}},
		{"remove_snp_host_data", []any{args{"host_data": "ab"}}},
		{"add_snp_uvm_endorsement", []any{args{}, args{"did": "d", "feed": "f", "svn": "1"}}},
		{"remove_snp_uvm_endorsement", []any{args{"did": "d", "feed": "f"}}},
		{"set_snp_minimum_tcb_version", []any{args{}, args{"cpuid": "00a00f11", "tcb_version": args{"boot_loader": 1, "tee": 0, "snp": 1, "microcode": 1}}, args{"cpuid": "00A00F11", "tcb_version": args{}}}},
		{"set_snp_minimum_tcb_version_hex", []any{args{}, args{"cpuid": "00a00f11", "tcb_version": "d315000000000004"}, args{"cpuid": "00a00f11", "tcb_version": "zz"}}},
		{"remove_snp_minimum_tcb_version", []any{args{"cpuid": "00a00f11"}, args{"cpuid": "00a00f11"}}},
		{"set_node_data", []any{args{}, args{"node_id": zero, "node_data": 1}}},
		{"transition_node_to_trusted", []any{args{}, args{"node_id": zero, "valid_from": "240101000000Z"}, args{"node_id": zero, "valid_from": "soon"}}},
		{"remove_node", []any{args{}, args{"node_id": zero}}},
		{"set_node_certificate_validity", []any{args{}, args{"node_id": zero, "valid_from": "240101000000Z"}}},
		{"set_all_nodes_certificate_validity", []any{args{}, args{"valid_from": "240101000000Z", "validity_period_days": 0}, args{"valid_from": "240101000000Z", "validity_period_days": 9999}}},
		{"set_service_certificate_validity", []any{args{}, args{"valid_from": "240101000000Z", "validity_period_days": 9999}}},
		{"set_service_configuration", []any{args{}, args{"odd": 1}, args{"recovery_threshold": 0}, args{"recent_cose_proposals_window_size": 0}, args{"reconfiguration_type": "Odd"}}},
		{"trigger_ledger_chunk", []any{none, nil, args{}}},
		{"trigger_snapshot", []any{none}},
		{"assert_service_identity", []any{args{}, args{"service_identity": pem}, args{"service_identity": s.certPEM}}},
		{"set_constitution", []any{args{}, args{"constitution": 1}, args{"constitution": "x("}, args{"constitution": "export function validate(){}"}}},
		{"refresh_js_app_bytecode_cache", []any{none}},
	}
}

// answer is what CCF 7.0.2 answered.
type answer struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// answers reads the recorded answers; those that are withheld are left out.
func answers(t *testing.T) map[string]answer {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(ccftest.Answers(t), "ccf-answers.json"))
	must(t, err)
	all := map[string]json.RawMessage{}
	must(t, json.Unmarshal(raw, &all))
	out := map[string]answer{}
	for name, text := range all {
		var a answer
		if json.Unmarshal(text, &a) == nil && a.Status != 0 {
			out[name] = a
		}
	}
	return out
}

// verdict is an error of gov as an answer.
func verdict(t *testing.T, err error) answer {
	t.Helper()
	if err == nil {
		return answer{Status: 200}
	}
	var refused *gov.Error
	if !errors.As(err, &refused) {
		t.Fatalf("no refusal: %v", err)
	}
	status := map[gov.Kind]int{gov.Failed: 500, gov.Invalid: 400, gov.Denied: 403, gov.Missing: 404}
	return answer{status[refused.Kind], refused.Code, refused.Message}
}

// TestActionVerdicts proposes every action with the arguments that CCF's default
// constitution was asked about, in the same order on one service, and wants the same
// verdict and the same first words.
func TestActionVerdicts(t *testing.T) {
	want := answers(t)
	s := newService(t, 1, "default", 1)
	s.open()
	compared := 0
	for _, c := range actionCases(s, string(user(t).Cert), string(participant(t, 1).Cert)) {
		for i, a := range c.cases {
			name := fmt.Sprintf("action %s %d", c.name, i)
			_, err := s.actRaw(c.name, a)
			got := verdict(t, err)
			w, ok := want[name]
			if !ok {
				t.Logf("%s: %d %s %s (CCF's answer is not known)", name, got.Status, got.Code, firstLine(got.Message))
				continue
			}
			compared++
			if got.Status != w.Status || got.Code != w.Code {
				t.Errorf("%s: got %d %s %q, want %d %s %q", name, got.Status, got.Code, got.Message, w.Status, w.Code, w.Message)
			} else if words(got.Message) != words(w.Message) {
				t.Logf("%s: text %q, CCF's %q", name, words(got.Message), words(w.Message))
			}
		}
	}
	if compared < 80 {
		t.Errorf("only %d answers compared", compared)
	}
	// A refusal leaves nothing behind.
	if all, err := gov.Proposals(s.head()); err != nil || len(all) != 1 {
		for _, p := range all {
			if p.ProposalState != tables.ProposalOpen {
				continue
			}
			if p.BallotCount != 0 {
				t.Errorf("open proposal with a ballot left: %+v", p)
			}
		}
	}
}

// actRaw is act for one action whose args may be absent or null.
func (s *service) actRaw(name string, a any) (*gov.ProposalView, error) {
	switch a {
	case none:
		return s.act(action{Name: name})
	case nil:
		return s.act(action{Name: name, Args: json.RawMessage("null")})
	}
	return s.act(action{name, a})
}

func firstLine(s string) string { return strings.SplitN(s, "\n", 2)[0] }

// words is a message without the stack and the kind of error, which are the engine's.
func words(s string) string {
	s = firstLine(s)
	for _, kind := range []string{"TypeError: ", "GoError: ", "InternalError: ", "Error: "} {
		s = strings.ReplaceAll(s, kind, "")
	}
	return s
}

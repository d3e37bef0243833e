package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"chancery/client"
	"chancery/ledger"
)

// TestSignModes writes one ledger in each of the three modes, under changing load, with
// snapshots in it: receipts are what CCF gives in each mode, and the auditor accepts the
// whole.
func TestSignModes(t *testing.T) {
	s := prepared(t)
	s.configure(withSnapshots(20))
	c := s.client()
	defer c.Close()
	do := func(method, path, tx string) (*client.Response, int) {
		t.Helper()
		r := client.Request{Method: method, Path: path}
		if tx != "" {
			r.Header = http.Header{"X-Ms-Ccf-Transaction-Id": {tx}}
		}
		resp, err := c.Do(t.Context(), r)
		var refused *client.Error
		switch {
		case errors.As(err, &refused):
			return nil, refused.Status
		case err != nil:
			t.Fatalf("%s: %v", path, err)
		}
		return resp, resp.Status
	}
	expect := func(what, path, tx string, want int) *client.Response {
		t.Helper()
		resp, got := do("GET", path, tx)
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
		return resp
	}
	var dual []ledger.TxID
	for round, mode := range []string{"Dual", "CoseAllowDualJoin", "CoseOnly", "Dual"} {
		s.configure(func(c map[string]any) { c["chancery"].(map[string]any)["ledger_sign_mode"] = mode })
		n := s.start()
		n.open(c)
		var last ledger.TxID
		for i := range 15 {
			request := put(i, fmt.Sprint(mode, i))
			if i%4 != 0 { // most are signed together
				request.Wait = client.ForExecution
			}
			resp, err := c.Do(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			last = resp.TxID
		}
		if _, err := c.Do(t.Context(), client.Request{Method: "DELETE", Path: "/app/log/private?id=3", Wait: client.ForCommit}); err != nil {
			t.Fatal(err)
		}
		want := http.StatusOK
		if mode != "Dual" {
			want = http.StatusInternalServerError
		} else {
			dual = append(dual, last)
		}
		id := "?transaction_id=" + last.String()
		expect(mode+": JSON receipt", "/app/receipt"+id, "", want)
		receipt := expect(mode+": COSE receipt", "/app/receipt/cose"+id, "", http.StatusOK)
		if _, err := ledger.VerifyCOSEReceipt(receipt.Body, s.service(), ledger.ExpectTx(last)); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		for _, earlier := range dual {
			expect(mode+": JSON receipt of a time when nodes signed", "/app/receipt?transaction_id="+earlier.String(), "", http.StatusOK)
		}
		past := expect(mode+": the past", "/app/log/private/historical_receipt?id=14", last.String(), http.StatusOK)
		var seen struct {
			Msg     string
			Receipt struct {
				Signature      string
				LeafComponents struct {
					WriteSetDigest string `json:"write_set_digest"`
				} `json:"leaf_components"`
			}
		}
		if err := json.Unmarshal(past.Body, &seen); err != nil || seen.Msg != fmt.Sprint(mode, 14) || seen.Receipt.LeafComponents.WriteSetDigest == "" || (seen.Receipt.Signature == "") != (mode != "Dual") {
			t.Errorf("%s: the past is %s (%v)", mode, past.Body, err)
		}
		if round == 0 {
			until(t, "a snapshot", func() bool { return len(s.snapshots()) > 0 })
		}
		n.stop()
	}
	s.sh("bin/chancery ledger verify workspace/sandbox_0/ledger --snapshots workspace/sandbox_0/snapshots --service-cert workspace/sandbox_common/service_cert.pem --secrets workspace/sandbox_0/insecure_keys.json")
	for _, f := range s.snapshots() {
		s.sh("bin/chancery snapshot verify workspace/sandbox_0/snapshots/" + filepath.Base(f.Path) + " --service-cert workspace/sandbox_common/service_cert.pem")
	}
}

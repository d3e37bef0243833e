package tests

import (
	"fmt"
	"net/http"
	"testing"

	"chancery/client"
	"chancery/kv/writeset"
)

// TestNativeNodes asks a backup of a service of three: what an application in Go decides
// with its own policy, and answers after the commit, is the same through any node; and
// every node indexes what is committed.
func TestNativeNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes")
	}
	s := newSandbox(t)
	s.install("logging")
	s.up("--node", "bin/logging", "--nodes", "3")
	for k := 1; k <= 3; k++ {
		c := s.clientOf([]string{fmt.Sprintf("https://127.0.0.%d:%s", k, s.port)}, s.user())
		defer c.Close()
		custom := client.Request{Path: "/app/custom_auth", Header: http.Header{"X-Custom-Auth-Name": {"Ann"}, "X-Custom-Auth-Age": {"42"}}}
		if got, want := said(t, c, custom), `200 {"age":42,"description":"Your name is Ann and you are 42","name":"Ann"}`; got != want {
			t.Errorf("node %d: %s, want %s", k, got, want)
		}
		held := client.Request{Method: "POST", Path: "/app/log/blocking/private", JSON: object{"id": 100 + k, "msg": "held"}}
		resp, err := c.Do(t.Context(), held)
		if err != nil || string(resp.Body) != "true" {
			t.Fatalf("node %d: %+v, %v", k, resp, err)
		}
		id, err := writeset.ParseTxID(resp.Header.Get("x-ms-ccf-transaction-id"))
		if err != nil {
			t.Fatal(err)
		}
		until(t, fmt.Sprintf("node %d has indexed the record", k), func() bool {
			got := said(t, c, client.Request{Path: fmt.Sprintf("/app/log/private/historical/range?id=%d&from_seqno=%d&to_seqno=%d", 100+k, id.Seqno, id.Seqno)})
			return got == fmt.Sprintf(`200 {"entries":[{"seqno":%d,"id":%d,"msg":"held"}]}`, id.Seqno, 100+k)
		})
	}
	s.interrupt()
}

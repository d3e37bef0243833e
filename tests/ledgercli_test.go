package tests

import (
	"encoding/json"
	"strings"
	"testing"

	"chancery/client"
)

// TestLedgerCommands asks a stopped service's ledger everything that the ledger commands
// answer.
func TestLedgerCommands(t *testing.T) {
	s := prepared(t)
	c := s.client()
	defer c.Close()
	n := s.start()
	n.open(c)
	private, err := c.Do(t.Context(), put(1, "in the dark"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/app/log/public", Wait: client.ForCommit, JSON: map[string]any{"id": 2, "msg": "<in the light>"}})
	if err != nil {
		t.Fatal(err)
	}
	n.stop()
	const (
		ledger  = "bin/chancery ledger "
		dir     = " workspace/sandbox_0/ledger"
		secrets = " --secrets workspace/sandbox_0/insecure_keys.json"
	)
	says := func(command string, texts ...string) string {
		t.Helper()
		out := s.sh(command)
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("%s: no %q in\n%s", command, text, out)
			}
		}
		return out
	}
	if out := says(ledger+"show"+dir+" "+private.TxID.String(), private.TxID.String(), "private tables, encrypted"); strings.Contains(out, "in the dark") {
		t.Error("private writes are shown without secrets")
	}
	says(ledger+"show"+dir+" "+private.TxID.String()+secrets, `records["1"] = "in the dark"`)
	says(ledger+"show"+dir+" 1-3", "2.1 ", "public:ccf.gov.service.info", "2.3 ")
	says(ledger+"grep"+dir+" public:records", public.TxID.String()+` public:records["2"] = "<in the light>"`)
	says(ledger+"grep"+dir+" records 1"+secrets, private.TxID.String()+` records["1"] = "in the dark"`)
	if out := says(ledger + "grep" + dir + " public:records 0x33"); out != "" {
		t.Errorf("a key that nobody wrote: %s", out)
	}
	if out := says(ledger+"tables"+dir, "public:records ", "public:ccf.gov.constitution "); strings.Contains(out, "\nrecords ") {
		t.Error("private tables are listed without secrets")
	}
	says(ledger+"tables"+dir+secrets, "\nrecords ")
	lines := 0
	for line := range strings.Lines(says(ledger+"export"+dir+" --format jsonl"+secrets, `"name":"records","writes":[{"key":"1","value":"in the dark"}]`, `"value":"<in the light>"`)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
		lines++
	}
	report := struct {
		Good       bool
		Entries    int
		Decrypted  int    `json:"decrypted_entries"`
		LastSigned string `json:"last_signed"`
	}{}
	if err := json.Unmarshal([]byte(says(ledger+"verify"+dir+" -o json"+secrets)), &report); err != nil || !report.Good || report.Entries != lines || report.Decrypted != lines {
		t.Errorf("%d lines were exported; the audit says %+v (%v)", lines, report, err)
	}
	says(ledger+"verify"+dir+" --service-cert workspace/sandbox_common/service_cert.pem --expect "+public.TxID.String()+" --checkpoint audited.json", "the ledger is good")
	says(ledger+"verify"+dir+" --checkpoint audited.json", "the ledger is good")
	says(ledger+"verify"+dir+" --from 5 --to 10", "signatures before --from were not checked", "the ledger is good")
	says(ledger+"verify"+dir+" --expect 9.9999 || test $? = 5", "an older copy")
	says(ledger+"verify"+dir+" --expect 9."+strings.Split(public.TxID.String(), ".")[1]+" -o json || test $? = 5", `"good":false`, "is expected")
}

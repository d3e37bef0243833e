package gov_test

import (
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/ccftest"
	"chancery/kv/writeset"
	"chancery/ledger"
)

func each(entries []*ledger.Entry) iter.Seq2[*ledger.Entry, error] {
	return func(yield func(*ledger.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// TestAuditVectors audits what CCF 7.0.2 wrote: every act is signed and, done again under
// CCF's own constitution, comes to the same.
func TestAuditVectors(t *testing.T) {
	entries := readLedger(t, filepath.Join(ccftest.Vectors(t), "seven_service", "ledger_recovered"))
	kinds := map[string]int{}
	must(t, gov.Audit(t.Context(), each(entries), func(a gov.Act) {
		kinds[a.Kind]++
		if len(a.Problems) > 0 {
			t.Errorf("%v %s by %.8s (%s): %s", a.ID, a.Kind, a.Member, a.Text, strings.Join(a.Problems, "; "))
		}
		if a.Member != "" && !a.Repeated {
			t.Errorf("%v %s was not repeated", a.ID, a.Kind)
		}
	}))
	if kinds["proposal"] < 10 || kinds["ballot"] < 20 || kinds["ack"] < 3 || kinds["by the service"] < 2 {
		t.Errorf("acts: %v", kinds)
	}
}

// TestAuditFindsForgery: acts that somebody with the service's keys could write, and to
// which no member agreed.
func TestAuditFindsForgery(t *testing.T) {
	entries := readLedger(t, filepath.Join(ccftest.Vectors(t), "seven_service", "ledger"))
	find := func(table, text string) int {
		for i, e := range entries {
			if m := e.Public.Map(table); m != nil && strings.Contains(string(m.Writes[0].Value), text) {
				return i
			}
		}
		t.Fatalf("no transaction writes %q to %s", text, table)
		return 0
	}
	accepted := find(tables.NameProposalsInfo, `"Accepted"`)
	opened := find(tables.NameProposalsInfo, `"Open"`)
	write := func(table, key, value string) writeset.MapWrites {
		return writeset.MapWrites{Name: table, Writes: []writeset.Write{{Key: []byte(key), Value: []byte(value)}}}
	}
	for name, c := range map[string]struct {
		at     int
		change func(ws writeset.WriteSet) writeset.WriteSet
		want   string
	}{
		"an accepted proposal does more": {accepted, func(ws writeset.WriteSet) writeset.WriteSet {
			return append(ws, write(tables.NameUsersCerts, "mallory", "cert"))
		}, "it writes public:ccf.gov.users.certs[mallory], which does not follow from it"},
		"an accepted proposal does less": {accepted, func(ws writeset.WriteSet) writeset.WriteSet {
			for i := range ws {
				if !strings.Contains(ws[i].Name, "proposals_info") && !strings.Contains(ws[i].Name, "cose") {
					return slices.Delete(ws, i, i+1)
				}
			}
			return ws
		}, "which follows from it"},
		"a vote that does not suffice is enough": {opened, func(ws writeset.WriteSet) writeset.WriteSet {
			m := ws.Map(tables.NameProposalsInfo)
			m.Writes[0].Value = []byte(strings.Replace(string(m.Writes[0].Value), `"Open"`, `"Accepted"`, 1))
			return ws
		}, "it writes another value to public:ccf.gov.proposals_info"},
		"another member is said to have signed": {opened, func(ws writeset.WriteSet) writeset.WriteSet {
			m := ws.Map(tables.NameCOSEHistory)
			other := strings.Repeat("ab", 32)
			m.Writes[0].Key = []byte(other)
			return ws
		}, "is not known"},
		"the message is another one": {opened, func(ws writeset.WriteSet) writeset.WriteSet {
			m := ws.Map(tables.NameCOSEHistory)
			m.Writes[0].Value[len(m.Writes[0].Value)/2] ^= 1
			return ws
		}, "the recorded message"},
		"nobody signed": {opened, func(ws writeset.WriteSet) writeset.WriteSet {
			return writeset.WriteSet{write(tables.NameMembersCerts, "mallory", "cert")}
		}, "it writes public:ccf.gov.members.certs, and no member signed that"},
	} {
		t.Run(name, func(t *testing.T) {
			forged := slices.Clone(entries[:c.at+1])
			e := *forged[c.at]
			e.Public = c.change(deepCopy(e.Public))
			forged[c.at] = &e
			var found []string
			must(t, gov.Audit(t.Context(), each(forged), func(a gov.Act) {
				if a.ID == e.ID {
					found = a.Problems
				} else if len(a.Problems) > 0 {
					t.Errorf("%v: %v", a.ID, a.Problems)
				}
			}))
			if !strings.Contains(strings.Join(found, "; "), c.want) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}

func deepCopy(ws writeset.WriteSet) writeset.WriteSet {
	out := slices.Clone(ws)
	for i := range out {
		out[i].Writes = slices.Clone(out[i].Writes)
		for j := range out[i].Writes {
			out[i].Writes[j].Value = slices.Clone(out[i].Writes[j].Value)
		}
	}
	return out
}

package main

import (
	"strings"
	"testing"
	"time"
)

// TestStatusZones: the loss of a zone must leave a majority of those that vote.
func TestStatusZones(t *testing.T) {
	for _, tt := range []struct {
		nodes []serviceNode
		want  bool
	}{
		{[]serviceNode{{Role: "primary", Zone: "a"}}, false},
		{[]serviceNode{{Role: "primary", Zone: "a"}, {Role: "backup", Zone: "b"}, {Role: "backup", Zone: "c"}}, false},
		{[]serviceNode{{Role: "primary", Zone: "a"}, {Role: "backup", Zone: "a"}, {Role: "backup", Zone: "c"}}, true},
		{[]serviceNode{{Role: "primary", Zone: "a"}, {Role: "learner", Zone: "a"}, {Role: "backup", Zone: "b"}, {Role: "backup", Zone: "c"}}, false},
		{[]serviceNode{{Role: "primary"}, {Role: "backup"}, {Role: "backup"}}, false},
	} {
		n := &nodeStatus{Nodes: tt.nodes, Service: statusService{Status: "Open", Expires: time.Now().AddDate(1, 0, 0)}, Node: statusNode{Expires: time.Now().AddDate(1, 0, 0)}}
		n.remark(time.Now())
		if got := len(n.Notes) == 1 && strings.HasPrefix(n.Notes[0], "without zone a no majority"); got != tt.want || len(n.Notes) > 1 {
			t.Errorf("%+v: %q, want a note: %t", tt.nodes, n.Notes, tt.want)
		}
	}
}

// TestStatusNotes checks what an operator is told to look at.
func TestStatusNotes(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	for _, tt := range []struct {
		name          string
		node, service int // days until the certificates end
		state         string
		stop          bool
		platform      string
		want          []string
	}{
		{"well", 90, 90, "Open", false, "AMD_SEV_SNP_v1", nil},
		{"ends soon", 10, 90, "Open", false, "AMD_SEV_SNP_v1", []string{"the node's certificate ends in 10 days; members renew it with the action set_all_nodes_certificate_validity"}},
		{"ends today", 90, 0, "Open", false, "AMD_SEV_SNP_v1", []string{"the service's certificate ends in 0 hours; members renew it with the action set_service_certificate_validity"}},
		{"expired", -1, 90, "Open", false, "AMD_SEV_SNP_v1", []string{"the node's certificate has expired"}},
		{"development", 90, 90, "Opening", true, "Insecure_Virtual", []string{"the node's end is announced", "the service is Opening", "the platform is virtual"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := &nodeStatus{
				Platform: tt.platform, Node: statusNode{Expires: day(tt.node), StopNotice: tt.stop},
				Service: statusService{Status: tt.state, Expires: day(tt.service)},
			}
			n.remark(now)
			if len(n.Notes) != len(tt.want) {
				t.Fatalf("notes %q, want %q", n.Notes, tt.want)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(n.Notes[i], want) {
					t.Errorf("note %q, want %q", n.Notes[i], want)
				}
			}
		})
	}
}

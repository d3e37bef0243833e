package gov_test

import (
	"encoding/json"
	"testing"

	"chancery/gov"
)

// TestZones reads labels, and finds the zone whose loss would stop the service.
func TestZones(t *testing.T) {
	for data, want := range map[string]string{
		`{"zone":"a"}`: "a", `{"rack":1}`: "", `null`: "", `"a"`: "", `{"zone":1}`: "", ``: "", `{"zone":"a","x":{}}`: "a",
	} {
		if got := gov.Zone(json.RawMessage(data)); got != want {
			t.Errorf("%s: %q, want %q", data, got, want)
		}
	}
	for _, tt := range []struct {
		zones []string
		want  string
	}{
		{nil, ""},
		{[]string{"a"}, ""}, // nothing to spread
		{[]string{"a", "b"}, "a"},
		{[]string{"a", "a", "b"}, "a"},
		{[]string{"a", "b", "c"}, ""},
		{[]string{"", "", ""}, ""},
		{[]string{"a", "", ""}, ""},
		{[]string{"a", "a", ""}, "a"},
		{[]string{"a", "a", "b", "b"}, "a"}, // two of four are no majority
		{[]string{"a", "a", "b", "b", "c"}, ""},
	} {
		if got := gov.MajorityZone(tt.zones); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.zones, got, tt.want)
		}
	}
}

package gov

import (
	"encoding/json"
	"maps"
	"slices"
)

// Zone is the label of the zone in which a node stands, "" where its node data has none:
// the text at "zone" of {"zone": "eu-1a", ...}.
func Zone(nodeData json.RawMessage) string {
	var data struct{ Zone string }
	if json.Unmarshal(nodeData, &data) != nil {
		return ""
	}
	return data.Zone
}

// MajorityZone returns the zone whose loss would leave no majority, given the zone of each
// node that votes: "" when there is none, or a single node. Nodes without a label count
// as voters of no zone.
func MajorityZone(zones []string) string {
	votes := map[string]int{}
	for _, z := range zones {
		votes[z]++
	}
	for _, z := range slices.Sorted(maps.Keys(votes)) {
		if z != "" && len(zones) > 1 && 2*votes[z] >= len(zones) {
			return z
		}
	}
	return ""
}

package config

import (
	"reflect"
	"slices"
	"strings"
)

// retired are keys of other CCF versions, with what became of them.
var retired = map[string]string{
	"enclave":      "was removed from CCF: the platform is found at run time",
	"network.acme": "ACME was removed from CCF; use a proxy for certificates of public authorities",
	"output_files.sealed_ledger_secret_location":             "was removed in CCF 7.0; remove it",
	"command.recover.previous_sealed_ledger_secret_location": "was removed in CCF 7.0; remove it",
	"ledger_signatures.mode":                                 "CCF has no such key; the signing mode is chancery.ledger_sign_mode",
	"ledger.max_transaction_size":                            "is a key of CCF after 7.0.2 and is not supported; remove it",
	"pending_node_timeout":                                   "is a key of CCF after 7.0.2 and is not supported; remove it",
	"identity_history_fetch":                                 "is a key of CCF after 7.0.2 and is not supported; remove it",
}

// unknown reports a key that path does not have, with the nearest one that exists.
func (d *decoder) unknown(path, key string, known []string) {
	full := join(path, key)
	if reason, ok := retired[full]; ok {
		d.add(full, "%s", reason)
		return
	}
	near, distance := nearest(key, known)
	if elsewhere := keysNamed(key); len(elsewhere) > 0 && distance > 0 {
		d.add(full, "unknown key; %s exists elsewhere, as %s", key, strings.Join(elsewhere, " and "))
		return
	}
	d.add(full, "unknown key; the nearest one here is %q", near)
}

// nearest returns the candidate with the least edit distance to s.
func nearest(s string, candidates []string) (best string, distance int) {
	distance = -1
	for _, c := range candidates {
		if n := editDistance(s, c); distance < 0 || n < distance {
			best, distance = c, n
		}
	}
	return best, distance
}

// editDistance counts the insertions, removals and replacements between two strings,
// bytewise.
func editDistance(a, b string) int {
	if len(a) > 128 {
		a = a[:128] // names are short; a long one is far from all of them anyway
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// keysNamed returns the paths at which a key of that name exists.
func keysNamed(key string) []string {
	var found []string
	walkKeys(reflect.TypeFor[Config](), "", func(path string) {
		if path == key || strings.HasSuffix(path, "."+key) {
			found = append(found, path)
		}
	})
	slices.Sort(found)
	return found
}

// walkKeys visits the path of every key under a struct type; the elements of a map
// stand as "<name>".
func walkKeys(t reflect.Type, path string, visit func(string)) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Map:
		walkKeys(t.Elem(), join(path, "<name>"), visit)
	case reflect.Struct:
		for i := range t.NumField() {
			if r, ok := fieldRules(t.Field(i)); ok {
				visit(join(path, r.key))
				walkKeys(t.Field(i).Type, join(path, r.key), visit)
			}
		}
	}
}

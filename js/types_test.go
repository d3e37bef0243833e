package js

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// declared returns the members that samples/types/ccf.d.ts declares in a block that
// begins with the given text.
func declared(t *testing.T, file, begin string) string {
	t.Helper()
	_, rest, ok := strings.Cut(file, begin+" {")
	if !ok {
		t.Fatalf("no %q in ccf.d.ts", begin)
	}
	depth, end := 1, 0
	for depth > 0 && end < len(rest) {
		switch rest[end] {
		case '{':
			depth++
		case '}':
			depth--
		}
		end++
	}
	return rest[:end]
}

// TestTypes: the types that are shipped name every member of the host's objects, and the
// table of docs/js.md every function.
func TestTypes(t *testing.T) {
	text, err := os.ReadFile("../samples/types/ccf.d.ts")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../docs/js.md")
	if err != nil {
		t.Fatal(err)
	}
	for begin, table := range map[string]*hostTable{
		"interface Ccf": appTable, "interface CcfCrypto": cryptoTable, "interface KvMap": kvTable, "interface OrderedKv": orderedTable,
		"declare const snp_attestation:": snpTable, "declare const console:": consoleTable, "interface Request": requestTable,
		"rpc:": rpcTable, "consensus:": consensusTable, "historical:": historyTable, "chancery:": chanceryTable, "gov:": govTable, "body:": bodyTable,
	} {
		block := declared(t, string(text), begin)
		for _, m := range table.members {
			if !regexp.MustCompile(`\b` + m.name + `\??[(:]`).MatchString(block) {
				t.Errorf("%s does not declare %s", begin, m.name)
			}
			if m.f != nil && !regexp.MustCompile(`\b`+m.name+`\b`).Match(docs) {
				t.Errorf("docs/js.md does not name %s", m.name)
			}
		}
	}
}

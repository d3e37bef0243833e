package js

import (
	"log/slog"

	"github.com/dop251/goja"
)

// The host objects. They are filled in by init, since their functions may in turn make
// interpreters.
var (
	ccfTable, appTable                     *hostTable // ccf in governance, in endpoints
	cryptoTable, govTable, snpTable        *hostTable
	consoleTable, kvTable, bodyTable       *hostTable
	requestTable                           *hostTable
	rpcTable, consensusTable, historyTable *hostTable
	chanceryTable, orderedTable            *hostTable // what CCF does not have
)

func init() {
	common := []member{
		{name: "kv", object: func(s *sandbox) *goja.Object { return s.vm.NewDynamicObject(&kvObject{s: s}) }},
		{name: "strToBuf", f: (*sandbox).strToBuf}, {name: "bufToStr", f: (*sandbox).bufToStr},
		{name: "jsonCompatibleToBuf", f: (*sandbox).jsonToBuf}, {name: "bufToJsonCompatible", f: (*sandbox).bufToJSON},
		{name: "pemToId", f: (*sandbox).pemToID}, {name: "tcbHexToPolicy", f: (*sandbox).tcbHexToPolicy},
		{name: "enableMetricsLogging", f: (*sandbox).enableMetricsLogging},
		{name: "enableUntrustedDateTime", f: (*sandbox).enableUntrustedDateTime},
		part("crypto", func() *hostTable { return cryptoTable }), part("gov", func() *hostTable { return govTable }),
		part("chancery", func() *hostTable { return chanceryTable }),
	}
	ccfTable = newTable(common...)
	appTable = newTable(append(common[:len(common):len(common)],
		part("rpc", func() *hostTable { return rpcTable }),
		part("consensus", func() *hostTable { return consensusTable }),
		part("historical", func() *hostTable { return historyTable }))...)
	cryptoTable = newTable(cryptoMembers...)
	govTable = newTable(member{name: "validateConstitution", f: (*sandbox).validateConstitution})
	snpTable = newTable(member{name: "verifySnpAttestation", f: (*sandbox).verifySNP})
	consoleTable = newTable(
		member{name: "log", f: print(slog.LevelInfo)}, member{name: "info", f: print(slog.LevelInfo)},
		member{name: "warn", f: print(slog.LevelWarn)}, member{name: "error", f: print(slog.LevelError)})
	kvTable = newTable(kvMembers...)
	chanceryTable = newTable(part("kv", func() *hostTable { return orderedTable }))
	orderedTable = newTable(member{name: "range", f: (*sandbox).orderedRange}, member{name: "keys", f: (*sandbox).orderedKeys})
	bodyTable = newTable(
		member{name: "text", f: (*sandbox).bodyText}, member{name: "json", f: (*sandbox).bodyJSON},
		member{name: "arrayBuffer", f: (*sandbox).bodyBuffer})
	requestTable = newTable(requestMembers...)
	rpcTable = newTable(
		member{name: "setApplyWrites", f: (*sandbox).setApplyWrites}, member{name: "setClaimsDigest", f: (*sandbox).setClaimsDigest})
	consensusTable = newTable(member{name: "getLastCommittedTxId", f: (*sandbox).lastCommitted},
		member{name: "getStatusForTxId", f: (*sandbox).statusOf}, member{name: "getViewForSeqno", f: (*sandbox).viewOf})
	historyTable = newTable(
		member{name: "getStateRange", f: (*sandbox).stateRange}, member{name: "dropCachedStates", f: (*sandbox).dropStates})
}

// part is a member that is a host object with members of its own.
func part(name string, table func() *hostTable) member {
	return member{name: name, object: func(s *sandbox) *goja.Object { return s.hostObject(table()) }}
}

// install gives the global object what every context has: ccf, console and
// snp_attestation.
func (s *sandbox) install(ccf *hostTable) {
	s.ccf = s.hostObject(ccf)
	global := s.vm.GlobalObject()
	for _, g := range []struct {
		name  string
		value *goja.Object
	}{{"ccf", s.ccf}, {"console", s.hostObject(consoleTable)}, {"snp_attestation", s.hostObject(snpTable)}} {
		_ = global.Set(g.name, g.value)
	}
}

// maxLine bounds a line of the log.
const maxLine = 64 << 10

// print joins its arguments with spaces: objects as JSON, errors and the rest as
// String does.
func print(level slog.Level) func(*sandbox, goja.FunctionCall) goja.Value {
	return func(s *sandbox, c goja.FunctionCall) goja.Value {
		if s.env == nil || s.env.Log == nil {
			return goja.Undefined()
		}
		var line []byte
		for i, v := range c.Arguments {
			if i > 0 {
				line = append(line, ' ')
			}
			line = append(line, s.printed(v)...)
			if len(line) > maxLine {
				line = append(line[:maxLine], "..."...)
				break
			}
		}
		s.env.Log(level, string(line))
		return goja.Undefined()
	}
}

func (s *sandbox) printed(v goja.Value) string {
	o, ok := v.(*goja.Object)
	if !ok || o.ClassName() == "Error" {
		return v.String()
	}
	return s.stringify(v).String()
}

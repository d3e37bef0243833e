package config

import (
	"path"
	"strings"
)

// ExpandPath replaces every element of a path that is "$NAME" as a whole by the
// value of that environment variable, as CCF does for the files of the attestation
// object. An element whose variable is not set stays as it is.
func ExpandPath(file string, lookup func(string) (string, bool)) string {
	if file == "" {
		return ""
	}
	elements := strings.Split(file, "/")
	for i, e := range elements {
		elements[i] = expand(e, lookup)
	}
	expanded := path.Clean(strings.Join(elements, "/"))
	if strings.HasPrefix(file, "/") && !strings.HasPrefix(expanded, "/") {
		return "/" + expanded
	}
	return expanded
}

// ExpandURL replaces the host and the port of an endorsements server that are "$NAME"
// as a whole.
func ExpandURL(url string, lookup func(string) (string, bool)) string {
	host, port, ok := strings.Cut(url, ":")
	if !ok {
		return expand(host, lookup)
	}
	return expand(host, lookup) + ":" + expand(port, lookup)
}

// Expand replaces the environment variables of the attestation object. lookup is
// os.LookupEnv, or a test's.
func (a *Attestation) Expand(lookup func(string) (string, bool)) {
	a.SNPSecurityPolicyFile = ExpandPath(a.SNPSecurityPolicyFile, lookup)
	a.SNPUVMEndorsementsFile = ExpandPath(a.SNPUVMEndorsementsFile, lookup)
	a.SNPEndorsementsFile = ExpandPath(a.SNPEndorsementsFile, lookup)
	for i := range a.SNPEndorsementsServers {
		s := &a.SNPEndorsementsServers[i]
		s.URL = ExpandURL(s.URL, lookup)
	}
}

func expand(s string, lookup func(string) (string, bool)) string {
	if name, ok := strings.CutPrefix(s, "$"); ok && name != "" {
		if v, set := lookup(name); set {
			return v
		}
	}
	return s
}

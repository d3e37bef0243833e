package attest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// JoinPolicy is a policy as a document: the answer of /gov/service/join-policy, which
// whoever verifies nodes from outside can keep in a file.
type JoinPolicy struct {
	SGX struct {
		Measurements []string `json:"measurements"`
	} `json:"sgx"`
	SNP struct {
		// HostData maps digests to the security policy, "" when it is not known.
		HostData        map[string]string             `json:"hostData"`
		Measurements    []string                      `json:"measurements"`
		TCBVersions     map[string]TCBVersion         `json:"tcbVersions"`
		UVMEndorsements map[string]map[string]UVMFeed `json:"uvmEndorsements"`
	} `json:"snp"`
	Virtual struct {
		HostData     []string `json:"hostData"`
		Measurements []string `json:"measurements"`
	} `json:"virtual"`
}

var _ Policy = (*JoinPolicy)(nil)

// ParseJoinPolicy reads a document. One that trusts nothing at all is refused: it is
// more likely another file.
func ParseJoinPolicy(text []byte) (*JoinPolicy, error) {
	p := new(JoinPolicy)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("a policy is JSON as /gov/service/join-policy answers: %w", err)
	}
	if len(p.SNP.HostData) == 0 && len(p.Virtual.HostData) == 0 && len(p.SGX.Measurements) == 0 {
		return nil, fmt.Errorf("a policy is JSON as /gov/service/join-policy answers: this one trusts no host data and no enclave, so no node")
	}
	return p, nil
}

// HostDataTrusted looks host data up.
func (p *JoinPolicy) HostDataTrusted(f Format, hostData [32]byte) (bool, error) {
	key := hex.EncodeToString(hostData[:])
	switch f {
	case FormatVirtual:
		return slices.Contains(p.Virtual.HostData, key), nil
	case FormatSNP:
		_, ok := p.SNP.HostData[key]
		return ok, nil
	}
	return false, nil
}

// MeasurementTrusted looks a measurement up.
func (p *JoinPolicy) MeasurementTrusted(f Format, measurement string) (bool, error) {
	switch f {
	case FormatVirtual:
		return slices.Contains(p.Virtual.Measurements, measurement), nil
	case FormatSNP:
		return slices.Contains(p.SNP.Measurements, measurement), nil
	case FormatSGX:
		return slices.Contains(p.SGX.Measurements, measurement), nil
	}
	return false, nil
}

// UVMTrusted looks an endorsement up.
func (p *JoinPolicy) UVMTrusted(u UVM) (bool, error) {
	return UVMAllowed(p.SNP.UVMEndorsements[u.DID], u)
}

// TCBTrusted compares a platform's version with the minimum of its processor.
func (p *JoinPolicy) TCBTrusted(t TCB) (bool, error) { return TCBAllowed(p.SNP.TCBVersions, t) }

// UVMAllowed says whether the feeds of an endorsement's issuer have its feed, with a
// version at or below its own.
func UVMAllowed(feeds map[string]UVMFeed, u UVM) (bool, error) {
	feed, ok := feeds[u.Feed]
	if !ok {
		return false, nil
	}
	least, err := strconv.ParseUint(feed.SVN, 10, 64)
	if err != nil {
		return false, fmt.Errorf("recorded UVM version %q: %w", feed.SVN, err)
	}
	return u.SVN >= least, nil
}

// TCBAllowed says whether a processor's version is not below its minimum, by CPUID.
// A processor that has none is ErrCPUID.
func TCBAllowed(minima map[string]TCBVersion, t TCB) (bool, error) {
	product, err := t.CPU.Product()
	if err != nil {
		return false, err
	}
	have, err := DecodeTCB(product, t.Value)
	if err != nil {
		return false, err
	}
	for _, id := range slices.Sorted(maps.Keys(minima)) {
		cpu, err := ParseCPUID(id)
		if err != nil {
			return false, fmt.Errorf("recorded minimum: %w", err)
		}
		if cpu == t.CPU {
			return have.AtLeast(minima[id]), nil
		}
	}
	return false, fmt.Errorf("%w: %s", ErrCPUID, t.CPU.ID())
}

package gov

import (
	"chancery/attest"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"chancery/gov/tables"
)

// NodeView is a node as the API shows it.
type NodeView struct {
	Certificate      string                   `json:"certificate,omitempty"`
	NodeData         tables.Data              `json:"nodeData"`
	NodeID           string                   `json:"nodeId"`
	QuoteInfo        QuoteView                `json:"quoteInfo"`
	RetiredCommitted bool                     `json:"retiredCommitted"`
	RPCInterfaces    map[string]InterfaceView `json:"rpcInterfaces"`
	// SealingLocation is the name under which a node will recover the service by itself, if
	// it keeps a recovery key: who trusts it agrees to that. CCF shows none.
	SealingLocation string            `json:"sealingRecoveryLocation,omitempty"`
	Status          tables.NodeStatus `json:"status"`
}

// QuoteView is a node's attestation; which members are set depends on the format.
type QuoteView struct {
	Details         *VirtualQuote `json:"details,omitempty"`
	EndorsedTCB     []byte        `json:"endorsedTcb,omitempty"`
	Endorsements    *[]byte       `json:"endorsements,omitempty"`
	Format          string        `json:"format"`
	Quote           []byte        `json:"quote,omitempty"`
	RawQuote        *[]byte       `json:"rawQuote,omitempty"`
	UVMEndorsements []byte        `json:"uvmEndorsements,omitempty"`
}

// VirtualQuote is what a virtual node says of itself; nothing proves it.
type VirtualQuote struct {
	HostData    string `json:"hostData"`
	Measurement string `json:"measurement"`
	ReportData  string `json:"reportData"`
}

// InterfaceView is an interface of a node on which it answers clients.
type InterfaceView struct {
	Protocol         string `json:"protocol,omitempty"`
	PublishedAddress string `json:"publishedAddress"`
}

func nodeView(r tables.Reader, id string, n tables.Node) (*NodeView, error) {
	cert, _, err := tables.NodesEndorsedCertificates.Get(r, id)
	if err != nil {
		return nil, err
	}
	quote, err := quoteView(n.Quote)
	if err != nil {
		return nil, fmt.Errorf("quote of node %s: %w", id, err)
	}
	location, err := sealingLocation(r, id)
	if err != nil {
		return nil, err
	}
	interfaces := make(map[string]InterfaceView, len(n.RPC))
	for name, i := range n.RPC {
		interfaces[name] = InterfaceView{PublishedAddress: i.PublishedAddress, Protocol: i.AppProtocol}
	}
	return &NodeView{
		NodeID: id, Status: n.Status, NodeData: n.Data, Certificate: cert,
		RetiredCommitted: n.RetiredCommitted, QuoteInfo: quote, RPCInterfaces: interfaces, SealingLocation: location,
	}, nil
}

func quoteView(q tables.QuoteInfo) (QuoteView, error) {
	v := QuoteView{Format: q.Format}
	switch q.Format {
	case tables.QuoteSGX:
		v.Quote, v.Endorsements = q.Quote, &q.Endorsements
	case tables.QuoteVirtual:
		v.RawQuote = &q.Quote
		// The quotes of old virtual nodes are empty.
		if len(q.Quote) == 0 {
			break
		}
		var stored struct {
			HostData    string `json:"host_data"`
			Measurement string `json:"measurement"`
			ReportData  string `json:"report_data"`
		}
		if err := json.Unmarshal(q.Quote, &stored); err != nil {
			return v, err
		}
		v.Details = &VirtualQuote{stored.HostData, stored.Measurement, stored.ReportData}
	case tables.QuoteSNP:
		v.UVMEndorsements = q.UVMEndorsements
		tcb, err := hex.DecodeString(q.EndorsedTCB)
		if err != nil {
			return v, fmt.Errorf("endorsed TCB: %w", err)
		}
		v.EndorsedTCB = tcb
	}
	return v, nil
}

// Nodes returns all nodes, by id.
func Nodes(r tables.Reader) ([]*NodeView, error) {
	all, err := tables.NodesInfo.All(r)
	if err != nil {
		return nil, err
	}
	out := make([]*NodeView, len(all))
	for i, n := range all {
		if out[i], err = nodeView(r, n.Key, n.Value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// GetNode returns one node.
func GetNode(r tables.Reader, id string) (*NodeView, error) {
	if !isHexID(id) {
		return nil, refuse(Invalid, CodeInvalidResourceName, "'%s' is not a valid hex-encoded node ID", id)
	}
	n, ok, err := tables.NodesInfo.Get(r, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refuse(Missing, CodeResourceNotFound, "Node %s does not exist.", nodeText(id))
	}
	return nodeView(r, id, n)
}

// JoinPolicy returns the join policy of every platform.
func JoinPolicy(r tables.Reader) (*attest.JoinPolicy, error) {
	var v attest.JoinPolicy
	var err error
	if v.SGX.Measurements, err = allowed(r, tables.CodeIDs); err != nil {
		return nil, err
	}
	if v.SNP.Measurements, err = allowed(r, tables.SNPMeasurements); err != nil {
		return nil, err
	}
	if v.Virtual.Measurements, err = allowed(r, tables.VirtualMeasurements); err != nil {
		return nil, err
	}
	v.Virtual.HostData = append([]string{}, tables.VirtualHostData.Keys(r)...)
	if v.SNP.HostData, err = mapOf(r, tables.SNPHostData); err != nil {
		return nil, err
	}
	if v.SNP.UVMEndorsements, err = mapOf(r, tables.SNPUVMEndorsements); err != nil {
		return nil, err
	}
	if v.SNP.TCBVersions, err = mapOf(r, tables.SNPTCBVersions); err != nil {
		return nil, err
	}
	return &v, nil
}

// allowed returns the measurements whose code may join.
func allowed(r tables.Reader, m tables.Map[tables.CodeStatus]) ([]string, error) {
	all, err := m.All(r)
	out := []string{}
	for _, e := range all {
		if e.Value == tables.AllowedToJoin {
			out = append(out, e.Key)
		}
	}
	return out, err
}

func mapOf[V any](r tables.Reader, m tables.Map[V]) (map[string]V, error) {
	all, err := m.All(r)
	out := make(map[string]V, len(all))
	for _, e := range all {
		out[e.Key] = e.Value
	}
	return out, err
}

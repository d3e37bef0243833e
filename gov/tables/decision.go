package tables

// Location is the place of a node, whose name outlives the node.
type Location struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// DecidingNode is a node that takes part in the decision where a lost service goes on.
type DecidingNode struct {
	Quote    QuoteInfo `json:"quote_info"`
	Location Location  `json:"location"`
	// ServiceCert is the certificate of the service that the node would open, DER.
	ServiceCert []byte `json:"service_cert_der"`
	// NodeKey is the node's public key, SPKI DER; the name is CCF's. It comes with the
	// connection, not with what the node says.
	NodeKey []byte `json:"node_cert_der,omitempty"`
}

// The states of the decision. Its timeouts pass through the first three as well.
const (
	DecisionGossiping = "Gossiping"
	DecisionVoting    = "Voting"
	DecisionOpening   = "Opening"
	DecisionJoining   = "Joining"
	DecisionOpen      = "Open"
)

// How a decision came about.
const (
	DecidedByQuorum   = "Quorum"
	DecidedByFailover = "Failover"
)

// Tables of the decision, by the names of locations.
var (
	DecisionNodes = jsonMap[DecidingNode](NameRDPNodes)
	// DecisionGossip holds the last signed TxID that each location recovered.
	DecisionGossip  = jsonMap[string](NameRDPGossip)
	DecisionVotes   = Map[Unit]{NameRDPVotes, unit()}
	DecisionChosen  = jsonValue[string](NameRDPChosenNode)
	DecisionState   = jsonValue[string](NameRDPState)
	DecisionTimeout = jsonValue[string](NameRDPTimeoutState)
	DecisionKind    = jsonValue[string](NameRDPOpenKind)
)

package tables

// ProposalState is where a proposal stands.
type ProposalState string

// The states of a proposal. Failed is not seen in a table: a transaction in which
// resolve or apply fails is discarded.
const (
	ProposalOpen      ProposalState = "Open"
	ProposalAccepted  ProposalState = "Accepted"
	ProposalWithdrawn ProposalState = "Withdrawn"
	ProposalRejected  ProposalState = "Rejected"
	ProposalFailed    ProposalState = "Failed"
	// ProposalDropped was open when another proposal changed what it would mean.
	ProposalDropped ProposalState = "Dropped"
)

// Failure is a thrown JavaScript value: its text and where it came from.
type Failure struct {
	Reason string  `json:"reason"`
	Trace  *string `json:"trace,omitempty"`
}

// Proposal is a row of proposals_info. Maps are by member id.
type Proposal struct {
	ProposerID string        `json:"proposer_id"`
	State      ProposalState `json:"state"`
	// Ballots holds the source of each ballot. It is written when empty too.
	Ballots map[string]string `json:"ballots"`
	// FinalVotes and VoteFailures are set, if only to empty maps, when the proposal
	// was resolved to anything but Open.
	FinalVotes   map[string]bool    `json:"final_votes,omitzero"`
	VoteFailures map[string]Failure `json:"vote_failures,omitzero"`
	Failure      *Failure           `json:"failure,omitempty"`
}

// Tables of proposals, by proposal id: 64 hex digits.
var (
	ProposalsInfo = jsonMap[Proposal](NameProposalsInfo)
	// Proposals holds each proposal's text as submitted.
	Proposals = Map[[]byte]{NameProposals, rawBytes()}
	// COSEHistory holds each member's last governance envelope, by member id; the
	// ledger holds all of them.
	COSEHistory = jsonMap[[]byte](NameCOSEHistory)
	// COSERecentProposals maps "<10-digit seconds>:<hex SHA-256 of the signature>" to
	// the id of the proposal made with it: the window of replay protection.
	COSERecentProposals = jsonMap[string](NameCOSERecentProposals)
)

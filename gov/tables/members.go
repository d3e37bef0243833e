package tables

// MemberStatus is where a member stands; removal deletes the rows.
type MemberStatus string

// The states of a member. An accepted member becomes active with its first
// acknowledgement of a state digest; only active members propose and vote.
const (
	MemberAccepted MemberStatus = "Accepted"
	MemberActive   MemberStatus = "Active"
)

// RecoveryRole says what a member holds of the key to the ledger.
type RecoveryRole string

// The roles of a member in recovery. A member with an encryption key and no role is a
// Participant, one without a key a NonParticipant.
const (
	NonParticipant RecoveryRole = "NonParticipant"
	Participant    RecoveryRole = "Participant"
	// Owner members receive the whole key and count neither toward the threshold nor
	// toward the number of shares.
	Owner RecoveryRole = "Owner"
)

// Member is a row of members.info.
type Member struct {
	Status       MemberStatus `json:"status"`
	Data         Data         `json:"member_data,omitzero"`
	RecoveryRole RecoveryRole `json:"recovery_role,omitempty"`
}

// MemberAck is a row of members.acks: the digest that the member is to sign next and
// the last envelope in which it did.
type MemberAck struct {
	// StateDigest is the hex root of the ledger's tree, "" before the first signature.
	StateDigest string `json:"state_digest"`
	// SignedReq is the request of a 1.x member; cleared by the next acknowledgement.
	SignedReq Data `json:"signed_req,omitzero"`
	// COSESign1 is the envelope as received.
	COSESign1 []byte `json:"cose_sign1_req,omitempty"`
}

// Tables of members, by member id: the hex SHA-256 of the certificate (DER).
var (
	MembersInfo           = jsonMap[Member](NameMembersInfo)
	MembersCerts          = textMap(NameMembersCerts)
	MembersEncryptionKeys = textMap(NameMembersEncryptionKeys)
	MembersAcks           = jsonMap[MemberAck](NameMembersAcks)
)

package gov

import "fmt"

// Kind says in general terms why something was refused; a server maps it to a status.
type Kind uint8

// The kinds of refusal.
const (
	// Failed says that the service could not do it (500).
	Failed Kind = iota
	// Invalid says that the request is wrong, or wrong in this state (400).
	Invalid
	// Denied says that this signer may not do it, or that nobody may now (403).
	Denied
	// Missing says that what is asked for is not there (404).
	Missing
)

// Codes of errors, as CCF names them.
const (
	CodeInternalError              = "InternalError"
	CodeInvalidInput               = "InvalidInput"
	CodeInvalidResourceName        = "InvalidResourceName"
	CodeInvalidAuthenticationInfo  = "InvalidAuthenticationInfo"
	CodeInvalidQueryParameterValue = "InvalidQueryParameterValue"
	CodeAuthorizationFailed        = "AuthorizationFailed"
	CodeResourceNotFound           = "ResourceNotFound"
	CodeProposalNotFound           = "ProposalNotFound"
	CodeProposalNotOpen            = "ProposalNotOpen"
	CodeProposalFailedToValidate   = "ProposalFailedToValidate"
	CodeProposalReplay             = "ProposalReplay"
	CodeProposalCreatedTooLongAgo  = "ProposalCreatedTooLongAgo"
	CodeInvalidCreatedAt           = "InvalidCreatedAt"
	CodeVoteNotFound               = "VoteNotFound"
	CodeVoteAlreadyExists          = "VoteAlreadyExists"
	CodeStateDigestMismatch        = "StateDigestMismatch"
	CodeServiceNotWaitingForShares = "ServiceNotWaitingForRecoveryShares"
	CodeNodeAlreadyRecovering      = "NodeAlreadyRecovering"
)

// Error is a refusal that the client is to see.
type Error struct {
	Kind    Kind
	Code    string // CCF's error code
	Message string
	// Apply says that the transaction's writes are to be kept all the same.
	Apply bool
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

func refuse(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

func failed(format string, args ...any) *Error {
	return refuse(Failed, CodeInternalError, format, args...)
}

// Ids are shown in messages with a letter for what they name.
func memberText(id string) string { return "m[" + id + "]" }
func userText(id string) string   { return "u[" + id + "]" }
func nodeText(id string) string   { return "n[" + id + "]" }

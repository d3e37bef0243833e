package api

import "fmt"

// Code is the machine-readable reason in an error answer.
type Code string

// Codes of any HTTP service.
const (
	AuthorizationFailed        Code = "AuthorizationFailed"
	InternalError              Code = "InternalError"
	NotImplemented             Code = "NotImplemented"
	InvalidAuthenticationInfo  Code = "InvalidAuthenticationInfo"
	InvalidHeaderValue         Code = "InvalidHeaderValue"
	MissingRequiredHeader      Code = "MissingRequiredHeader"
	PreconditionFailed         Code = "PreconditionFailed"
	InvalidInput               Code = "InvalidInput"
	InvalidQueryParameterValue Code = "InvalidQueryParameterValue"
	InvalidResourceName        Code = "InvalidResourceName"
	ResourceNotFound           Code = "ResourceNotFound"
	UnsupportedHTTPVerb        Code = "UnsupportedHttpVerb"
	UnsupportedContentType     Code = "UnsupportedContentType"
	RequestBodyTooLarge        Code = "RequestBodyTooLarge"
	RequestHeaderTooLarge      Code = "RequestHeaderTooLarge"
)

// Codes of this kind of service.
const (
	SessionCapExhausted                  Code = "SessionCapExhausted"
	FrontendNotOpen                      Code = "FrontendNotOpen"
	EmptyFile                            Code = "EmptyFile"
	TransactionCommitAttemptsExceedLimit Code = "TransactionCommitAttemptsExceedLimit"
	TransactionReplicationFailed         Code = "TransactionReplicationFailed"
	TransactionPendingOrUnknown          Code = "TransactionPendingOrUnknown"
	TransactionInvalid                   Code = "TransactionInvalid"
	TooManyPendingTransactions           Code = "TooManyPendingTransactions"
	SessionConsistencyLost               Code = "SessionConsistencyLost"
	NodeCannotHandleRequest              Code = "NodeCannotHandleRequest"
	NodeNotRetiredCommitted              Code = "NodeNotRetiredCommitted"
	PrimaryNotFound                      Code = "PrimaryNotFound"
	BackupNotFound                       Code = "BackupNotFound"
	MissingAPIVersionParameter           Code = "MissingApiVersionParameter"
	UnsupportedAPIVersionValue           Code = "UnsupportedApiVersionValue"
	JSException                          Code = "JSException"
	ProposalNotFound                     Code = "ProposalNotFound"
	ProposalNotOpen                      Code = "ProposalNotOpen"
	ProposalFailedToValidate             Code = "ProposalFailedToValidate"
	ProposalReplay                       Code = "ProposalReplay"
	ProposalCreatedTooLongAgo            Code = "ProposalCreatedTooLongAgo"
	InvalidCreatedAt                     Code = "InvalidCreatedAt"
	VoteNotFound                         Code = "VoteNotFound"
	VoteAlreadyExists                    Code = "VoteAlreadyExists"
	StateDigestMismatch                  Code = "StateDigestMismatch"
	ServiceNotWaitingForRecoveryShares   Code = "ServiceNotWaitingForRecoveryShares"
	NodeAlreadyRecovering                Code = "NodeAlreadyRecovering"
	NodeAlreadyExists                    Code = "NodeAlreadyExists"
	InvalidQuote                         Code = "InvalidQuote"
	InvalidNodeState                     Code = "InvalidNodeState"
	StartupSeqnoIsOld                    Code = "StartupSeqnoIsOld"
	CSRPublicKeyInvalid                  Code = "CSRPublicKeyInvalid"
)

// Error is an error answer: what the client sees, with its HTTP status. It is a Go
// error too, so that an endpoint can return it.
type Error struct {
	Status  int    `json:"-"`
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Details []any  `json:"details,omitempty"`
}

// Error returns code and message.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Message) }

// Errorf makes an Error with a formatted message.
func Errorf(status int, code Code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// ErrorBody is the JSON document of an error answer.
type ErrorBody struct {
	Error *Error `json:"error"`
}

// AuthDetail tells why one authentication policy refused a request.
type AuthDetail struct {
	Policy  string `json:"auth_policy"`
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// JSDetail tells what a JavaScript endpoint threw, where the service is configured to show it.
type JSDetail struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Trace   string `json:"trace,omitempty"`
}

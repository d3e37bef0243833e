package api

// Header names, in the lower case in which CCF shows them. net/http sends its own
// canonical form; HTTP header names have no case.
const (
	HeaderTxID           = "x-ms-ccf-transaction-id"
	HeaderSnapshotName   = "x-ms-ccf-snapshot-name"
	HeaderChunkName      = "x-ms-ccf-ledger-chunk-name"
	HeaderContentType    = "content-type"
	HeaderAllow          = "allow"
	HeaderLocation       = "location"
	HeaderRetryAfter     = "retry-after"
	HeaderCacheControl   = "cache-control"
	HeaderAuthenticate   = "www-authenticate"
	HeaderAuthorization  = "authorization"
	HeaderAccept         = "accept"
	HeaderAcceptRanges   = "accept-ranges"
	HeaderContentRange   = "content-range"
	HeaderContentLength  = "content-length"
	HeaderRange          = "range"
	HeaderETag           = "etag"
	HeaderIfNoneMatch    = "if-none-match"
	HeaderWantReprDigest = "want-repr-digest"
	HeaderReprDigest     = "repr-digest"
	HeaderPrefer         = "prefer"
	HeaderPreferApplied  = "preference-applied"
)

// Content types.
const (
	TypeJSON   = "application/json"
	TypeText   = "text/plain"
	TypeJS     = "text/javascript"
	TypeCOSE   = "application/cose"
	TypeBinary = "application/octet-stream"
	// TypeAttestation is the content type in the header of an AttestationStatement.
	TypeAttestation = "application/vnd.chancery.attestation+json"
)

// Values of the www-authenticate header.
const (
	ChallengeJWT  = `Bearer realm="JWT bearer token access", error="invalid_token"`
	ChallengeCOSE = `COSE-SIGN1 realm="Signed request access"`
)

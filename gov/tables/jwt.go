package tables

// JWTIssuer is a row of jwt.issuers, by issuer. The table keeps every argument of
// set_jwt_issuer but the keys; these are the ones that mean something.
type JWTIssuer struct {
	AutoRefresh bool    `json:"auto_refresh,omitempty"`
	CABundle    *string `json:"ca_cert_bundle_name,omitempty"`
}

// JWTKey is one signing key of one issuer.
type JWTKey struct {
	// PublicKey is the key as SPKI, DER.
	PublicKey []byte `json:"public_key"`
	Issuer    string `json:"issuer"`
	// Constraint is what a token's iss must match, nil when there is none.
	Constraint *string `json:"constraint,omitempty"`
}

// Tables for token verification.
var (
	CACertBundles = jsonMap[string](NameCACertBundles)
	JWTIssuers    = jsonMap[JWTIssuer](NameJWTIssuers)
	// JWTKeys holds by kid the keys of all issuers that use it.
	JWTKeys = jsonMap[[]JWTKey](NameJWTSigningKeys)
)

// Package uvm verifies endorsements of utility VMs: a statement, signed by who builds
// the image that a confidential container's guest boots, that a measurement is one of
// its releases. A service then trusts the builder and a least version in place of each
// measurement.
//
// # Message
//
// A COSE_Sign1 with attached payload, signed with RSASSA-PSS or ECDSA. The protected
// header has alg (1), the signer's chain under x5chain (33: certificates in DER, the
// signer's first), and in one of two forms
//
//	                builds up to 0.2.9           later builds
//	issuer          "iss"                        15 (CWT claims), 1
//	feed            "feed"                       15, 2
//	version         in the payload               15, "svn"
//	content type    3: application/json          259: application/octet-stream
//	payload         JSON                         the measurement's bytes
//
// where the JSON has x-ms-sevsnpvm-launchmeasurement, lower-case hex, and
// x-ms-sevsnpvm-guestsvn, a number or its decimal text.
//
// # Issuer
//
// The issuer is a did:x509 (version 0): the digest of a certificate in the chain above
// the signer's, and policies that the signer's certificate must meet (eku, subject, san).
// The chain is checked up to its last certificate, whatever the date: an endorsement
// outlives the certificate that it was made with. What makes the chain trusted is that
// governance trusts the DID.
package uvm

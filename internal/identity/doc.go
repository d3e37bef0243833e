// Package identity holds the keys and certificates of a service, its nodes, its
// members and its users, and the TLS configurations made of them, with CCF's
// profiles.
//
// # Names
//
//	node id      hex SHA-256 of the DER SubjectPublicKeyInfo of the node's key
//	key id       the same for any key; kid of a ledger signature for the service's
//	member, user id   hex SHA-256 of the DER certificate; kid of their COSE messages
//
// Hex is lower case.
//
// # Keys
//
// Service and node keys are P-384 unless the configuration says P-256; members
// and users may have P-256, P-384 or P-521. Keys that receive secrets
// (recovery shares, ledger secrets) are RSA-2048 with e = 65537. Private keys
// are written as PKCS #8 PEM with mode 0600 and read as PKCS #8, SEC 1 or
// PKCS #1. A key of the wrong family is an error that says so: no parser here
// returns an RSA key where an elliptic one is asked for, or the reverse.
//
// # Certificates
//
// X.509 v3, serial of 16 random bytes, signed with the hash of the issuer's
// curve. Extensions, in this order:
//
//	basicConstraints  critical; CA:TRUE with pathlen:1, or CA:FALSE
//	keyUsage          critical, digitalSignature and keyCertSign; on a CA only
//	subjectKeyId      SHA-1 of the public key's bit string
//	authorityKeyId    keyid only, also on a self-signed certificate
//	subjectAltName    as in the request, not critical; if there are any
//
// There are three kinds at the start of a service: the service's own
// (self-signed, CA, no names), the node's self-signed one (CA, names; shown on
// interfaces with node authority, and by a joiner), and the node's endorsed one
// (no CA, names; issued by the service from the node's signing request).
// notAfter is notBefore plus whole days less one second. Readers ask for less:
// no check here requires an extension.
//
// Certificates of members and users are self-signed, CA:TRUE without pathlen and
// without keyUsage, as OpenSSL's defaults make them. They are trusted by their
// fingerprint alone, never by a chain.
//
// # Wrapping
//
// Wrap seals bytes under an AES-256 key as tag (16) || iv (12) || ciphertext,
// without additional data. WrapFor and UnwrapWith use RSA-OAEP with SHA-256 for
// hash and MGF1, no label.
//
// # TLS
//
// TLS 1.2 and 1.3, AEAD suites with ephemeral keys only, no session tickets, no
// renegotiation. A client certificate is asked for and proved, but not chained:
// who it is, is looked up by fingerprint. A client whose ALPN list has nothing
// in common with the interface's protocol is served without ALPN. The server
// certificate is looked up for each handshake, so that it can be exchanged at
// run time; open connections go on.
//
// # Not promised
//
// crypto/ecdsa and crypto/rsa keep private keys as numbers on Go's heap, and
// PEM encodings pass through it; see package secmem for what that means.
package identity

// Package oidc fetches the signing keys of a token issuer, as OpenID Connect Discovery 1.0
// (section 4) has them published: the issuer's metadata names a JWK set (RFC 7517).
//
// The issuer is named by governance, but what answers at its address is not trusted until
// its certificate chains to the bundle that governance gave, and not trusted with the
// node's resources even then: nothing is followed anywhere (no redirects, no proxies of
// the environment), only https is spoken, and size and time are bounded.
package oidc

// Package virtual is the platform without hardware, for development and tests.
// Its evidence proves nothing: anyone can write it. It exists so that a service
// can run, and its join policy can be exercised, on any machine.
//
// # Bytes
//
// The quote is compact JSON with sorted keys:
//
//	{"host_data":"<64 hex digits>","measurement":"Insecure hard-coded virtual measurement v1","report_data":"<base64 of 32 bytes>"}
//
// host_data is the SHA-256 of the running binary, so that another build is
// refused until governance trusts it. The measurement is that literal on every
// node; code_digest in nodes.info is the hex of its text. There are no
// endorsements.
package virtual

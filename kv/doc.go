// Package kv holds the live state of the service: named tables of byte keys and
// byte values, in memory, with transactions over them. It knows nothing of
// ledger, consensus or HTTP; what it gives to them, and takes from them, is a
// [chancery/kv/writeset.WriteSet] and a position.
package kv

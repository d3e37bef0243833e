// Package backup keeps copies of a service's ledger elsewhere, and brings them back.
//
// # What is in a backup
//
// A [Store] is a directory, or a prefix in an object store that speaks S3:
//
//	ledger/ledger_1-20.committed …        committed chunks, each once
//	snapshots/snapshot_19_20.committed …  the newest snapshot of each backup
//	manifests/TIME_TXID.json              one for each backup: what belongs to it
//	progress.json                         what a backup that was interrupted has so far
//	drill.json                            the outcome of the last drill
//	.staging/                             of a directory: what is on its way
//
// Everything is as it lies in the ledger directory: what was encrypted there is encrypted
// here, and keys and Raft's log are not part of it. The files of a backup are whole from
// the first transaction on; a later one adds the chunks that were closed since, and
// names the earlier ones again.
//
// # What is checked
//
// [Create] audits each chunk as ledger.Verify does before it gets its name: a backup that
// there is was verified when it was made. It goes on from the checkpoint in the newest
// manifest; whoever may write the store could change both, so [Verify] and [Restore]
// believe neither, and audit from the first transaction on.
//
// # Manifest
//
// The JSON of a [Manifest], which has one spelling ([ParseManifest]). Its root is that of
// the RFC 6962 tree over its files in their order, whose leaves are the SHA-256 of
//
//	u64‖name, u64 size, and the file's own SHA-256
//
// with integers in little-endian order.
package backup

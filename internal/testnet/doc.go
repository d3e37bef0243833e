// Package testnet runs a whole service of replicas in one process, from a seed: disks in
// memory that lose what was not synced when a node crashes, and a network that cuts links
// one way or both, loses requests and answers, and holds them up. No program links it.
//
// [Run] is one short run: writers write wherever somebody leads, links break and heal, the
// primary's role is handed over, logs are compacted, nodes crash and are replaced by fresh
// ones. While it lasts and at its end these must hold:
//
//	a view has one primary
//	no position is given out twice
//	what a node called Committed or Invalid stays so, at every node
//	a transaction is Committed exactly where its write is in the final state
//	all nodes end with the same state, and the same bytes in their ledger files
//
// In a bubble of testing/synctest a run of ten seconds takes a fraction of one: time goes on
// whenever everybody waits. It is virtual in that sense only. hashicorp/raft takes neither a
// clock nor a source of randomness, and goroutines run as they are scheduled: a seed gives
// the same faults and not the same run. Raft's own file is bolt's and lies on a real disk,
// unsynced; a node that crashed never comes back with it.
package testnet

// Package kv holds the live state of the service: named tables of byte keys and
// byte values, in memory, with transactions over them. It knows nothing of
// ledger, consensus or HTTP. What it takes from them and gives to them is a
// write set and a position ([chancery/kv/writeset]).
//
// # States
//
// A [State] is the contents of all tables at one position. States are immutable
// and share what they have in common, so keeping one is free and reading one
// takes no lock. Keys are in bytewise order. Each key carries its version: the
// seqno of the transaction that last wrote it. A table exists exactly as long
// as it has a key.
//
// A [Store] is a line of states:
//
//	committed ──────► … ──────► head
//	cannot be lost              every transaction starts here
//
// Commit (on a primary) and Apply (on a replica) add a state at the next seqno
// and make it the head; a [Bulk] (in a replay) adds one for many transactions.
// Compact moves the committed end forward and lets go of what is behind it;
// Rollback moves the head back to any state that is left. Both take time in the
// number of states that they drop, and not in their size.
//
// # Transactions
//
// A [Tx] reads one state, the head as it was at Begin, and sees its own writes
// over it. It records what it reads:
//
//   - a key, by Get and Has, present or absent, unless the transaction has
//     itself written it before; and by VersionOfPreviousWrite in any case;
//   - a range of keys, by Range as far as the walk went, and by Clear the whole
//     table. The absent keys of the range count as read;
//   - the number of keys, by Len, and with it the presence of the keys that the
//     transaction writes to that table.
//
// Put and Delete read nothing. Delete stands in the write set whether or not the
// key is there. The last write to a key wins, so there is one per key: a Put
// after a Delete is a write, a Delete after a Put a remove. Clear is a Delete of
// each key that the transaction sees at that moment.
//
// # Conflicts
//
// Commit compares what was recorded with the head at that moment. If the head is
// still the state that was read, or each recorded read would give the same
// again, the writes become the next state, in the same step. So the outcome is
// that of running the committed transactions one after the other, in the order
// of their seqnos, each on the whole state that the one before it left. Two
// rules say what "the same" is:
//
//   - A key is the same if it was not written in between, in which writing the
//     value that it has counts as writing it, since its version differs. An
//     absent key is the same if it is absent.
//   - A state that was rolled back is not part of the history, even when the
//     seqnos come to be used again, even when the new states have the same
//     contents. A transaction begun on one conflicts in any case.
//
// A transaction that writes nothing is already consistent, at the position that
// it reads, and never conflicts.
//
// # Sharing
//
// A Tx and a Builder belong to one goroutine at a time; everything else may be
// used by many. Bytes given to Put, Delete and Apply are copied. Bytes that come
// out, of a state, a transaction or a write set, are shared with all readers and
// must not be changed.
//
// The package reads no clock and no randomness: equal calls make equal states.
package kv

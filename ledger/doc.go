// Package ledger is the service's one source of truth: transactions sealed into
// entries, entries in chunk files, signatures over a Merkle tree of all of them,
// receipts, and the audit of the whole. The bytes are those of CCF 7.0. The package
// knows write sets (kv/writeset), but no store, no Raft and no network.
//
// Integers are little-endian unless said otherwise; ‖ is concatenation; S is SHA-256.
//
// # Entry
//
//	0     u8       version = 1
//	1     u8       flags: 1 closes the chunk behind, 2 the one before this entry
//	2     u48      size of what follows this 8-byte header
//	8     [16]     AES-256-GCM tag
//	24    u64      IV: seqno
//	32    u32      IV: view (below 2^31; the top bit marks a snapshot)
//	36    u64      length P of the public domain
//	44    [P]      public domain, in the clear: the additional data of the GCM
//	44+P  …        private domain, encrypted; may be empty
//
// The public domain is
//
//	u8     entry type
//	u64    version = seqno
//	[32]   claims digest            types 2 and 4
//	[32]   commit evidence digest   types 3 and 4
//	u64    max_conflict_version, 0 but in ledgers of CCF 1.x
//	…      the public maps (kv/writeset's records)
//
// and the private domain, decrypted, the records of the private maps. Entries of type
// 4 only are written; types 0, 2 and 3 are read. Type 1 is a snapshot's, and refused.
//
// The key is the ledger secret in force at the seqno ([Secrets]). The commit evidence
// of transaction v.s ([CommitEvidence]) is
//
//	commit secret = HMAC-SHA256(ledger secret, "Commit S")
//	evidence      = "ce:v.s:" ‖ hex(HMAC-SHA256(commit secret, "v.s"))
//
// # Leaf
//
// A transaction's leaf in the tree (package ledger/merkle) is, over its entry e,
//
//	S(S(e) ‖ S(evidence) ‖ claims digest)
//
// for type 4; without the digests that the other types lack; and for type 0 S(e)
// itself.
//
// Example, transaction 2.1 of CCF's test service acme_containing_service, of 66093
// bytes that begin 0100250201000000 929c0533f9342ec3842396fb3808026e
// 0100000000000000 02000000 0102010000000000:
//
//	S(e)          c92a7604947971031ecaae9afc7904884db17aad7edc16ecf1bb9fdd3cc74f2a
//	evidence      ce:2.1:e1bd4749b26646b8bbb2ca077f03334f388d7f22973dd34b81a0643ba9d2159e
//	claims digest 15519b9ce1ca5a0774a86e718482a60ffb0d90332167d452b0c38927d313f3d7
//	leaf          d415a3ffec857eeab735b2b811acf0dfd86b2f7555a1f58ea2e8d5d03eb6eb38
//
// # Signature transaction
//
// A signature transaction at seqno s writes three maps, each under the key of 8 zero
// bytes, and nothing else ([Signer], [ParseSignature]):
//
//	public:ccf.internal.signatures       JSON: the root over leaves 0 … s-1, and the
//	                                     node's ECDSA over it, prehashed, as DER
//	public:ccf.internal.cose_signatures  JSON string: base64 of a COSE_Sign1 by the
//	                                     service, the root as its detached payload
//	public:ccf.internal.tree             the part of the tree to go on from
//
// In the modes of COSE only the first is not written. Everything before a valid
// signature is authentic; entries behind the last one prove nothing.
//
// # Receipts
//
// A receipt leads from a transaction's leaf to the root of the first signature behind
// it: the leaf's three parts, the siblings on the way up, and the signature. It is
// checked with the service's certificate alone ([Receipt.Verify], [COSEReceipt.Verify]):
// no clock, no network, no node. One sentinel for each link says which is broken.
//
// The JSON form has the node's signature. Members stand in bytewise order, without
// space; leaf_components and a path for a transaction, or "leaf" alone: with an empty
// path the root that a signature transaction signs, else the entry digest of CCF 1.x:
//
//	{"cert": PEM, "leaf_components": {"claims_digest": hex, "commit_evidence": "ce:…",
//	 "write_set_digest": hex}, "node_id": hex, "proof": [{"left": hex} | {"right": hex} …],
//	 "service_endorsements": [PEM …], "signature": base64 DER}
//
// "service_endorsements" leads from the identity that issued cert to the present one; a
// service that was never recovered leaves it out.
//
// The COSE form is the service's COSE signature, its protected header and signature
// untouched, with the proofs as its unprotected header and the payload, the root, left
// out:
//
//	18([ protected, {396: {-1: [ bstr proof … ]}}, nil, signature ])
//	proof = {1: [bstr S(e), tstr evidence, bstr claims], 2: [[bool left, bstr hash] …]}
//
// Each form has one spelling ([ParseReceipt], [ParseCOSEReceipt]), so that no byte of a
// receipt can be replaced and the receipt still pass.
//
// # Identity endorsements
//
// A recovered service has a new key, which states what the key before it signed:
//
//	18([ {1: alg, 15: {6: iat}, "ccf.v1": {"epoch.end.txid": "v.s",
//	     "epoch.start.txid": "v.s", "epoch.end.merkle.root": bstr}}, {}, SPKI, signature ])
//
// The first service endorses itself, without an end. Epochs follow one another: what
// ends at v.s is followed by what begins at (v+2).(s+1). [EndorsementsFor] picks those
// that lead from the present key back to a transaction, [EndorsedKey] walks them.
//
// # Chunk file
//
//	0      u64      offset of the positions table; 0 while the chunk is open
//	8      …        entries, back to back, by ascending seqno
//	table  u32×n    file offset of each entry, to the end of the file
//
// A chunk of entries a to b is named ledger_a while it is written and
// ledger_a-b.committed afterwards. Chunks follow one another without gap or overlap
// and end in a signature. Where one ends is the primary's decision, recorded in the
// flags, so that all nodes hold the same files. The suffixes .recovery and .ignored
// mark files that do not count.
//
// # Snapshot file
//
// A snapshot holds all maps as of the signature transaction at seqno S, and is named
// snapshot_S_E while its evidence, transaction E, is not committed, and
// snapshot_S_E.committed afterwards. The body has an entry's layout, with the type 1, a
// view of zero and the snapshot bit in the IV, and this public domain:
//
//	u8     type = 1
//	u64    version = S
//	u64    max_conflict_version = 0
//	u64‖[32]   leaf of entry S
//	u64‖u64×n  first seqno of each view from 1 on
//	…      the public maps, by name:
//	       u64‖name, u64 version, u64 length of what follows, and for each key
//	       u64‖key, zeros to a multiple of 8, u64 (8 + length of the value)‖u64 version‖
//	       value, zeros to a multiple of 8
//
// The private domain holds the private maps, encrypted with the secret in force at S.
// Behind the body stands, to the end of the file, the receipt of transaction E, COSE or
// (until CCF 6) JSON. E carries the SHA-256 of the body as its claims digest and in
// public:ccf.internal.snapshot_evidence ([ParseSnapshot], [Snapshot.VerifyReceipt]).
//
// # Writing, and what survives
//
// [Dir.AppendSigned] gets whole signed spans, each of which is one write. It does not
// sync: until [Dir.Sync], Raft's log holds the entries, and Raft's log is compacted
// only behind a Sync. Closing a chunk takes these steps:
//
//	write   the span and the positions table, at the end of the file
//	fsync   the file
//	write   the header, which so far is zero
//	fsync   the file
//	rename  ledger_a → ledger_a-b.committed
//	fsync   the directory
//
// so that a header that is not zero, and the name .committed, are always true. After a
// crash the open chunk may end in part of a span, in pages of zeros, or in part of a
// table. [OpenDir] takes the entries through the last whole signed span, cuts nothing,
// and describes the rest ([Tail]); the spans that come from Raft's log overwrite it.
// Damage before that point is reported as a [CorruptError] and never cut.
//
// A node that begins with a snapshot has a directory that begins behind it
// ([Dir.BeginBehind], [Dir.First]). Earlier chunks may be taken in later, the last one first
// ([Dir.Prepend]): each leads, with the tree that its first signature recorded
// ([Beginning]), to the one that the caller trusts.
//
// # Reading
//
// The host can change a file under a running node. [ParseEntry], [Dir.Read] and
// [Dir.Entries] check form and place, allocate no more than the file has bytes, and
// authenticate nothing: the caller compares [Entry.Leaf] with a tree that it trusts, or
// decrypts. Chunks are read in blocks, the next of which are parsed and hashed on other
// cores ([Dir.EntriesOpened]: and decrypted) while one is used; memory is that of a few
// blocks. [Verify] is the auditor's reader: it takes nothing for granted but, if
// given, the service's certificate.
package ledger

// Package node is one node's life: start, resume, serve, stop. It is the
// composition root: it builds the parts, joins them, and owns every goroutine that
// lives longer than a request.
//
// # Life
//
//	Start   a new service: fresh keys, an empty ledger, the genesis transaction 2.1
//	Join    a running service: the node asks (package server, POST /node/join) until
//	        members trust it, is given the secrets, and takes part; it begins with a
//	        snapshot where it has one, or the service wants it to
//	Recover the service's next life, from its ledger and, where there is one, a snapshot
//	Resume  (virtual platform only) the same node again over its own files, with the
//	        keys of an insecure key file, leading in a new view
//
// A node whose retirement is committed
// goes on answering for a few election timeouts and then stops by itself.
//
// The order of start is CCF's, since scripts wait for the files: the ledger
// directory is checked and locked, sockets are bound, the address files written,
// then the self-signed node certificate, then the service certificate once the
// genesis transaction is committed.
//
// # Keys
//
// Node key, service key and ledger secrets are made here and stay in process
// memory. The one exception is the key file of `chancery.key_file`, which the
// virtual platform may write for Resume and which says of itself that it is
// insecure. On the virtual platform the host sees everything anyway.
//
// # Goroutines
//
//	name         started by  ends when                    owns
//	replica      Run         after the servers have ended  sequencing, Raft (see package raftfsm)
//	serve        Run         ctx                           one per RPC interface: its listener and sessions
//	fetcher      Run         ctx                           the primary's snapshots, on a backup (snapshots.backup_fetch)
//	backfiller   Run         ctx                           ledger chunks from before the snapshot that the node began with
//	files        Run         ctx                           what other nodes ask of this one's ledger files
//	cleaner      Run         ctx                           old files (files_cleanup)
//	pending      Run         ctx                           nodes that ceased to ask (pending_node_timeout), on the primary
//	index        Run         ctx                           the indexing strategies of a compiled-in application
//	metrics      Run         ctx                           the Prometheus listener of chancery.metrics
//	reconcile    Run         ctx                           certificates in force, frontends' openness, key file
//	membership   Run         ctx                           the consensus configuration, on the primary
//	orphan       Run         ctx                           asks the others when the primary is lost
//	forward      Run         ctx                           what other nodes forward to this one
//	peers        openReplica Run's end                     node-to-node connections
//	refresher    Run         ctx                           the fetching of token issuers' keys, on the primary
//	begin        Run         when 2.1 is committed, or     the create transaction of a new service,
//	                         the node has joined           or the asking to join
//
// Run returns the first error of any of them; a clean stop returns nil.
package node

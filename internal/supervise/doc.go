// Package supervise runs node processes from outside the TEE: `chancery up` is a
// thin command over it.
//
// # Workspace
//
//	chancery.json                 {"version": 1, "url": "https://127.0.0.1:8000"}
//	sandbox_common/               service_cert.pem, and of member0 and user0 the
//	                              certificates and keys, named as CCF's sandbox names them
//	control                       while it runs, the socket at which Workspace.Ask asks
//	                              for changes; its owner may do what member0 may
//	sandbox_0/, sandbox_1/, …     the nodes' working directories: config.json, out,
//	                              ledger, Raft's files, the insecure key file; a node
//	                              that replaces another has the next number
//
// # Steps
//
// Run makes what is missing and nothing twice: keys, the node process, the member's
// activation, the user, the application, the opening of the service. A process that
// was killed between two of them is taken up by the next Run. The node is started
// with command Start until its service certificate exists, which it writes once the
// genesis transaction is committed, and with Resume from then on.
//
// # Several nodes
//
// A node that ends is retired by governance, with member0's key, and a fresh one takes
// its place: a process that lost its memory has lost its vote. When all have stopped,
// the one whose log is longest by Raft's rule is resumed as the only voter, in a view
// later than any that the others took part in; these are retired, and fresh nodes join.
// [Workspace.Ask] has a running service add a node, remove one, or replace one.
package supervise

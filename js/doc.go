// Package js runs JavaScript over the maps of a transaction: the endpoints of an
// application, the functions of a constitution, ballots. The engine is goja; ES modules
// are linked by esbuild, in process, once for each version of an application.
//
// # Contexts
//
// What a script may do to a map depends on the map's name and on the context, Access:
//
//	name                          ballot, validate,  apply   endpoint   endpoint
//	                              resolve                    readonly   readwrite
//	public:ccf.internal.…         read               read    read       read
//	public:ccf.gov.…              read               all     read       read
//	public:…                      none               write   read       all
//	ccf.internal.…, ccf.gov.…     none               none    none       none
//	public:chancery.internal.…    read               read    read       read
//	chancery.internal.…           none               none    none       none
//	any other private name        none               none    read       all
//	public:ccf.…, ccf.…           the execution ends with an error
//
// The global ccf has, in every context: kv, the converters (strToBuf, bufToStr,
// jsonCompatibleToBuf, bufToJsonCompatible, pemToId, tcbHexToPolicy), the switches
// enableMetricsLogging and enableUntrustedDateTime, crypto, gov. Endpoints have rpc,
// consensus and historical besides, those of mode historical historicalState, and what
// else governance has is put there by its caller (Env.Extend). console and
// snp_attestation are globals too. Names, classes and texts of errors are CCF's.
// docs/js.md lists every function with its test.
//
// # Modules
//
// A name that does not begin with a dot stands for itself; leading "./" and "../" are
// taken off the importer's folder; the table's key is the result with a leading slash
// (QuickJS's rule). Each endpoint's module is linked with what it imports into one
// strict script that returns the exports by name. What goja lacks is rewritten (async
// generators, for await); source maps keep the positions of traces those of the modules
// as they were deployed. A module of governance imports nothing.
//
// # Isolation
//
// A request finds the variables of modules as they were written down: modules are
// evaluated anew for each, or are constant (they bind functions, classes and literals,
// and assign to none of them), and then evaluated once, with what they made frozen. The
// interpreter below them is made anew too (governance, and applications that change
// built-ins), or is a hardened one, which serves one request after another: there every
// built-in object is frozen, the global object and ccf are made for each call, and
// nothing that a request does to them is seen by the next. An application that turns out
// to change something frozen, by the error that it gets, is run again in an interpreter
// of its own, from then on at once. An endpoint that asks for interpreter_reuse gets an
// interpreter, modules and globals included, that is kept by its key.
//
// # Limits
//
// Time is bounded by goja's interrupt, which is seen between JavaScript instructions.
// The depth of calls is bounded by their number. Memory is bounded by a watchdog, which
// finds the call that holds too much in the heap profile of the process (see
// watchdog.go); it looks every 5 ms, so a script may exceed its limit by what it
// allocates in that time and in one native operation.
//
// Built-ins that would run, recurse or allocate without end inside native code, where
// nothing can stop them, are replaced by wrappers that check first (guard*.go): JSON,
// eval and the function constructors (their texts are scanned for nesting, as every
// module is), RegExp (patterns bounded, a match ends after a second), repeat, padding,
// split, replace, array functions over long arrays or objects that claim to be long,
// ArrayBuffer and typed arrays, proxies of proxies, bound functions of bound functions,
// argument lists, iterators. Operators that make a BigInt of any size with one step are
// compiled with a check (guard_bigint.go).
//
// What does not hold: arithmetic on BigInts of millions of digits runs to its end, the
// comparison of a BigInt with a text of as many among it, and so does any native operation on data that fits the heap limit, such as sorting it or
// turning it into JSON; both delay a stop, neither ends the process.
//
// # Concurrency
//
// Module, App, Apps and Endpoint may be used by many goroutines. The one goroutine of
// the package is the watchdog's: it starts with a call when none is running, and ends
// at its next tick without one.
package js

// Package sgx is the platform Intel SGX, for programs that are built and run with EGo
// (ego-go build -tags ego). In any other program every call says that it is not there:
// nothing falls back to something that only looks like an enclave.
//
// Outside of an enclave EGo's own sealing succeeds with a key of zeros. So an Enclave
// exists only where the processor answered for this very program, which was not started for
// debugging, and a key of zeros is refused once more when it is used.
//
// The measurement of a program is MRENCLAVE, EGo's unique id. SGX binds no host data to a
// program, and policies are not asked about it.
//
// No node has run in an enclave yet: what stands here is compiled against EGo, and tested
// outside of an enclave, where it must refuse, and over a runtime that the tests make up.
package sgx

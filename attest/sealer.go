package attest

// Sealer gives the keys by which a platform seals what only the same code on the same
// machine is to open again.
type Sealer interface {
	// Algorithm names how a key comes about; it is recorded beside what is sealed.
	Algorithm() string
	// SealingKey returns the 32 bytes of the key that is bound to the code's measurement,
	// to the host data and to a TCB version in hex, which is not newer than the machine's.
	// Other code, other host data and another machine get another key.
	SealingKey(tcb string) ([]byte, error)
}

// The algorithms of keys: CCF's of SEV-SNP, one of SGX, and one of the virtual platform,
// which protects nothing.
const (
	SealedSNP     = "SNP_TCB_v1"
	SealedSGX     = "SGX_Unique_v1"
	SealedVirtual = "Insecure_Virtual_v1"
)

package api

// Endorsements are the statements, newest first, by which a service's present identity
// vouches for an earlier one: each a COSE_Sign1 as the ledger holds it.
type Endorsements struct {
	Endorsements [][]byte `json:"endorsements"`
}

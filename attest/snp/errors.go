package snp

import (
	"fmt"

	"chancery/attest"
)

// Why a report is refused. Each is an attest.ErrNotGenuine too.
var (
	ErrSize         = refusal("the report has the wrong size")
	ErrVersion      = refusal("the report's version is too old")
	ErrProcessor    = refusal("the processor is not known")
	ErrEndorsements = refusal("the endorsements are not three certificates")
	ErrRoot         = refusal("the root is not AMD's for this processor")
	ErrChain        = refusal("the chain from AMD's root to the chip's key is broken")
	ErrValidity     = refusal("a certificate is not valid at this time")
	ErrRevoked      = refusal("a certificate is revoked")
	ErrNoList       = refusal("there is no list of AMD's revocations for this processor's line")
	ErrSignature    = refusal("the chip's key did not sign the report")
	ErrSigningKey   = refusal("the report is not signed with the chip's own key")
	ErrMaskedKey    = refusal("the platform hides its chip's key")
	ErrVMPL         = refusal("the report was made by the host")
	ErrDebug        = refusal("the guest may be debugged by its host")
	ErrMigration    = refusal("the guest may be migrated")
	ErrEndorsedTCB  = refusal("the chip's key is of another TCB version than the report")
	ErrChip         = refusal("the chip's key is of another chip than the report")
)

func refusal(text string) error { return fmt.Errorf("%w: SEV-SNP: %s", attest.ErrNotGenuine, text) }

package gov

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"chancery/gov/tables"
	"chancery/kv"
)

// maxCreatedAt is the largest created_at, in seconds, whose decimal text has the ten
// digits by which the keys of recent proposals sort: November 2286.
const maxCreatedAt = 9_999_999_999

// recordRecent enters a proposal into the window of recent ones. It refuses a signature
// that is in there, and a time before that of the window's median key. The window keeps
// the newest keys, by time, up to its configured size.
func recordRecent(tx *kv.Tx, s Signed, proposalID string) error {
	createdAt := *s.Envelope.Header.CreatedAt
	if createdAt > maxCreatedAt {
		return refuse(Invalid, CodeInvalidCreatedAt, "Header parameter created_at value is too large")
	}
	digest := sha256.Sum256(s.Envelope.Signature)
	at := fmt.Sprintf("%010d", createdAt)
	key := at + ":" + hex.EncodeToString(digest[:])

	existing, ok, err := tables.COSERecentProposals.Get(tx, key)
	if err != nil {
		return err
	}
	if ok {
		return refuse(Invalid, CodeProposalReplay, "Proposal submission replay, already exists as proposal %s", existing)
	}
	keys := tables.COSERecentProposals.Keys(tx)
	if len(keys) > 0 {
		oldest, _, _ := strings.Cut(keys[len(keys)/2], ":")
		if at < oldest {
			return refuse(Invalid, CodeProposalCreatedTooLongAgo,
				"Proposal created too long ago, created_at must be greater than %s", oldest)
		}
	}
	cfg, _, err := tables.ServiceConfig.Get(tx)
	if err != nil {
		return err
	}
	if err := tables.COSERecentProposals.Put(tx, key, proposalID); err != nil {
		return err
	}
	keep := int(tables.Or(cfg.RecentProposalsWindow, tables.DefaultRecentProposals)) - 1
	for i := 0; i < len(keys)-keep; i++ {
		tables.COSERecentProposals.Delete(tx, keys[i])
	}
	return nil
}

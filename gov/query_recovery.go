package gov

import "chancery/gov/tables"

// RecoveryView is how far the members' part of a recovery has come.
type RecoveryView struct {
	ServiceStatus tables.ServiceStatus `json:"serviceStatus"`
	// LastTransactionID is the last transaction of the earlier life, "view.seqno"; ""
	// where the node does not recover anything.
	LastTransactionID string `json:"lastTransactionId,omitempty"`
	RecoveryThreshold uint64 `json:"recoveryThreshold"`
	// SubmittedBy are the ids of the members whose shares are in.
	SubmittedBy []string `json:"submittedBy"`
}

// RecoveryStatus returns how far the members' part of a recovery has come, without
// LastTransactionID, which the tables don't say.
func RecoveryStatus(r tables.Reader) (*RecoveryView, error) {
	s, err := service(r)
	if err != nil {
		return nil, err
	}
	cfg, err := config(r)
	if err != nil {
		return nil, err
	}
	v := &RecoveryView{ServiceStatus: s.Status, RecoveryThreshold: cfg.RecoveryThreshold, SubmittedBy: []string{}}
	shares, err := tables.SubmittedShares.All(r)
	if err != nil {
		return nil, err
	}
	for _, share := range shares {
		v.SubmittedBy = append(v.SubmittedBy, share.Key)
	}
	return v, nil
}

package server

import (
	"sync/atomic"

	"chancery/gov/tables"
)

// openness remembers that a frontend is open; once open, it stays so.
type openness struct{ is atomic.Bool }

// check asks look as long as the frontend is not open.
func (o *openness) check(look func() bool) bool {
	if o.is.Load() {
		return true
	}
	if look() {
		o.is.Store(true)
		return true
	}
	return false
}

// appOpen says whether the service is Open in the committed state, and this node has all
// of it: after a disaster a backup may still be reading what is private.
func (s *Server) appOpen() bool {
	if s.node.Info().RecoveryTarget != nil {
		return false
	}
	info, ok, err := tables.ServiceInfo.Get(tables.View(s.node.Committed()))
	return err == nil && ok && info.Status == tables.ServiceOpen
}

// govOpen says whether the service has endorsed this node, in the committed state.
func (s *Server) govOpen() bool {
	return tables.NodesEndorsedCertificates.Has(tables.View(s.node.Committed()), s.node.Info().ID)
}

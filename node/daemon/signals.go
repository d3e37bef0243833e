package daemon

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// signals turns the operating system's signals into a context and a notice. One
// goroutine reads them until close.
type signals struct {
	ctx    context.Context // done when the node must stop
	notice chan struct{}   // closed at the first SIGTERM under ignore_first_sigterm

	stop   context.CancelFunc
	caught chan os.Signal
	wait   sync.WaitGroup
}

// catchSignals starts listening. ignoreFirst makes the first SIGTERM a notice only.
func catchSignals(log *slog.Logger, ignoreFirst bool) *signals {
	s := &signals{notice: make(chan struct{}), caught: make(chan os.Signal, 4)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(s.caught, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	s.wait.Go(func() {
		for caught := range s.caught {
			if caught == syscall.SIGTERM && ignoreFirst {
				ignoreFirst = false
				log.Info(signalText(caught) + ": the end of the node is announced, and it runs on")
				close(s.notice)
				continue
			}
			log.Info(signalText(caught) + ": the node stops")
			s.stop()
		}
	})
	return s
}

// close stops listening and waits for the goroutine.
func (s *signals) close() {
	signal.Stop(s.caught)
	close(s.caught)
	s.wait.Wait()
	s.stop()
}

// signalText names a signal as CCF 7.0 does, by the system's text for it, behind the name
// that later releases give.
func signalText(s os.Signal) string {
	switch s {
	case syscall.SIGHUP:
		return "SIGHUP: Hangup"
	case syscall.SIGTERM:
		return "SIGTERM: Terminated"
	}
	return "SIGINT: Interrupt"
}

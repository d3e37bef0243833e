package node

import (
	"context"
	"time"
)

// every takes a step at each interval until ctx ends, which is nil, or a step fails.
func every(ctx context.Context, interval time.Duration, step func() error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := step(); err != nil {
			return err
		}
	}
}

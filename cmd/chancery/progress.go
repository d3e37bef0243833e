package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// showAfter is how long something may take before a progress bar appears.
const showAfter = 2 * time.Second

// progress draws a bar on a terminal for something that takes long, and nothing
// elsewhere. Its methods are safe for concurrent use.
type progress struct {
	label string
	now   func() time.Time
	begun time.Time

	mu    sync.Mutex
	w     io.Writer // nil: not a terminal
	drawn time.Time
}

// newProgress begins now; w gets the bar if it is a terminal.
func newProgress(w io.Writer, label string) *progress {
	p := &progress{label: label, now: time.Now, begun: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = w
	}
	return p
}

// at says how far it has come. A total of 0 or less is not known yet.
func (p *progress) at(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.w == nil || now.Sub(p.begun) < showAfter || now.Sub(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = now
	fmt.Fprintf(p.w, "\r\x1b[K%s", bar(p.label, done, total, now.Sub(p.begun)))
}

// end removes the bar.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && !p.drawn.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.w = nil
}

// bar is one line: "verifying [#####.....]  50 %  12s, about 12s left".
func bar(label string, done, total int64, passed time.Duration) string {
	const width = 30
	if total <= 0 {
		return fmt.Sprintf("%s %s", label, passed.Round(time.Second))
	}
	done = min(max(done, 0), total)
	full := int(width * done / total)
	line := fmt.Sprintf("%s [%s%s] %3d %%  %s", label, strings.Repeat("#", full), strings.Repeat(".", width-full), 100*done/total, passed.Round(time.Second))
	if done > 0 && done < total {
		left := time.Duration(float64(passed) * float64(total-done) / float64(done))
		line += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	return line
}

// tick redraws the bar of something whose length is not known, until the returned
// function is called.
func (p *progress) tick(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				p.at(0, 0)
			}
		}
	})
	return func() {
		cancel()
		wait.Wait()
		p.end()
	}
}

package main

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// chunks keeps what is written to it, and says how often something was.
type chunks struct {
	mu    sync.Mutex
	text  strings.Builder
	count int
	wrote chan struct{} // gets one value for each write, as long as there is room
}

func (c *chunks) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	select {
	case c.wrote <- struct{}{}:
	default:
	}
	return c.text.Write(p)
}

func (c *chunks) lines() (text string, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String(), c.count
}

func TestGatherer_WritesALineByItself(t *testing.T) {
	out := &chunks{wrote: make(chan struct{}, 1)}
	log, _ := gatheredLog(out, slog.LevelInfo, false)
	log.Info("call")
	<-out.wrote
	if text, _ := out.lines(); !strings.HasSuffix(text, "msg=call\n") {
		t.Errorf("written: %q", text)
	}
}

func TestGatherer_LosesNoLineAndKeepsTheirOrder(t *testing.T) {
	out := &chunks{}
	log, flush := gatheredLog(out, slog.LevelInfo, false)
	const (
		callers = 8
		each    = 500
	)
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			own := log.With("caller", caller)
			for i := range each {
				own.Info("call", "n", i)
			}
		})
	}
	group.Wait()
	if err := flush(); err != nil {
		t.Fatal(err)
	}
	text, count := out.lines()
	if lines := strings.Count(text, "\n"); lines != callers*each || count >= lines {
		t.Errorf("%d lines in %d writes, want %d in fewer", lines, count, callers*each)
	}
	for caller := range callers {
		rest := text
		for i := range each {
			_, after, found := strings.Cut(rest, fmt.Sprintf("caller=%d n=%d\n", caller, i))
			if !found {
				t.Fatalf("caller %d: line %d is missing, or not after the one before", caller, i)
			}
			rest = after
		}
	}
}

func TestGatherer_WritesAWarningAtOnceWithWhatCameBefore(t *testing.T) {
	out := &chunks{}
	log, _ := gatheredLog(out, slog.LevelInfo, false)
	log.Info("call")
	log.WithGroup("outbox").Warn("a destination does not answer", "name", "x")
	text, _ := out.lines()
	before, warning, _ := strings.Cut(text, "\n")
	if !strings.Contains(before, "msg=call") || !strings.Contains(warning, "outbox.name=x") {
		t.Errorf("written: %q", text)
	}
}

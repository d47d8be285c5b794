package server_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"tutela/server"
)

func TestWaits_TheNewestWins(t *testing.T) {
	w := server.NewWaits(10)
	first, leaveFirst, _ := w.Enter(t.Context(), "a", 1)
	other, _, _ := w.Enter(t.Context(), "b", 1)
	second, leaveSecond, ok := w.Enter(t.Context(), "a", 1)
	if !ok || !errors.Is(context.Cause(first), server.ErrNewerWait) || !server.Cut(first) {
		t.Errorf("the older wait goes on: ok %v, cause %v", ok, context.Cause(first))
	}
	if second.Err() != nil || other.Err() != nil {
		t.Error("a wait was ended that should not")
	}
	leaveFirst()
	if w.Len() != 2 || second.Err() != nil {
		t.Errorf("the older's leaving took the newer along: %d waits, %v", w.Len(), second.Err())
	}
	leaveSecond()
	leaveSecond()
	if w.Len() != 1 || server.Cut(second) {
		t.Errorf("%d waits", w.Len())
	}
}

func TestWaits_AKeyMayHoldSeveral(t *testing.T) {
	w := server.NewWaits(10)
	var waits []context.Context
	for range 4 {
		wait, _, ok := w.Enter(t.Context(), "a", 2)
		if !ok {
			t.Fatal("refused")
		}
		waits = append(waits, wait)
	}
	for i, wait := range waits {
		if ended := wait.Err() != nil; ended != (i < 2) {
			t.Errorf("wait %d ended: %v", i, ended)
		}
	}
	if w.Len() != 2 {
		t.Errorf("%d waits", w.Len())
	}
}

func TestWaits_PastTheCapTheAnswerComesAtOnce(t *testing.T) {
	w := server.NewWaits(2)
	_, leave, _ := w.Enter(t.Context(), "a", 1)
	_, _, _ = w.Enter(t.Context(), "b", 1)
	if wait, noLeave, ok := w.Enter(t.Context(), "c", 1); ok || wait != t.Context() {
		t.Error("a third was let in")
	} else {
		noLeave()
	}
	if _, _, ok := w.Enter(t.Context(), "b", 1); !ok {
		t.Error("the newest of a key was refused, though it takes the older's place")
	}
	leave()
	if _, _, ok := w.Enter(t.Context(), "a", 1); !ok {
		t.Error("refused when there is room again")
	}
}

func TestWaits_CloseEndsAllAndLetsNoneBegin(t *testing.T) {
	w := server.NewWaits(10)
	wait, leave, _ := w.Enter(t.Context(), "a", 1)
	w.Close()
	if !errors.Is(context.Cause(wait), server.ErrShutdown) || !server.Cut(wait) {
		t.Errorf("cause %v", context.Cause(wait))
	}
	if _, _, ok := w.Enter(t.Context(), "a", 1); ok {
		t.Error("let in after Close")
	}
	leave()
	if w.Len() != 0 {
		t.Errorf("%d waits", w.Len())
	}
}

func TestWaits_EndWithTheirCaller(t *testing.T) {
	w := server.NewWaits(10)
	ctx, cancel := context.WithCancel(t.Context())
	wait, leave, _ := w.Enter(ctx, "a", 1)
	defer leave()
	cancel()
	<-wait.Done()
	if server.Cut(wait) {
		t.Error("counts as cut")
	}
}

func TestWaits_ManyComeAndGo(t *testing.T) {
	w := server.NewWaits(8)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := range 500 {
				_, leave, _ := w.Enter(t.Context(), string(rune('a'+i%5)), 1+i%3)
				if n := w.Len(); n > 8 {
					t.Errorf("%d waits", n)
				}
				leave()
			}
		})
	}
	all.Wait()
	if w.Len() != 0 {
		t.Errorf("%d waits are left", w.Len())
	}
}

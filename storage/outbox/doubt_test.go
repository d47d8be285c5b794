package outbox_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tutela/storage"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/check"
)

// doubts is a service that refuses the entries whose payload begins with "bad", as a push service refuses the tokens of a
// broken app. who stands behind an entry is in its payload.
type doubts struct{ attempts }

func (s *doubts) do(_ context.Context, e entry) (outbox.Then, error) {
	s.note(e)
	if e.Payload[:3] == "bad" {
		return nil, outbox.Doubtful(e.Payload, "BadDeviceToken", errRefused)
	}
	return nil, nil
}

// addAndWait adds an entry, and waits for its first attempt.
func (h *house) addAndWait(payload string) {
	h.t.Helper()
	h.addTo("APNS", storage.NewUID(), payload)
	synctest.Wait()
}

func (h *house) expectBreaker(what string, want outbox.BreakerState) {
	h.t.Helper()
	state := outbox.Closed
	for _, p := range h.status().Providers {
		if p.Name == "APNS" {
			state = p.State
		}
	}
	if state != want {
		h.t.Errorf("%s: the breaker is %s, want %s", what, state, want)
	}
}

func TestDoubtful_OneAloneKeepsNobodyWaitingHoweverOftenHeFails(t *testing.T) {
	check.WithoutRace(t)
	inBubble(t, func(t *testing.T, h *house) {
		var s doubts
		h.send(s.do)
		for range 100 {
			h.addAndWait("bad app of mallory")
		}
		pass(10 * time.Minute)
		h.expectBreaker("after a hundred failures of one", outbox.Closed)
		before := s.count()
		h.addAndWait("good")
		if s.count() != before+1 {
			t.Error("another's entry waits")
		}
	})
}

func TestDoubtful_SeveralInARowOpenTheBreaker(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s doubts
		h.send(s.do)
		for round := range 3 {
			for i := range 4 {
				h.addAndWait(fmt.Sprintf("bad %d of %d", i, round))
			}
			h.expectBreaker("four", outbox.Closed)
			h.addAndWait("good")
		}
		for i := range 5 {
			h.addAndWait(fmt.Sprintf("bad %d", i))
		}
		h.expectBreaker("five in a row", outbox.Open)
	})
}

// Entries of the few who have opened the breaker probe it, and say no more than was known: another's entry gets its turn as
// soon as the breaker has cooled once.
func TestDoubtful_ProbesOfWhoIsDoubtedAlreadyKeepNobodyWaitingLonger(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s doubts
		h.send(s.do)
		for i := range 5 {
			h.addAndWait(fmt.Sprintf("bad %d", i))
		}
		h.expectBreaker("five in a row", outbox.Open)
		before := s.count()
		h.addAndWait("good")
		if s.count() != before {
			t.Fatal("the breaker lets an entry through")
		}
		pass(2 * time.Second)
		synctest.Wait()
		if all, _ := s.list(); !slices.Contains(all, "good") {
			t.Error("a good entry waits")
		}
	})
}

func TestDoubtful_AnAnswerClosesABreakerThatOpenedForWantOfOne(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		s.fail(outbox.Unreachable(errRefused))
		h.send(s.do)
		h.addMany("APNS", 5)
		synctest.Wait()
		h.expectBreaker("unreachable", outbox.Open)
		s.fail(outbox.Doubtful("mallory", "BadDeviceToken", errRefused))
		pass(2 * time.Second)
		synctest.Wait()
		h.expectBreaker("answered", outbox.Closed)
	})
}

func TestBreaker_IsOneForAllKindsThatGoThroughAProvider(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		var did attempts
		s.fail(outbox.Unreachable(errRefused))
		h.sendAll(work.Handler(s.do), bill.Handler(did.succeed))
		h.addMany("FCM", 5)
		synctest.Wait()
		h.update(func(tx *storage.Tx) error {
			return bill.AddTo(tx, storage.NewUID(), "FCM", "x", tx.Now().Add(time.Hour))
		})
		synctest.Wait()
		if did.count() != 0 {
			t.Error("another kind goes to a provider that does not answer")
		}
		s.mend()
		pass(time.Minute)
		synctest.Wait()
		if did.count() != 1 {
			t.Errorf("when the provider answers again, the other kind was tried %d times", did.count())
		}
		if status := h.status(); len(status.Destinations)+len(status.Providers) != 0 {
			t.Errorf("recalled when all is well: %+v", status)
		}
	})
}

func TestDoubtful_AnAnswerFromBeforeEndsNoHoldThatTheDestinationHasAskedForSince(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		answer := make(chan struct{})
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			if e.Payload == "busy" {
				return nil, outbox.Unreachable(storage.NewError(storage.Unavailable, "busy").After(time.Minute))
			}
			<-answer
			return nil, outbox.Doubtful("mallory", "BadDeviceToken", errRefused)
		})
		h.addAndWait("slow")
		h.addAndWait("busy")
		h.expectBreaker("asked to be left alone", outbox.Open)
		close(answer)
		synctest.Wait()
		h.expectBreaker("after the answer to a message of before", outbox.Open)
	})
}

package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tutela/storage"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/check"
)

// service is a destination that works, or fails in some way.
type service struct {
	attempts
	fails atomic.Pointer[error]
}

func (s *service) fail(err error) { s.fails.Store(&err) }

func (s *service) mend() { s.fails.Store(nil) }

func (s *service) do(_ context.Context, e entry) (outbox.Then, error) {
	s.note(e)
	if err := s.fails.Load(); err != nil {
		return nil, *err
	}
	return nil, nil
}

var errRefused = errors.New("connection refused")

// only is the one destination that the sender recalls.
func (h *house) only() outbox.DestinationStatus {
	h.t.Helper()
	status := h.status()
	if len(status.Destinations) != 1 {
		h.t.Fatalf("the sender recalls %+v", status.Destinations)
	}
	return status.Destinations[0]
}

func TestBreaker_OpensAfterFailuresOfTheDestinationInARow(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		s.fail(outbox.Unreachable(errRefused))
		h.send(s.do)
		for i := 1; i <= 5; i++ {
			if i == 5 {
				break
			}
			h.addTo("FCM", storage.NewUID(), "x")
			if d := h.only(); d.State != outbox.Closed || d.Failures != i {
				t.Fatalf("after %d failures: %+v", i, d)
			}
		}
		h.addTo("FCM", storage.NewUID(), "x")
		d := h.only()
		if d.Name != "work/FCM" || d.State != outbox.Open || d.Failures != 5 || !strings.Contains(d.Reason, "refused") {
			t.Errorf("after 5 failures: %+v", d)
		}
		before := s.count()
		h.addMany("FCM", 100)
		synctest.Wait()
		if n := s.count() - before; n != 0 {
			t.Errorf("%d attempts went to a destination whose breaker is open", n)
		}
	})
}

func TestBreaker_ASuccessInBetweenStartsTheCountAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		h.send(s.do)
		for range 5 {
			s.fail(outbox.Unreachable(errRefused))
			for range 4 {
				h.addTo("FCM", storage.NewUID(), "x")
				synctest.Wait()
			}
			s.mend()
			h.addTo("FCM", storage.NewUID(), "x")
			synctest.Wait()
		}
		if n := h.log.count("its entries wait"); n != 0 {
			t.Error("the breaker opened")
		}
	})
}

func TestBreaker_ATimeoutIsAFailureOfTheDestination(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.send(func(ctx context.Context, _ entry) (outbox.Then, error) { return nil, hang(ctx) })
		h.addMany("FCM", 5)
		pass(outbox.AttemptTime)
		if d := h.only(); d.State != outbox.Open {
			t.Errorf("after 5 timeouts: %+v", d)
		}
	})
}

func TestBreaker_ErrorsOfEntriesAndPanicsDoNotOpenIt(t *testing.T) {
	check.WithoutRace(t)
	for name, fail := range map[string]handler{
		"error": func(context.Context, entry) (outbox.Then, error) { return nil, errRefused },
		"panic": func(context.Context, entry) (outbox.Then, error) { panic("boom") },
		"gone":  func(context.Context, entry) (outbox.Then, error) { return nil, outbox.ErrGone },
		"then": func(context.Context, entry) (outbox.Then, error) {
			return func(*storage.Tx) error { return errRefused }, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				h.send(fail)
				h.addMany("FCM", 50)
				pass(time.Minute)
				if status := h.status(); len(status.Destinations) > 1 || h.log.count("its entries wait") > 0 {
					t.Errorf("%+v", status)
				}
			})
		})
	}
}

func TestBreaker_ProbesWithOneAttemptAtATimeAndClosesWhenItSucceeds(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		s.fail(outbox.Unreachable(errRefused))
		h.send(s.do)
		h.addMany("FCM", 300)
		synctest.Wait()
		first := s.count()
		if first > 32+5 { // its share, and one more for each that failed before
			t.Errorf("%d attempts before it opened", first)
		}
		pass(10 * time.Minute)
		synctest.Wait()
		// It cools for 2 s at first and for 30 s in the end, of which a half may be taken off.
		_, at := s.list()
		for i := first + 1; i < len(at); i++ {
			if wait := at[i].Sub(at[i-1]); wait < time.Second || wait > 31*time.Second {
				t.Errorf("a probe came %s after the one before", wait)
			}
		}
		if probes := len(at) - first; probes < 15 || probes > 60 {
			t.Errorf("%d probes in ten minutes", probes)
		}
		if n := h.log.count("does not answer; its entries wait"); n != 1 {
			t.Errorf("the log says %d times that it has opened", n)
		}
		if d := h.only(); d.State == outbox.Closed || d.Since.After(at[first]) {
			t.Errorf("%+v", d)
		}

		s.mend()
		pass(time.Minute)
		h.expectLeft(nothing)
		if n := h.log.count("answers again"); n != 1 {
			t.Errorf("the log says %d times that it has closed", n)
		}
		if status := h.status(); len(status.Destinations) != 0 {
			t.Errorf("it is recalled: %+v", status)
		}
	})
}

func TestBreaker_WhatAnOpenOneKeepsBackHasNoAttemptCounted(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		s.fail(outbox.Unreachable(errRefused))
		var tries failures
		h.send(func(ctx context.Context, e entry) (outbox.Then, error) {
			if failed := tries.of(e.ID); e.Attempts != failed {
				t.Errorf("%s has %d attempts, and was tried %d times", e.Payload, e.Attempts, failed)
			}
			return s.do(ctx, e)
		})
		h.addMany("FCM", 5)
		synctest.Wait()
		h.addTo("FCM", storage.NewUID(), "kept back")
		pass(time.Minute)
		s.mend()
		pass(2 * time.Minute)
		h.expectLeft(nothing)
	})
}

// failures counts the tries of each entry.
type failures struct {
	mu   sync.Mutex
	byID map[string]int
}

// of counts a try, and returns how many there were before it.
func (f *failures) of(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byID == nil {
		f.byID = map[string]int{}
	}
	f.byID[id]++
	return f.byID[id] - 1
}

// A probe may meet an entry that is over, which says nothing of the destination: the next entry probes.
func TestBreaker_AnEntryThatIsOverIsNoProbe(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		s.fail(outbox.Unreachable(errRefused))
		h.send(func(ctx context.Context, e entry) (outbox.Then, error) {
			if e.Payload == "over" {
				return nil, outbox.ErrGone
			}
			return s.do(ctx, e)
		})
		h.addMany("FCM", 5)
		synctest.Wait()
		h.addTo("FCM", storage.NewUID(), "over", "over", "over")
		pass(time.Minute)
		s.mend()
		pass(time.Minute)
		h.expectLeft(nothing)
	})
}

func TestRetryAfter_OfAnEntryIsObeyed(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		s.fail(storage.NewError(storage.Limited, "too many for this phone").After(7 * time.Minute))
		h.send(s.do)
		h.addTo("FCM", storage.NewUID(), "x")
		synctest.Wait()
		s.mend()
		h.addTo("FCM", storage.NewUID(), "another goes at once")
		expect(t, &s.attempts, "x another goes at once")
		pass(7*time.Minute - 1)
		expect(t, &s.attempts, "x another goes at once")
		pass(2 * time.Second)
		expect(t, &s.attempts, "x another goes at once x")
		h.expectLeft(nothing)
	})
}

func TestRetryAfter_OfADestinationHoldsAllItsEntries(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		s.fail(outbox.Unreachable(storage.NewError(storage.Limited, "429").After(7 * time.Minute)))
		h.send(s.do)
		h.addTo("FCM", storage.NewUID(), "x")
		synctest.Wait()
		s.mend()
		h.addTo("FCM", storage.NewUID(), "held")
		h.addTo("APNS", storage.NewUID(), "free")
		pass(7*time.Minute - 1)
		expect(t, &s.attempts, "x free")
		pass(2 * time.Second)
		synctest.Wait()
		if n := s.count(); n != 4 {
			t.Errorf("done: %s", &s.attempts)
		}
		h.expectLeft(nothing)
	})
}

func TestRetryAfter_BeyondAnHourIsNotObeyed(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		s.fail(outbox.Unreachable(storage.NewError(storage.Limited, "429").After(1000 * time.Hour)))
		h.send(s.do)
		h.addTo("FCM", storage.NewUID(), "x")
		synctest.Wait()
		s.mend()
		pass(59 * time.Minute)
		h.addTo("FCM", storage.NewUID(), "next")
		pass(2 * time.Minute)
		expect(t, &s.attempts, "x next")
	})
}

// Entries whose time comes while their destination does not answer are removed, also those behind others.
func TestSender_DropsWhatExpiresWhileADestinationDoesNotAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		s.fail(outbox.Unreachable(errRefused))
		h.send(s.do)
		h.addMany("FCM", 100) // for an hour
		for i := range 300 {
			h.update(func(tx *storage.Tx) error {
				return work.AddTo(tx, storage.UID{byte(i), 2}, "FCM", "short", tx.Now().Add(2*time.Minute))
			})
		}
		h.expectLeft("400 payloads, 400 pointers")
		pass(4 * time.Minute)
		h.expectLeft("100 payloads, 100 pointers")
		pass(time.Hour)
		h.expectLeft(nothing)
	})
}

func TestStatus_RecallsABoundedNumberOfDestinations(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		s.fail(outbox.Unreachable(errRefused))
		h.send(s.do)
		const hosts = 1500
		must(t, h.store.UpdateEach(context.Background(), hosts, func(tx *storage.Tx, i int) error {
			return work.AddTo(tx, storage.UID{byte(i), 1}, fmt.Sprint("host", i), "x", tx.Now().Add(time.Hour))
		}))
		synctest.Wait()
		if n := s.count(); n != hosts {
			t.Errorf("%d attempts", n)
		}
		if n := len(h.status().Destinations); n > 1024 {
			t.Errorf("%d destinations are recalled", n)
		}
	})
}

func TestTrouble_NamesTheProviderAndItsWordAndNothingOfAnEntry(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		h.send(s.do)
		h.addTo("FCM", storage.NewUID(), "x")
		synctest.Wait()
		if err := h.sender.Trouble(t.Context()); err != nil {
			t.Errorf("all is well: %v", err)
		}
		s.fail(outbox.UnreachableSaying("UNAVAILABLE", errors.New("secret: connection refused")))
		h.addMany("FCM", 5)
		synctest.Wait()
		since := storage.FormatInstant(h.store.Now())
		err := h.sender.Trouble(t.Context())
		if !errors.Is(err, outbox.ErrTrouble) || err.Error() != "FCM takes nothing: open since "+since+", UNAVAILABLE" {
			t.Errorf("one is in trouble: %v", err)
		}
		for i := range 20 {
			h.addMany(fmt.Sprintf("host%02d", i), 5)
		}
		synctest.Wait()
		err = h.sender.Trouble(t.Context())
		if text := err.Error(); strings.Count(text, "takes nothing") != 8 || !strings.HasSuffix(text, "others that do not answer: 13") {
			t.Errorf("many are in trouble: %v", err)
		}
	})
}

// Whoever guesses a host could compare its hash.
func TestTrouble_CountsHostsThatPersonsChoseAndNamesNone(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		h.send(s.do)
		s.fail(outbox.UnreachableSaying("503", errors.New("connection refused")))
		for _, host := range []string{"WEBPUSH/0a0b", "WEBPUSH/0c0d"} {
			h.addMany(host, 5)
		}
		synctest.Wait()
		err := h.sender.Trouble(t.Context())
		if !errors.Is(err, outbox.ErrTrouble) || err.Error() != "hosts of WEBPUSH that take nothing: 2" {
			t.Errorf("two hosts are in trouble: %v", err)
		}
	})
}

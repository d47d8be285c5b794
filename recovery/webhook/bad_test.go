package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tutela/recovery/webhook"
	"tutela/storage/audit"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// TestBadReceiver_ hold what comes of a receiver that takes nothing: what it was told is tried again under the same id, and
// what is listed says the status and nothing of the answer.
func TestBadReceiver_IsToldAgainUnderTheSameID(t *testing.T) {
	elsewhere := newReceiver(t)
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		status int
		why    audit.Word
	}{
		"500": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "a secret of an inner program")
		}, 500, ""},
		"refused": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }, 400, ""},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, 307, ""},
		"reset": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			}
		}, 0, audit.WhyUnreachable},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "+OK a secret banner\r\n")
				_ = conn.Close()
			}
		}, 0, audit.WhyUnreachable},
		"a header without end": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for err == nil {
				_, err = fmt.Fprintf(conn, "X-More: %s\r\n", strings.Repeat("x", 1000))
			}
			_ = conn.Close()
		}, 0, audit.WhyUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, ground.Options{})
			r := newReceiver(t)
			r.answers(c.answer)
			w, _ := h.add(r.URL, audit.AuthSucceed)
			id := h.happens(audit.Event{Type: audit.AuthSucceed, UID: h.user("maria")})
			h.send()
			list := h.deliveries(w.ID, webhook.Waiting)
			if len(list) != 1 || list[0].Answer != c.status || list[0].Why != c.why || list[0].Event != id {
				t.Errorf("it waits as %+v", list)
			}
			if h.hook(w.ID).Failing.IsZero() {
				t.Error("the webhook does not fail")
			}
			if h.Holds("secret banner") || h.Holds("a secret of") {
				t.Error("an answer is kept")
			}
			r.status(http.StatusOK)
			h.Clock.Advance(time.Hour)
			h.send()
			all := r.all()
			if len(all) < 2 || all[0].id() != all[len(all)-1].id() || string(all[0].body) != string(all[len(all)-1].body) {
				t.Errorf("told %d times", len(all))
			}
			if list := h.deliveries(w.ID, ""); len(list) != 1 || list[0].Status != webhook.Delivered || list[0].Attempts != 2 {
				t.Errorf("delivered as %+v", list)
			}
			if got := h.hook(w.ID); !got.Failing.IsZero() || got.LastSuccess.IsZero() {
				t.Errorf("the webhook is %+v", got)
			}
		})
	}
	if n := len(elsewhere.all()); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

func TestBadReceiver_ThatAsksToBeLeftAloneIs(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	r.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	h.add(r.URL, audit.AuthSucceed)
	sender := h.sender()
	h.happens(audit.Event{Type: audit.AuthSucceed})
	check.Must(t, sender.Drain(t.Context()))
	h.happens(audit.Event{Type: audit.AuthSucceed})
	h.Clock.Advance(9 * time.Minute)
	check.Must(t, sender.Drain(t.Context()))
	if n := len(r.all()); n != 1 {
		t.Errorf("told %d times within the time that it asked for", n)
	}
	r.status(http.StatusOK)
	h.Clock.Advance(3 * time.Minute)
	check.Must(t, sender.Drain(t.Context())) // one, to probe
	check.Must(t, sender.Drain(t.Context()))
	if n := len(r.all()); n != 3 {
		t.Errorf("told %d times in all", n)
	}
}

// A receiver that never answers, or never ends its answer, has an attempt's time and its own line, no more: the other
// webhook is told meanwhile.
func TestBadReceiver_ThatHangsHoldsUpItsOwnLineOnly(t *testing.T) {
	h := newHouse(t, ground.Options{})
	slow := newReceiver(t)
	done := make(chan struct{})
	var held atomic.Int32
	slow.answers(func(_ http.ResponseWriter, r *http.Request) {
		held.Add(1)
		select {
		case <-r.Context().Done():
		case <-done:
		}
	})
	well := newReceiver(t)
	told := make(chan struct{}, 100)
	well.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		told <- struct{}{}
	})
	h.add(slow.URL, audit.AuthSucceed)
	h.add(well.URL, audit.AuthSucceed)
	const events = 40 // more than one destination has attempts
	for range events {
		h.happens(audit.Event{Type: audit.AuthSucceed})
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	sender := h.sender()
	running.Go(func() { sender.Run(ctx) })
	for range events {
		<-told
	}
	if held.Load() == 0 {
		t.Error("nothing hangs")
	}
	close(done)
	stop()
	running.Wait()
}

func TestBadReceiver_WhoseAnswerHasNoEndHasTakenTheMessage(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	var sent atomic.Int64
	r.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(1<<30))
		block := make([]byte, 1<<20)
		for range 1 << 10 {
			n, err := w.Write(block)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	w, _ := h.add(r.URL, audit.AuthSucceed)
	h.happens(audit.Event{Type: audit.AuthSucceed})
	h.send()
	if list := h.deliveries(w.ID, webhook.Delivered); len(list) != 1 {
		t.Errorf("delivered %+v", list)
	}
	r.Close() // which waits for the answer
	if sent.Load() > 64<<20 {
		t.Errorf("%d bytes of the answer were taken", sent.Load())
	}
}

func TestBadReceiver_ThatIsGoneIsDisabled(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	r.status(http.StatusGone)
	w, _ := h.add(r.URL, audit.AuthSucceed)
	h.happens(audit.Event{Type: audit.AuthSucceed})
	h.send()
	got := h.hook(w.ID)
	if got.Enabled || got.Parked.IsZero() || got.Why != audit.WhyGone {
		t.Errorf("the webhook is %+v", got)
	}
	if list := h.deliveries(w.ID, webhook.Failed); len(list) != 1 || list[0].Answer != http.StatusGone {
		t.Errorf("delivered %+v", list)
	}
	h.happens(audit.Event{Type: audit.AuthSucceed})
	h.send()
	if n := len(r.all()); n != 1 {
		t.Errorf("told %d times", n)
	}
	if n := len(h.Rows("event_follower")); n != 0 {
		t.Errorf("nobody is told of anything, and %d rows say that somebody is", n)
	}
}

func TestBadReceiver_IsParkedAfterThreeDays(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	other := newReceiver(t)
	r.status(http.StatusInternalServerError)
	w, _ := h.add(r.URL, audit.AuthSucceed)
	h.add(other.URL, audit.WebhookParked)
	for range 4 {
		h.happens(audit.Event{Type: audit.AuthSucceed})
		h.send()
		h.Clock.Advance(24 * time.Hour)
	}
	h.send()
	got := h.hook(w.ID)
	if got.Parked.IsZero() || got.Why != audit.WhyUnreachable || !got.Enabled {
		t.Fatalf("the webhook is %+v", got)
	}
	if m := other.only(); m.Type != "td_webhook_parked" {
		t.Errorf("told %s", m.body)
	}
	before := len(r.all())
	h.Clock.Advance(time.Hour)
	h.happens(audit.Event{Type: audit.AuthSucceed})
	h.send()
	if n := len(r.all()); n != before {
		t.Errorf("told %d times more", n-before)
	}
	if n := len(h.Rows("outbox_house")); n != 0 {
		t.Errorf("%d entries wait for a webhook that is parked", n)
	}

	r.status(http.StatusOK)
	yes := true
	_, _, err := h.hooks.Change(t.Context(), operator, w.ID, webhook.Change{Enabled: &yes})
	check.Must(t, err)
	h.happens(audit.Event{Type: audit.AuthSucceed})
	h.send()
	if n := len(r.all()); n != before+1 {
		t.Errorf("enabled again, it was told %d times", n-before)
	}
}

func TestBacklog_ParksTheWebhookForWhichTooMuchWaits(t *testing.T) {
	h := newHouse(t, ground.Options{})
	w, _ := h.add("https://nowhere.invalid/", audit.AuthSucceed)
	for range 4 {
		h.happens(audit.Event{Type: audit.AuthSucceed})
	}
	check.Must(t, h.hooks.ParkBacklogs(t.Context(), 4))
	if got := h.hook(w.ID); !got.Parked.IsZero() {
		t.Errorf("as many as may wait: %+v", got)
	}
	check.Must(t, h.hooks.ParkBacklogs(t.Context(), 3))
	if got := h.hook(w.ID); got.Why != audit.WhyBacklog {
		t.Errorf("more than may wait: %+v", got)
	}
	h.send()
	if n := len(h.Rows("outbox_house")); n != 0 {
		t.Errorf("%d entries wait", n)
	}
}

func TestWebhook_IsNotCalledInside(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	h.hooks.Allow([]netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")})
	w, _ := h.add(r.URL, audit.AuthSucceed)
	h.happens(audit.Event{Type: audit.AuthSucceed})
	h.send()
	trial, err := h.hooks.Test(t.Context(), operator, w.ID)
	check.Must(t, err)
	if list := h.deliveries(w.ID, webhook.Waiting); len(list) != 1 || list[0].Why != audit.WhyForbidden {
		t.Errorf("delivered %+v", list)
	}
	if trial.Delivered || trial.Why != audit.WhyForbidden || !strings.Contains(trial.Said, "--webhook-allow 127.0.0.1/32") {
		t.Errorf("tried: %+v", trial)
	}
	if n := len(r.all()); n != 0 {
		t.Errorf("called %d times", n)
	}
}

func TestTest_SendsAMessageNowAndSaysTheStatus(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	w, secret := h.add(r.URL, audit.AuthSucceed)
	trial, err := h.hooks.Test(t.Context(), operator, w.ID)
	if err != nil || !trial.Delivered || trial.Answer != http.StatusNoContent {
		t.Errorf("tried: %+v, %v", trial, err)
	}
	if m := r.only(); m.Type != webhook.TypeTest || !m.verified(t, secret) {
		t.Errorf("told %s", m.body)
	}
	r.status(http.StatusTeapot)
	if trial, err = h.hooks.Test(t.Context(), operator, w.ID); err != nil || trial.Delivered || trial.Answer != http.StatusTeapot {
		t.Errorf("tried: %+v, %v", trial, err)
	}
	if _, err = h.hooks.Test(t.Context(), operator, "whk_none"); !errors.Is(err, webhook.ErrNone) {
		t.Errorf("none: %v", err)
	}
}

func TestRetry_TellsAgainUnderTheSameID(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	w, _ := h.add(r.URL, audit.AuthSucceed)
	h.happens(audit.Event{Type: audit.AuthSucceed, UID: h.user("maria")})
	h.send()
	did := h.deliveries(w.ID, "")[0].ID
	check.Must(t, h.hooks.Retry(t.Context(), operator, w.ID, did))
	h.send()
	if all := r.all(); len(all) != 2 || all[0].id() != all[1].id() || string(all[0].body) != string(all[1].body) {
		t.Errorf("told %d times", len(all))
	}
	if err := h.hooks.Retry(t.Context(), operator, w.ID, "dlv_none"); !errors.Is(err, webhook.ErrNoDelivery) {
		t.Errorf("no such delivery: %v", err)
	}
	no := false
	_, _, err := h.hooks.Change(t.Context(), operator, w.ID, webhook.Change{Enabled: &no})
	check.Must(t, err)
	if err := h.hooks.Retry(t.Context(), operator, w.ID, did); !errors.Is(err, webhook.ErrInvalid) {
		t.Errorf("a webhook that is disabled: %v", err)
	}
}

func TestDeliveries_AreBoundedAndWhatFailedIsNotDisplacedByWhatDidNot(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	w, _ := h.add(r.URL, audit.AuthSucceed, audit.Reset)
	r.status(http.StatusBadRequest)
	h.happens(audit.Event{Type: audit.Reset})
	h.send()
	r.status(http.StatusOK)
	for range 300 {
		h.happens(audit.Event{Type: audit.AuthSucceed})
	}
	h.send()
	if n := len(h.deliveries(w.ID, webhook.Delivered)); n != 128 {
		t.Errorf("%d deliveries are listed", n)
	}
	// What is past the bound goes with a later delivery, one in some dozens.
	for most := len(h.Rows("webhook_delivery")); len(h.Rows("webhook_delivery")) >= most; most = max(most, len(h.Rows("webhook_delivery"))) {
		if most > 10_000 {
			t.Fatalf("%d rows are kept", most)
		}
		for range 50 {
			h.happens(audit.Event{Type: audit.AuthSucceed})
		}
		h.send()
	}
	if list := h.deliveries(w.ID, webhook.Waiting); len(list) != 1 || list[0].Type != audit.Reset {
		t.Errorf("of those that failed: %+v", list)
	}
	check.Must(t, h.hooks.Remove(t.Context(), operator, w.ID))
	for _, table := range []string{"webhook", "webhook_secret", "webhook_delivery", "event_follower"} {
		if n := len(h.Rows(table)); n != 0 {
			t.Errorf("%d rows of %s are left", n, table)
		}
	}
}

// Two senders over one store tell each event once.
func TestWebhook_OfTwoHousesIsToldOnce(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	h.add(r.URL, audit.AuthSucceed)
	const events = 200
	var seen sync.WaitGroup
	seen.Add(events)
	var messages atomic.Int32
	r.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		if messages.Add(1) <= events {
			seen.Done()
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var senders []*outbox.Sender
	for range 2 {
		s, err := outbox.NewSender(h.Store, outbox.Options{Handlers: []outbox.Handler{h.hooks.Handler()}, Shared: true})
		check.Must(t, err)
		senders = append(senders, s)
		running.Go(func() { s.Run(ctx) })
	}
	for range events {
		h.happens(audit.Event{Type: audit.AuthSucceed})
	}
	seen.Wait()
	for _, s := range senders {
		check.Must(t, s.Drain(t.Context()))
	}
	stop()
	running.Wait()
	ids := map[string]int{}
	for _, m := range r.all() {
		ids[m.id()]++
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("%s was told %d times", id, n)
		}
	}
	if len(ids) != events {
		t.Errorf("told of %d events", len(ids))
	}
}

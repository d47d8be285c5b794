package signal_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"tutela/recovery/signal"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

func TestPush_PostsASETWithTheHeaderThatTheReceiverWants(t *testing.T) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) {
		h := newHouse(t, o)
		r := newReceiver(t)
		header := "Bearer for-the-receiver"
		s := h.add(bank, signal.Delivery{Method: signal.Push, URL: r.URL, Authorization: &header}, signal.MFAReset)
		if h.Holds(header) {
			t.Error("the header lies open")
		}
		h.happens(audit.Reset, h.user("maria"), nil)
		h.send()
		list := r.all()
		if len(list) != 1 || list[0].header.Get("Content-Type") != "application/secevent+jwt" || list[0].header.Get("Authorization") != header || list[0].Subject["sub"] != "maria" {
			t.Fatalf("pushed %v", list)
		}
		if got := h.stream(s.ID); !got.LastSuccess.Equal(ground.Start) || !got.Failing.IsZero() {
			t.Errorf("the stream is %+v", got)
		}
	})
}

// The header of a push goes where the receiver has said that it goes, and nowhere else.
func TestChange_OfTheURLForgetsTheHeader(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	header := "Bearer for-the-receiver"
	maria := h.user("maria")
	for name, c := range map[string]struct {
		change signal.Change
		kept   bool
	}{
		"a description":              {signal.Change{Description: new(string)}, true},
		"the same url":               {signal.Change{Delivery: &signal.Delivery{Method: signal.Push, URL: r.URL}}, true},
		"another url":                {signal.Change{Delivery: &signal.Delivery{Method: signal.Push, URL: r.URL + "/x"}}, false},
		"another url and the header": {signal.Change{Delivery: &signal.Delivery{Method: signal.Push, URL: r.URL + "/x", Authorization: &header}}, true},
		"an empty header":            {signal.Change{Delivery: &signal.Delivery{Method: signal.Push, URL: r.URL, Authorization: new(string)}}, false},
		"the whole without it":       {signal.Change{Whole: true, Delivery: &signal.Delivery{Method: signal.Push, URL: r.URL}}, false},
	} {
		s := h.add(bank, signal.Delivery{Method: signal.Push, URL: r.URL, Authorization: &header}, signal.MFAReset)
		_, err := h.signals.Change(t.Context(), bank, s.ID, c.change)
		check.Must(t, err)
		before := len(r.all())
		h.happens(audit.Reset, maria, nil)
		h.send()
		list := r.all()[before:]
		if len(list) == 0 || (list[0].header.Get("Authorization") == header) != c.kept {
			t.Errorf("%s: %d pushed, the header is there: %t", name, len(list), !c.kept)
		}
		check.Must(t, h.signals.Remove(t.Context(), bank, s.ID))
	}
}

// What fails is pushed again with the same jti, and what is said of it is the status alone.
func TestPush_IsTriedAgainUnderTheSameJTI(t *testing.T) {
	for _, status := range []int{400, 401, 410, 429, 500, 503, 307} {
		h := newHouse(t, ground.Options{})
		r := newReceiver(t)
		s := h.push(r.URL, signal.MFAReset)
		r.answers(status)
		h.happens(audit.Reset, h.user("maria"), nil)
		h.send()
		if h.stream(s.ID).Failing.IsZero() {
			t.Errorf("%d: the stream does not fail", status)
		}
		r.answers(http.StatusAccepted)
		h.Clock.Advance(time.Hour)
		h.send()
		all := r.all()
		if len(all) < 2 || all[0].ID != all[len(all)-1].ID {
			t.Errorf("%d: pushed %d times", status, len(all))
		}
		if got := h.stream(s.ID); !got.Failing.IsZero() || got.LastSuccess.IsZero() {
			t.Errorf("%d: the stream is %+v", status, got)
		}
		h.Clock.Advance(time.Hour)
		h.send()
		if len(r.all()) != len(all) {
			t.Errorf("%d: what was taken is pushed again", status)
		}
	}
}

func TestPush_IsNotMadeInside(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	closed := signal.New(h.Store, signal.Options{
		Issuer:   issuer,
		Sign:     h.signals.Sign,
		Ready:    h.signals.Ready,
		Receives: h.signals.Receives,
	})
	defer closed.Close()
	h.push(r.URL, signal.MFAReset)
	h.happens(audit.Reset, h.user("maria"), nil)
	check.Must(t, h.sender(closed).Drain(t.Context()))
	if n := len(r.all()); n != 0 {
		t.Errorf("pushed %d times to this machine", n)
	}
}

func TestPush_ToAReceiverThatTakesNothingForThreeDaysDisablesTheStreamAndSaysSo(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	r.answers(http.StatusServiceUnavailable)
	s := h.push(r.URL, signal.MFAReset)
	maria := h.user("maria")
	h.happens(audit.Reset, maria, nil)
	h.send()
	h.Clock.Advance(3 * 24 * time.Hour)
	h.send()
	if got := h.stream(s.ID); got.Status != signal.Disabled || got.Reason == "" {
		t.Fatalf("the stream is %+v", got)
	}
	before := len(r.all())
	r.answers(http.StatusAccepted)
	h.Clock.Advance(time.Hour)
	h.send()
	list := r.all()[before:]
	if len(list) != 1 || list[0].Events[signal.StreamUpdated]["status"] != "disabled" || list[0].Events[signal.StreamUpdated]["reason"] == "" || list[0].Subject["id"] != s.ID {
		t.Errorf("told %v", list)
	}
	found, _, err := audit.List(t.Context(), h.Store, audit.Query{Types: []audit.Type{audit.StreamDisabled}}, false)
	if err != nil || len(found) != 1 || found[0].Facts[audit.FactWhy] != audit.WhyUnreachable {
		t.Errorf("recorded %v, %v", found, err)
	}
}

func TestDelivery_ThatIsChangedTakesWhatWaitsWithIt(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	s := h.push(r.URL, signal.MFAReset)
	maria := h.user("maria")
	h.happens(audit.Reset, maria, nil)
	_, err := h.signals.Change(t.Context(), bank, s.ID, signal.Change{Delivery: &signal.Delivery{Method: signal.Poll}})
	check.Must(t, err)
	h.send()
	if list := h.polled(s); len(list) != 1 || len(r.all()) != 0 {
		t.Fatalf("polled %v, pushed %d", list, len(r.all()))
	}
	_, err = h.signals.Change(t.Context(), bank, s.ID, signal.Change{Delivery: &signal.Delivery{Method: signal.Push, URL: r.URL}})
	check.Must(t, err)
	h.send()
	if list := h.polled(s); len(list) != 0 || len(r.all()) != 1 {
		t.Errorf("polled %v, pushed %d", list, len(r.all()))
	}
}

func TestTidy_DisablesAStreamForWhichTooMuchWaits(t *testing.T) {
	for _, method := range []signal.Method{signal.Poll, signal.Push} {
		t.Run(string(method), func(t *testing.T) {
			h := newHouse(t, ground.Options{})
			s := h.add(bank, signal.Delivery{Method: method, URL: "https://receiver.example/"}, signal.MFAReset)
			maria := h.user("maria")
			for range 3 {
				h.happens(audit.Reset, maria, nil)
			}
			h.tidy(3)
			if got := h.stream(s.ID); got.Status != signal.Enabled {
				t.Fatalf("with as much as may wait: %+v", got)
			}
			h.tidy(2)
			if got := h.stream(s.ID); got.Status != signal.Disabled {
				t.Fatalf("with more: %+v", got)
			}
			h.tidy(2)
			if method == signal.Push {
				return
			}
			list := h.polled(s)
			if len(list) != 1 || list[0].Events[signal.StreamUpdated]["status"] != "disabled" {
				t.Errorf("told %v", list)
			}
			if h.Holds(`"type":"` + signal.MFAReset) {
				t.Error("what waited is kept")
			}
		})
	}
}

func TestTidy_DisablesAStreamThatNobodyPolls(t *testing.T) {
	h := newHouse(t, ground.Options{})
	s := h.poll(signal.MFAReset)
	idle := h.poll(signal.CredentialChange)
	paused := h.poll(signal.MFAReset)
	h.status(paused, signal.Paused)
	maria := h.user("maria")
	h.happens(audit.Reset, maria, nil)
	h.Clock.Advance(signal.Life - time.Second)
	h.tidy(100)
	if got := h.stream(s.ID); got.Status != signal.Enabled {
		t.Errorf("within a week: %+v", got)
	}
	h.Clock.Advance(2 * time.Second)
	h.tidy(100)
	for id, want := range map[string]signal.Status{s.ID: signal.Disabled, idle.ID: signal.Enabled, paused.ID: signal.Paused} {
		if got := h.stream(id); got.Status != want {
			t.Errorf("after a week %+v, not %s", got, want)
		}
	}
	h.status(paused, signal.Enabled)
	if list := h.polled(paused); len(list) != 0 {
		t.Errorf("what was held for more than a week is told: %v", list)
	}
}

func TestTidy_RemovesTheStreamsOfAClientThatIsNoMore(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	poll := h.poll(signal.MFAReset)
	push := h.push(r.URL, signal.MFAReset)
	h.happens(audit.Reset, h.user("maria"), nil)
	h.leaves("bank")
	h.send()
	if n := len(r.all()); n != 0 {
		t.Errorf("a client that is no more was pushed to %d times", n)
	}
	h.tidy(100)
	for _, s := range []signal.Stream{poll, push} {
		if _, err := h.signals.Stream(t.Context(), bank, s.ID); !errors.Is(err, signal.ErrNone) {
			t.Errorf("%s: %v", s.ID, err)
		}
	}
	h.tidy(100)
	if h.Holds(poll.ID + "/") {
		t.Error("what waited is kept")
	}
}

// Two servers over one store: what one holds or records the other tells, and each is told of once.
func TestSignals_AreSharedByTwoServers(t *testing.T) {
	h := newHouse(t, ground.Options{})
	second := h.service()
	r := newReceiver(t)
	s := h.push(r.URL, signal.CredentialChange)
	maria := h.user("maria")
	_, err := second.SetStatus(t.Context(), bank, s.ID, signal.Paused, "upgrade")
	check.Must(t, err)
	for range 250 {
		h.happens(audit.CodeReplaced, maria, nil)
	}
	_, err = second.SetStatus(t.Context(), bank, s.ID, signal.Enabled, "")
	check.Must(t, err)
	done := make(chan error, 2)
	for _, of := range []*signal.Service{h.signals, second} {
		sender := h.sender(of)
		go func() { done <- sender.Drain(t.Context()) }()
	}
	check.Must(t, errors.Join(<-done, <-done))
	h.send()
	ids := map[string]bool{}
	for _, one := range r.all() {
		ids[one.ID] = true
	}
	if len(ids) != 250 {
		t.Errorf("%d of 250 are told", len(ids))
	}
	var polled signal.Stream
	check.Must(t, func() (err error) {
		polled, err = second.Add(t.Context(), bank, signal.Change{})
		return err
	}())
	h.happens(audit.Reset, maria, nil)
	got, err := second.Poll(t.Context(), bank, polled.ID, signal.Polling{Most: 10})
	check.Must(t, err)
	var acked []string
	for id := range got.SETs {
		acked = append(acked, id)
	}
	h.polling(polled, signal.Polling{Acked: acked})
	if got, err = second.Poll(t.Context(), bank, polled.ID, signal.Polling{Most: 10}); err != nil || len(acked) != 2 || len(got.SETs) != 0 {
		t.Errorf("acknowledged %v at the other server, and there are %v, %v", acked, got, err)
	}
}

// Rows that cannot be read stop no login.
func TestStream_WhoseRowIsDamagedStopsNoLogin(t *testing.T) {
	h := newHouse(t, ground.Options{})
	bad := h.push("https://damaged.example/", signal.MFAReset)
	s := h.poll(signal.MFAReset)
	ground.Rewrite(t, h.Store.Engine(), "signal_stream", func(record map[string]any) {
		if record["id"] == bad.ID {
			record["created"] = "never"
		}
	})
	h.happens(audit.Reset, h.user("maria"), nil)
	if list := h.polled(s); len(list) != 1 {
		t.Errorf("told %v", list)
	}
}

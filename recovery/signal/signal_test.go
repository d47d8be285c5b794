package signal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tutela/recovery/signal"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

func TestPoll_GivesWhatHappenedUntilItIsAcknowledged(t *testing.T) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) {
		h := newHouse(t, o)
		s := h.poll()
		maria := h.user("auth0|maria")
		h.happens(audit.StartAuth, maria, nil) // which no rule is for
		id := h.happens(audit.Unenroll, maria, audit.Facts{audit.FactFactor: audit.FactorRoaming})
		list := h.polled(s)
		if len(list) != 1 {
			t.Fatalf("%d SETs wait", len(list))
		}
		got := list[0]
		typ, content := got.says(t)
		if got.Issuer != issuer || got.Aud != "bank" || got.Txn != id || got.Toe != ground.Start.Unix() || got.Subject["format"] != "iss_sub" ||
			got.Subject["iss"] != issuer || got.Subject["sub"] != "auth0|maria" || strings.Contains(got.raw, `"sub":""`) || strings.Contains(got.raw, `"exp"`) {
			t.Errorf("told %s", got.raw)
		}
		if typ != signal.CredentialChange || content["change_type"] != "delete" || content["credential_type"] != "fido2-roaming" ||
			content["initiating_entity"] != "user" || content["event_timestamp"] != float64(ground.Start.Unix()) {
			t.Errorf("told %s", got.raw)
		}
		for _, personal := range []string{"192.0.2.17", "in her words"} {
			if strings.Contains(got.raw, personal) {
				t.Errorf("the SET holds %q", personal)
			}
		}
		if again := h.polled(s); len(again) != 1 || again[0].raw != got.raw {
			t.Errorf("what is not acknowledged comes again as %v", again)
		}
		if left := h.polling(s, signal.Polling{Most: 100, Acked: []string{got.ID, got.ID, "nobody's", "-" + s.ID, strings.Repeat("9", 25) + ".0-" + s.ID}}); len(left) != 0 {
			t.Errorf("what is acknowledged comes again: %v", left)
		}
	})
}

func TestPoll_GivesSoManyAsAreWantedAndSaysThatThereAreMore(t *testing.T) {
	h := newHouse(t, ground.Options{})
	s := h.poll()
	maria := h.user("maria")
	for range 5 {
		h.happens(audit.CodeReplaced, maria, nil)
	}
	got, err := h.signals.Poll(t.Context(), bank, s.ID, signal.Polling{Most: 3})
	if err != nil || len(got.SETs) != 3 || !got.More {
		t.Fatalf("%d SETs, more %t: %v", len(got.SETs), got.More, err)
	}
	var acked []string
	for id := range got.SETs {
		acked = append(acked, id)
	}
	got, err = h.signals.Poll(t.Context(), bank, s.ID, signal.Polling{Most: 3, Acked: acked})
	if err != nil || len(got.SETs) != 2 || got.More {
		t.Errorf("%d SETs, more %t: %v", len(got.SETs), got.More, err)
	}
	got, err = h.signals.Poll(t.Context(), bank, s.ID, signal.Polling{Wait: time.Hour})
	if err != nil || len(got.SETs) != 0 || !got.More {
		t.Errorf("who acknowledges alone gets %d SETs, more %t: %v", len(got.SETs), got.More, err)
	}
}

func TestPoll_ThatWaitsIsWokenByWhatHappens(t *testing.T) {
	h := newHouse(t, ground.Options{})
	s := h.poll()
	maria := h.user("maria")
	type answer struct {
		got signal.Polled
		err error
	}
	answers := make(chan answer)
	go func() {
		got, err := h.signals.Poll(context.Background(), bank, s.ID, signal.Polling{Most: 10, Wait: signal.MaxWait})
		answers <- answer{got, err}
	}()
	h.happens(audit.Reset, maria, nil)
	if a := <-answers; a.err != nil || len(a.got.SETs) != 2 {
		t.Errorf("woken with %v, %v", a.got, a.err)
	}
}

// Each rule of the table, by an event as it is recorded.
func TestSETs_SayWhatTheTableSays(t *testing.T) {
	h := newHouse(t, ground.Options{})
	s := h.poll()
	maria := h.user("maria")
	caep := func(change, credential string) string { return "credential-change " + change + " " + credential }
	for _, c := range []struct {
		typ   audit.Type
		facts audit.Facts
		says  []string
	}{
		{audit.EnrollComplete, audit.Facts{audit.FactFactor: audit.FactorPush}, []string{caep("create", "app")}},
		{audit.EnrollComplete, audit.Facts{audit.FactFactor: audit.FactorOTP}, []string{caep("create", "app")}},
		{audit.EnrollComplete, audit.Facts{audit.FactFactor: audit.FactorRoaming}, []string{caep("create", "fido2-roaming")}},
		{audit.EnrollComplete, audit.Facts{audit.FactFactor: audit.FactorPlatform}, []string{caep("create", "fido2-platform")}},
		{audit.Unenroll, audit.Facts{audit.FactFactor: audit.FactorPush}, []string{caep("delete", "app")}},
		{audit.UpdateDevice, audit.Facts{audit.FactStatus: audit.StatusSuspended, audit.FactFactor: audit.FactorPush}, []string{caep("revoke", "app")}},
		{audit.UpdateDevice, audit.Facts{audit.FactStatus: audit.StatusActive, audit.FactFactor: audit.FactorPush}, []string{caep("create", "app")}},
		{audit.UpdateDevice, audit.Facts{audit.FactDevice: audit.DeviceAddress}, nil},
		{audit.PasskeyChanged, audit.Facts{audit.FactPasskey: audit.PasskeyAdded}, []string{caep("create", "passkey")}},
		{audit.PasskeyChanged, audit.Facts{audit.FactPasskey: audit.PasskeyRemoved}, []string{caep("delete", "passkey")}},
		{audit.PasskeyChanged, audit.Facts{audit.FactPasskey: audit.PasskeyCopied}, nil},
		{audit.RecoverySucceed, nil, []string{"recovery-activated", caep("update", "recovery-code")}},
		{audit.CodeReplaced, nil, []string{caep("update", "recovery-code")}},
		{audit.ManagementCall, audit.Facts{audit.FactCall: audit.CallRegenerateCode}, []string{caep("update", "recovery-code")}},
		{audit.RestoreStarted, nil, []string{"recovery-activated"}},
		{audit.DeviceMoved, audit.Facts{audit.FactWhy: audit.WhyRestored}, []string{caep("delete", "app")}},
		{audit.DeviceMoved, audit.Facts{audit.FactWhy: audit.WhyTicket}, nil},
		{audit.ManagementCall, audit.Facts{audit.FactCall: audit.CallBlock}, []string{"account-disabled"}},
		{audit.ManagementCall, audit.Facts{audit.FactCall: audit.CallUnblock}, []string{"account-enabled"}},
		{audit.ManagementCall, audit.Facts{audit.FactCall: audit.CallUpdateUser}, nil},
		{audit.ManagementCall, audit.Facts{audit.FactCall: audit.CallForgetBrowsers}, []string{"session-revoked"}},
		{audit.Reset, nil, []string{"urn:tutela:params:secevent:mfa-reset", "account-credential-change-required"}},
		{audit.AuthSucceed, nil, nil},
	} {
		h.happens(c.typ, maria, c.facts)
		var says, acked []string
		for _, one := range h.polled(s) {
			typ, content := one.says(t)
			text := typ[strings.LastIndexByte(typ, '/')+1:]
			for _, member := range []string{"change_type", "credential_type"} {
				if content[member] != nil {
					text += fmt.Sprint(" ", content[member])
				}
			}
			says = append(says, text)
			acked = append(acked, one.ID)
		}
		if fmt.Sprint(says) != fmt.Sprint(c.says) {
			t.Errorf("%s %v says %q, not %q", c.typ, c.facts, says, c.says)
		}
		h.polling(s, signal.Polling{Acked: acked})
	}
}

func TestStream_IsToldOfTheTypesThatItAsksFor(t *testing.T) {
	h := newHouse(t, ground.Options{})
	s := h.poll(signal.ChangeRequired, "https://example.com/unknown")
	if got := s.Delivered(); len(got) != 1 || got[0] != signal.ChangeRequired {
		t.Errorf("delivered are %q", got)
	}
	maria := h.user("maria")
	h.happens(audit.Reset, maria, nil)
	h.happens(audit.Unenroll, maria, nil)
	if list := h.polled(s); len(list) != 1 || list[0].Events[signal.ChangeRequired] == nil {
		t.Errorf("told %v", list)
	}
	none := h.poll("https://example.com/unknown")
	if got := none.Delivered(); len(got) != 0 {
		t.Errorf("delivered are %q", got)
	}
	if list := h.polled(none); len(list) != 0 {
		t.Errorf("told %v", list)
	}
}

// A reset purges, and the SET that reports it is sent all the same. What waits holds nothing of her MFA.
func TestSET_OfAResetOutlivesIt(t *testing.T) {
	h := newHouse(t, ground.Options{})
	s := h.poll(signal.MFAReset)
	r := newReceiver(t)
	h.push(r.URL, signal.MFAReset)
	maria := h.user("maria")
	check.Must(t, h.Store.Update(t.Context(), func(tx *storage.Tx) error {
		err := audit.Record(tx, audit.ByOperator(0), audit.Event{Type: audit.Reset, UID: maria}, audit.Detail{Text: "lost in the lake"})
		_, purged := storage.Purge(tx, maria, false, storage.MFA)
		return errors.Join(err, purged)
	}))
	h.send()
	for name, list := range map[string][]set{"polled": h.polled(s), "pushed": r.all()} {
		if len(list) != 1 || list[0].Subject["sub"] != "maria" || list[0].Events[signal.MFAReset]["initiating_entity"] != "admin" {
			t.Errorf("%s: %v", name, list)
		}
	}
}

func TestSET_OfSomebodyWhoIsNoMoreIsNotTold(t *testing.T) {
	h := newHouse(t, ground.Options{})
	s := h.poll()
	r := newReceiver(t)
	h.push(r.URL)
	maria := h.user("maria")
	ann := h.user("ann")
	h.happens(audit.Reset, maria, nil)
	check.Must(t, h.Store.Update(t.Context(), func(tx *storage.Tx) error { return user.Delete(tx, maria) }))
	h.happens(audit.CodeReplaced, ann, nil)
	h.send()
	for name, list := range map[string][]set{"polled": h.polled(s), "pushed": r.all()} {
		if len(list) != 1 || list[0].Subject["sub"] != "ann" {
			t.Errorf("%s: %v", name, list)
		}
	}
}

func TestSET_OfWhatIsRolledBackIsNotTold(t *testing.T) {
	h := newHouse(t, ground.Options{})
	s := h.poll()
	maria := h.user("maria")
	undo := errors.New("undo")
	err := h.Store.Update(t.Context(), func(tx *storage.Tx) error {
		return errors.Join(audit.Record(tx, audit.ByUser(), audit.Event{Type: audit.Reset, UID: maria}, audit.Detail{}), undo)
	})
	if !errors.Is(err, undo) {
		t.Fatal(err)
	}
	if list := h.polled(s); len(list) != 0 {
		t.Errorf("told %v", list)
	}
}

func TestSubjects_AreAllUntilOneIsRemoved(t *testing.T) {
	h := newHouse(t, ground.Options{})
	s := h.poll(signal.MFAReset)
	twin := h.poll(signal.MFAReset)
	maria := h.user("maria")
	named := signal.Subject{Format: "iss_sub", Issuer: issuer, Sub: "maria"}
	check.Must(t, h.signals.RemoveSubject(t.Context(), bank, s.ID, named))
	check.Must(t, h.signals.RemoveSubject(t.Context(), bank, s.ID, named))
	h.happens(audit.Reset, maria, nil)
	if list := h.polled(s); len(list) != 0 {
		t.Errorf("told of a subject that was removed: %v", list)
	}
	if list := h.polled(twin); len(list) != 1 {
		t.Errorf("the other stream is told %v", list)
	}
	check.Must(t, h.signals.AddSubject(t.Context(), bank, s.ID, signal.Subject{Format: "opaque", ID: "maria"}))
	h.happens(audit.Reset, maria, nil)
	if list := h.polled(s); len(list) != 1 {
		t.Errorf("told of a subject that was added: %v", list)
	}
	for name, c := range map[string]struct {
		subject signal.Subject
		err     error
	}{
		"nobody":           {signal.Subject{Format: "opaque", ID: "nobody"}, signal.ErrSubject},
		"another issuer's": {signal.Subject{Format: "iss_sub", Issuer: "https://other.example/", Sub: "maria"}, signal.ErrSubject},
		"no format":        {signal.Subject{Sub: "maria"}, signal.ErrInvalid},
		"an email":         {signal.Subject{Format: "email"}, signal.ErrInvalid},
		"no sub":           {signal.Subject{Format: "iss_sub", Issuer: issuer}, signal.ErrInvalid},
	} {
		if err := h.signals.AddSubject(t.Context(), bank, s.ID, c.subject); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStatus_PausedHoldsAndDisabledDrops(t *testing.T) {
	for _, method := range []signal.Method{signal.Poll, signal.Push} {
		t.Run(string(method), func(t *testing.T) {
			h := newHouse(t, ground.Options{})
			r := newReceiver(t)
			s := h.add(bank, signal.Delivery{Method: method, URL: r.URL}, signal.CredentialChange)
			maria := h.user("maria")
			var seen []string
			told := func() (n int) {
				t.Helper()
				h.send()
				list := r.all()
				if method == signal.Poll {
					list = h.polled(s)
				}
				for _, one := range list {
					if !strings.Contains(strings.Join(seen, " "), one.ID) {
						seen = append(seen, one.ID)
						n++
					}
				}
				return n
			}
			h.status(s, signal.Paused)
			h.happens(audit.CodeReplaced, maria, nil)
			h.happens(audit.CodeReplaced, maria, nil)
			if n := told(); n != 0 {
				t.Errorf("while paused %d are told", n)
			}
			h.status(s, signal.Enabled)
			if n := told(); n != 2 {
				t.Errorf("%d are told of what was held", n)
			}
			h.happens(audit.CodeReplaced, maria, nil) // waits, and is dropped
			h.status(s, signal.Disabled)
			h.happens(audit.CodeReplaced, maria, nil)
			if n := told(); n != 0 {
				t.Errorf("while disabled %d are told", n)
			}
			h.status(s, signal.Enabled)
			if n := told(); n != 0 {
				t.Errorf("%d are told of what was not held", n)
			}
			h.happens(audit.CodeReplaced, maria, nil)
			if n := told(); n != 1 {
				t.Errorf("%d are told of what happens then", n)
			}
		})
	}
}

func TestVerify_ComesWithItsStateAndNotTooOften(t *testing.T) {
	h := newHouse(t, ground.Options{})
	s := h.poll(signal.MFAReset)
	check.Must(t, h.signals.Verify(t.Context(), bank, s.ID, "VGhpcyBp"))
	list := h.polled(s)
	if len(list) != 1 || list[0].Subject["format"] != "opaque" || list[0].Subject["id"] != s.ID || list[0].Events[signal.Verification]["state"] != "VGhpcyBp" {
		t.Errorf("told %v", list)
	}
	err := h.signals.Verify(t.Context(), bank, s.ID, "")
	if !errors.Is(err, signal.ErrTooSoon) || storage.RetryAfter(err) != signal.VerifyEvery {
		t.Errorf("at once again: %v, after %s", err, storage.RetryAfter(err))
	}
	h.Clock.Advance(signal.VerifyEvery)
	check.Must(t, h.signals.Verify(t.Context(), bank, s.ID, ""))
	h.status(s, signal.Disabled)
	if err := h.signals.Verify(t.Context(), bank, s.ID, ""); !errors.Is(err, signal.ErrDisabled) {
		t.Errorf("a disabled stream: %v", err)
	}
}

func TestStreams_AreSeenByTheirReceiverAlone(t *testing.T) {
	h := newHouse(t, ground.Options{})
	s := h.poll()
	ctx := t.Context()
	reader := audit.ByClient("bank", []string{signal.ScopeRead}, storage.House)
	for name, c := range map[string]struct {
		actor audit.Actor
		reads error
		does  error
	}{
		"another client":          {other, signal.ErrNone, signal.ErrNone},
		"the client, to read":     {reader, nil, signal.ErrRefused},
		"a client without scopes": {audit.ByClient("bank", nil, storage.House), signal.ErrRefused, signal.ErrRefused},
		"nobody":                  {audit.Actor{}, signal.ErrRefused, signal.ErrRefused},
		"the user":                {audit.ByUser(), signal.ErrRefused, signal.ErrRefused},
		"an admin":                {audit.ByAdmin(storage.NewUID(), []string{signal.ScopeManage}), signal.ErrRefused, signal.ErrRefused},
	} {
		_, read := h.signals.Stream(ctx, c.actor, s.ID)
		_, poll := h.signals.Poll(ctx, c.actor, s.ID, signal.Polling{Most: 1})
		for _, err := range []error{read, poll} {
			if !errors.Is(err, c.reads) {
				t.Errorf("%s reads: %v", name, err)
			}
		}
		_, change := h.signals.Change(ctx, c.actor, s.ID, signal.Change{})
		_, status := h.signals.SetStatus(ctx, c.actor, s.ID, signal.Disabled, "")
		subject := signal.Subject{Format: "opaque", ID: "maria"}
		for _, err := range []error{
			change, status, h.signals.Verify(ctx, c.actor, s.ID, ""), h.signals.Remove(ctx, c.actor, s.ID),
			h.signals.AddSubject(ctx, c.actor, s.ID, subject), h.signals.RemoveSubject(ctx, c.actor, s.ID, subject),
		} {
			if !errors.Is(err, c.does) {
				t.Errorf("%s does something: %v", name, err)
			}
		}
	}
	if list, err := h.signals.Streams(ctx, other); err != nil || len(list) != 0 {
		t.Errorf("another client sees %v, %v", list, err)
	}
	if list, err := h.signals.Streams(ctx, reader); err != nil || len(list) != 1 || list[0].Status != signal.Enabled {
		t.Errorf("the client sees %v, %v", list, err)
	}
}

func TestAdd_RefusesWhatCannotBe(t *testing.T) {
	h := newHouse(t, ground.Options{})
	header := "a\r\nb: c"
	long := strings.Repeat("x", 5000)
	many := make([]string, 101)
	for i := range many {
		many[i] = "https://example.com/"
	}
	text := "a\x00b"
	for name, c := range map[string]signal.Change{
		"no method":        {Delivery: &signal.Delivery{URL: "https://example.com/"}},
		"an old method":    {Delivery: &signal.Delivery{Method: "https://schemas.openid.net/secevent/risc/delivery-method/push"}},
		"no url":           {Delivery: &signal.Delivery{Method: signal.Push}},
		"another scheme":   {Delivery: &signal.Delivery{Method: signal.Push, URL: "ftp://example.com/"}},
		"a user":           {Delivery: &signal.Delivery{Method: signal.Push, URL: "https://a:b@example.com/"}},
		"a fragment":       {Delivery: &signal.Delivery{Method: signal.Push, URL: "https://example.com/#x"}},
		"a long url":       {Delivery: &signal.Delivery{Method: signal.Push, URL: "https://example.com/" + long}},
		"two headers":      {Delivery: &signal.Delivery{Method: signal.Push, URL: "https://example.com/", Authorization: &header}},
		"a long header":    {Delivery: &signal.Delivery{Method: signal.Push, URL: "https://example.com/", Authorization: &long}},
		"many types":       {Requested: &many},
		"an empty type":    {Requested: &[]string{""}},
		"a long type":      {Requested: &[]string{long}},
		"control":          {Description: &text},
		"long description": {Description: &long},
	} {
		if _, err := h.signals.Add(t.Context(), bank, c); !errors.Is(err, signal.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 10 {
		h.poll()
	}
	if _, err := h.signals.Add(t.Context(), bank, signal.Change{}); !errors.Is(err, signal.ErrTooMany) {
		t.Errorf("one more than ten: %v", err)
	}
	_, err := h.signals.Add(t.Context(), other, signal.Change{})
	check.Must(t, err)
}

// Without a stream an event looks at nothing of this package: see audit.SetFollowed.
func TestStreams_ThatAreGoneCostNoEventAnything(t *testing.T) {
	h := newHouse(t, ground.Options{})
	s := h.poll()
	if !h.Holds(`"signal":[`) {
		t.Error("nobody follows")
	}
	check.Must(t, h.signals.Remove(t.Context(), bank, s.ID))
	h.happens(audit.Reset, h.user("maria"), nil)
	for _, table := range []string{"signal_stream", "signal_secret", "event_follower", "outbox_house"} {
		if rows := h.Rows(table); len(rows) != 0 {
			t.Errorf("%s has %d rows", table, len(rows))
		}
	}
	if h.Holds(s.ID + "/") {
		t.Error("something waits")
	}
}

package push_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"tutela/device/push"
	"tutela/storage"
)

// says is a carrier that fails with a text.
type says string

func (s says) Deliver(context.Context, push.Address, push.Message) error {
	return errors.New(string(s))
}

func TestGateway_GoesByTheCarrierOfTheService(t *testing.T) {
	g := push.NewGateway(nil)
	g.Use(push.FCM, says("fcm"))
	g.Use(push.APNs, says("apns"))
	deliver := func(s push.Service) string {
		return g.Deliver(t.Context(), push.Address{Service: s, Token: "x"}, push.Message{}).Error()
	}
	for service, want := range map[push.Service]string{
		push.FCM: "fcm", push.GCM: "fcm", push.APNs: "apns", push.WebPush: push.ErrNotCarried.Error(), "": push.ErrNotCarried.Error(),
	} {
		if got := deliver(service); got != want {
			t.Errorf("%s: %s, want %s", service, got, want)
		}
		if carries, err := g.Carries(nil, push.Address{Service: service}); err != nil || carries != (want == "fcm" || want == "apns") {
			t.Errorf("%s: carries %t", service, carries)
		}
	}
	g.Use(push.GCM, says("another"))
	g.Use(push.APNs, nil)
	if got := deliver(push.FCM); got != "another" {
		t.Errorf("after a change: %s", got)
	}
	if got := deliver(push.APNs); got != push.ErrNotCarried.Error() {
		t.Errorf("without a carrier: %s", got)
	}
}

func TestGateway_OfNothingCarriesNothing(t *testing.T) {
	var none *push.Gateway
	for _, g := range []*push.Gateway{none, push.NewGateway(nil)} {
		err := g.Deliver(t.Context(), push.Address{Service: push.FCM, Token: "x"}, push.Message{})
		carries, _ := g.Carries(nil, push.Address{Service: push.FCM})
		if !errors.Is(err, push.ErrNotCarried) || carries {
			t.Errorf("%v: %v", g, err)
		}
	}
}

func TestRefusal_SaysWhatTheServiceMeans(t *testing.T) {
	for _, v := range []push.Verdict{push.Gone, push.Setup, push.Mismatch, push.Unfit, push.Busy} {
		err := error(&push.Refusal{
			Verdict: v,
			Status:  429,
			Reason:  "WORD",
			After:   time.Minute,
		})
		if errors.Is(err, push.ErrTokenGone) != (v == push.Gone) || errors.Is(err, push.ErrRefused) != (v != push.Gone) {
			t.Errorf("%s is %v", v, errors.Unwrap(err))
		}
		if v != push.Gone && storage.RetryAfter(err) != time.Minute {
			t.Errorf("%s: wait %s", v, storage.RetryAfter(err))
		}
		if want := "the push service refuses the message (" + string(v) + "): WORD, HTTP 429"; err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

func TestReason_IsShortAndPrintable(t *testing.T) {
	if got := push.Reason("Bad\nDevice\x00Töken "); got != "Bad.Device.T.ken." {
		t.Errorf("%q", got)
	}
	if got := push.Reason(strings.Repeat("x", 1000)); len(got) != 64 {
		t.Errorf("%d bytes", len(got))
	}
}

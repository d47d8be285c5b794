package push_test

import (
	"context"
	"errors"
	"testing"

	"tutela/device/push"
	"tutela/storage/meter"
)

// fails is a carrier that fails with an error.
type fails struct{ err error }

func (f fails) Deliver(context.Context, push.Address, push.Message) error { return f.err }

func TestFigures_DeliveriesAreCountedByProviderAndAnswerAndNameNoHost(t *testing.T) {
	set := meter.NewSet()
	g := push.NewGateway(nil)
	g.CountIn(set)
	deliver := func(service push.Service, err error) {
		g.Use(service, fails{err})
		_ = g.Deliver(t.Context(), push.Address{Service: service, Token: "https://planted.example/token"}, push.Message{})
	}
	deliver(push.GCM, nil)
	deliver(push.FCM, nil)
	deliver(push.APNs, &push.Refusal{Verdict: push.Mismatch})
	deliver(push.WebPush, &push.Refusal{Verdict: push.Gone})
	deliver(push.WebPush, errors.New("no answer"))
	deliver(push.Service("planted"), nil)
	got := map[[2]string]float64{}
	for _, s := range push.Sent.Samples(set) {
		if s.Value > 0 {
			got[[2]string(s.Words)] = s.Value
		}
	}
	for words, n := range map[[2]string]float64{
		{"fcm", "sent"}: 2, {"apns", "mismatch"}: 1, {"webpush", "gone"}: 1, {"webpush", "unreachable"}: 1,
	} {
		if got[words] != n {
			t.Errorf("%v: %v, want %v", words, got[words], n)
		}
	}
	if len(got) != 4 {
		t.Errorf("counted %v", got)
	}
}

func TestGreat_IsAServiceOfWhichThereIsOne(t *testing.T) {
	for through, want := range map[string]bool{
		push.Address{Service: push.GCM}.Through():                                   true,
		push.Address{Service: push.FCM}.Through():                                   true,
		push.Address{Service: push.APNs}.Through():                                  true,
		push.Address{Service: push.WebPush, Token: "https://example.com"}.Through(): false,
		"":    false,
		"fcm": false,
	} {
		if got := push.Great(through); got != want {
			t.Errorf("%q is great: %v", through, got)
		}
	}
}

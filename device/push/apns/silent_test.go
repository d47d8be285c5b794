package apns_test

import (
	"context"
	"errors"
	"testing"

	"tutela/device/push/pushtest"
	"tutela/storage/storagetest/check"
)

// TestDeliver_LeavesAConnectionOnWhichNobodyAnswers has a server stand still with a request: what comes after goes by another
// connection, whether or not the first had ever answered.
func TestDeliver_LeavesAConnectionOnWhichNobodyAnswers(t *testing.T) {
	for name, before := range map[string]int{"a new connection": 0, "one that has answered": 3} {
		t.Run(name, func(t *testing.T) {
			service, carrier := start(t, pushtest.APNsOptions{})
			for range before {
				check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
			}
			ctx, cancel := context.WithCancel(t.Context())
			hang := pushtest.Hang
			hang.Then = cancel
			service.Script(phone, hang)
			if err := carrier.Deliver(ctx, to(phone), approval()); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			for range 3 {
				check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
			}
			if n := service.Connections(); n != 2 {
				t.Errorf("%d connections", n)
			}
			if got := len(service.Taken(phone)); got != before+3 {
				t.Errorf("the phone got %d messages, want %d", got, before+3)
			}
		})
	}
}

// TestDeliver_KeepsAConnectionOnWhichOthersAreAnswered has one request hang alone.
func TestDeliver_KeepsAConnectionOnWhichOthersAreAnswered(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{})
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	ctx, cancel := context.WithCancel(t.Context())
	other := tokenOf(0xbeef)
	hang := pushtest.Hang
	hang.Then = func() {
		go func() {
			defer cancel()
			if err := carrier.Deliver(t.Context(), to(other), approval()); err != nil {
				t.Error(err)
			}
		}()
	}
	service.Script(phone, hang)
	if err := carrier.Deliver(ctx, to(phone), approval()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	if n := service.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

package fcm_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"tutela/device/push/pushtest"
	"tutela/storage/storagetest/check"
)

// TestDeliver_ATokenRequestThatHangsHoldsNobodyBeyondItsDelivery has the delivery that asked for the access token end without one:
// those that wait with it, and those that come later, ask anew.
func TestDeliver_ATokenRequestThatHangsHoldsNobodyBeyondItsDelivery(t *testing.T) {
	service, carrier := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	const waiting = 8
	others := make(chan error, waiting)
	hang := pushtest.Hang
	hang.Then = func() {
		for range waiting {
			go func() { others <- carrier.Deliver(t.Context(), to(phone), approval()) }()
		}
		cancel()
	}
	service.ScriptToken(hang)
	err := carrier.Deliver(ctx, to(phone), approval())
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "access token") {
		t.Errorf("%v", err)
	}
	for range waiting {
		check.Must(t, <-others)
	}
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	if n := service.TokenRequests(); n != 2 {
		t.Errorf("%d requests for a token", n)
	}
}

// TestDeliver_ATokenRequestThatHangsFailsBeforeTheAttempt has nobody end the delivery: the request ends by itself, for all who wait,
// and the next delivery asks anew.
func TestDeliver_ATokenRequestThatHangsFailsBeforeTheAttempt(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the end of a request: run it without -short")
	}
	service, carrier := start(t)
	service.ScriptToken(pushtest.Hang)
	err := carrier.Deliver(t.Context(), to(phone), approval())
	if err == nil || !strings.Contains(err.Error(), "get an access token from 127.0.0.1") {
		t.Errorf("%v", err)
	}
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	if n := service.TokenRequests(); n != 2 {
		t.Errorf("%d requests for a token", n)
	}
}

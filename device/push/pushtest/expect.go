package pushtest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device/push"
)

// Means is the refusal that a carrier makes of a service's answer.
func Means(v push.Verdict, status int, reason string, after time.Duration) push.Refusal {
	return push.Refusal{
		Verdict: v,
		Status:  status,
		Reason:  reason,
		After:   after,
	}
}

// ExpectRefusal fails the test unless the error of a delivery is this refusal.
func ExpectRefusal(t testing.TB, err error, want push.Refusal) {
	t.Helper()
	var got *push.Refusal
	if !errors.As(err, &got) {
		t.Fatalf("no refusal: %v", err)
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Error(diff)
	}
}

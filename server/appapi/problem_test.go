package appapi

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"tutela/backup"
	"tutela/device"
	"tutela/recovery"
	"tutela/storage"
)

func TestTable_HasEachErrorOnceWithAStatusThatFits(t *testing.T) {
	seen := map[error]bool{}
	for _, row := range table {
		if seen[row.err] {
			t.Errorf("%v stands twice", row.err)
		}
		seen[row.err] = true
		if storage.CodeOf(row.err) == "" || row.code == "" || row.status < 400 || row.status > 499 {
			t.Errorf("%v is %d %q", row.err, row.status, row.code)
		}
		if got := translate(fmt.Errorf("wrapped: %w", row.err)); got == nil || got.Status != row.status || got.Code != row.code || got.Message != row.err.Error() {
			t.Errorf("%v becomes %+v", row.err, got)
		}
	}
}

func TestTranslate_LeavesAnErrorOfOursToTheServer(t *testing.T) {
	if p := translate(errors.New("disk on fire")); p != nil {
		t.Errorf("got %+v", p)
	}
}

func TestTranslate_SaysWhenToComeBackAndWhatIsThere(t *testing.T) {
	if p := translate(recovery.ErrLimited.After(90 * time.Second)); p.RetryAfter != 90*time.Second {
		t.Errorf("got %v", p.RetryAfter)
	}
	p := translate(&backup.Conflict{Generation: 3, Manifest: "m"})
	if p.Status != 412 || p.Header["ETag"] != `"3"` || p.Members["generation"] != int64(3) || p.Members["manifest"] != "m" {
		t.Errorf("got %+v", p)
	}
}

func TestUnauthorized_IsWhatShowedNothingThatLetsItIn(t *testing.T) {
	for err, want := range map[error]bool{
		errAuthorization:           true,
		device.ErrTicket:           true,
		device.ErrNoEnrollment:     true,
		device.ErrClockSkew:        true,
		device.ErrSuspended:        false,
		backup.ErrNone:             false,
		recovery.ErrWrongCode:      false,
		errors.New("disk on fire"): false,
	} {
		if unauthorized(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
	}
}

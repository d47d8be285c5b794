package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"tutela/device/phone"
)

// changesPhone is a restore with the old phone in the other hand, which allows it.
func (s *story) changesPhone(ctx context.Context) error {
	s.begin("She buys a new phone; the old one is in her other hand")
	// The platform's backup goes over to the new phone. The old one lives on, in a folder of its own.
	old := filepath.Join(s.dir, "old-phone")
	if err := os.CopyFS(old, os.DirFS(filepath.Join(s.dir, "phone"))); err != nil {
		return err
	}
	if _, err := s.tutela(ctx, "phone", "--phone", filepath.Join(s.dir, "phone"), "reinstall", "--new-phone"); err != nil {
		return err
	}
	if _, err := s.phone(ctx, "restore"); err != nil {
		return err
	}
	var restored enrolledJSON
	done := make(chan error, 1)
	go func() { done <- s.restoreJSON(ctx, &restored) }()
	if err := s.oldPhoneAllows(ctx, old); err != nil {
		return err
	}
	if err := <-done; err != nil {
		return err
	}
	s.note("she has typed the code meanwhile: the new phone waited with it, and went on at once. Nobody looked at a clock")
	left, err := s.tutela(ctx, "phone", "--phone", old, "status", "--json")
	if err != nil {
		return err
	}
	var status phoneStatus
	if err := json.Unmarshal([]byte(left), &status); err != nil {
		return err
	}
	return errors.Join(
		s.check(status.KnownToServer == "no", "the old phone is no longer hers: %s", status.KnownToServer),
		s.isBack(ctx, restored))
}

// oldPhoneAllows has the old phone see who wants to take over from it, and say that it is she.
func (s *story) oldPhoneAllows(ctx context.Context, folder string) error {
	text, err := s.tutela(ctx, "phone", "--phone", folder, "restores", "--wait", "30s", "--json")
	if err != nil {
		return err
	}
	var open []phone.OpenRestore
	if err := json.Unmarshal([]byte(text), &open); err != nil {
		return err
	}
	// The start that only asked what comes next, and the one that waits with the code, are the same restore.
	if err := s.check(len(open) == 1, "one phone wants to take over: %s", text); err != nil {
		return err
	}
	s.show("old phone", open[0].Name+" wants to take over from this phone. Is that you?")
	screen, err := s.tutela(ctx, "phone", "--phone", folder, "allow", open[0].ID)
	if err == nil {
		s.show("old phone", screen)
	}
	return err
}

func (s *story) losesPhone(ctx context.Context) error {
	s.begin("That one falls into a lake; on the next the app is installed again")
	const wait = "restore.first_wait"
	if _, err := s.tutela(ctx, "policy", "set", wait, "5s", "--data", filepath.Join(s.dir, "data")); err != nil {
		return err
	}
	s.show("operator", "tutela policy set "+wait+" 5s")
	if _, err := s.phone(ctx, "reinstall", "--new-phone"); err != nil {
		return err
	}
	// A wrong code first: it must neither restore nor spend the right one.
	const wrong = "7V3K Q9X2 M4T8 R6W5 Y1ZJ 0ABV"
	_, err := s.tutela(ctx, "phone", "--phone", filepath.Join(s.dir, "phone"), "restore", "--code", wrong)
	if err == nil || !strings.Contains(err.Error(), "invalid_recovery_code") {
		return s.check(false, "a wrong code does not restore: %v", err)
	}
	s.note("the old phone was asked, and kept silent: until then the new one waited. A minute, where nothing is set")
	s.show("phone", "7V3K Q9X2 …  is not the code.")
	var restored enrolledJSON
	if err := s.restoreJSON(ctx, &restored); err != nil {
		return err
	}
	s.note("one step: the old phone's key and token died, the backup moved, the code was replaced")
	return s.isBack(ctx, restored)
}

// isBack checks that maria's phone has come back, and remembers what it got.
func (s *story) isBack(ctx context.Context, restored enrolledJSON) error {
	oldCode := s.code
	oldEnrollment := s.enrollment
	s.code = restored.RecoveryCode
	s.enrollment = restored.EnrollmentID
	s.show("phone", "Welcome back, maria. Your accounts are here again.\nYour next recovery code:  "+grouped(s.code))
	var status phoneStatus
	if err := s.phoneJSON(ctx, &status, "status"); err != nil {
		return err
	}
	return errors.Join(
		s.check(restored.UserID == "maria" && restored.EnrollmentID != oldEnrollment, "a new enrollment of maria's"),
		s.check(len(s.code) == 24 && s.code != oldCode, "a new recovery code"),
		s.check(len(status.Accounts) == 2, "both accounts came back: %v", status.Accounts))
}

// restoreJSON restores with the saved code, and waits for its turn. The command prints one JSON value.
func (s *story) restoreJSON(ctx context.Context, into *enrolledJSON) error {
	return s.phoneJSON(ctx, into, "restore", "--code", s.code)
}

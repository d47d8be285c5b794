package admin_test

import (
	"context"
	"errors"
	"testing"

	"tutela/device/devicetest"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house is the service over users with phones, codes and backups.
type house struct {
	*devicetest.House
	t *testing.T
}

func onEveryEngine(t *testing.T, test func(h *house)) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) { test(newHouse(t, o)) })
}

func newHouse(t *testing.T, o ground.Options) *house {
	t.Helper()
	return &house{House: devicetest.Open(t, o), t: t}
}

// newUser makes a user with a recovery code.
func (h *house) newUser(id string) (uid storage.UID, code recovery.Code) {
	h.t.Helper()
	h.Update(func(tx *storage.Tx) error {
		u, err := user.Create(tx, user.User{ID: id})
		if err != nil {
			return err
		}
		uid = u.UID
		code, err = h.Codes.Issue(tx, uid)
		return err
	})
	return uid, code
}

// spend spends a code on a channel.
func (h *house) spend(uid storage.UID, ch recovery.Channel, code recovery.Code) error {
	return h.Store.Update(context.Background(), func(tx *storage.Tx) error {
		_, err := h.Codes.Spend(tx, uid, ch, code, audit.ByUser())
		return err
	})
}

// guess spends n wrong codes on a channel.
func (h *house) guess(uid storage.UID, ch recovery.Channel, n int) {
	h.t.Helper()
	wrong, err := recovery.ParseCode("0123456789ABCDEFGHJKMNPV")
	must(h.t, err)
	for range n {
		err := h.spend(uid, ch, wrong)
		if !errors.Is(err, recovery.ErrWrongCode) {
			h.t.Fatalf("a wrong code got %v", err)
		}
	}
}

// eventsAbout are the events about a user, the newest first.
func (h *house) eventsAbout(uid storage.UID, types ...audit.Type) []audit.Entry {
	h.t.Helper()
	entries, _, err := audit.List(context.Background(), h.Store, audit.Query{UID: uid, Types: types}, false)
	must(h.t, err)
	return entries
}

// expect fails the test unless err is the one that is wanted, or none is wanted and there is none.
func expect(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// byOperator is the operator of the machine.
var byOperator = audit.ByOperator(0)

var must = check.Must

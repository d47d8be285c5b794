// Package devicetest is what the tests of the domain stand on: users with phones, a push service that a test reads, over
// a real data file and a clock that the test owns.
package devicetest

import (
	"context"
	"testing"
	"time"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/passkey"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// PublicURL is the first public URL of a house.
const PublicURL = "http://localhost:8080"

// Admin is who does what admins do.
var Admin = audit.ByOperator(0)

// House is a ground with users' codes, phones, logins and backups on it.
type House struct {
	*ground.Ground
	Codes    *recovery.Service
	Devices  *device.Service
	Passkeys *passkey.Service
	Logins   *login.Service
	Backups  *backup.Service
	Restores *restore.Service
	Admins   *admin.Service
	Bases    device.Bases
	Sent     *Pushes
	Origins  map[string]bool // that clients have registered for their pages

	t testing.TB
}

// Open lays the ground and builds on it. Of two public URLs the second has a path.
func Open(t testing.TB, o ground.Options) *House {
	t.Helper()
	h := &House{
		Ground:  ground.Open(t, o),
		Bases:   device.NewBases([]string{PublicURL + "/", "https://mfa.example.com/base"}),
		Sent:    &Pushes{},
		Origins: map[string]bool{},
		t:       t,
	}
	h.build()
	return h
}

func (h *House) build() {
	h.Codes = recovery.New(h.Store, h.Ring, func(context.Context, []byte) (string, error) { return "signed", nil })
	to := push.NewGateway(h.Sent)
	h.Devices = device.New(h.Store, h.Ring, h.Codes, device.Options{Bases: h.Bases, Issuer: "Example & Söhne", Deliver: to})
	h.Passkeys = passkey.New(h.Store, h.Ring, passkey.Options{
		Bases:      h.Bases,
		Issuer:     "Example & Söhne",
		Registered: func(_ *storage.Tx, origin string) (bool, error) { return h.Origins[origin], nil },
	})
	h.Logins = login.New(h.Store, h.Ring, h.Devices, h.Codes, h.Bases, to).WithPasskeys(h.Passkeys)
	h.Backups = backup.New(h.Store, h.Ring, h.Devices)
	h.Restores = restore.New(h.Store, h.Ring, h.Codes, h.Devices, h.Logins, h.Backups)
	h.Admins = admin.New(h.Store, h.Codes, h.Devices, h.Restores, h.Logins)
}

// Restart closes the store and opens it again, with the wall moved by jump in between. What a test has built on the
// house is to be built anew.
func (h *House) Restart(jump time.Duration) {
	h.t.Helper()
	h.Reopen(jump)
	h.build()
}

// UID returns a user's uid.
func (h *House) UID(userID string) (uid storage.UID) {
	h.t.Helper()
	h.View(func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err == nil {
			uid = u.UID
		}
		return err
	})
	return uid
}

// ExpectState fails the test unless the user's MFA state is the one that is wanted.
func (h *House) ExpectState(userID string, want user.State) {
	h.t.Helper()
	uid := h.UID(userID)
	h.View(func(tx *storage.Tx) error {
		got, err := device.State(tx, uid)
		if got != want {
			h.t.Errorf("%s is %s, want %s", userID, got, want)
		}
		return err
	})
}

// EventsOf returns the events about a user of a type, newest first.
func (h *House) EventsOf(userID string, of audit.Type) []audit.Entry {
	h.t.Helper()
	entries, _, err := audit.List(context.Background(), h.Store, audit.Query{UID: h.UID(userID), Types: []audit.Type{of}}, false)
	check.Must(h.t, err)
	return entries
}

// SetBlocked blocks a user or takes the block back.
func (h *House) SetBlocked(userID string, blocked bool) {
	h.t.Helper()
	check.Must(h.t, h.Admins.SetBlocked(context.Background(), userID, blocked, Admin))
}

// Reset removes every record of a user's MFA.
func (h *House) Reset(userID string) recovery.Receipt {
	h.t.Helper()
	receipt, err := h.Admins.Reset(context.Background(), userID, recovery.ResetRequest{Reason: "lost"}, Admin)
	check.Must(h.t, err)
	return receipt
}

// Ticket makes a ticket for a user, who is made when not seen before and may be enrolled.
func (h *House) Ticket(userID string) string {
	h.t.Helper()
	secret, err := h.Admins.NewTicket(context.Background(), admin.TicketRequest{
		User:          user.User{ID: userID},
		AllowMultiple: true,
	}, Admin)
	check.Must(h.t, err)
	return secret
}

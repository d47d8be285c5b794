package passkey_test

import (
	"context"
	"encoding/base64"
	"errors"
	"testing"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/passkey"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house is the service with users, who have passkeys.
type house struct {
	*devicetest.House
	*passkey.Service
	t testing.TB
}

func onEveryEngine(t *testing.T, test func(h *house)) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) { test(newHouse(t, o)) })
}

func newHouse(t testing.TB, o ground.Options) *house {
	t.Helper()
	home := devicetest.Open(t, o)
	return &house{House: home, Service: home.Passkeys, t: t}
}

// user makes a user.
func (h *house) user(id string) storage.UID {
	h.t.Helper()
	h.Update(func(tx *storage.Tx) error {
		_, err := user.Ensure(tx, user.User{ID: id})
		return err
	})
	return h.UID(id)
}

// creation begins a registration.
func (h *house) creation(uid storage.UID, typ device.Type) (options []byte) {
	h.t.Helper()
	h.Update(func(tx *storage.Tx) (err error) {
		options, err = h.BeginRegistration(tx, uid, "a", typ)
		return err
	})
	return options
}

// finish ends a registration.
func (h *house) finish(uid storage.UID, r passkey.Response) (e *device.Enrollment, err error) {
	h.t.Helper()
	made, err := h.VerifyRegistration(h.t.Context(), uid, "a", r)
	if err != nil {
		return nil, err
	}
	return h.bind(made)
}

// bind spends a registration.
func (h *house) bind(made *passkey.Registration) (e *device.Enrollment, err error) {
	err = h.Store.Update(h.t.Context(), func(tx *storage.Tx) error {
		if err := h.Registered(tx, made); err != nil {
			return err
		}
		e, err = h.Devices.BindPasskey(tx, made.UID, made.Type, "", made.Passkey, device.Binding{Via: device.ViaTicket}, audit.ByUser())
		return err
	})
	return e, err
}

// register makes a passkey of a user.
func (h *house) register(uid storage.UID, typ device.Type, a *devicetest.Authenticator) *device.Enrollment {
	h.t.Helper()
	e, err := h.finish(uid, a.Create(h.creation(uid, typ)))
	check.Must(h.t, err)
	return e
}

// request begins an assertion.
func (h *house) request(uid storage.UID) (options []byte) {
	h.t.Helper()
	check.Must(h.t, h.requested(uid, &options))
	return options
}

func (h *house) requested(uid storage.UID, options *[]byte) error {
	return h.Store.Update(h.t.Context(), func(tx *storage.Tx) error {
		set, err := device.All(tx, uid)
		if err != nil {
			return err
		}
		*options, err = h.Begin(tx, uid, "a", set)
		return err
	})
}

// answer ends an assertion.
func (h *house) answer(uid storage.UID, r passkey.Response) (*device.Enrollment, error) {
	h.t.Helper()
	a, err := h.Verify(h.t.Context(), uid, "a", r)
	if err != nil {
		return nil, err
	}
	return h.accept(a)
}

func (h *house) accept(a *passkey.Assertion) (e *device.Enrollment, err error) {
	err = h.Store.Update(context.Background(), func(tx *storage.Tx) error {
		e, err = h.Accept(tx, a, audit.ByUser())
		return err
	})
	return e, err
}

// stored returns an enrollment as it is stored.
func (h *house) stored(uid storage.UID, id string) (e *device.Enrollment) {
	h.t.Helper()
	h.View(func(tx *storage.Tx) (err error) {
		e, err = device.Get(tx, uid, id)
		return err
	})
	return e
}

// changes returns what the events say that is new about a user's passkeys, the newest first.
func (h *house) changes(id string) (words []audit.Word) {
	h.t.Helper()
	for _, e := range h.EventsOf(id, audit.PasskeyChanged) {
		words = append(words, e.Facts[audit.FactPasskey])
	}
	return words
}

func (h *house) expect(what string, err, want error) {
	h.t.Helper()
	if !errors.Is(err, want) {
		h.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

var (
	base64Of   = base64.RawURLEncoding.EncodeToString
	standardOf = base64.StdEncoding.EncodeToString
)

func fromBase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	check.Must(t, err)
	return b
}

package device_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

const publicURL = devicetest.PublicURL

// house is the service with users and phones.
type house struct {
	*device.Service
	home  *devicetest.House
	t     *testing.T
	clock *storage.FakeClock
	store *storage.Store
	ring  *keyring.Ring
	codes *recovery.Service
	sent  *devicetest.Pushes
}

func onEveryEngine(t *testing.T, test func(h *house)) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) { test(newHouse(t, o)) })
}

func newHouse(t *testing.T, o ground.Options) *house {
	t.Helper()
	home := devicetest.Open(t, o)
	return &house{
		Service: home.Devices,
		home:    home,
		t:       t,
		clock:   home.Clock,
		store:   home.Store,
		ring:    home.Ring,
		codes:   home.Codes,
		sent:    home.Sent,
	}
}

// deliver does what is due in the outbox, and returns what was delivered. Entries that fail stay.
func (h *house) deliver() []devicetest.Delivered {
	h.t.Helper()
	h.home.Drain(recovery.Notice.Handler(h.DeliverNotice))
	return h.sent.Take()
}

func (h *house) update(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	h.home.Update(fn)
}

func (h *house) view(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	h.home.View(fn)
}

func (h *house) set(name, value string) {
	h.t.Helper()
	h.home.Set(name, value)
}

func (h *house) scan(see func(key, value string)) {
	h.t.Helper()
	h.home.Scan(see)
}

func (h *house) uid(id string) storage.UID {
	h.t.Helper()
	return h.home.UID(id)
}

func (h *house) block(id string, blocked bool) {
	h.t.Helper()
	h.home.SetBlocked(id, blocked)
}

func (h *house) reset(id string) recovery.Receipt {
	h.t.Helper()
	return h.home.Reset(id)
}

// waiting is the state of every entry of the outbox.
func (h *house) waiting() []string {
	h.t.Helper()
	return h.home.Rows("outbox")
}

// events are those about a user of a type, newest first.
func (h *house) events(id string, of audit.Type) []audit.Entry {
	h.t.Helper()
	return h.home.EventsOf(id, of)
}

// holds reports whether a string lies anywhere in the engine in plain form.
func (h *house) holds(s string) bool {
	h.t.Helper()
	return h.home.Holds(s)
}

func (h *house) expectState(id string, want user.State) {
	h.t.Helper()
	h.home.ExpectState(id, want)
}

// ticket makes a ticket for a user, who may be enrolled.
func (h *house) ticket(id string) string {
	h.t.Helper()
	return h.home.Ticket(id)
}

// phone is one installation with its key.
type phone struct {
	*devicetest.Phone
	h *house
}

// newPhone makes an installation with a key, which has not enrolled.
func (h *house) newPhone(identifier string) *phone {
	h.t.Helper()
	return &phone{h.home.NewPhone(identifier), h}
}

// enroll makes a phone of a user.
func (h *house) enroll(id, identifier string) *phone {
	h.t.Helper()
	return &phone{h.home.Enroll(id, identifier), h}
}

func encode(t testing.TB, v any) json.RawMessage {
	t.Helper()
	encoded, err := json.Marshal(v)
	must(t, err)
	return encoded
}

var must = check.Must

var b64 = base64.RawURLEncoding.EncodeToString

// expect fails the test unless err is the one that is wanted, or none is wanted and there is none.
func expect(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

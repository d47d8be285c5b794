package restore_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/storagetest"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house is the services over a real data file, with a clock that the test owns.
type house struct {
	*devicetest.House
	store    *storage.Store
	engine   *storagetest.Counted
	clock    *storage.FakeClock
	ring     *keyring.Ring
	codes    *recovery.Service
	devices  *device.Service
	logins   *login.Service
	backups  *backup.Service
	restores *restore.Service
}

func onEveryEngine(t *testing.T, test func(t *testing.T, h *house)) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) { test(t, openHouse(t, o)) })
}

func openHouse(t testing.TB, o ground.Options) *house {
	t.Helper()
	h := &house{engine: &storagetest.Counted{}}
	o.Wrap = h.engine.Around
	h.House = devicetest.Open(t, o)
	h.Set("restore.veto", "off") // the tests of the wait set another
	h.store = h.Store
	h.clock = h.Clock
	h.ring = h.Ring
	h.codes = h.Codes
	h.devices = h.Devices
	h.logins = h.Logins
	h.backups = h.Backups
	h.restores = h.Restores
	return h
}

// phone is one installation with its key, and what it would have kept.
type phone struct {
	*devicetest.Phone
	h      *house
	code   string // the user's recovery code
	handle string
}

// from is the user by one of her phones.
var from = audit.ByUser().WithOrigin("192.0.2.1", "test")

// newPhone makes an installation that has not enrolled.
func (h *house) newPhone(name string) *phone {
	p := &phone{Phone: h.NewPhone("ident-" + storage.NewID("", 12)), h: h}
	p.In.Name = name
	p.In.Push = push.Address{Service: push.FCM, Token: "push-token-" + name}
	return p
}

// enroll makes a phone of a user, who may have others.
func (h *house) enroll(t testing.TB, userID string) *phone {
	t.Helper()
	p := h.newPhone("old phone")
	must(t, p.Enroll(h.Ticket(userID)))
	p.code = p.Enrolled.RecoveryCode
	return p
}

func hexDigest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// backUp puts the first generation and keeps its handle.
func (p *phone) backUp(t testing.TB, body string) *phone {
	t.Helper()
	manifest := p.Sign(map[string]any{
		"iss": p.Enrolled.ID, "generation": 1, "parent": "", "digest": hexDigest(body), "size": len(body), "items": 5,
		"provider": "server", "automatic_restore": true, "iat": p.h.clock.Wall().Unix(),
	})
	req := backup.PutRequest{Manifest: manifest, Body: []byte(body), Precondition: backup.Precondition{None: true}}
	stored, err := p.h.backups.Put(context.Background(), p.Proof(), req, from)
	must(t, err)
	p.handle = stored.Handle
	return p
}

// started is a restore as its phone has it.
type started struct {
	*restore.Started
	phone *phone
}

// start starts a restore of a handle on a new phone.
func (h *house) start(t testing.TB, handle string) *started {
	t.Helper()
	return h.newPhone("new phone").start(t, handle)
}

func (p *phone) start(t testing.TB, handle string) *started {
	t.Helper()
	s, err := p.h.restores.Start(context.Background(), p.request(t, handle), from)
	must(t, err)
	return &started{Started: s, phone: p}
}

// request is a start with everything in it.
func (p *phone) request(t testing.TB, handle string) restore.StartRequest {
	t.Helper()
	proof := p.Sign(map[string]any{"handle": hexDigest(handle), "iat": 1})
	return restore.StartRequest{
		Handle:       handle,
		Installation: p.In,
		Proof:        proof,
		Address:      "192.0.2.1",
	}
}

// state is what a GET of the restore says.
func (s *started) state(t testing.TB) restore.State {
	t.Helper()
	state, err := s.phone.h.restores.State(context.Background(), s.ID, s.Token, "", from)
	must(t, err)
	return *state
}

func (s *started) expect(t testing.TB, step restore.Step, reason restore.Reason) {
	t.Helper()
	if now := s.state(t); now.Step != step || now.Reason != reason {
		t.Errorf("the step is %s (%s), want %s (%s)", now.Step, now.Reason, step, reason)
	}
}

func (s *started) redeem(code string) (*restore.Outcome, error) {
	return s.phone.h.restores.RestoreWithCode(context.Background(), s.ID, s.Token, code, from)
}

// restored redeems a code and makes the phone the enrolled one.
func (s *started) restored(t testing.TB, code string) *restore.Outcome {
	t.Helper()
	o, err := s.redeem(code)
	must(t, err)
	s.phone.Enrolled = &o.Enrolled
	s.phone.code = o.RecoveryCode
	s.phone.handle = o.RestoreHandle
	return o
}

// wrongCodes gives n wrong codes, none of which may be limited.
func (s *started) wrongCodes(t testing.TB, n int) {
	t.Helper()
	for range n {
		if _, err := s.redeem(wrongCode); !errors.Is(err, recovery.ErrWrongCode) {
			t.Fatalf("a wrong code got %v", err)
		}
	}
}

// wrongCode is a code that is well formed and nobody's; typo one whose check character is wrong.
const (
	wrongCode = "0123456789ABCDEFGHJKMNPV"
	typo      = "0123456789ABCDEFGHJKMNPW"
)

// block blocks a user.
func (h *house) block(t testing.TB, userID string, blocked bool) {
	t.Helper()
	h.Update(func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err == nil {
			_, err = user.Change(tx, u.UID, func(u *user.User) error {
				u.Blocked = blocked
				return nil
			})
		}
		return err
	})
}

// notices counts the entries of the outbox that hold all the strings.
func (h *house) notices(t testing.TB, all ...string) (n int) {
	t.Helper()
	for _, row := range h.Rows("outbox") {
		has := true
		for _, s := range all {
			has = has && strings.Contains(row, `"`+s+`"`)
		}
		if has {
			n++
		}
	}
	return n
}

// question is a login of ada's that waits for an answer.
type question struct {
	login.Begun
	push.Message
}

// ask has a login from an address ask ada's phones, and takes what was pushed to the first.
func (h *house) ask(t testing.TB, address string) question {
	t.Helper()
	begun, err := h.logins.Begin(context.Background(), login.Request{
		Client: "shop",
		UserID: "ada",
		Scope:  "openid",
		IP:     address,
		Life:   5 * time.Minute,
	})
	must(t, err)
	h.Sent.Take()
	h.Drain(h.logins.Handler(), recovery.Notice.Handler(h.devices.DeliverNotice))
	for _, m := range h.Sent.Take() {
		if m.Challenge != "" {
			return question{begun, m.Message}
		}
	}
	t.Fatal("no phone was asked")
	return question{}
}

// answer gives the phone's signed answer, without another call.
func (p *phone) answer(t testing.TB, asked question, yes bool) {
	t.Helper()
	now := p.h.clock.Wall().Unix()
	jwt := p.Sign(map[string]any{
		"iss":                     p.In.Identifier,
		"sub":                     asked.Challenge,
		"aud":                     devicetest.PublicURL + "/appliance-mfa/api/resolve-transaction",
		"iat":                     now,
		"exp":                     now + 30,
		"auth0_guardian_method":   "push",
		"auth0_guardian_accepted": yes,
		"tutela_number":           asked.Number,
	})
	must(t, p.h.logins.Answer(context.Background(), asked.TransactionToken, jwt, from))
}

// deliver does what is due in the outbox, and returns what the phones were told.
func (h *house) deliver(t testing.TB) []devicetest.Delivered {
	t.Helper()
	h.Drain(recovery.Notice.Handler(h.devices.DeliverNotice))
	return h.Sent.Take()
}

func (h *house) events(t testing.TB, types ...audit.Type) []audit.Entry {
	t.Helper()
	entries, _, err := audit.List(context.Background(), h.store, audit.Query{Types: types}, false)
	must(t, err)
	return entries
}

var must = check.Must

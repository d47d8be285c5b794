package recovery_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house is the service over a real data file, with a clock that the test owns.
type house struct {
	*recovery.Service
	t     *testing.T
	path  string
	clock *storage.FakeClock
	store *storage.Store
	ring  *keyring.Ring
	key   ed25519.PrivateKey // signs receipts

	admins *admin.Service // for what needs no phones

	ground *ground.Ground
}

func onEveryEngine(t *testing.T, test func(h *house)) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) { test(newHouse(t, o)) })
}

func newHouse(t *testing.T, o ground.Options) *house {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	g := ground.Open(t, o)
	h := &house{
		t:      t,
		path:   g.Path,
		clock:  g.Clock,
		key:    key,
		ground: g,
	}
	h.build()
	return h
}

func (h *house) build() {
	h.store = h.ground.Store
	h.ring = h.ground.Ring
	h.Service = recovery.New(h.store, h.ring, h.sign)
	h.admins = admin.New(h.store, h.Service, nil, nil, nil)
}

// restart closes the store and opens it again, with the wall moved by jump in between.
func (h *house) restart(jump time.Duration) {
	h.t.Helper()
	h.ground.Reopen(jump)
	h.build()
}

func (h *house) sign(_ context.Context, payload []byte) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: h.key}, nil)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

func (h *house) update(fn func(tx *storage.Tx) error) error {
	return h.store.Update(context.Background(), fn)
}

func (h *house) view(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	must(h.t, h.store.View(context.Background(), fn))
}

// newUser makes a user with a recovery code.
func (h *house) newUser(id string) (uid storage.UID, code recovery.Code) {
	h.t.Helper()
	must(h.t, h.update(func(tx *storage.Tx) (err error) {
		u, err := user.Create(tx, user.User{ID: id})
		if err != nil {
			return err
		}
		uid = u.UID
		code, err = h.Issue(tx, uid)
		return err
	}))
	return uid, code
}

func (h *house) spend(uid storage.UID, ch recovery.Channel, code recovery.Code) (next recovery.Code, err error) {
	err = h.update(func(tx *storage.Tx) (err error) {
		next, err = h.Spend(tx, uid, ch, code, audit.ByUser())
		return err
	})
	return next, err
}

// wrong is a code that is nobody's, and no typo.
func (h *house) wrong() recovery.Code {
	h.t.Helper()
	code, err := recovery.ParseCode("0123456789ABCDEFGHJKMNPV")
	must(h.t, err)
	return code
}

// fail spends a wrong code and fails the test unless it was looked at and counted.
func (h *house) fail(uid storage.UID, ch recovery.Channel) {
	h.t.Helper()
	if _, err := h.spend(uid, ch, h.wrong()); !errors.Is(err, recovery.ErrWrongCode) {
		h.t.Fatalf("a wrong code got %v", err)
	}
}

// wait returns how long wrong codes on the channel wait; 0 when the next is counted.
func (h *house) wait(uid storage.UID, ch recovery.Channel) (wait time.Duration) {
	h.t.Helper()
	h.view(func(tx *storage.Tx) error {
		blocks, err := recovery.Blocks(tx, uid)
		for _, b := range blocks {
			if b.Channel == ch {
				wait = b.Until.Sub(tx.Now())
			}
		}
		return err
	})
	return wait
}

// notices takes the notices of a user that wait to be sent.
func (h *house) notices(uid storage.UID) (words []recovery.NoticeWord) {
	h.t.Helper()
	h.ground.Drain(recovery.Notice.Handler(func(_ context.Context, e outbox.Entry[recovery.NoticePayload]) (outbox.Then, error) {
		if e.Owner == uid {
			words = append(words, e.Payload.Notice)
		}
		return nil, nil
	}))
	return words
}

var must = check.Must

package device_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"tutela/device"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/setting"
	"tutela/storage/storagetest/ground"
)

const publicURL = "http://localhost:8080"

// house is the services over a real data file, with a clock that the test owns and a push service that it reads.
type house struct {
	*device.Service
	t     *testing.T
	clock *storage.FakeClock
	store *storage.Store
	ring  *keyring.Ring
	codes *recovery.Service
	sent  *pushes

	ground *ground.Ground
}

func onEveryEngine(t *testing.T, test func(h *house)) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) { test(newHouse(t, o)) })
}

func newHouse(t *testing.T, o ground.Options) *house {
	t.Helper()
	g := ground.Open(t, o)
	h := &house{t: t, clock: g.Clock, store: g.Store, ring: g.Ring, sent: &pushes{}, ground: g}
	h.codes = recovery.New(h.store, h.ring, func(context.Context, []byte) (string, error) { return "signed", nil })
	h.Service = device.New(h.store, h.ring, h.codes, device.Options{
		Bases: device.NewBases([]string{publicURL + "/", "https://mfa.example.com/base"}), Issuer: "Example & Söhne", Deliver: h.sent,
	})
	return h
}

// pushes is a push service that remembers what it was given. Safe for concurrent use.
type pushes struct {
	mu       sync.Mutex
	messages []delivered
	fail     func(to push.Address) error
}

type delivered struct {
	to push.Address
	push.Message
}

func (p *pushes) Deliver(_ context.Context, to push.Address, m push.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(p.messages, delivered{to, m})
	if p.fail != nil {
		return p.fail(to)
	}
	return nil
}

// take returns what was delivered since the last call.
func (p *pushes) take() []delivered {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.messages
	p.messages = nil
	return taken
}

// deliver does what is due in the outbox, and returns what was delivered. Entries that fail stay.
func (h *house) deliver() []delivered {
	h.t.Helper()
	h.ground.Drain(recovery.Notice.Handler(h.DeliverNotice))
	return h.sent.take()
}

// waiting is the state of every entry of the outbox.
func (h *house) waiting() (entries []string) {
	h.scan(func(key, value string) {
		if key[0] == 'u' && strings.HasPrefix(key[17:], "outbox\x00") {
			entries = append(entries, value)
		}
	})
	return entries
}

// scan shows every key and value of the engine.
func (h *house) scan(see func(key, value string)) {
	h.t.Helper()
	must(h.t, h.store.Engine().View(context.Background(), func(r storage.Reader) error {
		return r.Scan(storage.Range{}, func(key, value []byte) bool {
			see(string(key), string(value))
			return true
		})
	}))
}

// holds tells whether a string lies anywhere in the engine in plain form.
func (h *house) holds(s string) (found bool) {
	h.scan(func(key, value string) { found = found || strings.Contains(key+value, s) })
	return found
}

func (h *house) update(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	must(h.t, h.store.Update(context.Background(), fn))
}

func (h *house) view(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	must(h.t, h.store.View(context.Background(), fn))
}

func (h *house) set(name, value string) {
	h.t.Helper()
	h.update(func(tx *storage.Tx) error { return setting.Set(tx, name, value) })
}

func (h *house) uid(id string) (uid storage.UID) {
	h.t.Helper()
	h.view(func(tx *storage.Tx) (err error) {
		u, err := user.Find(tx, id)
		if err == nil {
			uid = u.UID
		}
		return err
	})
	return uid
}

func (h *house) expectState(id string, want user.State) {
	h.t.Helper()
	h.view(func(tx *storage.Tx) error {
		u, err := user.Find(tx, id)
		must(h.t, err)
		got, err := device.State(tx, u.UID)
		if got != want {
			h.t.Errorf("%s is %s, want %s", id, got, want)
		}
		return err
	})
}

// events are those about a user of a type, newest first.
func (h *house) events(id string, of audit.Type) []audit.Entry {
	h.t.Helper()
	entries, _, err := audit.List(context.Background(), h.store, audit.Query{UID: h.uid(id), Types: []audit.Type{of}}, false)
	must(h.t, err)
	return entries
}

func (h *house) block(id string, blocked bool) {
	h.t.Helper()
	must(h.t, h.codes.SetBlocked(context.Background(), id, blocked, audit.ByOperator(0)))
}

func (h *house) reset(id string) {
	h.t.Helper()
	_, err := h.codes.Reset(context.Background(), recovery.ResetRequest{UserID: id, Reason: "x", Actor: audit.ByOperator(0)})
	must(h.t, err)
}

// ticket makes a ticket for a user, who may be enrolled.
func (h *house) ticket(id string) string {
	h.t.Helper()
	secret, err := h.NewTicket(context.Background(), device.TicketRequest{User: user.User{ID: id}, AllowMultiple: true, Actor: audit.ByOperator(0)})
	must(h.t, err)
	return secret
}

// phone is one installation with its key.
type phone struct {
	h      *house
	signer crypto.Signer
	key    device.Key
	in     device.Installation
	answer *device.Enrolled
}

// newPhone makes an installation with a key, which has not enrolled.
func (h *house) newPhone(identifier string) *phone {
	h.t.Helper()
	return h.newPhoneWith(identifier, newEd25519(h.t))
}

func (h *house) newPhoneWith(identifier string, signer crypto.Signer) *phone {
	h.t.Helper()
	key, err := device.ParseKey(jwkOf(h.t, signer))
	must(h.t, err)
	return &phone{h: h, signer: signer, key: key, in: device.Installation{
		Identifier: identifier, Name: "Pixel 9", Key: key,
		Push: push.Address{Service: push.GCM, Token: "push of " + identifier}, Capabilities: []string{device.NumberMatching},
	}}
}

// enroll makes a phone of a user.
func (h *house) enroll(id, identifier string) *phone {
	h.t.Helper()
	p := h.newPhone(identifier)
	must(h.t, p.enroll(h.ticket(id)))
	return p
}

func (p *phone) enroll(ticket string) error {
	answer, err := p.h.Enroll(context.Background(), ticket, p.in, audit.ByUser().WithOrigin("192.0.2.1", ""))
	if err == nil {
		p.answer = answer
	}
	return err
}

// claims are those of a good device JWT, with changes; a change to nil takes the claim away.
func (p *phone) claims(change map[string]any) map[string]any {
	now := p.h.clock.Wall().Unix()
	c := map[string]any{
		"iss": p.answer.ID, "sub": p.answer.UserID, "aud": publicURL + "/appliance-mfa/api/device-accounts", "iat": now, "exp": now + 7200,
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (p *phone) jwt(change map[string]any) string {
	p.h.t.Helper()
	return sign(p.h.t, p.signer, p.claims(change))
}

// call proves a call by the phone's JWT.
func (p *phone) call() (device.Proof, error) {
	return p.h.Prove(context.Background(), p.answer.ID, p.jwt(nil), true)
}

// callByToken proves a call by the device token.
func (p *phone) callByToken() (device.Proof, error) {
	return p.h.Prove(context.Background(), p.answer.ID, p.answer.Token, false)
}

func (p *phone) proof() device.Proof {
	p.h.t.Helper()
	proof, err := p.call()
	must(p.h.t, err)
	return proof
}

func (p *phone) enrollment() (e *device.Enrollment) {
	p.h.t.Helper()
	p.h.view(func(tx *storage.Tx) (err error) {
		_, e, err = device.Find(tx, p.answer.ID)
		return err
	})
	return e
}

func (p *phone) expectStatus(want device.Status) {
	p.h.t.Helper()
	if got := p.enrollment().Status; got != want {
		p.h.t.Errorf("%s is %s, want %s", p.in.Identifier, got, want)
	}
}

// sign makes a compact JWS over claims by a key.
func sign(t testing.TB, signer crypto.Signer, claims any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	must(t, err)
	algorithm := jose.EdDSA
	switch signer.(type) {
	case *rsa.PrivateKey:
		algorithm = jose.RS256
	case *ecdsa.PrivateKey:
		algorithm = jose.ES256
	}
	return signAs(t, algorithm, signer, payload)
}

func signAs(t testing.TB, algorithm jose.SignatureAlgorithm, key any, payload []byte) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	must(t, err)
	signed, err := s.Sign(payload)
	must(t, err)
	compact, err := signed.CompactSerialize()
	must(t, err)
	return compact
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return key
}

func newP256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newRSA(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsaKey()
	must(t, err)
	return key
}

// jwkOf is a signer's public key as its SDK sends it: Android with a leading zero byte in n.
func jwkOf(t testing.TB, signer crypto.Signer) json.RawMessage {
	t.Helper()
	members := map[string]string{"use": "sig"}
	switch key := signer.Public().(type) {
	case *rsa.PublicKey:
		maps.Copy(members, map[string]string{
			"kty": "RSA", "alg": "RS256", "n": b64(append([]byte{0}, key.N.Bytes()...)), "e": b64(big.NewInt(int64(key.E)).Bytes()),
		})
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		must(t, err)
		maps.Copy(members, map[string]string{"kty": "EC", "crv": "P-256", "alg": "ES256", "x": b64(point[1:33]), "y": b64(point[33:])})
	case ed25519.PublicKey:
		maps.Copy(members, map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": b64(key)})
	default:
		t.Fatalf("a key of type %T", key)
	}
	return encode(t, members)
}

func encode(t testing.TB, v any) json.RawMessage {
	t.Helper()
	encoded, err := json.Marshal(v)
	must(t, err)
	return encoded
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// expect fails the test unless err is the one that is wanted, or none is wanted and there is none.
func expect(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

package backup_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"tutela/backup"
	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/setting"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

const publicURL = "http://localhost:8080"

// house is the services over a real data file, with a clock that the test owns.
type house struct {
	store   *storage.Store
	clock   *storage.FakeClock
	ring    *keyring.Ring
	codes   *recovery.Service
	devices *device.Service
	backups *backup.Service
}

func onEveryEngine(t *testing.T, test func(t *testing.T, h *house)) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) { test(t, openHouse(t, o)) })
}

func openHouse(t testing.TB, o ground.Options) *house {
	t.Helper()
	g := ground.Open(t, o)
	h := &house{clock: g.Clock, store: g.Store, ring: g.Ring}
	h.codes = recovery.New(h.store, h.ring, func(context.Context, []byte) (string, error) { return "signed", nil })
	h.devices = device.New(h.store, h.ring, h.codes, device.Options{Bases: device.NewBases([]string{publicURL}), Issuer: "Example"})
	h.backups = backup.New(h.store, h.ring, h.devices)
	return h
}

// phone is one installation with its key.
type phone struct {
	h      *house
	secret ed25519.PrivateKey
	key    device.Key
	answer *device.Enrolled
}

// newPhone makes a key and no more.
func (h *house) newPhone(t testing.TB) *phone {
	t.Helper()
	public, secret, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	jwk := `{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`
	key, err := device.ParseKey(json.RawMessage(jwk))
	must(t, err)
	return &phone{h: h, secret: secret, key: key}
}

// enroll makes a phone of a user, who may have others.
func (h *house) enroll(t testing.TB, userID string) *phone {
	t.Helper()
	p := h.newPhone(t)
	ctx := context.Background()
	ticket, err := h.devices.NewTicket(ctx, device.TicketRequest{User: user.User{ID: userID}, AllowMultiple: true, Actor: audit.ByOperator(0)})
	must(t, err)
	in := device.Installation{Identifier: storage.NewID("", 12), Name: "Pixel 9", Key: p.key}
	p.answer, err = h.devices.Enroll(ctx, ticket, in, audit.ByUser())
	must(t, err)
	return p
}

// sign makes a compact JWS by the phone's key.
func (p *phone) sign(t testing.TB, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	must(t, err)
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(p.secret, []byte(signed)))
}

// prove is a call by the phone's device JWT.
func (p *phone) prove(t testing.TB) device.Proof {
	t.Helper()
	now := p.h.clock.Wall().Unix()
	proof, err := p.h.devices.Prove(context.Background(), p.answer.ID, p.sign(t, map[string]any{
		"iss": p.answer.ID, "sub": p.answer.UserID, "aud": publicURL + "/api/device-accounts", "iat": now, "exp": now + 60,
	}), true)
	must(t, err)
	return proof
}

func hexDigest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// version is a version to be put; change works on the manifest's claims.
func (p *phone) version(t testing.TB, generation int64, parent string, body []byte, items int, change func(map[string]any)) backup.PutRequest {
	t.Helper()
	claims := map[string]any{
		"iss": p.answer.ID, "generation": generation, "parent": "", "digest": hexDigest(body), "size": len(body), "items": items,
		"provider": "server", "automatic_restore": true, "iat": p.h.clock.Wall().Unix(),
	}
	if parent != "" {
		claims["parent"] = hexDigest([]byte(parent))
	}
	if change != nil {
		change(claims)
	}
	req := backup.PutRequest{Manifest: p.sign(t, claims), Body: body, Precondition: backup.Precondition{None: true}}
	if generation > 1 {
		before := generation - 1
		req.Precondition = backup.Precondition{Match: &before}
	}
	return req
}

// put puts a version and fails the test when it is refused.
func (p *phone) put(t testing.TB, req backup.PutRequest) *backup.Stored {
	t.Helper()
	stored, err := p.h.backups.Put(context.Background(), p.prove(t), req, audit.ByUser().WithOrigin("192.0.2.1", ""))
	must(t, err)
	return stored
}

// backUp puts n versions of five items each and returns the last manifest.
func (p *phone) backUp(t testing.TB, n int) (manifest string) {
	t.Helper()
	for generation := range n {
		req := p.version(t, int64(generation)+1, manifest, random(100), 5, nil)
		p.put(t, req)
		manifest = req.Manifest
	}
	return manifest
}

// set sets a policy.
func (h *house) set(t testing.TB, name, value string) {
	t.Helper()
	must(t, h.store.Update(context.Background(), func(tx *storage.Tx) error { return setting.Set(tx, name, value) }))
}

// rows counts the rows that a predicate picks by table and key, whoever has them.
func (h *house) rows(t testing.TB, table string) (n int) {
	t.Helper()
	must(t, h.store.Engine().Peek(context.Background(), storage.Prefix([]byte("u")), func(key, _ []byte) bool {
		name, _, _ := strings.Cut(string(key[17:]), "\x00")
		if name == table {
			n++
		}
		return true
	}))
	return n
}

// holds tells whether any byte of the store, keys or values, holds a string.
func (h *house) holds(t testing.TB, planted string) (found bool) {
	t.Helper()
	must(t, h.store.Engine().Peek(context.Background(), storage.Range{}, func(key, value []byte) bool {
		found = strings.Contains(string(key), planted) || strings.Contains(string(value), planted)
		return !found
	}))
	return found
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

var must = check.Must

// payload is the payload of a compact JWS.
func payload(t testing.TB, compact string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(compact, ".")[1])
	must(t, err)
	return string(b)
}

package login_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/bolt"
	"tutela/storage/keyring"
)

// BenchmarkLogin measures a whole login below HTTP: asked, pulled, answered with a signature, collected. The phone's
// signature (about 25 µs of P-256) is within.
func BenchmarkLogin(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) { benchLogins(b, callers) })
	}
}

const benchPublic = "http://localhost:8080"

type benchPhone struct {
	user   string
	answer *device.Enrolled
	proof  device.Proof
	key    *ecdsa.PrivateKey
}

type benchHouse struct {
	store   *storage.Store
	admins  *admin.Service
	devices *device.Service
	logins  *login.Service
}

func benchLogins(b *testing.B, callers int) {
	h := openBench(b, nil)
	phones := make([]*benchPhone, b.N/12+callers)
	for i := range phones {
		phones[i] = h.enroll(b, fmt.Sprintf("user-%d", i))
	}
	var next atomic.Int64
	b.SetParallelism(max(callers/2, 1)) // GOMAXPROCS is 2 on the machine that the figures are of
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := h.login(b.Context(), phones[int(next.Add(1))%len(phones)]); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "logins/s")
}

func openBench(b *testing.B, to *push.Gateway) *benchHouse {
	b.Helper()
	engine, err := bolt.Open(b.Context(), filepath.Join(b.TempDir(), "tutela.db"), bolt.Options{})
	if err != nil {
		b.Fatal(err)
	}
	store, err := storage.Open(b.Context(), engine, storage.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	ring, err := keyring.Open(b.Context(), store, make([]byte, keyring.KeyBytes))
	if err != nil {
		b.Fatal(err)
	}
	sign := func(context.Context, []byte) (string, error) { return "", nil }
	codes := recovery.New(store, ring, sign)
	bases := device.NewBases([]string{benchPublic})
	devices := device.New(store, ring, codes, device.Options{Bases: bases, Issuer: "bench", Deliver: to})
	return &benchHouse{
		store:   store,
		admins:  admin.New(store, codes, devices, nil, nil), // for tickets alone
		devices: devices,
		logins:  login.New(store, ring, devices, codes, bases, to),
	}
}

func (h *benchHouse) enroll(b *testing.B, id string) *benchPhone {
	b.Helper()
	return h.enrollAt(b, id, push.Address{})
}

// enrollAt is enroll for a phone that is reached at an address.
func (h *benchHouse) enrollAt(b *testing.B, id string, at push.Address) *benchPhone {
	b.Helper()
	ticket, err := h.admins.NewTicket(b.Context(), admin.TicketRequest{User: user.User{ID: id}}, audit.ByOperator(0))
	if err != nil {
		b.Fatal(err)
	}
	p := &benchPhone{user: id}
	if p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		b.Fatal(err)
	}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: p.key.Public()})
	if err != nil {
		b.Fatal(err)
	}
	key, err := device.ParseKey(jwk)
	if err != nil {
		b.Fatal(err)
	}
	in := device.Installation{
		Identifier:   id,
		Name:         "bench",
		Key:          key,
		Push:         at,
		Capabilities: []string{device.NumberMatching},
	}
	if p.answer, err = h.devices.Enroll(b.Context(), ticket, in, audit.ByUser()); err != nil {
		b.Fatal(err)
	}
	now := time.Now().Unix()
	jwt, err := p.sign(map[string]any{
		"iss": p.answer.ID, "sub": id, "aud": benchPublic + "/appliance-mfa/api/device-accounts", "iat": now, "exp": now + 60,
	})
	if err != nil {
		b.Fatal(err)
	}
	if p.proof, err = h.devices.Prove(b.Context(), p.answer.ID, jwt, true); err != nil {
		b.Fatal(err)
	}
	return p
}

func (h *benchHouse) login(ctx context.Context, p *benchPhone) error {
	begun, err := h.logins.Begin(ctx, login.Request{
		Client: "bank",
		UserID: p.user,
		Scope:  "openid",
		IP:     "203.0.113.7",
		Agent:  "Mozilla/5.0",
		Life:   time.Minute,
	})
	if err != nil {
		return err
	}
	approvals, err := h.logins.Approvals(ctx, p.proof, nil, 0)
	if err != nil || len(approvals) == 0 {
		return fmt.Errorf("approvals: %d, %w", len(approvals), err)
	}
	now := time.Now().Unix()
	answer, err := p.sign(map[string]any{
		"iss": p.user, "sub": approvals[len(approvals)-1].Challenge, "aud": benchPublic + "/appliance-mfa/api/resolve-transaction",
		"iat": now, "exp": now + 30, "auth0_guardian_method": "push", "auth0_guardian_accepted": true, "tutela_number": begun.Number,
	})
	if err != nil {
		return err
	}
	if err := h.logins.Answer(ctx, approvals[len(approvals)-1].TransactionToken, answer, audit.ByUser().WithOrigin("203.0.113.8", "")); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if _, err := h.logins.Collect(ctx, "bank", begun.ID); err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	return nil
}

func (p *benchPhone) sign(claims map[string]any) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, nil)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

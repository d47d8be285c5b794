package backup_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"tutela/backup"
	"tutela/device"
	"tutela/device/devicetest"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house is the services over a real data file, with a clock that the test owns.
type house struct {
	*devicetest.House
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
	h := &house{House: devicetest.Open(t, o)}
	h.store = h.Store
	h.clock = h.Clock
	h.ring = h.Ring
	h.codes = h.Codes
	h.devices = h.Devices
	h.backups = h.Backups
	return h
}

// phone is one installation that backs up.
type phone struct {
	*devicetest.Phone
	h *house
}

// enroll makes a phone of a user, who may have others.
func (h *house) enroll(t testing.TB, userID string) *phone {
	t.Helper()
	return &phone{h.Enroll(userID, storage.NewID("", 12)), h}
}

func hexDigest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// version is a version to be put; change works on the manifest's claims.
func (p *phone) version(t testing.TB, generation int64, parent string, body []byte, items int, change func(map[string]any)) backup.PutRequest {
	t.Helper()
	claims := map[string]any{
		"iss": p.Enrolled.ID, "generation": generation, "parent": "", "digest": hexDigest(body), "size": len(body), "items": items,
		"provider": "server", "automatic_restore": true, "iat": p.h.clock.Wall().Unix(),
	}
	if parent != "" {
		claims["parent"] = hexDigest([]byte(parent))
	}
	if change != nil {
		change(claims)
	}
	req := backup.PutRequest{Manifest: p.Sign(claims), Body: body, Precondition: backup.Precondition{None: true}}
	if generation > 1 {
		before := generation - 1
		req.Precondition = backup.Precondition{Match: &before}
	}
	return req
}

// put puts a version and fails the test when it is refused.
func (p *phone) put(t testing.TB, req backup.PutRequest) *backup.Stored {
	t.Helper()
	stored, err := p.h.backups.Put(context.Background(), p.Proof(), req, audit.ByUser().WithOrigin("192.0.2.1", ""))
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

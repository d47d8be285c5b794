package managementapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"time"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/signal"
	"tutela/recovery/user"
	"tutela/recovery/webhook"
	"tutela/server/access"
	"tutela/server/appapi"
	"tutela/server/managementapi"
	"tutela/server/servertest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

const publicURL = "https://mfa.example.com"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// house is the API served over HTTP on loopback, over a real data file, with a clock that the test owns.
type house struct {
	*servertest.House
	t       testing.TB
	clock   *storage.FakeClock
	store   *storage.Store
	access  *access.Service
	codes   *recovery.Service
	devices *device.Service
	url     string
	token   string // of a client with every scope of this API, but reset:admin_mfa
}

// allScopes are those of every call, but the one for admins.
var allScopes = []string{
	"read:users", "create:users", "update:users", "delete:users", "read:guardian_enrollments", "delete:guardian_enrollments",
	"create:guardian_enrollment_tickets", "read:logs", "reset:mfa", "read:guardian_factors", "update:guardian_factors",
	"read:mfa_policies", "update:mfa_policies",
	"manage:clients", "manage:policies", "manage:webhooks", "ssf.read", "ssf.manage",
	"read:prompts", "update:prompts",
	"read:recoverability", "read:stats",
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t}
	h.House = servertest.Open(t, servertest.Options{
		Ground: ground.Options{Clock: storage.NewFakeClock(noon)},
		Public: []string{publicURL},
		Mount: func(h *servertest.House) {
			managementapi.Mount(h.Server, managementapi.Services{
				Access:  h.Access,
				Admins:  h.Admins,
				Devices: h.Devices,
				Push:    h.Direct,
				Store:   h.Store,
				Log:     slog.New(slog.DiscardHandler),

				Webhooks: webhook.New(h.Store, webhook.Options{}),
				Signals: signal.New(h.Store, signal.Options{
					Issuer:   h.Access.Issuer(),
					Sign:     h.Access.SignSET,
					Ready:    h.Access.ReadySET,
					Receives: h.Access.Receives,
				}),
			})
			appapi.Mount(h.Server, appapi.Services{
				Devices:  h.Devices,
				Logins:   h.Logins,
				Backups:  h.Backups,
				Restores: h.Restores,
				Epoch:    h.Store.Epoch,
			})
		},
	})
	h.clock = h.Clock
	h.store = h.Store
	h.access = h.Access
	h.codes = h.Codes
	h.devices = h.Devices
	h.url = h.URL
	h.token = h.tokenFor(allScopes...)
	must(t, h.Admins.CountEveryone(t.Context()))
	return h
}

// clientFor registers a client and returns it with its management token.
func (h *house) clientFor(c access.Client) (access.Client, string) {
	h.t.Helper()
	c.Name = "admin program"
	added, _, err := h.access.AddClient(h.t.Context(), audit.ByOperator(0), c)
	must(h.t, err)
	token, _, err := h.access.ManagementToken(h.t.Context(), added, h.access.ManagementAudience(), nil)
	must(h.t, err)
	return added, token
}

func (h *house) tokenFor(scopes ...string) string {
	h.t.Helper()
	_, token := h.clientFor(access.Client{Scopes: scopes})
	return token
}

// answer is what came back for a call.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// call makes a call below /api/v2 with the token, or that of the house.
func (h *house) call(method, path, body string, token ...string) answer {
	h.t.Helper()
	bearer := h.token
	if len(token) > 0 {
		bearer = token[0]
	}
	header := []string{"Auth0-Client", "eyJuYW1lIjoidGVzdCJ9", "User-Agent", "admin/1.0"}
	if body != "" {
		header = append(header, "Content-Type", "application/json")
	}
	if bearer != "" {
		header = append(header, "Authorization", "Bearer "+bearer)
	}
	a := h.Call(method, "/api/v2"+path, body, header...)
	return answer{h.t, a.Status, a.Header, a.Raw}
}

// is fails the test when the answer has another status.
func (a answer) is(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, not %d: %s", a.status, status, a.body)
	}
	return a
}

// refused fails the test when the answer is not this error.
func (a answer) refused(status int, code string) answer {
	a.t.Helper()
	a.is(status)
	var e struct {
		Status  int    `json:"statusCode"`
		Reason  string `json:"error"`
		Message string `json:"message"`
		Code    string `json:"errorCode"`
	}
	a.into(&e)
	if e.Status != status || e.Reason != http.StatusText(status) || e.Message == "" || e.Code != code {
		a.t.Fatalf("error %+v, not %d %s", e, status, code)
	}
	return a
}

func (a answer) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
}

// object decodes an answer that is an object.
func (a answer) object() map[string]any {
	a.t.Helper()
	var o map[string]any
	a.into(&o)
	return o
}

// array decodes an answer that is an array of objects.
func (a answer) array() []map[string]any {
	a.t.Helper()
	var o []map[string]any
	a.into(&o)
	return o
}

// enroll makes a phone of a user, who may have others, and returns the enrollment's id.
func (h *house) enroll(userID string) string {
	h.t.Helper()
	return h.enrollBy(h.Ticket(user.User{ID: userID}))
}

// enrollBy makes a phone by a ticket.
func (h *house) enrollBy(ticket string) string {
	h.t.Helper()
	id, err := h.tryEnroll(ticket)
	must(h.t, err)
	return id
}

func (h *house) tryEnroll(ticket string) (id string, err error) {
	h.t.Helper()
	ctx := h.t.Context()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(h.t, err)
	point, err := key.PublicKey.Bytes()
	must(h.t, err)
	encode := base64.RawURLEncoding.EncodeToString
	jwk, err := device.ParseKey(json.RawMessage(`{"kty":"EC","crv":"P-256","alg":"ES256","x":"` + encode(point[1:33]) + `","y":"` + encode(point[33:]) + `"}`))
	must(h.t, err)
	in := device.Installation{Identifier: storage.NewID("", 12), Name: "Pixel 9", Key: jwk}
	answer, err := h.devices.Enroll(ctx, ticket, in, audit.ByUser().WithOrigin("192.0.2.7", ""))
	if err != nil {
		return "", err
	}
	return answer.ID, nil
}

// setRole gives a user a role.
func (h *house) setRole(userID string, role user.Role) {
	h.t.Helper()
	must(h.t, h.Admins.SetRole(h.t.Context(), userID, role, audit.ByOperator(0)))
}

// logsOf returns the events of a type, newest first.
func (h *house) logsOf(kind string) []map[string]any {
	h.t.Helper()
	return h.call("GET", "/logs?q="+url.QueryEscape(`type:"`+kind+`"`), "").is(http.StatusOK).array()
}

var must = check.Must

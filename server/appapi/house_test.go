package appapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/phone"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server"
	"tutela/server/servertest"
	"tutela/storage"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house is the API over a real store, served on loopback. In tests the engine reruns closures at random.
type house struct {
	*servertest.House
	t      testing.TB
	clock  *storage.FakeClock
	store  *storage.Store
	srv    *server.Server
	url    string // public URL
	client *http.Client
	pushes *devicetest.Pushes // nil without a push service
}

func newHouse(t testing.TB, change ...func(*server.Config)) *house {
	t.Helper()
	return openHouse(t, &house{t: t}, nil, change...)
}

// newPushing is a house with a push service, which a test reads.
func newPushing(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, pushes: &devicetest.Pushes{}}
	return openHouse(t, h, h.pushes)
}

// pushed does what is due in the outbox, and returns what was pushed.
func (h *house) pushed() []devicetest.Delivered {
	h.t.Helper()
	h.Drain(recovery.Notice.Handler(h.Devices.DeliverNotice), h.Logins.Handler())
	return h.pushes.Take()
}

// webPushKey is what the house says by which apps subscribe.
const webPushKey = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"

func openHouse(t testing.TB, h *house, to push.Carrier, change ...func(*server.Config)) *house {
	t.Helper()
	_, test := t.(*testing.T)
	h.House = servertest.Open(t, servertest.Options{
		// Real now: the Date header is the machine's, and apps set their clock by it.
		Ground: ground.Options{Chaos: test, Clock: storage.NewFakeClock(time.Now())},
		Public: []string{"https://mfa.example.org/"},
		Push:   to,
		Config: func(config *server.Config) {
			for _, c := range change {
				c(config)
			}
		},
		Mount: func(h *servertest.House) {
			Mount(h.Server, Services{
				Devices:  h.Devices,
				Logins:   h.Logins,
				Backups:  h.Backups,
				Restores: h.Restores,
				Access:   h.Access,
				Epoch:    h.Store.Epoch,
				WebPush:  webPushKey,
			})
		},
	})
	h.clock = h.Clock
	h.store = h.Store
	h.srv = h.Server
	h.url = h.URL
	h.client = h.Client
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	check.Must(h.t, err)
}

// answer is what came back for a call.
type answer struct {
	status int
	header http.Header
	raw    string
	body   map[string]any // nil when it is no object
}

// call makes a call; header are alternating names and values.
func (h *house) call(method, path, body string, header ...string) answer {
	h.t.Helper()
	a, err := h.Try(method, path, body, header...)
	h.must(err)
	return answer{a.Status, a.Header, strings.TrimSuffix(a.Raw, "\n"), a.Body}
}

// refused fails the test unless a is an error of the API with this status and code, in the one body that the SDKs read.
func (h *house) refused(a answer, status int, code string) {
	h.t.Helper()
	message, _ := a.body["message"].(string)
	if a.status != status || a.body["errorCode"] != code || message == "" {
		h.t.Fatalf("got %d %s, want %d %s", a.status, a.raw, status, code)
	}
	if a.body["statusCode"] != float64(status) || a.header.Get("Content-Type") != "application/json" {
		h.t.Fatalf("not the error body of this API: %s %s", a.header.Get("Content-Type"), a.raw)
	}
	if reason, _ := a.body["error"].(string); reason == "" {
		h.t.Fatalf("error is no string: %s", a.raw)
	}
}

// accepted fails the test unless a has the status, and is empty or JSON as iOS wants it.
func (h *house) accepted(a answer, status int) {
	h.t.Helper()
	if a.status != status {
		h.t.Fatalf("got %d %s, want %d", a.status, a.raw, status)
	}
	if status == http.StatusNoContent && a.raw != "" || status != http.StatusNoContent && a.header.Get("Content-Type") != "application/json" {
		h.t.Fatalf("got %q %q", a.header.Get("Content-Type"), a.raw)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		h.t.Fatalf("Cache-Control is %q", got)
	}
}

// ticket makes a ticket for a user, who may be enrolled already.
func (h *house) ticket(userID string) string { return h.Ticket(user.User{ID: userID}) }

// phone makes a phone that is not enrolled.
func (h *house) phone(change ...func(*phone.Options)) *phone.Phone {
	h.t.Helper()
	o := phone.Options{
		BaseURL: h.url,
		Client:  h.client,
		Name:    "Pixel 9",
		Now:     h.clock.Wall,
	}
	for _, c := range change {
		c(&o)
	}
	p, err := phone.New(o)
	h.must(err)
	return p
}

// enroll makes a phone of a user's, and returns the recovery code that came with it.
func (h *house) enroll(userID string, change ...func(*phone.Options)) (*phone.Phone, string) {
	h.t.Helper()
	p := h.phone(change...)
	enrolled, err := p.Enroll(h.t.Context(), h.ticket(userID))
	h.must(err)
	return p, enrolled.RecoveryCode
}

// bearer is the device JWT of a phone as an Authorization field.
func (h *house) bearer(p *phone.Phone) string {
	h.t.Helper()
	token, err := p.DeviceJWT()
	h.must(err)
	return "Bearer " + token
}

// path is the path of a phone's enrollment.
func path(p *phone.Phone, below string) string {
	return "/api/device-accounts/" + p.Enrollment().ID + below
}

// ask has a login system ask for an approval of a user.
func (h *house) ask(userID string, change ...func(*login.Request)) login.Begun {
	h.t.Helper()
	req := login.Request{
		Client: "shop",
		UserID: userID,
		Scope:  "openid",
		Life:   2 * time.Minute,
	}
	for _, c := range change {
		c(&req)
	}
	begun, err := h.Logins.Begin(h.t.Context(), req)
	h.must(err)
	return begun
}

// approval pulls the one approval that waits on a phone.
func (h *house) approval(p *phone.Phone) phone.Approval {
	h.t.Helper()
	list, err := p.Approvals(h.t.Context(), 0, nil)
	h.must(err)
	if len(list) != 1 {
		h.t.Fatalf("%d approvals are pending", len(list))
	}
	return list[0]
}

// change changes an enrollment behind the API's back, as an admin would.
func (h *house) change(id string, f func(*device.Enrollment)) {
	h.t.Helper()
	h.Update(func(tx *storage.Tx) error {
		uid, e, err := device.Find(tx, id)
		if err != nil {
			return err
		}
		f(e)
		return device.Put(tx, uid, e)
	})
}

func (h *house) block(userID string) { h.ChangeUser(userID, func(u *user.User) { u.Blocked = true }) }

// json is v as text.
func (h *house) json(v any) string {
	h.t.Helper()
	text, err := json.Marshal(v)
	h.must(err)
	return string(text)
}

// withKey gives a phone keys of a kind.
func withKey(a phone.Algorithm) func(*phone.Options) {
	return func(o *phone.Options) { o.Algorithm = a }
}

// withPush gives a phone a push token.
func withPush(service, token string) func(*phone.Options) {
	return func(o *phone.Options) { o.Push = &phone.PushCredentials{Service: service, Token: token} }
}

// tapOnly makes a phone an app that cannot match numbers, as all that the public SDKs make.
func tapOnly(o *phone.Options) { o.Capabilities = []string{} }

package appapi

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/phone"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/bolt"
	"tutela/storage/keyring"
	"tutela/storage/setting"
	"tutela/storage/storagetest"
)

// quiet keeps warnings of a slow machine out of the tests' output.
var quiet = slog.New(slog.DiscardHandler)

// house is the API over a real store, served on loopback. In tests the engine reruns closures at random.
type house struct {
	t      testing.TB
	clock  *storage.FakeClock
	store  *storage.Store
	codes  *recovery.Service
	srv    *server.Server
	url    string // public URL
	stop   context.CancelFunc
	client *http.Client
	Services
}

func newHouse(t testing.TB, change ...func(*server.Config)) *house {
	t.Helper()
	// Real now: the Date header is the machine's, and apps set their clock by it.
	h := &house{t: t, clock: storage.NewFakeClock(time.Now())}
	h.openStore()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	h.url = "http://" + listener.Addr().String()
	ring, err := keyring.Open(t.Context(), h.store, []byte(strings.Repeat("k", keyring.KeyBytes)))
	h.must(err)
	bases := device.NewBases([]string{"https://mfa.example.org/", h.url})
	h.codes = recovery.New(h.store, ring, func(context.Context, []byte) (string, error) { return "signed", nil })
	h.Devices = device.New(h.store, ring, h.codes, device.Options{Bases: bases, Issuer: "Hafenlicht"})
	h.Logins = login.New(h.store, ring, h.Devices, h.codes, bases, nil)
	h.Backups = backup.New(h.store, ring, h.Devices)
	h.Restores = restore.New(h.store, ring, h.codes, h.Devices, h.Logins, h.Backups)
	h.serve(listener, change)
	return h
}

func (h *house) openStore() {
	h.t.Helper()
	file, err := bolt.Open(h.t.Context(), filepath.Join(h.t.TempDir(), "tutela.db"), bolt.Options{Logger: quiet})
	h.must(err)
	var engine storage.Engine = file
	if _, ok := h.t.(*testing.T); ok {
		engine = storagetest.Chaos(h.t, file)
	}
	h.store, err = storage.Open(h.t.Context(), engine, storage.Options{Clock: h.clock, Logger: quiet})
	h.must(err)
	h.t.Cleanup(func() { h.must(h.store.Close()) })
}

func (h *house) serve(listener net.Listener, change []func(*server.Config)) {
	h.t.Helper()
	config := server.Config{Listener: listener, Clock: h.clock}
	for _, c := range change {
		c(&config)
	}
	var err error
	h.srv, err = server.New(config)
	h.must(err)
	Mount(h.srv, h.Services)
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	done := make(chan error, 1)
	go func() { done <- h.srv.Serve(ctx) }()
	transport := &http.Transport{}
	h.client = &http.Client{Transport: transport}
	h.t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		h.must(<-done)
	})
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
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
	req, err := http.NewRequest(method, h.url+path, strings.NewReader(body))
	h.must(err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := h.client.Do(req)
	h.must(err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	h.must(err)
	a := answer{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	if a.header.Get("Content-Type") == "application/json" {
		a.raw = strings.TrimSpace(a.raw)
		_ = json.Unmarshal(raw, &a.body) // an array has no members
	}
	return a
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
func (h *house) ticket(userID string) string {
	h.t.Helper()
	ticket, err := h.Devices.NewTicket(h.t.Context(), device.TicketRequest{User: user.User{ID: userID}, AllowMultiple: true, Actor: audit.ByOperator(0)})
	h.must(err)
	return ticket
}

// phone makes a phone that is not enrolled.
func (h *house) phone(change ...func(*phone.Options)) *phone.Phone {
	h.t.Helper()
	o := phone.Options{BaseURL: h.url, Client: h.client, Name: "Pixel 9", Now: h.clock.Wall}
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
	req := login.Request{Client: "shop", UserID: userID, Scope: "openid", Life: 2 * time.Minute}
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

func (h *house) set(name, value string) {
	h.t.Helper()
	h.must(h.store.Update(h.t.Context(), func(tx *storage.Tx) error { return setting.Set(tx, name, value) }))
}

// change changes an enrollment behind the API's back, as an admin would.
func (h *house) change(id string, f func(*device.Enrollment)) {
	h.t.Helper()
	h.must(h.store.Update(h.t.Context(), func(tx *storage.Tx) error {
		uid, e, err := device.Find(tx, id)
		if err != nil {
			return err
		}
		f(e)
		return device.Put(tx, uid, e)
	}))
}

func (h *house) block(userID string) {
	h.t.Helper()
	h.must(h.store.Update(h.t.Context(), func(tx *storage.Tx) error {
		uid, _, err := user.Find(tx, userID)
		if err != nil {
			return err
		}
		_, err = user.Change(tx, uid, func(u *user.User) error { u.Blocked = true; return nil })
		return err
	}))
}

func (h *house) reset(userID string) {
	h.t.Helper()
	_, err := h.codes.Reset(h.t.Context(), recovery.ResetRequest{UserID: userID, Reason: "lost", Actor: audit.ByOperator(0)})
	h.must(err)
}

// rows are all keys of the store with their values.
func (h *house) rows() []string {
	h.t.Helper()
	var rows []string
	h.must(h.store.Engine().Peek(h.t.Context(), storage.Range{}, func(key, value []byte) bool {
		rows = append(rows, string(key)+"="+string(value))
		return true
	}))
	slices.Sort(rows)
	return rows
}

// unchanged runs do and fails the test when it has changed the store.
func (h *house) unchanged(do func()) {
	h.t.Helper()
	before := h.rows()
	do()
	if !slices.Equal(before, h.rows()) {
		h.t.Fatal("the store has changed")
	}
}

// untilHeld waits until n calls are held.
func (h *house) untilHeld(n int) {
	for h.srv.Waits().Len() != n {
		runtime.Gosched()
	}
}

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

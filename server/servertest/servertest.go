// Package servertest gives the tests of the APIs and pages an installation: all services over a real data file, served over
// HTTP on loopback.
package servertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/passkey"
	"tutela/device/push"
	"tutela/device/push/provider"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server"
	"tutela/server/access"
	"tutela/server/openapitest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// Options says how to build a house. With the zero value its one public URL is the address on which it listens.
type Options struct {
	Ground ground.Options
	Beside *House                // the house over whose store it is opened; nil: over one of its own
	Public []string              // public URLs that come before the address on which it listens; the first makes the issuer
	Push   push.Carrier          // nil: apps pull
	Config func(*server.Config)  // changes how it serves
	Device func(*device.Options) // changes how phones see it
	Mount  func(*House)          // puts the API under test on House.Server
}

// House is an installation that serves until its test ends.
type House struct {
	*ground.Ground
	URL    string // where it listens
	Server *server.Server
	Client *http.Client

	Access   *access.Service
	Codes    *recovery.Service
	Devices  *device.Service
	Passkeys *passkey.Service
	Logins   *login.Service
	Backups  *backup.Service
	Restores *restore.Service
	Admins   *admin.Service
	Direct   *provider.Service // the credentials for push services that are set by API

	// Stop ends the server as SIGTERM does.
	Stop context.CancelFunc

	t testing.TB
}

// Open builds a house and serves it.
func Open(t testing.TB, o Options) *House {
	t.Helper()
	if o.Ground.Log == nil {
		o.Ground.Log = slog.New(slog.DiscardHandler)
	}
	h := &House{t: t}
	if o.Beside != nil {
		h.Ground = o.Beside.Ground.Beside()
	} else {
		h.Ground = ground.Open(t, o.Ground)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check.Must(t, err)
	h.URL = "http://" + listener.Addr().String()
	h.build(o)
	config := server.Config{
		Listener: listener,
		Clock:    h.Clock,
		Log:      o.Ground.Log,
		Meter:    h.Store.Meter(),
	}
	if o.Config != nil {
		o.Config(&config)
	}
	h.Server, err = server.New(config)
	check.Must(t, err)
	if o.Mount != nil {
		o.Mount(h)
	}
	h.serve()
	return h
}

// build makes the services.
func (h *House) build(o Options) {
	h.t.Helper()
	urls := append(append([]string(nil), o.Public...), h.URL)
	var err error
	h.Access, err = access.New(h.t.Context(), h.Store, h.Ring, access.Options{PublicURLs: urls})
	check.Must(h.t, err)
	h.Codes = recovery.New(h.Store, h.Ring, h.Access.SignReceipt)
	bases := device.NewBases(urls)
	phones := device.Options{Bases: bases, Issuer: "Hafenlicht", Deliver: push.NewGateway(o.Push)}
	phones.Deliver.CountIn(h.Store.Meter())
	h.Direct = provider.New(h.Store, provider.Options{})
	phones.Deliver.Prefer(h.Direct)
	if o.Device != nil {
		o.Device(&phones)
	}
	phones.KnowsClient = h.Access.HasClient
	h.Devices = device.New(h.Store, h.Ring, h.Codes, phones)
	h.Passkeys = passkey.New(h.Store, h.Ring, passkey.Options{
		Bases:      bases,
		Issuer:     "Hafenlicht",
		Registered: access.HasWebOrigin,
	})
	h.Logins = login.New(h.Store, h.Ring, h.Devices, h.Codes, bases, phones.Deliver).WithPasskeys(h.Passkeys)
	h.Backups = backup.New(h.Store, h.Ring, h.Devices)
	h.Restores = restore.New(h.Store, h.Ring, h.Codes, h.Devices, h.Logins, h.Backups)
	h.Admins = admin.New(h.Store, h.Codes, h.Devices, h.Restores, h.Logins)
}

func (h *House) serve() {
	ctx, stop := context.WithCancel(context.Background())
	h.Stop = stop
	ended := make(chan error, 1)
	go func() { ended <- h.Server.Serve(ctx) }()
	transport := &http.Transport{}
	h.Client = &http.Client{Transport: transport}
	openapitest.Watch(h.t, h.Client, func() ([]byte, error) { return json.Marshal(h.Server.API().OpenAPI()) })
	h.t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		check.Must(h.t, <-ended)
	})
}

// Answer is the answer to a call.
type Answer struct {
	Status int
	Header http.Header
	Raw    string
	Body   map[string]any // nil when it is no JSON object
}

// Call makes a call. header holds alternating names and values.
func (h *House) Call(method, path, body string, header ...string) Answer {
	h.t.Helper()
	a, err := h.Try(method, path, body, header...)
	check.Must(h.t, err)
	return a
}

// Try is Call for goroutines other than the test's. It returns the error when the call fails.
func (h *House) Try(method, path, body string, header ...string) (Answer, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, h.URL+path, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := h.Client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	a := Answer{Status: resp.StatusCode, Header: resp.Header, Raw: string(raw)}
	_ = json.Unmarshal(raw, &a.Body) // what is no object has no members
	return a, err
}

// Knock sends the header of a call that announces a body of 1 MiB, sends no body, and returns the answer. It fails the test
// unless the server then closes the connection.
func (h *House) Knock(method, path string, header ...string) Answer {
	h.t.Helper()
	knocking, err := new(net.Dialer).DialContext(h.t.Context(), "tcp", strings.TrimPrefix(h.URL, "http://"))
	check.Must(h.t, err)
	defer func() { _ = knocking.Close() }()
	var raw strings.Builder
	fmt.Fprintf(&raw, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", method, path, 1<<20)
	for i := 0; i < len(header); i += 2 {
		fmt.Fprintf(&raw, "%s: %s\r\n", header[i], header[i+1])
	}
	_, err = io.WriteString(knocking, raw.String()+"\r\n")
	check.Must(h.t, err)
	resp, err := http.ReadResponse(bufio.NewReader(knocking), nil)
	check.Must(h.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	check.Must(h.t, err)
	if !resp.Close {
		h.t.Fatalf("%s %s: the connection stays open behind a body that is not read", method, path)
	}
	a := Answer{Status: resp.StatusCode, Header: resp.Header, Raw: string(body)}
	_ = json.Unmarshal(body, &a.Body)
	return a
}

// UntilHeld waits until n calls are held.
func (h *House) UntilHeld(n int) {
	for h.Server.Waits().Len() != n {
		runtime.Gosched()
	}
}

// Operator is the actor in calls that bypass the API under test.
var Operator = audit.ByOperator(1000)

// Ticket makes a ticket for a user. It makes the user if he is unknown. The user may already be enrolled.
func (h *House) Ticket(u user.User) string {
	h.t.Helper()
	ticket, err := h.Admins.NewTicket(h.t.Context(), admin.TicketRequest{User: u, AllowMultiple: true}, Operator)
	check.Must(h.t, err)
	return ticket
}

// SetBlocked blocks or unblocks a user.
func (h *House) SetBlocked(userID string, blocked bool) {
	h.t.Helper()
	check.Must(h.t, h.Admins.SetBlocked(h.t.Context(), userID, blocked, Operator))
}

// ChangeUser changes a user's record without an event.
func (h *House) ChangeUser(userID string, change func(*user.User)) {
	h.t.Helper()
	h.Update(func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err != nil {
			return err
		}
		_, err = user.Change(tx, u.UID, func(u *user.User) error {
			change(u)
			return nil
		})
		return err
	})
}

// Reset removes every record of a user's MFA.
func (h *House) Reset(userID string) recovery.Receipt {
	h.t.Helper()
	receipt, err := h.Admins.Reset(h.t.Context(), userID, recovery.ResetRequest{Reason: "lost phone"}, Operator)
	check.Must(h.t, err)
	return receipt
}

// Events returns the events of the given types, the oldest first.
func (h *House) Events(types ...audit.Type) (events []audit.Entry) {
	h.t.Helper()
	newestFirst, _, err := audit.List(h.t.Context(), h.Store, audit.Query{Types: types}, false)
	check.Must(h.t, err)
	for i := len(newestFirst) - 1; i >= 0; i-- {
		events = append(events, newestFirst[i])
	}
	return events
}

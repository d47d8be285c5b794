// Package appapi is what phones call: the Guardian protocol, as the public SDKs speak it, and the companion protocol
// for apps that can do more. It decodes, authenticates, calls one method of the domain, and encodes.
//
// The SDKs are not ours to change, so their traps are minded here: members that they cannot do without or cannot take,
// numbers that must be numbers, 204 for an empty answer, application/json for every other.
//
// Source: guardian-wire.md; app-api.md.
package appapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/server"
	"tutela/storage"
	"tutela/storage/audit"
)

// Services are what the API calls.
type Services struct {
	Devices  *device.Service
	Logins   *login.Service
	Backups  *backup.Service
	Restores *restore.Service
	Epoch    func() storage.Epoch // the store's
}

// api is the mounted API.
type api struct {
	Services
	server *server.Server
}

// Mount puts the API on the server, with its table of errors.
func Mount(s *server.Server, services Services) {
	a := &api{Services: services, server: s}
	s.Translate(server.AppAPI, translate)
	describeSchemes(s.API())
	a.mountEnroll()
	a.mountAccount()
	a.mountApprovals()
	a.mountBackup()
	a.mountRestore()
}

// caller is who makes a call, as far as its guard knows.
type caller struct {
	proof      device.Proof // of a device that has proven itself; else zero
	settled    bool         // let in for sure, or charged: nothing of this call is charged any more
	credential string       // what the Authorization field holds, where only the domain can tell what it is worth
	actor      audit.Actor  // for the event log
}

// guard says what a call must show before its body is even decoded.
type guard struct {
	scheme string // of the description; empty: nothing is shown
	admit  func(a *api, ctx huma.Context, c *caller) error
}

// The guards.
var (
	byDevice    = guard{schemeDevice, func(a *api, ctx huma.Context, c *caller) error { return a.proveOwn(ctx, c, true) }}
	byAnyDevice = guard{schemeAnyDevice, func(a *api, ctx huma.Context, c *caller) error { return a.proveOwn(ctx, c, false) }}
	byBearer    = guard{schemeBearer, func(_ *api, ctx huma.Context, c *caller) (err error) {
		c.credential, err = bearer(ctx.Header("Authorization"))
		return err
	}}
	byTicket = guard{schemeTicket, func(_ *api, ctx huma.Context, c *caller) (err error) {
		c.credential, err = ticket(ctx.Header("Authorization"))
		return err
	}}
	byNobody = guard{"", func(a *api, ctx huma.Context, c *caller) error {
		c.settled = true
		return a.server.AddressLimit().Charge(server.CallOf(ctx.Context()))
	}}
	bySigner = guard{schemeDevice, func(a *api, ctx huma.Context, c *caller) error {
		token, err := bearer(ctx.Header("Authorization"))
		if err != nil {
			return err
		}
		id, err := claimedEnrollment(token)
		if err != nil {
			return err
		}
		return a.prove(ctx.Context(), c, id, token, true)
	}}
)

// proveOwn lets the device in whose enrollment the path names: by its JWT or, unless signedOnly, its device token.
func (a *api) proveOwn(ctx huma.Context, c *caller, signedOnly bool) error {
	token, err := bearer(ctx.Header("Authorization"))
	if err != nil {
		return err
	}
	return a.prove(ctx.Context(), c, ctx.Param("id"), token, signedOnly)
}

func (a *api) prove(ctx context.Context, c *caller, enrollment, token string, signedOnly bool) (err error) {
	c.proof, err = a.Devices.Prove(ctx, enrollment, token, signedOnly)
	c.settled = err == nil
	return err
}

type callerKey struct{}

// register mounts one operation behind its guard. A call that its guard or, for a credential that only the domain can
// judge, the domain does not let in is charged to its address.
func register[I, O any](a *api, g guard, op huma.Operation, handle func(context.Context, *caller, *I) (*O, error)) {
	op.Tags = []string{"app"}
	if g.scheme != "" {
		op.Security = []map[string][]string{{g.scheme: {}}}
	}
	op.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		c := &caller{actor: actorOf(ctx)}
		if err := g.admit(a, ctx, c); err != nil {
			err = a.charged(ctx.Context(), c, err)
			_ = huma.WriteErr(a.server.API(), ctx, http.StatusInternalServerError, "", err) // it has written to a buffer
			return
		}
		next(huma.WithValue(ctx, callerKey{}, c))
	}}
	huma.Register(a.server.API(), op, func(ctx context.Context, in *I) (*O, error) {
		c, ok := ctx.Value(callerKey{}).(*caller)
		if !ok {
			return nil, errors.New("a call came past its guard")
		}
		out, err := handle(ctx, c, in)
		if errors.Is(err, storage.ErrHeld) {
			return nil, nil //nolint:nilnil // what Huma makes of it is no answer: the edge runs the operation again
		}
		if err != nil {
			return nil, a.charged(ctx, c, err)
		}
		return out, nil
	})
}

// charged counts a call that was not let in against its address, and returns what the caller is told: err, or that
// there were too many such calls.
func (a *api) charged(ctx context.Context, c *caller, err error) error {
	if c.settled || !unauthorized(err) {
		return err
	}
	if tooMany := a.server.AddressLimit().Charge(server.CallOf(ctx)); tooMany != nil {
		return tooMany
	}
	return err
}

// actorOf is the user, by the phone that makes a call.
func actorOf(ctx huma.Context) audit.Actor {
	return audit.ByUser().WithOrigin(server.CallOf(ctx.Context()).Address.String(), ctx.Header("User-Agent"))
}

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
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
)

// Services are what the API calls.
type Services struct {
	Devices  *device.Service
	Logins   *login.Service
	Backups  *backup.Service
	Restores *restore.Service
	Access   *access.Service
	Epoch    func() storage.Epoch // the store's
	WebPush  string               // the public key by which apps subscribe to Web Push, in base64url
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
	a.mountConsents()
	a.mountNotices()
	a.mountBackup()
	a.mountRestore()
	a.mountPush()
	a.mountBrowser()
}

// caller is who makes a call, as far as its guard knows.
type caller struct {
	proof      device.Proof // of a device that has proven itself; else zero
	settled    bool         // let in for sure, or charged: nothing of this call is charged any more
	credential string       // what the Authorization field holds, where the domain looks at it again
	byTicket   bool         // the credential is a ticket, where a call takes something else too
	actor      audit.Actor  // for the event log
}

// guard says what a call must show before its body is even read.
type guard struct {
	scheme string // of the description; empty: nothing is shown
	admit  func(a *api, asked server.Asked, c *caller) error
}

// The guards. Who has a credential is never refused for what others from the same address did, so it is compared first:
// by a few reads of the store at most, and of a txtkn by none. Who shows none is charged before anything is done.
var (
	byDevice    = guard{schemeDevice, func(a *api, asked server.Asked, c *caller) error { return a.proveOwn(asked, c, true) }}
	byAnyDevice = guard{schemeAnyDevice, func(a *api, asked server.Asked, c *caller) error { return a.proveOwn(asked, c, false) }}
	byAnswer    = guard{schemeBearer, func(a *api, asked server.Asked, c *caller) (err error) {
		if c.credential, err = bearer(asked.Header("Authorization")); err != nil {
			return err
		}
		return a.Logins.CheckTransaction(c.credential)
	}}
	byAsked = guard{schemePossession, func(a *api, asked server.Asked, c *caller) (err error) {
		if c.credential, err = possessed(asked.Header("Authorization")); err != nil {
			return err
		}
		return a.Logins.CheckTransaction(c.credential)
	}}
	byRestore = guard{schemeBearer, func(a *api, asked server.Asked, c *caller) (err error) {
		if c.credential, err = bearer(asked.Header("Authorization")); err != nil {
			return err
		}
		return a.Restores.CheckToken(asked.Context(), asked.Param("id"), c.credential)
	}}
	byTicket = guard{schemeTicket, func(a *api, asked server.Asked, c *caller) (err error) {
		if c.credential, err = ticket(asked.Header("Authorization")); err != nil {
			return err
		}
		return a.Devices.CheckTicket(asked.Context(), c.credential)
	}}
	byNobody = guard{"", func(a *api, asked server.Asked, c *caller) error {
		c.settled = true
		return a.server.AddressLimit().Charge(server.CallOf(asked.Context()))
	}}
	bySigner = guard{schemeDevice, func(a *api, asked server.Asked, c *caller) error {
		token, err := bearer(asked.Header("Authorization"))
		if err != nil {
			return err
		}
		id, err := claimedEnrollment(token)
		if err != nil {
			return err
		}
		return a.prove(asked.Context(), c, id, token, true)
	}}
	// byLateSigner is bySigner, and lets the key of an enrollment in that was retired a short while ago.
	byLateSigner = guard{schemeDevice, func(a *api, asked server.Asked, c *caller) error {
		token, err := bearer(asked.Header("Authorization"))
		if err != nil {
			return err
		}
		id, err := claimedEnrollment(token)
		if err != nil {
			return err
		}
		c.proof, err = a.Devices.ProveReader(asked.Context(), id, token)
		c.settled = err == nil
		return err
	}}
)

// proveOwn lets the device in whose enrollment the path names: by its JWT or, unless signedOnly, its device token.
func (a *api) proveOwn(asked server.Asked, c *caller, signedOnly bool) error {
	token, err := bearer(asked.Header("Authorization"))
	if err != nil {
		return err
	}
	return a.prove(asked.Context(), c, asked.Param("id"), token, signedOnly)
}

func (a *api) prove(ctx context.Context, c *caller, enrollment, token string, signedOnly bool) (err error) {
	c.proof, err = a.Devices.Prove(ctx, enrollment, token, signedOnly)
	c.settled = err == nil
	return err
}

// admit lets a call in as its guard says, or charges it to its address, whatever is wrong with it, unless that is ours.
func (a *api) admit(g guard, asked server.Asked) (*caller, error) {
	c := &caller{actor: actorOf(asked)}
	err := g.admit(a, asked, c)
	if err == nil || c.settled || isOurs(err) {
		return c, err
	}
	if tooMany := a.server.AddressLimit().Charge(server.CallOf(asked.Context())); tooMany != nil {
		return nil, tooMany
	}
	return nil, err
}

type callerKey struct{}

// register mounts one operation behind its guard. What the domain, which looks again, does not let in is charged to its
// address as well.
func register[I, O any](a *api, g guard, op huma.Operation, handle func(context.Context, *caller, *I) (*O, error)) {
	op.Tags = []string{server.GroupApp}
	if g.scheme != "" {
		op.Security = []map[string][]string{{g.scheme: {}}}
	}
	a.server.Door(op.Method, op.Path, func(asked server.Asked) (any, error) { return a.admit(g, asked) })
	op.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		c, ok := server.CallOf(ctx.Context()).Admitted().(*caller)
		if !ok {
			var err error
			if c, err = a.admit(g, ctx); err != nil {
				_ = huma.WriteErr(a.server.API(), ctx, http.StatusInternalServerError, "", err) // it has written to a buffer
				return
			}
		}
		next(huma.WithValue(ctx, callerKey{}, c))
	}}
	server.Describe(a.server.API(), server.AppAPI, &op, refusalsOf(g, op.OperationID)...)
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

// charged counts a call that the domain did not let in against its address, and returns what the caller is told: err, or that
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
func actorOf(asked server.Asked) audit.Actor {
	return audit.ByUser().WithOrigin(server.CallOf(asked.Context()).Address.String(), asked.Header("User-Agent"))
}

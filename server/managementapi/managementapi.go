// Package managementapi is what admins' programs call: the MFA part of the Auth0 Management API v2, so that its official
// clients work unmodified, and what is ours. It decodes, authorizes, calls one method of the domain, and encodes.
//
// Every call is authorized before its body is read and before anything is looked up ([api.authorize]).
//
// Source: the official clients of the Auth0 Management API v2, and their recordings.
package managementapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"tutela/device"
	"tutela/device/push/provider"
	"tutela/recovery/admin"
	"tutela/recovery/signal"
	"tutela/recovery/webhook"
	"tutela/server"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
)

// Services are what the calls stand on.
type Services struct {
	Access  *access.Service
	Admins  *admin.Service
	Devices *device.Service // for the links of tickets alone
	Push    *provider.Service
	Store   *storage.Store // for the event log alone
	Log     *slog.Logger

	Webhooks *webhook.Service
	Signals  *signal.Service
}

// base is where the API lies under a public URL.
const base = "/api/v2"

// api is the mounted API.
type api struct {
	Services
	server *server.Server
	huma   huma.API
	limit  *server.AddressLimit
	calls  map[audit.Word]call // those that are recorded as events, by their word
}

// Mount puts the API on a server.
func Mount(s *server.Server, services Services) {
	a := &api{
		Services: services,
		server:   s,
		huma:     s.API(),
		limit:    s.AddressLimit(),
		calls:    map[audit.Word]call{},
	}
	s.Translate(server.ManagementAPI, translate)
	describeScheme(s.API())
	a.mountTickets()
	a.mountEnrollments()
	a.mountUsers()
	a.mountPatch()
	a.mountMethods()
	a.mountBlocks()
	a.mountLogs()
	a.mountResets()
	a.mountCallers()
	a.mountHeld()
	a.mountCodes()
	a.mountBrowsers()
	a.mountBackups()
	a.mountRecoverability()
	a.mountFactors()
	a.mountProviders()
	a.mountGuardianPolicies()
	a.mountSettings()
	a.mountClients()
	a.mountWebhooks()
	a.mountStreams()
	a.mountPolicies()
	a.mountNoFactors()
}

// call is one operation of the API.
type call struct {
	Word        audit.Word // in the event log, and the operation's id with dashes for underscores
	Method      string
	Path        string // below the base
	Summary     string // for people; the description of its events
	Description string
	Scopes      []string // any of them opens it
	Beside      []string // when there are some, any of them is needed as well
	Status      int      // of success; 200 when it is not set
	OrNothing   string   // when success may also be 204: what that says
}

// isChange reports whether the call changes something, and so is recorded.
func (c call) isChange() bool { return c.Method != http.MethodGet }

// register mounts an operation. handle runs only for a caller who has one of the scopes.
func register[I, O any](a *api, c call, handle func(context.Context, audit.Actor, *I) (*O, error)) {
	if c.Status == 0 {
		c.Status = http.StatusOK
	}
	a.calls[c.Word] = c
	op := huma.Operation{
		OperationID:   strings.ReplaceAll(string(c.Word), "_", "-"),
		Method:        c.Method,
		Path:          base + c.Path,
		Tags:          []string{server.GroupManagement},
		Security:      []map[string][]string{{schemeToken: c.Scopes}},
		Summary:       c.Summary,
		Description:   strings.TrimSpace(c.Description + "\n\nScope: " + strings.Join(c.Scopes, " or ")),
		DefaultStatus: c.Status,
		Middlewares:   huma.Middlewares{a.authorize(c), a.recordFailure(c)},
	}
	a.server.Door(op.Method, op.Path, func(asked server.Asked) (any, error) { return a.admit(c, asked) })
	if c.OrNothing != "" {
		op.Responses = map[string]*huma.Response{"204": {Description: c.OrNothing}}
	}
	server.Describe(a.huma, server.ManagementAPI, &op, refusalsOf(c.Word)...)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) { return handle(ctx, actorOf(ctx), in) })
}

// actorKey finds the actor in a call's context.
type actorKey struct{}

// actorOf returns the client whose call authorize let pass, or nobody.
func actorOf(ctx context.Context) audit.Actor {
	actor, _ := ctx.Value(actorKey{}).(audit.Actor)
	return actor
}

// authorize admits a call whose token verifies and has one of the scopes: before its body is read, when it has one.
func (a *api) authorize(c call) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		who, known := server.CallOf(ctx.Context()).Admitted().(audit.Actor)
		if !known {
			var err error
			if who, err = a.admit(c, ctx); err != nil {
				a.refuse(ctx, err)
				return
			}
		}
		next(huma.WithValue(ctx, actorKey{}, who))
	}
}

// admit returns who makes a call, if he may. A call whose token does not verify counts against its address, and one that
// lacks the scope is recorded.
//
// Errors: access.ErrToken; server.ErrTooManyCalls; that of access.RequireScope.
func (a *api) admit(c call, asked server.Asked) (audit.Actor, error) {
	edge := server.CallOf(asked.Context())
	who, err := a.authenticate(asked, edge)
	if err != nil {
		return who, err
	}
	err = access.RequireScope(who, c.Scopes...)
	if err == nil && len(c.Beside) > 0 {
		err = access.RequireScope(who, c.Beside...)
	}
	if err != nil {
		a.failed(asked.Context(), who, c, http.StatusForbidden)
		return who, err
	}
	return who.WithOrigin(edge.Address.String(), asked.Header("User-Agent")).In(c.Word), nil
}

func (a *api) authenticate(asked server.Asked, edge *server.Call) (audit.Actor, error) {
	scheme, token, _ := strings.Cut(asked.Header("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		who, err := a.Access.VerifyManagement(asked.Context(), strings.TrimSpace(token))
		if storage.CodeOf(err) != storage.Denied {
			return who, err
		}
	}
	if err := a.limit.Charge(edge); err != nil {
		return audit.Actor{}, err
	}
	return audit.Actor{}, access.ErrToken
}

// refuse answers a call with an error as the table translates it.
func (a *api) refuse(ctx huma.Context, err error) {
	// The status tells the error's translation that it comes from us; writing to the answer's buffer does not fail.
	_ = huma.WriteErr(a.huma, ctx, http.StatusInternalServerError, "", err)
}

// recordFailure records a change that failed, once its answer is known.
func (a *api) recordFailure(c call) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		next(ctx)
		if status := ctx.Status(); c.isChange() && status >= http.StatusBadRequest {
			a.failed(ctx.Context(), actorOf(ctx.Context()), c, status)
		}
	}
}

// failed records that a call has failed. When that cannot be recorded, the caller gets his answer all the same.
func (a *api) failed(ctx context.Context, who audit.Actor, c call, status int) {
	if err := a.Access.RecordFailure(ctx, who, c.Word, status); err != nil {
		a.Log.Warn("record a failed management call", "call", c.Word, "err", err)
	}
}

// nothing is the body of an answer that is its status alone.
type nothing struct{}

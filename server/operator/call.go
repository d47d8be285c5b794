package operator

import (
	"context"
	"encoding/json"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/setting"
)

// call is one call of the socket: POST /name with what goes in as JSON, answered with what comes out. It is declared
// once, for both ends.
type call[I, O any] struct {
	name string
	do   func(ctx context.Context, s Service, in I) (O, error)
}

// none is what goes in or comes out where nothing does.
type none struct{}

// The argument pairs of calls that take two.
type (
	roleOf  struct{ UserID, Role string }
	blockOf struct {
		UserID  string
		Blocked bool
	}
	policySet struct{ Name, Value string }
)

var (
	hello     = call[none, none]{"hello", func(context.Context, Service, none) (none, error) { return none{}, nil }}
	addClient = call[NewClient, Credentials]{"client/add", func(ctx context.Context, s Service, in NewClient) (Credentials, error) {
		return s.AddClient(ctx, in)
	}}
	listClients = call[none, []access.Client]{"client/list", func(ctx context.Context, s Service, _ none) ([]access.Client, error) {
		return s.Clients(ctx)
	}}
	removeClient = call[string, none]{"client/remove", func(ctx context.Context, s Service, id string) (none, error) {
		return none{}, s.RemoveClient(ctx, id)
	}}
	listUsers = call[Page, []User]{"user/list", func(ctx context.Context, s Service, in Page) ([]User, error) {
		return s.Users(ctx, in)
	}}
	showUser = call[string, UserDetail]{"user/show", func(ctx context.Context, s Service, id string) (UserDetail, error) {
		return s.User(ctx, id)
	}}
	setRole = call[roleOf, none]{"user/role", func(ctx context.Context, s Service, in roleOf) (none, error) {
		return none{}, s.SetRole(ctx, in.UserID, user.Role(in.Role))
	}}
	setBlocked = call[blockOf, none]{"user/block", func(ctx context.Context, s Service, in blockOf) (none, error) {
		return none{}, s.SetBlocked(ctx, in.UserID, in.Blocked)
	}}
	unlockUser = call[string, none]{"user/unlock", func(ctx context.Context, s Service, id string) (none, error) {
		return none{}, s.Unlock(ctx, id)
	}}
	resetUser = call[Reset, recovery.Receipt]{"user/reset", func(ctx context.Context, s Service, in Reset) (recovery.Receipt, error) {
		return s.Reset(ctx, in)
	}}
	makeTicket = call[TicketRequest, Ticket]{"ticket", func(ctx context.Context, s Service, in TicketRequest) (Ticket, error) {
		return s.Ticket(ctx, in)
	}}
	listPolicies = call[none, []setting.Info]{"policy/list", func(ctx context.Context, s Service, _ none) ([]setting.Info, error) {
		return s.Policies(ctx)
	}}
	setPolicy = call[policySet, setting.Info]{"policy/set", func(ctx context.Context, s Service, in policySet) (setting.Info, error) {
		return s.SetPolicy(ctx, in.Name, in.Value)
	}}
	listEvents = call[EventQuery, []Event]{"events", func(ctx context.Context, s Service, in EventQuery) ([]Event, error) {
		return s.Events(ctx, in)
	}}
	readJWKS = call[none, json.RawMessage]{"jwks", func(ctx context.Context, s Service, _ none) (json.RawMessage, error) {
		return s.JWKS(ctx)
	}}
	compact = call[none, storage.Compaction]{"compact", func(ctx context.Context, s Service, _ none) (storage.Compaction, error) {
		return s.Compact(ctx)
	}}
	rotateKeys = call[none, access.Rotation]{"key/rotate", func(ctx context.Context, s Service, _ none) (access.Rotation, error) {
		return s.RotateKeys(ctx)
	}}
)

// calls are all of them, for the server.
var calls = []mounter{
	hello, addClient, listClients, removeClient, listUsers, showUser, setRole, setBlocked, unlockUser, resetUser, makeTicket,
	listPolicies, setPolicy, listEvents, readJWKS, compact, rotateKeys,
}

// copyPath is where a copy of the data file is taken; it is no JSON.
const copyPath = "/copy"

// The trailer of a copy: how many bytes it has, or what went wrong on the way.
const (
	trailerSize  = "Tutela-Size"
	trailerError = "Tutela-Error"
)

// wireError is an error over the socket. Code is empty for one without: the operator is told all of it.
type wireError struct {
	Code    storage.Code `json:"code,omitempty"`
	Message string       `json:"message"`
}

func wireErrorOf(err error) wireError {
	return wireError{Code: storage.CodeOf(err), Message: err.Error()}
}

package managementapi

import (
	"cmp"
	"context"
	"net/http"

	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage/audit"
)

// blocks lists the channels of a user that the limits on guessing have closed, or that wait.
type blocks struct {
	BlockedFor []block `json:"blocked_for"`
}

type block struct {
	Identifier string `json:"identifier"`
	IP         string `json:"ip,omitempty"`
	Channel    string `json:"channel" doc:"login, restore or practice."`
}

type blocksOutput struct{ Body blocks }

// identifierQuery names a user by what he types at a login: his id, email or username.
type identifierQuery struct {
	Identifier string `query:"identifier" doc:"Id, email or username."`
}

// maxIdentified bounds the users that one identifier finds: several may have one email.
const maxIdentified = 100

func (a *api) mountBlocks() {
	const path = "/user-blocks"
	read := []string{"update:users", "read:users"}
	register(a, call{
		Word:    audit.CallGetBlocks,
		Method:  http.MethodGet,
		Path:    path + "/{id}",
		Summary: "Get a User's Blocks",
		Scopes:  read,
	}, a.readBlocks)
	register(a, call{
		Word:    audit.CallGetBlocksBy,
		Method:  http.MethodGet,
		Path:    path,
		Summary: "Get a User's Blocks by Identifier",
		Scopes:  read,
	}, a.readBlocksBy)
	register(a, call{
		Word:        audit.CallUnlock,
		Method:      http.MethodDelete,
		Path:        path + "/{id}",
		Summary:     "Unblock a User",
		Description: "Opens what the limits on guessing have closed, and lifts the vetoes on restores.",
		Scopes:      []string{"update:users"},
		Status:      http.StatusNoContent,
	}, a.unblock)
	register(a, call{
		Word:    audit.CallUnlockBy,
		Method:  http.MethodDelete,
		Path:    path,
		Summary: "Unblock a User by Identifier",
		Scopes:  []string{"update:users"},
		Status:  http.StatusNoContent,
	}, a.unblockBy)
}

func (a *api) readBlocks(ctx context.Context, _ audit.Actor, in *UserPath) (*blocksOutput, error) {
	return a.blocksOf(ctx, in.ID)
}

func (a *api) readBlocksBy(ctx context.Context, _ audit.Actor, in *identifierQuery) (*blocksOutput, error) {
	ids, err := a.identify(ctx, in.Identifier)
	if err != nil {
		return nil, err
	}
	return a.blocksOf(ctx, ids...)
}

func (a *api) blocksOf(ctx context.Context, ids ...string) (*blocksOutput, error) {
	out := &blocksOutput{blocks{[]block{}}}
	for _, id := range ids {
		standing, err := a.Admins.StandingOf(ctx, id)
		if err != nil {
			return nil, err
		}
		out.Body.BlockedFor = append(out.Body.BlockedFor, blocksFor(standing)...)
	}
	return out, nil
}

func blocksFor(s admin.Standing) []block {
	list := make([]block, 0, len(s.Blocks))
	for _, b := range s.Blocks {
		list = append(list, block{Identifier: cmp.Or(s.Email, s.UserID), Channel: string(b.Channel)})
	}
	return list
}

func (a *api) unblock(ctx context.Context, actor audit.Actor, in *UserPath) (*nothing, error) {
	return nil, a.Admins.Unlock(ctx, in.ID, actor)
}

func (a *api) unblockBy(ctx context.Context, actor audit.Actor, in *identifierQuery) (*nothing, error) {
	ids, err := a.identify(ctx, in.Identifier)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := a.Admins.Unlock(ctx, id, actor); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// identify returns the ids of the users who have an identifier.
//
// Errors: errQuery, without one; user.ErrUnknown, for nobody's.
func (a *api) identify(ctx context.Context, identifier string) ([]string, error) {
	if identifier == "" {
		return nil, errQuery.With("identifier is missing")
	}
	// An identifier is an id before it is an email, and an email before a username.
	for _, field := range []user.Field{user.ID, user.Email, user.Username} {
		found, err := a.Admins.SearchUsers(ctx, []user.Term{{Field: field, Value: identifier}}, maxIdentified)
		if err != nil {
			return nil, err
		}
		ids := make([]string, 0, len(found))
		for _, u := range found {
			ids = append(ids, u.ID)
		}
		if len(ids) > 0 {
			return ids, nil
		}
	}
	return nil, user.ErrUnknown
}

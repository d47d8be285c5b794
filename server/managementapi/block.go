package managementapi

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"tutela/device/login"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage/audit"
)

// blocks lists what is closed for a user for a time.
type blocks struct {
	BlockedFor []block `json:"blocked_for"`
}

type block struct {
	Identifier string  `json:"identifier"`
	IP         string  `json:"ip,omitempty" doc:"Of muted and push: the network. Left out: logins without an address; of push also all networks from which the user has not succeeded."`
	Channel    string  `json:"channel" enum:"login,restore,practice,otp,muted,push,veto" doc:"login, restore, practice: wrong recovery codes wait there. otp: one-time codes wait, right ones too. muted: the user said that it was not her. push: pushes are used up. veto: a phone has stopped restores."`
	Client     string  `json:"client_id,omitempty" doc:"Of muted and push: that asks."`
	Until      instant `json:"until" doc:"When it ends by itself."`
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
		Description: "Opens what the limits on guessing have closed, ends mutes, brings back the pushes, and lifts the vetoes on restores.",
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
	add := func(channel, client, network string, until time.Time) {
		list = append(list, block{
			Identifier: cmp.Or(s.Email, s.UserID),
			IP:         strings.TrimPrefix(network, login.Others),
			Channel:    channel,
			Client:     client,
			Until:      instant{until},
		})
	}
	for _, b := range s.Blocks {
		add(string(b.Channel), "", "", b.Until)
	}
	for _, m := range s.Mutes {
		add(channelMuted, m.Client, m.Network, m.Until)
	}
	for _, b := range s.Spent {
		add(channelPush, b.Client, b.Network, b.Until)
	}
	for _, v := range s.Vetoes {
		add(channelVeto, "", "", v.Until)
	}
	return list
}

// The channels of blocks, beside those of recovery codes.
const (
	channelMuted = "muted"
	channelPush  = "push"
	channelVeto  = "veto"
)

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

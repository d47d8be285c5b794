package managementapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/storage/audit"
)

// patched is a member of a body that changes something: it may be missing, which leaves things as they are, and null, which
// takes them away.
type patched[T any] struct {
	value *T // nil: missing
	null  bool
}

// UnmarshalJSON reads the member.
func (p *patched[T]) UnmarshalJSON(b []byte) error {
	p.value = new(T)
	p.null = bytes.Equal(b, []byte("null"))
	if p.null {
		return nil
	}
	return json.Unmarshal(b, p.value)
}

// Schema describes the member.
func (patched[T]) Schema(r huma.Registry) *huma.Schema {
	of := *r.Schema(reflect.TypeFor[T](), true, "")
	of.Nullable = true
	return &of
}

// changedUser is the body that changes a user. Its other members, a password above all, are not kept.
type changedUser struct {
	UserPath
	Body struct {
		Email        patched[string]         `json:"email,omitempty"`
		Verified     patched[bool]           `json:"email_verified,omitempty"`
		Name         patched[string]         `json:"name,omitempty"`
		Nickname     patched[string]         `json:"nickname,omitempty"`
		Username     patched[string]         `json:"username,omitempty"`
		GivenName    patched[string]         `json:"given_name,omitempty"`
		FamilyName   patched[string]         `json:"family_name,omitempty"`
		Picture      patched[string]         `json:"picture,omitempty"`
		Blocked      patched[bool]           `json:"blocked,omitempty"`
		AppMetadata  patched[map[string]any] `json:"app_metadata,omitempty" doc:"Merged at the first level; null removes a key."`
		UserMetadata patched[map[string]any] `json:"user_metadata,omitempty" doc:"As app_metadata."`
		Role         patched[string]         `json:"role,omitempty" doc:"none, viewer, helpdesk, admin or owner. Only owners give roles."`
	}
}

// change returns what the body asks for.
//
// Errors: user.ErrRole.
func (in *changedUser) change() (c admin.UserChange, err error) {
	b := &in.Body
	c = admin.UserChange{
		Email:      b.Email.value,
		Verified:   b.Verified.value,
		Name:       b.Name.value,
		Nickname:   b.Nickname.value,
		Username:   b.Username.value,
		GivenName:  b.GivenName.value,
		FamilyName: b.FamilyName.value,
		Picture:    b.Picture.value,
		Blocked:    b.Blocked.value,
		DropApp:    b.AppMetadata.null,
		DropUser:   b.UserMetadata.null,
	}
	if b.AppMetadata.value != nil {
		c.AppMetadata = *b.AppMetadata.value
	}
	if b.UserMetadata.value != nil {
		c.UserMetadata = *b.UserMetadata.value
	}
	if b.Role.value != nil {
		role, err := user.ParseRole(*b.Role.value)
		if err != nil {
			return c, err
		}
		c.Role = &role
	}
	return c, nil
}

// appMetadataAlone reports whether the body names app_metadata and no other member that is kept.
func (in *changedUser) appMetadataAlone() bool {
	others := in.Body
	others.AppMetadata = patched[map[string]any]{}
	return in.Body.AppMetadata.value != nil && reflect.ValueOf(others).IsZero()
}

// The scopes of PATCH: the second opens it for app_metadata alone.
const (
	scopeUpdateUsers       = "update:users"
	scopeUpdateAppMetadata = "update:users_app_metadata"
)

func (a *api) mountPatch() {
	register(a, call{
		Word:    audit.CallUpdateUser,
		Method:  http.MethodPatch,
		Path:    "/users/{id}",
		Summary: "Update a User",
		Scopes:  []string{scopeUpdateUsers, scopeUpdateAppMetadata},
		Description: "What is not named stays as it is, and null takes a member away; app_metadata and user_metadata merge at their first level. " +
			"password, connection and verify_email are taken and dropped. With update:users_app_metadata, app_metadata alone may be named.",
	}, a.updateUser)
}

func (a *api) updateUser(ctx context.Context, actor audit.Actor, in *changedUser) (*profileOutput, error) {
	if !in.appMetadataAlone() {
		if err := access.RequireScope(actor, scopeUpdateUsers); err != nil {
			return nil, err
		}
	}
	change, err := in.change()
	if err != nil {
		return nil, err
	}
	p, err := a.Admins.ChangeUser(ctx, in.ID, change, actor)
	if err != nil {
		return nil, err
	}
	return &profileOutput{picked[profile]{value: profileOf(p)}}, nil
}

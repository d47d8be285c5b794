package managementapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/mail"
	"strings"

	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage/audit"
)

// UserPath names a user.
type UserPath struct {
	ID string `path:"id" doc:"The login system's id, percent-encoded as one segment."`
}

// profile is a whole user. A member that is unknown is left out.
type profile struct {
	UserID        string         `json:"user_id"`
	Email         string         `json:"email,omitempty"`
	EmailVerified bool           `json:"email_verified"`
	Name          string         `json:"name,omitempty"`
	Nickname      string         `json:"nickname,omitempty"`
	Picture       string         `json:"picture,omitempty"`
	Username      string         `json:"username,omitempty"`
	GivenName     string         `json:"given_name,omitempty"`
	FamilyName    string         `json:"family_name,omitempty"`
	Identities    []identity     `json:"identities"`
	AppMetadata   map[string]any `json:"app_metadata,omitempty"`
	UserMetadata  map[string]any `json:"user_metadata,omitempty"`
	Blocked       bool           `json:"blocked,omitempty"`
	Role          user.Role      `json:"role,omitempty" enum:"viewer,helpdesk,admin,owner"`
	Multifactor   []string       `json:"multifactor,omitempty" doc:"guardian, when the user is enrolled."`
	CreatedAt     instant        `json:"created_at"`
	UpdatedAt     instant        `json:"updated_at"`
	LastLogin     instant        `json:"last_login,omitzero"`
	LoginsCount   int            `json:"logins_count"`
}

// identity says where a user comes from, by the user's id.
type identity struct {
	Connection string `json:"connection,omitempty"`
	UserID     string `json:"user_id" doc:"Without its prefix."`
	Provider   string `json:"provider,omitempty" doc:"The prefix."`
	IsSocial   bool   `json:"isSocial"`
}

func profileOf(p admin.Profile) profile {
	out := profile{
		UserID:        p.ID,
		Email:         p.Email,
		EmailVerified: p.Verified,
		Name:          p.Name,
		Nickname:      p.Nickname,
		Picture:       p.Picture,
		Username:      p.Username,
		GivenName:     p.GivenName,
		FamilyName:    p.FamilyName,
		AppMetadata:   p.AppMetadata,
		UserMetadata:  p.UserMetadata,
		Blocked:       p.Blocked,
		Role:          p.Role,
		CreatedAt:     instant{p.Created},
		UpdatedAt:     instant{p.Updated},
		LastLogin:     instant{p.LastLogin},
		LoginsCount:   p.Logins,
	}
	provider, id, found := strings.Cut(p.ID, "|")
	if !found {
		provider = ""
		id = p.ID
	}
	out.Identities = []identity{{Connection: p.Connection, UserID: id, Provider: provider}}
	if p.InUse {
		out.Multifactor = []string{"guardian"}
	}
	return out
}

func profilesOf(all []admin.Profile, s Selection) []picked[profile] {
	out := make([]picked[profile], 0, len(all))
	for _, p := range all {
		out = append(out, picked[profile]{profileOf(p), s})
	}
	return out
}

// newUser is the body that makes a user. Its other members, a password above all, are not kept.
type newUser struct {
	Body struct {
		UserID       string         `json:"user_id,omitempty" maxLength:"255" doc:"Or connection and email."`
		Connection   string         `json:"connection,omitempty"`
		Email        string         `json:"email,omitempty"`
		Verified     bool           `json:"email_verified,omitempty"`
		Name         string         `json:"name,omitempty" doc:"By default the email."`
		Nickname     string         `json:"nickname,omitempty" doc:"By default the email's part before the @."`
		Username     string         `json:"username,omitempty"`
		GivenName    string         `json:"given_name,omitempty"`
		FamilyName   string         `json:"family_name,omitempty"`
		Picture      string         `json:"picture,omitempty"`
		Blocked      bool           `json:"blocked,omitempty"`
		AppMetadata  map[string]any `json:"app_metadata,omitempty"`
		UserMetadata map[string]any `json:"user_metadata,omitempty"`
	}
}

// user returns the record to be made, with its defaults.
//
// Errors: errBody, without an id and without connection and email.
func (n *newUser) user() (user.User, error) {
	b := n.Body
	local, _, _ := strings.Cut(b.Email, "@")
	u := user.User{
		ID:           b.UserID,
		Connection:   b.Connection,
		Email:        b.Email,
		Verified:     b.Verified,
		Name:         cmp.Or(b.Name, b.Email),
		Nickname:     cmp.Or(b.Nickname, local),
		Username:     b.Username,
		GivenName:    b.GivenName,
		FamilyName:   b.FamilyName,
		Picture:      b.Picture,
		Blocked:      b.Blocked,
		AppMetadata:  b.AppMetadata,
		UserMetadata: b.UserMetadata,
	}
	if u.ID != "" {
		return u, nil
	}
	if u.Connection == "" || u.Email == "" {
		return u, errBody.With("a user needs user_id, or connection and email")
	}
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails: see crypto/rand
	u.ID = "auth0|" + hex.EncodeToString(random[:])
	return u, nil
}

type profileOutput struct{ Body picked[profile] }

type usersOutput struct{ Body list[picked[profile]] }

func (a *api) mountUsers() {
	register(a, call{
		Word:        audit.CallCreateUser,
		Method:      http.MethodPost,
		Path:        "/users",
		Summary:     "Create a User",
		Status:      http.StatusCreated,
		Description: "We hold no passwords: password and verify_email are taken and dropped.",
		Scopes:      []string{"create:users"},
	}, a.createUser)
	register(a, call{
		Word:    audit.CallListUsers,
		Method:  http.MethodGet,
		Path:    "/users",
		Summary: "List or Search Users",
		Scopes:  []string{"read:users"},
		Description: "q takes conditions joined by AND on user_id, email, username and name, such as email:\"maria@example.com\" " +
			"or name:Mar*, and words with which words of these begin. By page the first 1000 can be reached, and with q total ends there; " +
			"from and take go on for ever, and leave sort aside. sort takes user_id, email, name, created_at and last_login.",
	}, a.listUsers)
	register(a, call{
		Word:    audit.CallGetUser,
		Method:  http.MethodGet,
		Path:    "/users/{id}",
		Summary: "Get a User",
		Scopes:  []string{"read:users"},
	}, a.readUser)
	register(a, call{
		Word:        audit.CallDeleteUser,
		Method:      http.MethodDelete,
		Path:        "/users/{id}",
		Summary:     "Delete a User",
		Status:      http.StatusNoContent,
		Description: "Everything of the user goes but the events. For an unknown user it is no error.",
		Scopes:      []string{"delete:users"},
	}, a.deleteUser)
	register(a, call{
		Word:    audit.CallListUsersByEmail,
		Method:  http.MethodGet,
		Path:    "/users-by-email",
		Summary: "Search Users by Email",
		Scopes:  []string{"read:users"},
	}, a.usersByEmail)
}

func (a *api) createUser(ctx context.Context, actor audit.Actor, in *newUser) (*profileOutput, error) {
	u, err := in.user()
	if err != nil {
		return nil, err
	}
	added, err := a.Admins.AddUser(ctx, u, actor)
	if err != nil {
		return nil, err
	}
	made := admin.Profile{User: added, State: user.New}
	return &profileOutput{picked[profile]{value: profileOf(made)}}, nil
}

func (a *api) readUser(ctx context.Context, _ audit.Actor, in *struct {
	UserPath
	Selection
},
) (*profileOutput, error) {
	p, err := a.Admins.ReadUser(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &profileOutput{picked[profile]{profileOf(p), in.Selection}}, nil
}

func (a *api) deleteUser(ctx context.Context, actor audit.Actor, in *UserPath) (*nothing, error) {
	return nil, a.Admins.Delete(ctx, in.ID, actor)
}

func (a *api) usersByEmail(ctx context.Context, _ audit.Actor, in *struct {
	Email string `query:"email" doc:"Required."`
	Selection
},
) (*struct{ Body []picked[profile] }, error) {
	if in.Email == "" {
		return nil, errQuery.With("email is missing")
	}
	if _, err := mail.ParseAddress(in.Email); err != nil {
		return nil, errBody.With("email is not an email address")
	}
	found, err := a.Admins.SearchUsers(ctx, []user.Term{{Field: user.Email, Value: in.Email}}, maxPaged)
	if err != nil {
		return nil, err
	}
	all, err := a.Admins.Profiles(ctx, found)
	return &struct{ Body []picked[profile] }{profilesOf(all, in.Selection)}, err
}

package managementapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tutela/device/login"
	"tutela/server/access"
	"tutela/storage/audit"
)

// helpDesk is who asks when no client does.
const helpDesk = "Help desk"

// CallerPath names a caller check of a user.
type CallerPath struct {
	UserPath
	Check string `path:"cid" doc:"As the POST has answered it."`
}

type callerAsked struct {
	Body struct {
		ID      string `json:"id"`
		Number  string `json:"number" doc:"To be read aloud to the caller, who types it on the phone."`
		Expires int    `json:"expires_in" doc:"Seconds."`
	}
}

type callerAnswer struct {
	Body struct {
		ID     string            `json:"id"`
		Status login.CallerState `json:"status" enum:"pending,approved,denied,no_answer"`
	}
}

func (a *api) mountCallers() {
	scopes := []string{"reset:mfa"}
	register(a, call{
		Word:    audit.CallCheckCaller,
		Method:  http.MethodPost,
		Path:    "/users/{id}/caller-check",
		Summary: "Ask a User's Phone whether It Is the User Who Rings",
		Scopes:  scopes,
		Description: "The user's phones ask for the number that you read aloud. It lets nobody in. When a phone denies it, what changes the user's " +
			"factors is refused for an hour, but to an owner.",
	}, a.checkCaller)
	register(a, call{
		Word:        audit.CallGetCallerCheck,
		Method:      http.MethodGet,
		Path:        "/users/{id}/caller-check/{cid}",
		Summary:     "Get the Answer to a Caller Check",
		Scopes:      scopes,
		Description: "With wait, the answer comes when the phone has answered, or after so many seconds. For the caller who has asked.",
	}, a.readCallerCheck)
}

func (a *api) checkCaller(ctx context.Context, actor audit.Actor, in *struct {
	UserPath
	Body struct {
		Note string `json:"note,omitempty" maxLength:"64" doc:"Shown on the phone."`
	}
},
) (*callerAsked, error) {
	name, err := a.nameOf(ctx, actor)
	if err != nil {
		return nil, err
	}
	asked, err := a.Admins.CheckCaller(ctx, in.ID, name, in.Body.Note, actor)
	if err != nil {
		return nil, err
	}
	out := &callerAsked{}
	out.Body.ID = asked.ID
	out.Body.Number = asked.Number
	out.Body.Expires = int(asked.Expires / time.Second)
	return out, nil
}

// nameOf is by what name a phone shows who asks.
func (a *api) nameOf(ctx context.Context, actor audit.Actor) (string, error) {
	if !actor.IsClient() {
		return helpDesk, nil
	}
	client, err := a.Access.Client(ctx, actor.Client())
	if errors.Is(err, access.ErrNoClient) {
		return helpDesk, nil
	}
	return client.Name, err
}

func (a *api) readCallerCheck(ctx context.Context, actor audit.Actor, in *struct {
	CallerPath
	Wait int `query:"wait" minimum:"0" maximum:"60" doc:"Seconds to wait for an answer."`
},
) (*callerAnswer, error) {
	out := &callerAnswer{}
	out.Body.ID = in.Check
	ask := func(ctx context.Context, wait time.Duration) (err error) {
		out.Body.Status, err = a.Admins.CallerCheckOf(ctx, actor.By(), in.ID, in.Check, wait)
		return err
	}
	return out, a.server.Waits().Hold(ctx, "caller:"+in.Check, time.Duration(in.Wait)*time.Second, ask)
}

package appapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

func (a *api) mountApprovals() {
	register(a, byAnswer, huma.Operation{
		OperationID:   "resolve-transaction",
		Method:        http.MethodPost,
		Path:          "/api/resolve-transaction",
		DefaultStatus: http.StatusNoContent,
		Summary:       "Answer an approval, with its txtkn",
		Description:   "challenge_response is a JWT by the device key. The same one again gets the same answer again.",
	}, a.resolve)
	register(a, byDevice, huma.Operation{
		OperationID: "list-approvals",
		Method:      http.MethodGet,
		Path:        "/api/device-accounts/{id}/approvals",
		Summary:     "Pull the pending approvals",
		Description: "One call waits per enrollment: the newest.",
	}, a.approvals)
}

// answerInput is an answer as a phone sends it.
//
// Source: guardian-wire.md §4.1.
type answerInput struct {
	Body struct {
		Response string `json:"challenge_response" minLength:"1" maxLength:"8192"`
	}
}

func (a *api) resolve(ctx context.Context, c *caller, in *answerInput) (*struct{}, error) {
	return nil, a.Logins.Answer(ctx, c.credential, in.Body.Response, c.actor)
}

// Waiting is the part of an input that says how long a call is willing to wait for an answer.
type Waiting struct {
	Wait int `query:"wait" minimum:"0" maximum:"60" doc:"Seconds to wait when there is nothing yet."`
}

func (w Waiting) duration() time.Duration { return time.Duration(w.Wait) * time.Second }

type approvalsInput struct {
	AccountPath
	Waiting
	Seen []string `query:"seen" nullable:"false" doc:"Challenges (c) that the app shows already: they count as none."`
}

// messages are the approvals that wait.
type messages struct {
	Body []pulled
}

func (a *api) approvals(ctx context.Context, c *caller, in *approvalsInput) (*messages, error) {
	out := &messages{Body: []pulled{}}
	err := a.server.Waits().Hold(ctx, "approvals:"+c.proof.ID, in.duration(), func(ctx context.Context, wait time.Duration) error {
		list, err := a.Logins.Approvals(ctx, c.proof, in.Seen, wait)
		for _, m := range list {
			out.Body = append(out.Body, pulledOf(m))
		}
		return err
	})
	return out, err
}

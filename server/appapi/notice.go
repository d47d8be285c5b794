package appapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"tutela/server"
)

// byReader lets in who may read notices: the device by its JWT, and for seven days one whose enrollment was retired.
var byReader = guard{schemeDevice, func(a *api, asked server.Asked, c *caller) error {
	token, err := bearer(asked.Header("Authorization"))
	if err != nil {
		return err
	}
	c.proof, err = a.Devices.ProveReader(asked.Context(), asked.Param("id"), token)
	c.settled = err == nil
	return err
}}

func (a *api) mountNotices() {
	register(a, byReader, huma.Operation{
		OperationID: "list-notices",
		Method:      http.MethodGet,
		Path:        "/api/device-accounts/{id}/notices",
		Summary:     "Pull what this phone was told",
		Description: "Oldest first, of the last 30 days. One call waits per enrollment: the newest. The key of a retired enrollment reads " +
			"its last ones for 7 days.",
	}, a.notices)
}

type noticesInput struct {
	AccountPath
	Waiting
	Since time.Time `query:"since" doc:"The d of the last notice that the app knows: only later ones are told."`
}

// pulledNotice is a notice as a pulling app gets it: the keys of a push message.
type pulledNotice struct {
	Device  string `json:"dai" doc:"The enrollment's id."`
	Server  string `json:"sh" doc:"The server's first public URL."`
	At      string `json:"d" format:"date-time" doc:"When; a notice that was pushed has the same."`
	Notice  string `json:"notice" doc:"What has happened; an open list."`
	Restore string `json:"rst,omitempty" doc:"The restore's id."`
	Name    string `json:"name,omitempty" doc:"Of the other phone."`
	Text    string `json:"text" doc:"At most 120 characters, to be shown when the app does not know the word."`
}

type noticesOutput struct {
	Body []pulledNotice
}

func (a *api) notices(ctx context.Context, c *caller, in *noticesInput) (*noticesOutput, error) {
	out := &noticesOutput{Body: []pulledNotice{}}
	err := a.server.Waits().Hold(ctx, "notices:"+c.proof.ID, in.duration(), func(ctx context.Context, wait time.Duration) error {
		list, err := a.Devices.Notices(ctx, c.proof, in.Since, wait)
		for _, m := range list {
			out.Body = append(out.Body, pulledNotice{
				Device:  m.Enrollment,
				Server:  m.Server,
				At:      m.Started,
				Notice:  m.Notice,
				Restore: m.Restore,
				Name:    m.Phone,
				Text:    m.Text,
			})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

package managementapi

import (
	"context"
	"net/http"
	"time"

	"tutela/recovery/signal"
	"tutela/storage/audit"
)

type apiStreamStatus struct {
	ID     string        `json:"stream_id" maxLength:"255"`
	Status signal.Status `json:"status" enum:"enabled,paused,disabled"`
	Reason string        `json:"reason,omitempty" maxLength:"1000"`
}

type streamStatusOutput struct{ Body apiStreamStatus }

// apiSubject is a subject identifier (RFC 9493).
type apiSubject struct {
	Format string `json:"format" doc:"iss_sub, or opaque."`
	Issuer string `json:"iss,omitempty" doc:"Of iss_sub: the issuer of the SETs."`
	Sub    string `json:"sub,omitempty" doc:"Of iss_sub: the user's id."`
	ID     string `json:"id,omitempty" doc:"Of opaque: the user's id."`
}

type streamSubject struct {
	Body struct {
		ID       string     `json:"stream_id" maxLength:"255"`
		Subject  apiSubject `json:"subject"`
		Verified *bool      `json:"verified,omitempty" nullable:"true"`
	}
}

func (s *streamSubject) subject() signal.Subject {
	return signal.Subject{
		Format: s.Body.Subject.Format,
		Issuer: s.Body.Subject.Issuer,
		Sub:    s.Body.Subject.Sub,
		ID:     s.Body.Subject.ID,
	}
}

type streamVerification struct {
	Body struct {
		ID    string `json:"stream_id" maxLength:"255"`
		State string `json:"state,omitempty" maxLength:"1000" doc:"It comes back in the SET."`
	}
}

// setFault is why a receiver has no use for a SET (RFC 8936 §2.6).
type setFault struct {
	Err         string `json:"err,omitempty"`
	Description string `json:"description,omitempty"`
}

type streamPoll struct {
	ID   string `path:"id" maxLength:"255"`
	Body *struct {
		Most        *int                `json:"maxEvents,omitempty" nullable:"true" minimum:"0" doc:"At most 100 come at once. 0: acknowledge alone."`
		Immediately *bool               `json:"returnImmediately,omitempty" nullable:"true" doc:"Else the answer is held for up to 30 seconds until there is a SET."`
		Acked       []string            `json:"ack,omitempty" maxItems:"1000" doc:"The jti of SETs that the receiver has."`
		Faults      map[string]setFault `json:"setErrs,omitempty" doc:"SETs that the receiver has no use for, by jti. They are dropped."`
	}
}

type streamPolled struct {
	Body struct {
		SETs map[string]string `json:"sets" doc:"By jti."`
		More bool              `json:"moreAvailable"`
	}
}

// mountStreamCalls mounts the calls by which a receiver uses a stream.
func (a *api) mountStreamCalls() {
	register(a, call{
		Word:    audit.CallGetStreamStatus,
		Method:  http.MethodGet,
		Path:    streamStatusPath,
		Scopes:  readStreams,
		Summary: "Get the Status of a Stream of Signals",
	}, a.readStreamStatus)
	register(a, call{
		Word:        audit.CallSetStreamStatus,
		Method:      http.MethodPost,
		Path:        streamStatusPath,
		Scopes:      manageStreams,
		Summary:     "Set the Status of a Stream of Signals",
		Description: "paused holds what happens, for a week; disabled does not.",
	}, a.setStreamStatus)
	register(a, call{
		Word:        audit.CallAddSubject,
		Method:      http.MethodPost,
		Path:        addSubjectPath,
		Scopes:      manageStreams,
		Summary:     "Add a Subject to a Stream of Signals",
		Description: "Every user is a subject until removed.",
	}, a.addSubject)
	register(a, call{
		Word:    audit.CallRemoveSubject,
		Method:  http.MethodPost,
		Path:    removeSubjectPath,
		Scopes:  manageStreams,
		Summary: "Remove a Subject from a Stream of Signals",
		Status:  http.StatusNoContent,
	}, a.removeSubject)
	register(a, call{
		Word:    audit.CallVerifyStream,
		Method:  http.MethodPost,
		Path:    verificationPath,
		Scopes:  manageStreams,
		Summary: "Have a Stream of Signals Verified",
		Status:  http.StatusNoContent,
	}, a.verifyStream)
	register(a, call{
		Word:        audit.CallPollStream,
		Method:      http.MethodPost,
		Path:        streamsPath + "/{id}/poll",
		Scopes:      readStreams,
		Summary:     "Poll a Stream of Signals",
		Description: "RFC 8936. What is not acknowledged comes again.",
	}, a.pollStream)
}

func (a *api) readStreamStatus(ctx context.Context, actor audit.Actor, in *StreamQuery) (*streamStatusOutput, error) {
	s, err := a.Signals.Stream(ctx, actor, in.ID)
	if err != nil {
		return nil, err
	}
	return &streamStatusOutput{apiStreamStatus{ID: s.ID, Status: s.Status, Reason: s.Reason}}, nil
}

func (a *api) setStreamStatus(ctx context.Context, actor audit.Actor, in *struct{ Body apiStreamStatus }) (*streamStatusOutput, error) {
	s, err := a.Signals.SetStatus(ctx, actor, in.Body.ID, in.Body.Status, in.Body.Reason)
	if err != nil {
		return nil, err
	}
	return &streamStatusOutput{apiStreamStatus{ID: s.ID, Status: s.Status, Reason: s.Reason}}, nil
}

func (a *api) addSubject(ctx context.Context, actor audit.Actor, in *streamSubject) (*struct{ Body struct{} }, error) {
	return &struct{ Body struct{} }{}, a.Signals.AddSubject(ctx, actor, in.Body.ID, in.subject())
}

func (a *api) removeSubject(ctx context.Context, actor audit.Actor, in *streamSubject) (*nothing, error) {
	return nil, a.Signals.RemoveSubject(ctx, actor, in.Body.ID, in.subject())
}

func (a *api) verifyStream(ctx context.Context, actor audit.Actor, in *streamVerification) (*nothing, error) {
	return nil, a.Signals.Verify(ctx, actor, in.Body.ID, in.Body.State)
}

// pollStream gives a receiver what waits. It holds the call until something does: the newest poll of a stream alone.
func (a *api) pollStream(ctx context.Context, actor audit.Actor, in *streamPoll) (*streamPolled, error) {
	p := signal.Polling{Most: signal.MostPolled}
	wait := signal.MaxWait
	if in.Body != nil {
		p.Acked = in.Body.Acked
		for jti := range in.Body.Faults {
			p.Acked = append(p.Acked, jti)
		}
		if in.Body.Most != nil {
			p.Most = *in.Body.Most
		}
		if in.Body.Immediately != nil && *in.Body.Immediately {
			wait = 0
		}
	}
	out := &streamPolled{}
	ask := func(ctx context.Context, wait time.Duration) error {
		p.Wait = wait
		got, err := a.Signals.Poll(ctx, actor, in.ID, p)
		out.Body.SETs = got.SETs
		out.Body.More = got.More
		return err
	}
	if p.Most == 0 {
		wait = 0
	}
	return out, a.server.Waits().Hold(ctx, "stream:"+actor.Client()+":"+in.ID, wait, ask)
}

package managementapi

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"tutela/recovery/signal"
	"tutela/storage/audit"
)

// The scopes of the calls about streams.
var (
	readStreams   = []string{signal.ScopeRead, signal.ScopeManage}
	manageStreams = []string{signal.ScopeManage}
)

// The paths of the calls about streams.
const (
	streamsPath       = "/ssf/streams"
	streamStatusPath  = "/ssf/status"
	addSubjectPath    = "/ssf/subjects/add"
	removeSubjectPath = "/ssf/subjects/remove"
	verificationPath  = "/ssf/verification"
)

// transmitter is the document of /.well-known/ssf-configuration. Source: SSF 1.0, "Transmitter Configuration Metadata".
type transmitter struct {
	SpecVersion     string              `json:"spec_version"`
	Issuer          string              `json:"issuer"`
	JWKSURI         string              `json:"jwks_uri"`
	DeliveryMethods []signal.Method     `json:"delivery_methods_supported"`
	Configuration   string              `json:"configuration_endpoint"`
	Status          string              `json:"status_endpoint"`
	AddSubject      string              `json:"add_subject_endpoint"`
	RemoveSubject   string              `json:"remove_subject_endpoint"`
	Verification    string              `json:"verification_endpoint"`
	Schemes         []map[string]string `json:"authorization_schemes"`
	DefaultSubjects string              `json:"default_subjects"`
}

// transmitterType is the type of the document, for its description.
var transmitterType = reflect.TypeFor[transmitter]()

// wellKnown says where the transmitter is. Source: SSF 1.0, "Obtaining Transmitter Configuration Metadata".
func (a *api) wellKnown(c *fiber.Ctx) error {
	public := a.Access.Public()
	body, err := json.Marshal(transmitter{
		SpecVersion:     "1_0",
		Issuer:          a.Access.Issuer(),
		JWKSURI:         public + "/.well-known/jwks.json",
		DeliveryMethods: []signal.Method{signal.Push, signal.Poll},
		Configuration:   public + base + streamsPath,
		Status:          public + base + streamStatusPath,
		AddSubject:      public + base + addSubjectPath,
		RemoveSubject:   public + base + removeSubjectPath,
		Verification:    public + base + verificationPath,
		Schemes:         []map[string]string{{"spec_urn": "urn:ietf:rfc:6749"}},
		DefaultSubjects: "ALL",
	})
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderCacheControl, "public, max-age=300")
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(body)
}

// apiStream is a stream's configuration. Source: SSF 1.0, "Stream Configuration".
type apiStream struct {
	ID          string            `json:"stream_id"`
	Issuer      string            `json:"iss"`
	Audience    string            `json:"aud" doc:"The client's id."`
	Supported   []string          `json:"events_supported" nullable:"false"`
	Requested   []string          `json:"events_requested,omitempty"`
	Delivered   []string          `json:"events_delivered" nullable:"false"`
	Delivery    apiStreamDelivery `json:"delivery"`
	MinInterval int               `json:"min_verification_interval" doc:"Seconds."`
	Description string            `json:"description,omitempty"`
}

type apiStreamDelivery struct {
	Method signal.Method `json:"method" enum:"urn:ietf:rfc:8935,urn:ietf:rfc:8936"`
	URL    string        `json:"endpoint_url" doc:"Where it is pushed to, or where to poll."`
}

func (a *api) streamOf(s signal.Stream) apiStream {
	shown := apiStream{
		ID:          s.ID,
		Issuer:      a.Access.Issuer(),
		Audience:    s.Client,
		Supported:   signal.Supported(),
		Requested:   s.Requested,
		Delivered:   s.Delivered(),
		Delivery:    apiStreamDelivery{Method: s.Method, URL: s.URL},
		MinInterval: int(signal.VerifyEvery / time.Second),
		Description: s.Description,
	}
	if s.Method == signal.Poll {
		shown.Delivery.URL = a.Access.Public() + base + streamsPath + "/" + s.ID + "/poll"
	}
	return shown
}

type streamOutput struct{ Body apiStream }

// streamOrAll is one stream, or the array of all.
type streamOrAll struct {
	one *apiStream
	all []apiStream
}

// MarshalJSON writes what there is.
func (s streamOrAll) MarshalJSON() ([]byte, error) {
	if s.one != nil {
		return json.Marshal(s.one)
	}
	return json.Marshal(s.all)
}

// Schema describes both forms.
func (streamOrAll) Schema(r huma.Registry) *huma.Schema {
	one := r.Schema(reflect.TypeFor[apiStream](), true, "Stream")
	return &huma.Schema{OneOf: []*huma.Schema{one, {Type: huma.TypeArray, Items: one}}}
}

// streamFields are those that a receiver sets, and those of ours that it may repeat, if they are as they are.
type streamFields struct {
	Delivery    *deliveryFields `json:"delivery,omitempty" doc:"Left out of a new stream, it is polled."`
	Requested   *[]string       `json:"events_requested,omitempty" nullable:"true" maxItems:"100" doc:"Left out: all types."`
	Description *string         `json:"description,omitempty" nullable:"true" maxLength:"1000"`

	ID          *string   `json:"stream_id,omitempty" nullable:"true"`
	Issuer      *string   `json:"iss,omitempty" nullable:"true"`
	Audience    audience  `json:"aud,omitempty"`
	Supported   *[]string `json:"events_supported,omitempty" nullable:"true"`
	Delivered   *[]string `json:"events_delivered,omitempty" nullable:"true"`
	MinInterval *int      `json:"min_verification_interval,omitempty" nullable:"true"`
}

// audience is the aud of a JWT: text, or an array of it. Source: RFC 7519 §4.1.3.
type audience []string

// UnmarshalJSON reads both forms.
func (a *audience) UnmarshalJSON(text []byte) error {
	one := ""
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// Schema describes both forms.
func (audience) Schema(huma.Registry) *huma.Schema {
	text := &huma.Schema{Type: huma.TypeString}
	return &huma.Schema{OneOf: []*huma.Schema{text, {Type: huma.TypeArray, Items: text}}}
}

type deliveryFields struct {
	Method        signal.Method `json:"method" enum:"urn:ietf:rfc:8935,urn:ietf:rfc:8936"`
	URL           string        `json:"endpoint_url,omitempty" doc:"Of a push: https://…"`
	Authorization *string       `json:"authorization_header,omitempty" nullable:"true" doc:"Of a push: what its Authorization header says. It is never shown."`
}

func (f streamFields) change(whole bool) signal.Change {
	c := signal.Change{
		Requested:   f.Requested,
		Description: f.Description,
		Whole:       whole,
	}
	if f.Delivery != nil {
		c.Delivery = &signal.Delivery{Method: f.Delivery.Method, URL: f.Delivery.URL, Authorization: f.Delivery.Authorization}
	}
	return c
}

// repeats returns an error unless what a receiver repeats of our members is as it is.
//
// Errors: signal.ErrInvalid.
//
// Source: SSF 1.0, "Updating a Stream's Configuration".
func (f streamFields) repeats(is apiStream) error {
	wrong := func(name string) error {
		return signal.ErrInvalid.With("%s is not for a receiver to set, and differs from what it is", name)
	}
	switch {
	case f.Issuer != nil && *f.Issuer != is.Issuer:
		return wrong("iss")
	case len(f.Audience) > 0 && !slices.Equal(f.Audience, audience{is.Audience}):
		return wrong("aud")
	case f.Supported != nil && !sameTypes(*f.Supported, is.Supported):
		return wrong("events_supported")
	case f.Delivered != nil && !sameTypes(*f.Delivered, is.Delivered):
		return wrong("events_delivered")
	case f.MinInterval != nil && *f.MinInterval != is.MinInterval:
		return wrong("min_verification_interval")
	}
	return nil
}

func sameTypes(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

type newStream struct {
	Body *streamFields
}

type streamChange struct {
	Body streamFields
}

// StreamQuery names a stream.
type StreamQuery struct {
	ID string `query:"stream_id" required:"true" maxLength:"255"`
}

func (a *api) mountStreams() {
	a.server.App().Get("/.well-known/ssf-configuration", a.wellKnown)
	a.server.DescribeDocument("/.well-known/ssf-configuration", "get-ssf-configuration", "Where the transmitter of Shared Signals is",
		a.huma.OpenAPI().Components.Schemas.Schema(transmitterType, true, "Transmitter"))
	register(a, call{
		Word:        audit.CallGetStreams,
		Method:      http.MethodGet,
		Path:        streamsPath,
		Scopes:      readStreams,
		Summary:     "Get a Stream of Signals, or All",
		Description: "OpenID Shared Signals 1.0. With stream_id the one, without all of the caller's.",
	}, a.readStreams)
	register(a, call{
		Word:        audit.CallCreateStream,
		Method:      http.MethodPost,
		Path:        streamsPath,
		Scopes:      manageStreams,
		Summary:     "Create a Stream of Signals",
		Description: "Without delivery it is polled. A push goes to the internet alone, and a redirect is not followed.",
		Status:      http.StatusCreated,
	}, a.createStream)
	register(a, call{
		Word:        audit.CallUpdateStream,
		Method:      http.MethodPatch,
		Path:        streamsPath,
		Scopes:      manageStreams,
		Summary:     "Update a Stream of Signals",
		Description: "What is not named stays. Another endpoint_url has no authorization_header, unless one is given with it.",
	}, a.updateStream)
	register(a, call{
		Word:        audit.CallReplaceStream,
		Method:      http.MethodPut,
		Path:        streamsPath,
		Scopes:      manageStreams,
		Summary:     "Replace the Configuration of a Stream of Signals",
		Description: "What is not named goes back to what it is in a new stream, the authorization_header too.",
	}, a.replaceStream)
	register(a, call{
		Word:        audit.CallDeleteStream,
		Method:      http.MethodDelete,
		Path:        streamsPath,
		Scopes:      manageStreams,
		Summary:     "Delete a Stream of Signals",
		Description: "What waits for it is not sent.",
		Status:      http.StatusNoContent,
	}, a.deleteStream)
	a.mountStreamCalls()
}

func (a *api) readStreams(ctx context.Context, actor audit.Actor, in *struct {
	ID string `query:"stream_id" maxLength:"255"`
},
) (*struct{ Body streamOrAll }, error) {
	if in.ID != "" {
		one, err := a.Signals.Stream(ctx, actor, in.ID)
		if err != nil {
			return nil, err
		}
		shown := a.streamOf(one)
		return &struct{ Body streamOrAll }{streamOrAll{one: &shown}}, nil
	}
	found, err := a.Signals.Streams(ctx, actor)
	if err != nil {
		return nil, err
	}
	all := make([]apiStream, 0, len(found))
	for _, s := range found {
		all = append(all, a.streamOf(s))
	}
	return &struct{ Body streamOrAll }{streamOrAll{all: all}}, nil
}

func (a *api) createStream(ctx context.Context, actor audit.Actor, in *newStream) (*streamOutput, error) {
	fields := streamFields{}
	if in.Body != nil {
		fields = *in.Body
	}
	made, err := a.Signals.Add(ctx, actor, fields.change(false))
	if err != nil {
		return nil, err
	}
	return &streamOutput{a.streamOf(made)}, nil
}

func (a *api) updateStream(ctx context.Context, actor audit.Actor, in *streamChange) (*streamOutput, error) {
	return a.changeStream(ctx, actor, in.Body, false)
}

func (a *api) replaceStream(ctx context.Context, actor audit.Actor, in *streamChange) (*streamOutput, error) {
	return a.changeStream(ctx, actor, in.Body, true)
}

func (a *api) changeStream(ctx context.Context, actor audit.Actor, fields streamFields, whole bool) (*streamOutput, error) {
	if fields.ID == nil {
		return nil, signal.ErrInvalid.With("stream_id is missing")
	}
	is, err := a.Signals.Stream(ctx, actor, *fields.ID)
	if err != nil {
		return nil, err
	}
	if err := fields.repeats(a.streamOf(is)); err != nil {
		return nil, err
	}
	changed, err := a.Signals.Change(ctx, actor, *fields.ID, fields.change(whole))
	if err != nil {
		return nil, err
	}
	return &streamOutput{a.streamOf(changed)}, nil
}

func (a *api) deleteStream(ctx context.Context, actor audit.Actor, in *StreamQuery) (*nothing, error) {
	return nil, a.Signals.Remove(ctx, actor, in.ID)
}

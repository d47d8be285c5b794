package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
)

// Huma makes its own errors through two variables of its package. This is the one place that sets them.
func init() {
	huma.NewError = func(status int, message string, _ ...error) huma.StatusError {
		p := refusal(AppAPI, status, message)
		return &wireError{p.Status, reason(p.Status), p.Message, p.Code}
	}
	huma.NewErrorWithContext = typedError
}

// conventions describes what all operations have in common.
const conventions = "Everything is also served below /appliance-mfa. A member of a request that is not known is ignored, and one " +
	"that is null counts as left out, as does a parameter of a query that is empty. Decide by errorCode (login API: error): messages are for people and may change. " +
	"Every answer has X-Request-Id."

// newHuma makes the API object on which packages register typed operations, and serves its description.
func newHuma(s *Server) huma.API {
	config := huma.DefaultConfig("tutela", cmp.Or(s.config.Version, "unknown"))
	config.Tags = groups
	config.Info.Description = conventions
	config.CreateHooks = nil                         // they would add "$schema" to every answer
	config.AllowAdditionalPropertiesByDefault = true // newer clients send more than we know
	config.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	config.OpenAPIPath = ""
	config.DocsPath = ""
	config.SchemasPath = "" // its docs page loads scripts from elsewhere
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: Unmarshal}
	config.Formats = map[string]huma.Format{jsonType: format, "json": format}
	for _, u := range s.config.PublicURLs {
		config.Servers = append(config.Servers, &huma.Server{URL: u})
	}
	plain := humafiber.New(s.app, huma.Config{Formats: config.Formats}).Adapter()
	api := huma.NewAPI(config, adapter{plain})
	describeDocument(api, "/openapi.json", "get-openapi", "Read this description", &huma.Schema{Type: huma.TypeObject})
	describe := sync.OnceValues(func() ([]byte, error) { return json.Marshal(api.OpenAPI()) })
	s.app.Get("/openapi.json", func(c *fiber.Ctx) error {
		description, err := describe()
		if err != nil {
			return err
		}
		c.Set(fiber.HeaderContentType, jsonType)
		c.Set(fiber.HeaderCacheControl, "public, max-age=300")
		return c.Send(description)
	})
	mountDocs(s.app)
	return api
}

// schemaName names a schema by package and type: two APIs may each have an Enrollment.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	pkg := path.Base(t.PkgPath())
	if t.Name() == "" || pkg == "." || pkg == "server" {
		return name
	}
	return strings.ToUpper(pkg[:1]) + pkg[1:] + name
}

// adapter is Huma's adapter for Fiber, with two corrections. Huma bounds no body, since the body was read within its bounds before
// the handler runs. And path parameters are decoded as paths are: Fiber hands them over undecoded.
type adapter struct{ huma.Adapter }

// Handle registers an operation.
func (a adapter) Handle(op *huma.Operation, handler func(huma.Context)) {
	op.MaxBodyBytes = -1
	op.BodyReadTimeout = 0
	a.Adapter.Handle(op, func(ctx huma.Context) { handler(decoded{ctx}) })
}

// decoded is a call whose path parameters are decoded.
type decoded struct{ humaContext }

// humaContext is huma.Context under a name that leaves room for its method Context.
type humaContext = huma.Context

// Unwrap returns the call beneath, as humafiber.Unwrap wants.
func (d decoded) Unwrap() huma.Context { return d.humaContext }

// Param returns a parameter of the path. The edge has refused paths with a broken escape.
func (d decoded) Param(name string) string {
	raw := d.humaContext.Param(name)
	if value, err := url.PathUnescape(raw); err == nil {
		return value
	}
	return raw
}

// typedError returns what a typed operation answers to an error: the operation's own, or Huma's about the input.
func typedError(ctx huma.Context, status int, message string, errs ...error) huma.StatusError {
	call := CallOf(ctx.Context())
	if call == nil {
		return huma.NewError(status, message, errs...)
	}
	var p *Problem
	if status == http.StatusInternalServerError && len(errs) == 1 {
		p = call.server.problem(call, errs[0])
	} else {
		p = invalidInput(call.api, status, message, errs)
	}
	for _, field := range p.header() {
		call.SetHeader(field[0], field[1])
	}
	return &rendered{status: p.Status, message: p.Message, body: p.body(call.api)}
}

// invalidInput says what is wrong with the input, and where. It never says the value, which may be a secret.
func invalidInput(api API, status int, message string, errs []error) *Problem {
	if status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
	}
	code := ""
	var detail *huma.ErrorDetail
	if len(errs) > 0 && errors.As(errs[0], &detail) {
		message = detail.Message
		if detail.Location != "" {
			message += " (" + detail.Location + ")"
		}
		switch place, _, _ := strings.Cut(detail.Location, "."); place {
		case "query":
			code = "invalid_query_string"
		case "path":
			code = "invalid_uri"
		}
	}
	p := refusal(api, status, message)
	if code != "" && api != LoginAPI && status == http.StatusBadRequest {
		p.Code = code
	}
	return p
}

// rendered is an error with its finished body, which Huma writes as it is.
type rendered struct {
	status  int
	message string
	body    []byte
}

func (r *rendered) Error() string                { return r.message }
func (r *rendered) GetStatus() int               { return r.status }
func (r *rendered) ContentType(string) string    { return jsonType }
func (r *rendered) MarshalJSON() ([]byte, error) { return bytes.Clone(r.body), nil }

// Error returns the message.
func (e *wireError) Error() string { return e.Message }

// GetStatus returns the HTTP status.
func (e *wireError) GetStatus() int { return e.StatusCode }

package server

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// Refusal is one way in which an operation refuses a call: the status, and the code in the error's body.
type Refusal struct {
	Status int
	Code   string
}

// everywhere lists the statuses with which the server itself may answer any call.
var everywhere = []int{
	http.StatusBadRequest,
	http.StatusRequestTimeout,
	http.StatusRequestEntityTooLarge,
	http.StatusUnsupportedMediaType,
	http.StatusTooManyRequests,
	http.StatusRequestHeaderFieldsTooLarge,
	http.StatusInternalServerError,
	http.StatusServiceUnavailable,
}

// Groups of operations in the description, in the order in which they are shown. An operation names one as its tag.
const (
	GroupApp        = "app"
	GroupLogin      = "login"
	GroupManagement = "management"
	GroupDocuments  = "documents"
)

var groups = []*huma.Tag{
	{Name: GroupApp, Description: "What phones call."},
	{Name: GroupLogin, Description: "What login systems call."},
	{Name: GroupManagement, Description: "What admins' programs call."},
	{Name: GroupDocuments, Description: "What anybody may read."},
}

// nobody is the security of an operation that needs no credentials.
var nobody = []map[string][]string{{}}

// Describe completes the description of an operation before it is registered. It adds the answers that refuse a call: those
// in refusals, and those of the server itself. An operation that names no security scheme is described as open to all.
func Describe(api huma.API, of API, op *huma.Operation, refusals ...Refusal) {
	if op.Security == nil {
		op.Security = nobody
	}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	own := general(of)
	codes := general(of)
	for _, r := range refusals {
		if !slices.Contains(codes[r.Status], r.Code) {
			codes[r.Status] = append(codes[r.Status], r.Code)
		}
	}
	for status, words := range codes {
		key := strconv.Itoa(status)
		if slices.Equal(words, own[status]) {
			op.Responses[key] = shared(api, of, status, words)
			continue
		}
		op.Responses[key] = errorResponse(of, status, words)
	}
}

// general returns the codes with which the server itself answers calls of an API, by status.
func general(of API) map[int][]string {
	codes := make(map[int][]string, len(everywhere))
	for _, status := range everywhere {
		codes[status] = []string{refusal(of, status, "").Code}
	}
	codes[http.StatusServiceUnavailable] = append(codes[http.StatusServiceUnavailable], "unknown_outcome")
	if of != LoginAPI {
		codes[http.StatusBadRequest] = append(codes[http.StatusBadRequest], "invalid_uri", "invalid_query_string")
	}
	return codes
}

// shared returns a reference to an answer that several operations give.
func shared(api huma.API, of API, status int, codes []string) *huma.Response {
	name := map[API]string{AppAPI: "error", ManagementAPI: "error", LoginAPI: "oauthError"}[of] + strconv.Itoa(status)
	components := api.OpenAPI().Components
	if components.Responses == nil {
		components.Responses = map[string]*huma.Response{}
	}
	if components.Responses[name] == nil {
		components.Responses[name] = errorResponse(of, status, codes)
	}
	return &huma.Response{Ref: "#/components/responses/" + name}
}

// errorResponse describes an error's body, as Problem writes it.
func errorResponse(of API, status int, codes []string) *huma.Response {
	enum := make([]any, len(codes))
	for i, code := range codes {
		enum[i] = code
	}
	text := &huma.Schema{Type: huma.TypeString}
	code := &huma.Schema{Type: huma.TypeString, Enum: enum}
	schema := &huma.Schema{
		Type:     huma.TypeObject,
		Required: []string{"statusCode", "error", "message", "errorCode"},
		Properties: map[string]*huma.Schema{
			"statusCode": {Type: huma.TypeInteger, Enum: []any{status}},
			"error":      text,
			"message":    text,
			"errorCode":  code,
		},
	}
	if of == LoginAPI {
		schema = &huma.Schema{
			Type:       huma.TypeObject,
			Required:   []string{"error", "error_description"},
			Properties: map[string]*huma.Schema{"error": code, "error_description": text},
		}
	}
	response := &huma.Response{
		Description: reason(status),
		Content:     map[string]*huma.MediaType{jsonType: {Schema: schema}},
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		response.Headers = map[string]*huma.Param{
			"Retry-After": {Description: "Seconds.", Schema: &huma.Schema{Type: huma.TypeInteger}},
		}
	}
	return response
}

// describeDocument describes a document that anybody may read. Its refusals have the body of the app API.
func describeDocument(api huma.API, path, id, summary string, schema *huma.Schema) {
	op := &huma.Operation{
		OperationID: id,
		Method:      http.MethodGet,
		Path:        path,
		Summary:     summary,
		Tags:        []string{GroupDocuments},
		Responses: map[string]*huma.Response{
			strconv.Itoa(http.StatusOK): {
				Description: http.StatusText(http.StatusOK),
				Content:     map[string]*huma.MediaType{jsonType: {Schema: schema}},
			},
		},
	}
	Describe(api, AppAPI, op)
	api.OpenAPI().AddOperation(op)
}

// DescribeDocument describes a document of an API that anybody may read.
func (s *Server) DescribeDocument(path, id, summary string, schema *huma.Schema) {
	describeDocument(s.api, path, id, summary, schema)
}

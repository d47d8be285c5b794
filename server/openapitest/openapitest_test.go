package openapitest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const document = `{"openapi":"3.1.0","info":{"title":"x","version":"1"},"paths":{"/things/{id}":{"post":{
	"security":[{"token":[]}],
	"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}}],
	"requestBody":{"content":{"application/json":{"schema":{"type":"object","required":["name"],"properties":{"name":{"type":"string"}}}}}},
	"responses":{
		"200":{"description":"","content":{"application/json":{"schema":{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}}}},
		"400":{"description":"","content":{"application/json":{"schema":{"type":"object","properties":{"errorCode":{"type":"string","enum":["invalid_body"]}}}}}}}}}},
	"components":{"securitySchemes":{"token":{"type":"http","scheme":"bearer"}}}}`

func TestWatch_SeesWhatIsNotDescribed(t *testing.T) {
	for name, c := range map[string]struct {
		path, body, header string
		status             int
		answer             string
		says               string // empty: it fits
	}{
		"what fits":            {"/things/1", `{"name":"a","more":null}`, "Bearer x", 200, `{"n":1}`, ""},
		"below the mount":      {"/appliance-mfa/things/1/", `{"name":"a"}`, "Bearer x", 200, `{"n":1}`, ""},
		"a refusal":            {"/things/1", `{`, "", 400, `{"errorCode":"invalid_body"}`, ""},
		"no such path":         {"/nothing", `{}`, "", 404, `{}`, ""},
		"a page":               {"/docs", ``, "", 200, `<p>`, ""},
		"a body that is taken": {"/things/1", `{"name":7}`, "Bearer x", 200, `{"n":1}`, "request body"},
		"a call let in":        {"/things/1", `{"name":"a"}`, "", 200, `{"n":1}`, "taken without token"},
		"an answer":            {"/things/1", `{"name":"a"}`, "Bearer x", 200, `{"n":"1"}`, "response body"},
		"a member missing":     {"/things/1", `{"name":"a"}`, "Bearer x", 200, `{}`, "response body"},
		"a status":             {"/things/1", `{"name":"a"}`, "Bearer x", 409, `{}`, "status is not supported"},
		"a code":               {"/things/1", `{"name":"a"}`, "Bearer x", 400, `{"errorCode":"other"}`, "response body"},
		"a path":               {"/other", `{}`, "Bearer x", 200, `{}`, "no such operation"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.answer)
			}))
			t.Cleanup(server.Close)
			w := &watch{
				next:     http.DefaultTransport,
				document: func() ([]byte, error) { return []byte(document), nil },
				faults:   map[string]bool{},
				seen:     map[refusal]bool{},
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.header != "" {
				req.Header.Set("Authorization", c.header)
			}
			resp, err := w.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != c.answer {
				t.Errorf("the caller got %q, %v", got, err)
			}
			for fault := range w.faults {
				if c.says == "" || !strings.Contains(fault, c.says) {
					t.Errorf("fault: %s", fault)
				}
			}
			if (c.says != "") != (len(w.faults) > 0) {
				t.Errorf("%d faults", len(w.faults))
			}
		})
	}
}

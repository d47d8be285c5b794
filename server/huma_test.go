package server_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"tutela/server"
)

// thing is a body as the APIs have them.
type thing struct {
	Name string   `json:"name" maxLength:"8"`
	Size int      `json:"size,omitempty"`
	Tags []string `json:"tags,omitempty"`
}

type thingInput struct {
	ID   string `path:"id"`
	Page int    `query:"page" minimum:"0"`
	Body thing
}

type thingOutput struct {
	Body struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
}

func mountThings(s *server.Server) {
	handle := func(_ context.Context, in *thingInput) (*thingOutput, error) {
		out := new(thingOutput)
		out.Body.ID = in.ID
		out.Body.Name = in.Body.Name
		return out, nil
	}
	for _, at := range []string{"/api/things/{id}", "/mfa/things/{id}"} {
		huma.Post(s.API(), at, handle)
	}
	type raw struct {
		ID      string `path:"id"`
		RawBody []byte `contentType:"application/octet-stream"`
	}
	huma.Put(s.API(), "/api/device-accounts/{id}/backup", func(_ context.Context, in *raw) (*struct{ Body int }, error) {
		return &struct{ Body int }{len(in.RawBody)}, nil
	})
}

func TestHuma_TakesWhatClientsSend(t *testing.T) {
	r := start(t, server.Config{}, mountThings)
	const body = `{"name":"n"}`
	for name, c := range map[string]struct {
		body   string
		header []string
	}{
		"JSON":                      {body, []string{"Content-Type", "application/json"}},
		"JSON in UTF-8":             {body, []string{"Content-Type", "application/json; charset=utf-8"}},
		"odd case and spaces":       {body, []string{"Content-Type", "Application/JSON ; charset=UTF-8"}},
		"no content type":           {body, nil},
		"unknown members":           {`{"name":"n","new":{"a":[1]},"$schema":"x"}`, nil},
		"pairs of surrogates":       {`{"name":"n","x":"\\ud83d \ud83d\ude00"}`, nil},
		"unknown headers":           {body, []string{"Auth0-Client", "e30=", "X-Global-Tracking-Id", "1"}},
		"an accept of other things": {body, []string{"Accept", "text/html, */*;q=0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			got := r.ask("POST", "/api/things/1", c.body, c.header...)
			if got.status != 200 || strings.TrimSpace(got.body) != `{"id":"1","name":"n"}` {
				t.Errorf("%d %s", got.status, got.body)
			}
			if kind := got.header.Get("Content-Type"); kind != "application/json" {
				t.Errorf("content type %q", kind)
			}
		})
	}
}

func TestHuma_DecodesIdsAsPaths(t *testing.T) {
	r := start(t, server.Config{}, mountThings)
	for _, id := range []string{"auth0|1", "a/b", "a%2Fb", "a+b", "100%", "a b?c#d", "é", ":id", "*", "..", "a;b"} {
		escaped := strings.ReplaceAll(url.PathEscape(id), "..", "%2E%2E")
		got := r.ask("POST", "/api/things/"+escaped, `{"name":"n"}`)
		var out struct{ ID string }
		if err := json.Unmarshal([]byte(got.body), &out); err != nil || out.ID != id {
			t.Errorf("%q: %d %s", id, got.status, got.body)
		}
	}
}

func TestHuma_BadInputIsA400ThatNamesThePlaceAndNotTheValue(t *testing.T) {
	r := start(t, server.Config{}, mountThings)
	deep := strings.Repeat(`[`, 30_000) + strings.Repeat(`]`, 30_000)
	for name, c := range map[string]struct {
		query, body string
		code, at    string
	}{
		"no body":                {"", "", "invalid_body", "request body is required"},
		"no JSON":                {"", "planted", "invalid_body", "(body)"},
		"cut off":                {"", `{"name":"pla`, "invalid_body", "(body)"},
		"two values":             {"", `{"name":"n"}{"name":"planted"}`, "invalid_body", "(body)"},
		"an array":               {"", `["planted"]`, "invalid_body", "(body)"},
		"null":                   {"", `null`, "invalid_body", "(body)"},
		"member missing":         {"", `{"size":1}`, "invalid_body", "(body)"},
		"member of a wrong type": {"", `{"name":["planted"]}`, "invalid_body", "(body.name)"},
		"number too large":       {"", `{"name":"n","size":1e99}`, "invalid_body", ""},
		"fraction":               {"", `{"name":"n","size":1.5}`, "invalid_body", "(body.size)"},
		"element of wrong type":  {"", `{"name":"n","tags":[{"planted":1}]}`, "invalid_body", "(body.tags[0])"},
		"too long":               {"", `{"name":"planted planted"}`, "invalid_body", "(body.name)"},
		"too deep":               {"", `{"name":"n","x":` + deep + `}`, "invalid_body", "nest too deep"},
		"too deep, cut off":      {"", strings.Repeat(`{"a":`, 12_000), "invalid_body", "nest too deep"},
		"no UTF-8":               {"", "{\"name\":\"\xff\"}", "invalid_body", "no Unicode text"},
		"half a pair":            {"", `{"name":"n","x":"\\\ud83d"}`, "invalid_body", "no Unicode text"},
		"two first halves":       {"", `{"name":"\uD83D\uD83D\uDE00"}`, "invalid_body", "no Unicode text"},
		"a second half":          {"", `{"name":"n","\ude00":1}`, "invalid_body", "no Unicode text"},
		"query of a wrong type":  {"?page=planted", `{"name":"n"}`, "invalid_query_string", "(query.page)"},
		"query out of bounds":    {"?page=-1", `{"name":"n"}`, "invalid_query_string", "(query.page)"},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			got := r.ask("POST", "/api/things/1"+c.query, c.body, "Content-Type", "application/json")
			var body struct {
				StatusCode                int
				Error, Message, ErrorCode string
			}
			if err := json.Unmarshal([]byte(got.body), &body); err != nil {
				t.Fatal(err)
			}
			if got.status != 400 || body.StatusCode != 400 || body.Error != "Bad Request" || body.ErrorCode != c.code || !strings.Contains(body.Message, c.at) {
				t.Errorf("%d %s", got.status, got.body)
			}
			if strings.Contains(got.body, "planted") {
				t.Errorf("the value comes back: %s", got.body)
			}
			if got.header.Get("Content-Type") != "application/json" {
				t.Errorf("content type %q", got.header.Get("Content-Type"))
			}
			login := r.ask("POST", "/mfa/things/1"+c.query, c.body)
			if login.status != 400 || !strings.HasPrefix(login.body, `{"error":"invalid_request","error_description":`) {
				t.Errorf("login API: %d %s", login.status, login.body)
			}
		})
	}
	got := r.ask("POST", "/api/things/1", "name=n", "Content-Type", "application/x-www-form-urlencoded")
	if got.status != 415 || !strings.Contains(got.body, `"errorCode":"invalid_body"`) {
		t.Errorf("a form: %d %s", got.status, got.body)
	}
}

func TestHuma_HasNoBodyLimitOfItsOwn(t *testing.T) {
	r := start(t, server.Config{}, mountThings)
	got := r.ask("PUT", "/api/device-accounts/dev_1/backup", strings.Repeat("x", 1<<20), "Content-Type", "application/octet-stream")
	if got.status != 200 || strings.TrimSpace(got.body) != "1048576" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestHuma_DescribesTheAPI(t *testing.T) {
	r := start(t, server.Config{PublicURLs: []string{"https://mfa.example"}, Version: "1.2.3"}, mountThings)
	got := r.ask("GET", "/openapi.json", "")
	var description struct {
		OpenAPI string
		Info    struct{ Version string }
		Servers []struct{ URL string }
		Paths   map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(got.body), &description); err != nil {
		t.Fatal(err)
	}
	if description.OpenAPI != "3.1.0" || description.Info.Version != "1.2.3" || description.Servers[0].URL != "https://mfa.example" {
		t.Errorf("%+v", description)
	}
	if description.Paths["/api/things/{id}"]["post"] == nil || !strings.Contains(got.body, `"errorCode"`) {
		t.Errorf("paths %v", description.Paths)
	}
}

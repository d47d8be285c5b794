package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// described is an operation of /openapi.json.
type described struct {
	ID          string                       `json:"operationId"`
	Summary     string                       `json:"summary"`
	Tags        []string                     `json:"tags"`
	Security    []map[string][]string        `json:"security"`
	Responses   map[string]describedResponse `json:"responses"`
	RequestBody *describedResponse           `json:"requestBody"`
}

type describedResponse struct {
	Ref     string `json:"$ref"`
	Content map[string]struct {
		Schema *schemaOfBody `json:"schema"`
	} `json:"content"`
}

type schemaOfBody struct {
	schema

	OneOf      []schema `json:"oneOf"`
	Properties map[string]struct {
		Enum []any `json:"enum"`
	} `json:"properties"`
}

// isPage reports whether people see a path, or what pages load and post.
func isPage(path string) bool {
	for _, page := range []string{"/docs", "/mfa/help", "/mfa/enrollment", "/mfa/challenge", "/mfa/me", "/mfa/logo", "/admin"} {
		if path == page || strings.HasPrefix(path, page+"/") {
			return true
		}
	}
	return false
}

// Every call that the server takes is in its description, or a page; and each says what opens it, what it takes and gives,
// and with which codes it refuses. What the tests of the package and of the APIs call is compared by package openapitest.
func TestOpenAPI_DescribesEveryOperationWhole(t *testing.T) {
	m := mount(t)
	var d struct {
		Tags []struct {
			Name string `json:"name"`
		} `json:"tags"`
		Paths      map[string]map[string]described `json:"paths"`
		Components struct {
			SecuritySchemes map[string]any               `json:"securitySchemes"`
			Responses       map[string]describedResponse `json:"responses"`
		} `json:"components"`
	}
	m.must(json.Unmarshal(m.ok(m.call("GET", "/openapi.json", "")).body, &d))
	var groups []string
	for _, tag := range d.Tags {
		groups = append(groups, tag.Name)
	}
	for _, r := range m.routes() {
		at := parameter.ReplaceAllString(r.path, "{$1}")
		op, found := d.Paths[at][strings.ToLower(r.method)]
		if !found {
			if at != "/" && !isPage(at) && !strings.Contains(at, ".") {
				t.Errorf("%s is not described", r)
			}
			continue
		}
		faults := op.faults(func(scheme string) bool { return d.Components.SecuritySchemes[scheme] != nil }, d.Components.Responses)
		if len(op.Tags) != 1 || !slices.Contains(groups, op.Tags[0]) {
			faults = append(faults, "it is in no group")
		}
		if len(faults) > 0 {
			t.Errorf("%s: %s", r, strings.Join(faults, "; "))
		}
	}
}

// faults says what the description of an operation lacks.
func (d described) faults(isScheme func(string) bool, shared map[string]describedResponse) (faults []string) {
	if d.ID == "" || d.Summary == "" {
		faults = append(faults, "it has no name, or no summary")
	}
	if len(d.Security) == 0 {
		faults = append(faults, "it says nothing of security")
	}
	for _, alternative := range d.Security {
		for scheme := range alternative {
			if !isScheme(scheme) {
				faults = append(faults, "there is no scheme "+scheme)
			}
		}
	}
	if d.RequestBody != nil && !d.RequestBody.typed() {
		faults = append(faults, "its body has no type")
	}
	for _, general := range []int{http.StatusBadRequest, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		if _, ok := d.Responses[fmt.Sprint(general)]; !ok {
			faults = append(faults, fmt.Sprintf("it has no answer %d", general))
		}
	}
	for status, response := range d.Responses {
		if name, ok := strings.CutPrefix(response.Ref, "#/components/responses/"); ok {
			response = shared[name]
		}
		switch {
		case status == "default":
			faults = append(faults, "it has an answer for whatever status")
		case status == "204":
		case !response.typed():
			faults = append(faults, "the answer "+status+" has no type")
		case status >= "400" && !response.coded() && d.ID != "get-readiness":
			faults = append(faults, "the answer "+status+" names no codes")
		}
	}
	return faults
}

// typed reports whether every body has a type.
func (r describedResponse) typed() bool {
	for _, content := range r.Content {
		if s := content.Schema; s == nil || s.Ref == "" && s.Type == nil && len(s.OneOf) == 0 {
			return false
		}
	}
	return len(r.Content) > 0
}

// coded reports whether the body of an error names its codes.
func (r describedResponse) coded() bool {
	for _, content := range r.Content {
		if members := content.Schema.Properties; len(members["errorCode"].Enum) == 0 && len(members["error"].Enum) == 0 {
			return false
		}
	}
	return true
}

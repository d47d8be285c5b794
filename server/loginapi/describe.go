package loginapi

import "github.com/danielgtaylor/huma/v2"

// operation is an endpoint for /openapi.json. They are plain handlers, since they take forms as well as JSON, so they
// are described by hand.
type operation struct {
	path, id, summary, about string
	parameters               []string // a leading * marks one that is required
}

var operations = []operation{
	{
		"/bc-authorize", "backchannel-authorize", "Ask a user's phones for an approval",
		"CIBA Core 1.0 §7, poll mode. number is to be shown to the person; delivery is push, pull or silent.",
		[]string{
			"*scope", "*login_hint", "binding_message", "requested_expiry", "audience", "authorization_details",
			"ip", "user_agent", "login_id", "client_id", "client_secret",
		},
	},
	{
		"/oauth/token", "token", "Get tokens",
		"Grants: urn:openid:params:grant-type:ciba (auth_req_id, wait), client_credentials (audience), " +
			"http://auth0.com/oauth/grant-type/mfa-recovery-code (mfa_token, recovery_code).",
		[]string{
			"*grant_type", "auth_req_id", "wait", "mfa_token", "recovery_code", "audience", "scope",
			"client_id", "client_secret",
		},
	},
	{
		"/mfa/start", "start-mfa", "Begin a login that a grant satisfies",
		"The mfa_token counts only for the client that asked for it, for ten minutes.",
		[]string{"*user_id", "email", "name", "ticket", "client_id", "client_secret"},
	},
}

// describe adds the login API to the description of all APIs.
func describe(doc *huma.OpenAPI) {
	for _, op := range operations {
		schema := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{}}
		for _, name := range op.parameters {
			if name[0] == '*' {
				name = name[1:]
				schema.Required = append(schema.Required, name)
			}
			schema.Properties[name] = &huma.Schema{Type: huma.TypeString}
		}
		content := map[string]*huma.MediaType{
			"application/x-www-form-urlencoded": {Schema: schema},
			"application/json":                  {Schema: schema},
		}
		doc.AddOperation(&huma.Operation{
			OperationID: op.id,
			Method:      "POST",
			Path:        op.path,
			Summary:     op.summary,
			Description: op.about,
			Tags:        []string{"login"},
			RequestBody: &huma.RequestBody{Required: true, Content: content},
			Responses: map[string]*huma.Response{
				"200": {Description: "OK"},
				"400": {Description: "error and error_description (RFC 6749 §5.2)"},
				"401": {Description: "invalid_client"},
				"429": {Description: "too_many_attempts, with Retry-After"},
			},
		})
	}
}

package managementapi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tutela/server/access"
	"tutela/storage"
)

// bodies are the calls that read a body, and right bodies of each. A word in braces is replaced by what the house has: a fuzzer's processes
// have a house each.
var bodies = map[string][]string{
	"POST /users": {
		`{"user_id":"{fresh}","email":"new@example.com","email_verified":true,"name":"New","nickname":"n","picture":"https://x/","username":"new","given_name":"N","family_name":"W","connection":"db","password":"x","blocked":false,"app_metadata":{"a":{"b":[1,null]}},"user_metadata":{}}`,
		`{"user_id":"auth0|{fresh}"}`,
	},
	"PATCH /users/{id}": {
		`{"name":"Maria","email":"m@example.com","email_verified":false,"blocked":false,"username":null,"app_metadata":{"a":null,"b":1},"user_metadata":null}`,
		`{"app_metadata":{"plan":"x"}}`,
		`{"role":"none","nickname":"","given_name":"M","family_name":null,"picture":"https://x/"}`,
	},
	"POST /users/mfa-reset":      {`{"reason":"lost phones","user_ids":["{fresh}","maria"],"dry_run":true}`},
	"POST /users/{id}/mfa-reset": {`{"reason":"lost phone","dry_run":true,"caller_check":"device_answered","check":"chk_none"}`},
	"POST /users/{id}/authentication-methods": {
		`{"type":"totp","name":"app","totp_secret":"JBSWY3DPEHPK3PXP"}`,
		`{"type":"phone","phone_number":"+1","preferred_authentication_method":"sms"}`,
	},
	"PUT /users/{id}/authentication-methods": {
		`[]`,
		`[{"type":"totp","totp_secret":"jbsw y3dp ehpk 3pxp"},{"id":"push|x","type":"push"}]`,
	},
	"PATCH /users/{id}/authentication-methods/{mid}": {`{"name":"Pixel","preferred_authentication_method":"voice"}`},
	"POST /users/{id}/caller-check":                  {`{"note":"new phone"}`},
	"POST /clients": {
		`{"name":"another","scopes":["read:users"],"grants":["client_credentials"]}`,
		`{"name":"shop","scopes":["openid"],"redirect_uris":["https://x/cb"],"web_origins":["https://x"],"id_token_alg":"ES256","presence":"number","delivery_mode":"ping","notification_endpoint":"https://x/ping","acts_as":"maria"}`,
		`{"name":"bank","scopes":["read:users"],"request_alg":"ES256","jwks":{"keys":[{"kty":"EC","crv":"P-256","kid":"a","use":"sig","alg":"ES256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}}`,
		`{"name":"k","scopes":["read:users"],"jwks":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}`,
		`{"name":"r","scopes":["read:users"],"jwks":{"kty":"RSA","n":"AQAB","e":"AQAB"}}`,
	},
	"PATCH /clients/{id}": {
		`{"name":"renamed","scopes":["read:users"],"grants":null,"redirect_uris":[],"web_origins":["https://x"],"id_token_alg":"RS256","presence":null,"delivery_mode":"poll","notification_endpoint":"","request_alg":"","acts_as":""}`,
		`{"jwks":{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}`,
	},
	"POST /clients/{id}/rotate-secret":                          {`{"overlap":3600}`, ``},
	"PATCH /policies":                                           {`{"approval.digits":"8","restore.wait":"5m"}`, `{"brand.name":"Hafenlicht","brand.colour":"#123456","passkey.rp_id":"example.com"}`},
	"PUT /guardian/policies":                                    {`["all-applications"]`, `[]`},
	"PUT /guardian/factors/{name}":                              {`{"enabled":true}`},
	"PUT /guardian/factors/webauthn-roaming/settings":           {`{"userVerification":"required","overrideRelyingParty":true,"relyingPartyIdentifier":"example.com"}`},
	"PUT /guardian/factors/webauthn-platform/settings":          {`{"overrideRelyingParty":false,"relyingPartyIdentifier":null}`},
	"PUT /guardian/settings":                                    {`{"display_remember_me_checkbox":true,"remember_me_default_value":false,"mfa_session_inactivity_timeout":3600,"mfa_session_overall_timeout":86400}`},
	"PATCH /prompts/mfa-push":                                   {`{"app_name":"Hafenlicht","apple_app_link":"https://apps.apple.com/x","google_app_link":null}`},
	"PUT /guardian/factors/push-notification/selected-provider": {`{"provider":"direct"}`, `{"provider":"sns"}`},
	"PUT /guardian/factors/push-notification/providers/apns":    {`{"bundle_id":"com.example","sandbox":true,"p12":"MIIB"}`},
	"PATCH /guardian/factors/push-notification/providers/apns":  {`{"sandbox":false}`},
	"PUT /guardian/factors/push-notification/providers/fcmv1":   {`{"server_credentials":"{\"type\":\"service_account\",\"project_id\":\"p\"}"}`},
	"PATCH /guardian/factors/push-notification/providers/fcmv1": {`{"server_credentials":null}`},
	"POST /guardian/enrollments/ticket": {
		`{"user_id":"{fresh}","email":"x@example.com","send_mail":false,"email_locale":"de","factor":"push-notification","allow_multiple_enrollments":true}`,
		`{"user_id":"maria","replaces":"{enrollment}","new_code":true}`,
	},
	"POST /webhooks":             {`{"url":"https://127.0.0.1/hook","events":["td_reset","*"],"enabled":true,"mails":false}`},
	"PATCH /webhooks/{id}":       {`{"url":"https://127.0.0.1/other","events":["s"],"enabled":false,"mails":null}`},
	"POST /webhooks/{id}/rotate": {`{"overlap":60}`, ``},
	"POST /ssf/streams": {
		`{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://127.0.0.1/set","authorization_header":"Bearer x"},"events_requested":["https://schemas.openid.net/secevent/risc/event-type/account-disabled"],"description":"x"}`,
		``,
	},
	"PATCH /ssf/streams":          {`{"stream_id":"{stream}","description":"y","aud":["x"],"iss":"https://mfa.example.com/","min_verification_interval":60}`},
	"PUT /ssf/streams":            {`{"stream_id":"{stream}","delivery":{"method":"urn:ietf:rfc:8936"},"events_requested":null}`},
	"POST /ssf/status":            {`{"stream_id":"{stream}","status":"enabled","reason":"x"}`},
	"POST /ssf/subjects/add":      {`{"stream_id":"{stream}","subject":{"format":"opaque","id":"maria"},"verified":true}`},
	"POST /ssf/subjects/remove":   {`{"stream_id":"{stream}","subject":{"format":"iss_sub","iss":"https://mfa.example.com/","sub":"maria"}}`},
	"POST /ssf/verification":      {`{"stream_id":"{stream}","state":"x"}`},
	"POST /ssf/streams/{id}/poll": {`{"maxEvents":2,"returnImmediately":true,"ack":["a"],"setErrs":{"b":{"err":"x","description":"y"}}}`},
}

// fuzzed is the API with one of each thing that calls name.
type fuzzed struct {
	*house
	caller *http.Client
	routes []string
	held   *strings.Replacer
	path   *strings.Replacer
}

// newFuzzed opens a house for a fuzz target. It fails when there is a call with a body of which there is no right one.
func newFuzzed(f *testing.F) *fuzzed {
	f.Helper()
	h := newHouse(f)
	fz := &fuzzed{house: h, caller: &http.Client{Transport: &http.Transport{}}}
	f.Cleanup(fz.caller.CloseIdleConnections)
	for route := range bodies {
		fz.routes = append(fz.routes, route)
	}
	slices.Sort(fz.routes)
	for route := range h.readers() {
		if bodies[route] == nil {
			f.Errorf("%s: give it a right body, to begin from", route)
		}
	}
	enrollment := h.enroll("maria")
	other, _ := h.clientFor(access.Client{Scopes: []string{"read:users"}})
	stream := h.call("POST", "/ssf/streams", "").is(http.StatusCreated).object()["stream_id"].(string)
	hook := h.call("POST", "/webhooks", bodies["POST /webhooks"][0]).is(http.StatusCreated).object()["id"].(string)
	h.token = h.tokenFor(append([]string{"create:authentication_methods", "update:authentication_methods", "openid"}, allScopes...)...)
	fz.held = strings.NewReplacer("{enrollment}", enrollment, "{stream}", stream)
	fz.path = strings.NewReplacer("/users/{id}", "/users/maria", "/clients/{id}", "/clients/"+other.ID, "/webhooks/{id}", "/webhooks/"+hook,
		"/streams/{id}", "/streams/"+stream, "{mid}", url.PathEscape("push|"+enrollment), "{name}", "otp",
		"{bid}", "bkp_none", "{cid}", "chk_none", "{did}", "dlv_none", "{provider}", "guardian", "{id}", "none")
	return fz
}

// readers are the calls that read a body, as the description has them.
func (h *house) readers() map[string]bool {
	h.t.Helper()
	var described struct {
		Paths map[string]map[string]struct {
			Body json.RawMessage `json:"requestBody"`
		} `json:"paths"`
	}
	must(h.t, json.Unmarshal([]byte(h.Call("GET", "/openapi.json", "").Raw), &described))
	found := map[string]bool{}
	for path, methods := range described.Paths {
		below, ours := strings.CutPrefix(path, "/api/v2")
		for method, op := range methods {
			if ours && op.Body != nil {
				found[strings.ToUpper(method)+" "+below] = true
			}
		}
	}
	return found
}

// send makes a call. It gives up one that is held, as a poll is until there is something, and then returns no answer.
func (f *fuzzed) send(t *testing.T, method, path, body string) (a *answer) {
	t.Helper()
	ctx := t.Context()
	if strings.HasSuffix(path, "/poll") {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, method, f.url+"/api/v2"+path, strings.NewReader(body))
	if err != nil {
		return nil // no URL
	}
	req.Header.Set("Authorization", "Bearer "+f.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := f.caller.Do(req)
	if err != nil {
		if !strings.HasSuffix(path, "/poll") {
			t.Fatalf("%s %s %q: %v", method, path, body, err)
		}
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	must(t, err)
	return &answer{t, resp.StatusCode, resp.Header, string(raw)}
}

// judge checks what holds of every answer: it is no failure of the server, and an answer in this API's words.
func judge(t *testing.T, what string, a *answer) {
	t.Helper()
	switch {
	case a == nil:
	case a.status >= 500 || a.status < 200:
		t.Fatalf("%s: %d %s", what, a.status, a.body)
	case a.status >= 400:
		var e struct {
			Status  int    `json:"statusCode"`
			Error   string `json:"error"`
			Message string `json:"message"`
			Code    string `json:"errorCode"`
		}
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Status != a.status || e.Error == "" || e.Message == "" || e.Code == "" {
			t.Errorf("%s: %d is no error of this API: %s", what, a.status, a.body)
		}
	case a.status != http.StatusNoContent && !json.Valid([]byte(a.body)):
		t.Errorf("%s: the answer is no JSON: %s", what, a.body)
	}
}

// FuzzBodies sends bodies to every call that reads one.
func FuzzBodies(f *testing.F) {
	fz := newFuzzed(f)
	for i, route := range fz.routes {
		for _, body := range bodies[route] {
			f.Add(uint8(i), body)
		}
	}
	f.Fuzz(func(t *testing.T, route uint8, body string) {
		name := fz.routes[int(route)%len(fz.routes)]
		method, path, _ := strings.Cut(name, " ")
		sent := strings.ReplaceAll(fz.held.Replace(body), "{fresh}", storage.NewID("", 12))
		judge(t, name+" "+strconv.Quote(sent), fz.send(t, method, fz.path.Replace(path), sent))
	})
}

// FuzzQueries sends queries to every call that reads: the search grammar, cursors and pages.
func FuzzQueries(f *testing.F) {
	fz := newFuzzed(f)
	var lists []string
	for op := range fz.operations() {
		if op[0] == http.MethodGet {
			lists = append(lists, fz.path.Replace(op[1]))
		}
	}
	slices.Sort(lists)
	seeds := []string{
		`email:"maria@example.com"`, `user_id:"auth0|1" OR name:mar*`, `name:"María" AND NOT blocked:true`, `type:("s" OR "f")`,
		`date:[2026-01-01 TO 2026-12-31]`, `client_id:x AND user_id:y`, `created_at:{2026-01-01 TO *}`, `-email:*`, `((a)`, `"`, `\`, `*`,
	}
	for i := range lists {
		for _, q := range seeds {
			f.Add(uint8(i), "q="+url.QueryEscape(q)+"&search_engine=v3&sort=email:1")
		}
		f.Add(uint8(i), "page=1&per_page=2&include_totals=true&fields=user_id,email&include_fields=false")
		f.Add(uint8(i), "from="+base64.RawURLEncoding.EncodeToString([]byte(`{"t":1772366400000,"v":"a","u":"00000000000000000000000000000000"}`))+"&take=3")
		f.Add(uint8(i), "from=900&take=3&email=maria%40example.com&identifier=maria&risk=one_device&stream_id=x&status=failed&from=20260101&to=20260201")
	}
	f.Fuzz(func(t *testing.T, list uint8, query string) {
		path := lists[int(list)%len(lists)] + "?" + query
		judge(t, "GET "+strconv.Quote(path), fz.send(t, http.MethodGet, path, ""))
	})
}

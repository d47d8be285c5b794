package loginapi_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"tutela/server"
	"tutela/server/access"
)

// decodePart decodes a part of a JWS.
func decodePart(t testing.TB, token string, n int) []byte {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWS: %q", token)
	}
	decoded, err := base64.RawURLEncoding.DecodeString(parts[n])
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

const unknownClient = "the client is unknown, or its secret is wrong"

// endpoints are the paths on which a client authenticates.
var endpoints = []string{"/bc-authorize", "/oauth/token", "/mfa/start"}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

func TestClient_AuthenticatesByBasicOrByPost(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid read:users")
	grant := []string{"grant_type", access.GrantClientCredentials, "audience", public + "/api/v2/"}
	body := values(grant...).Encode()
	id := c.ID
	secret := c.secret
	for _, authorization := range []string{
		c.basic(), basic(id, secret), "basic" + strings.TrimPrefix(c.basic(), "Basic"), "BASIC   " + strings.TrimPrefix(c.basic(), "Basic "),
		basic(percent(id), percent(secret)), // every character form-encoded
	} {
		want(t, h.send("POST", "/oauth/token", body, "Content-Type", formType, "Authorization", authorization), 200, "")
	}
	// client_id may come beside Basic, if it is the same.
	same := values(append(grant, "client_id", id)...).Encode()
	want(t, h.send("POST", "/oauth/token", same, "Content-Type", formType, "Authorization", c.basic()), 200, "")
	other := values(append(grant, "client_id", "other")...).Encode()
	wantError(t, h.send("POST", "/oauth/token", other, "Content-Type", formType, "Authorization", c.basic()),
		400, "invalid_request", "client_id is not the client that authenticates")
	both := values(append(grant, c.credentials()...)...).Encode()
	wantError(t, h.send("POST", "/oauth/token", both, "Content-Type", formType, "Authorization", c.basic()),
		400, "invalid_request", "the client authenticates in two ways at once")
	post := values(c.credentials(grant...)...).Encode()
	for _, kind := range []string{formType, formType + "; charset=UTF-8", "Application/X-WWW-Form-Urlencoded", ""} {
		want(t, h.send("POST", "/oauth/token", post, "Content-Type", kind), 200, "")
	}
	want(t, h.send("POST", "/oauth/token", post, "Content-Type", formType, "Authorization", "Bearer of.another.api"), 200, "")
}

// percent encodes every byte.
func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		const hex = "0123456789ABCDEF"
		b.WriteString("%" + string(hex[s[i]>>4]) + string(hex[s[i]&15]))
	}
	return b.String()
}

func TestClient_ThatIsUnknownOrHasAWrongSecretIsInvalid(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	other := h.client("openid")
	for _, path := range endpoints {
		for _, pairs := range [][]string{
			nil, {"client_id", c.ID}, {"client_secret", c.secret}, {"client_id", c.ID, "client_secret", other.secret},
			{"client_id", c.ID, "client_secret", c.secret + "x"}, {"client_id", "", "client_secret", ""},
			{"client_id", strings.Repeat("x", 512), "client_secret", "x"}, {"client_id", "a\x00b", "client_secret", "x"},
		} {
			a := h.form(path, pairs...)
			wantError(t, a, 401, "invalid_client", unknownClient)
			if challenge := a.header.Get("WWW-Authenticate"); challenge != "" {
				t.Errorf("%s by post: WWW-Authenticate %q", path, challenge)
			}
		}
		for _, authorization := range []string{
			"Basic", "Basic ", "Basic !", "Basic ====", basic("", ""), basic(c.ID, ""), basic(c.ID, other.secret), basic(c.ID+"%zz", c.secret),
			basic(c.ID, c.secret+"%"), basic(c.ID, c.secret) + "x", "Basic " + base64.StdEncoding.EncodeToString([]byte(c.ID)),
			basic("\xff\xfe", "\x00"), "basic " + strings.Repeat("A", 4000),
		} {
			a := h.send("POST", path, "", "Content-Type", formType, "Authorization", authorization)
			wantError(t, a, 401, "invalid_client", unknownClient)
			if challenge := a.header.Get("WWW-Authenticate"); challenge != `Basic realm="tutela"` {
				t.Errorf("%s, %s: WWW-Authenticate %q", path, authorization, challenge)
			}
		}
	}
	// No number of wrong ones locks it out.
	want(t, h.start(c, "maria"), 200, "")
}

func TestClient_BasicWinsOverAClientIDThatIsNotItsOwn(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	garbled := values("client_id", c.ID).Encode()
	want(t, h.send("POST", "/mfa/start", garbled, "Content-Type", formType, "Authorization", "Basic !"), 401, "invalid_client")
}

func TestParameters_ComeOnceEach(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	h.enroll("maria")
	credentials := values(c.credentials()...).Encode()
	for _, path := range endpoints {
		for _, twice := range []string{
			credentials + "&client_id=" + c.ID, credentials + "&x=1&x=1", credentials + "&scope=openid&scope=openid", credentials + "&a=&a=", credentials + "&%78=1&x=",
		} {
			wantError(t, h.send("POST", path, twice, "Content-Type", formType), 400, "invalid_request", "a parameter is there twice")
		}
		for _, twice := range []string{
			`{"client_id":"` + c.ID + `","client_secret":"` + c.secret + `","user_id":"maria","user_id":"otto"}`,
			`{"user_id":null,"user_id":"maria"}`, `{"\u0061":1,"a":1}`, `{"x":[],"x":{}}`,
		} {
			wantError(t, h.send("POST", path, twice, "Content-Type", jsonType), 400, "invalid_request", "a parameter is there twice")
		}
	}
	h.unknown("otto")
}

func TestParameters_NamesAreAsTheyAreWritten(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	body := map[string]any{"Client_ID": c.ID, "CLIENT_SECRET": c.secret, "user_id": "maria"}
	want(t, h.json("/mfa/start", body), 401, "invalid_client")
	body = map[string]any{"client_id": c.ID, "client_secret": c.secret, "user_id": "otto", "unknown": []int{1}}
	want(t, h.json("/mfa/start", body), 200, "")
	body["USER_ID"] = "maria"
	wantError(t, h.json("/mfa/start", body), 400, "invalid_request", "a parameter is there twice")
	h.unknown("maria")
}

func TestParameters_OfABodyThatCannotBeReadAreRefused(t *testing.T) {
	h := newHouse(t)
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	const noObject = "the body is no JSON object"
	cases := []struct{ kind, body, description string }{
		{jsonType, "", noObject}, {jsonType, "null", noObject}, {jsonType, "[]", noObject}, {jsonType, `"x"`, noObject}, {jsonType, "7", noObject},
		{jsonType, "{", noObject}, {jsonType, `{"a":1`, noObject}, {jsonType, `{"a":1}{"b":2}`, noObject}, {jsonType, `{"a":1,}`, noObject},
		{jsonType, `{'a':1}`, noObject}, {jsonType, `{"a":01}`, noObject}, {jsonType, `{"a":NaN}`, noObject}, {jsonType, "\ufeff\ufeff{}", noObject},
		{jsonType, deep(65), noObject}, {jsonType, deep(8000), noObject}, {jsonType, strings.Repeat("[", 60_000), noObject},
		{jsonType, `{"a":"` + "\x01" + `"}`, noObject}, {"application/json; charset=utf-8", "x", noObject},
		{jsonType, "{\"a\":\"\xff\"}", "the body is no UTF-8"}, {jsonType, "{\"\xc3\":1}", "the body is no UTF-8"},
		{formType, "a=\xff", "the body is no UTF-8"}, {"", "\x80", "the body is no UTF-8"},
		{formType, "a=%ff", "a parameter is no UTF-8"}, {formType, "a=%ed%a0%80", "a parameter is no UTF-8"},
		{formType, "a=%zz", "the form does not parse"}, {formType, "a=1;b=2", "the form does not parse"}, {formType, "%", "the form does not parse"},
		{"text/plain", "a=1", "the body must be application/x-www-form-urlencoded or application/json"},
		{"multipart/form-data; boundary=x", "--x--", "the body must be application/x-www-form-urlencoded or application/json"},
		{"application/json-seq", "{}", "the body must be application/x-www-form-urlencoded or application/json"},
		{"x", "{}", "the body must be application/x-www-form-urlencoded or application/json"},
		{jsonType, strings.Repeat(" ", 70_000), "the body is too large"},
	}
	for _, path := range endpoints {
		for _, c := range cases {
			a := h.send("POST", path, c.body, "Content-Type", c.kind)
			status := 400
			if c.description == "the body is too large" {
				status = 413
			}
			wantError(t, a, status, "invalid_request", c.description)
		}
		want(t, h.send("POST", path, "{}", "Content-Type", jsonType), 401, "invalid_client")
		want(t, h.send("POST", path, "\ufeff{}", "Content-Type", jsonType), 401, "invalid_client")
		want(t, h.send("POST", path, deep(64), "Content-Type", jsonType), 401, "invalid_client")
	}
}

func TestParameters_HalfOfASurrogatePairIsRefused(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	start := func(id string) answer {
		body := `{"client_id":"` + c.ID + `","client_secret":"` + c.secret + `","user_id":"` + id + `"}`
		return h.send("POST", "/mfa/start", body, "Content-Type", jsonType)
	}
	for _, id := range []string{`\ud800`, `a\uDFFFb`, `\ud83d\ud83d`} {
		wantError(t, start(id), 400, "invalid_request", "the body is no JSON object")
	}
	for _, id := range []string{`\ud83d\ude00`, "😀", `\ufffd`, `\uFFFD`, "\ufffd"} {
		want(t, start(id), 200, "")
	}
}

func TestEndpoints_TakePOSTAlone(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	query := "?" + values(c.credentials("user_id", "maria")...).Encode()
	for _, path := range endpoints {
		for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			a := h.send(method, path+query, "")
			wantError(t, a, 405, "invalid_request", "this path does not take this method")
			if allow := a.header.Get("Allow"); allow != "POST" {
				t.Errorf("%s %s: Allow %q", method, path, allow)
			}
		}
	}
	for _, path := range []string{"/oauth", "/oauth/token/x", "/mfa/start/x", "/bc-authorize/x"} {
		wantError(t, h.send("POST", path, ""), 404, "invalid_request", "no such path")
	}
}

func TestClient_CallsThatComeToNothingCountAgainstTheAddress(t *testing.T) {
	h := newHouse(t, func(c *server.Config) { c.Limits.CallsPerAddress = 3 })
	c := h.client("openid")
	proxied := []string{"Content-Type", formType, "X-Forwarded-For", "192.0.2.1"} // of an undeclared proxy: counted
	bad := []struct{ body, code string }{{"client_id=x&client_secret=y", "invalid_client"}, {"a=%zz", "invalid_request"}, {"a=1&a=2", "invalid_request"}}
	for _, call := range bad {
		if a := h.send("POST", "/oauth/token", call.body, proxied...); a.text("error") != call.code {
			t.Fatalf("%s: %s", call.body, a.raw)
		}
	}
	for _, call := range bad {
		a := h.send("POST", "/oauth/token", call.body, proxied...)
		wantError(t, a, 429, "too_many_attempts", "too many calls from this address")
		if a.header.Get("Retry-After") != "20" || a.header.Get("X-RateLimit-Limit") != "3" || a.header.Get("X-RateLimit-Remaining") != "0" {
			t.Errorf("header %v", a.header)
		}
	}
	// Who authenticates is never refused for others from the same address.
	want(t, h.send("POST", "/mfa/start", values(c.credentials("user_id", "maria")...).Encode(), proxied...), 200, "")
}

// What a caller shows in vain counts against its address. What fails because of us does not.
func TestChallenge_CountsWhatTheCallerShowsAndNotOurFaults(t *testing.T) {
	h := newHouse(t, func(c *server.Config) { c.Limits.CallsPerAddress = 2 })
	c := h.client("openid")
	token := h.form("/mfa/start", c.credentials("user_id", "maria", "ticket", h.ticket("maria"))...).text("mfa_token")
	h.must(h.store.Close())
	challenge := func(token string) answer {
		return h.send("POST", "/mfa/challenge", values("mfa_token", token).Encode(), "Content-Type", formType, "X-Forwarded-For", "192.0.2.1")
	}
	for range 4 {
		if a := challenge(token); a.status < 500 {
			t.Fatalf("%d %s", a.status, a.raw)
		}
	}
	for i := range 4 {
		if a := challenge("x"); (a.status == 429) != (i >= 2) {
			t.Fatalf("%d: %d %s", i, a.status, a.raw)
		}
	}
}

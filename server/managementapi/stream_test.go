package managementapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"tutela/server/access"
)

const pollMethod = "urn:ietf:rfc:8936"

// transmitter is what a receiver reads first. Its addresses are below the house's.
func (h *house) transmitter() (document map[string]any) {
	h.t.Helper()
	got := h.Call("GET", "/.well-known/ssf-configuration", "")
	if got.Status != http.StatusOK {
		h.t.Fatalf("%d %s", got.Status, got.Raw)
	}
	must(h.t, json.Unmarshal([]byte(got.Raw), &document))
	return document
}

// at is the path below the API of an address that the transmitter gives.
func (h *house) at(address any) string {
	h.t.Helper()
	path, ok := strings.CutPrefix(address.(string), publicURL+"/api/v2")
	if !ok {
		h.t.Fatalf("%v is not below the API", address)
	}
	return path
}

// opened verifies a SET by the key set of the house, and returns its claims.
func (h *house) opened(set string, aud string) (claims map[string]any) {
	h.t.Helper()
	var keys jose.JSONWebKeySet
	document, err := h.access.JWKS(h.t.Context())
	must(h.t, err)
	must(h.t, json.Unmarshal(document, &keys))
	token, err := jwt.ParseSigned(set, []jose.SignatureAlgorithm{jose.RS256})
	must(h.t, err)
	if typ := token.Headers[0].ExtraHeaders[jose.HeaderType]; typ != "secevent+jwt" {
		h.t.Errorf("the typ is %v", typ)
	}
	var standard jwt.Claims
	must(h.t, token.Claims(keys, &standard, &claims))
	must(h.t, standard.Validate(jwt.Expected{Issuer: publicURL + "/", AnyAudience: []string{aud}, Time: h.store.Wall()}))
	if standard.ID == "" || standard.IssuedAt == nil || standard.Expiry != nil || standard.Subject != "" {
		h.t.Errorf("the claims are %v", claims)
	}
	return claims
}

func TestStreams_AreFoundMadePolledAndVerified(t *testing.T) {
	h := newHouse(t)
	c, token := h.clientFor(access.Client{Scopes: []string{"ssf.manage"}})
	document := h.transmitter()
	for name, want := range map[string]string{
		"spec_version": "1_0", "issuer": publicURL + "/", "jwks_uri": publicURL + "/.well-known/jwks.json", "default_subjects": "ALL",
	} {
		if document[name] != want {
			t.Errorf("%s is %v", name, document[name])
		}
	}
	streams := h.at(document["configuration_endpoint"])
	made := h.call("POST", streams, `{"events_requested":["urn:tutela:params:secevent:mfa-reset","https://example.com/other"],"description":"the bank"}`, token).is(http.StatusCreated).object()
	id := made["stream_id"].(string)
	delivery := made["delivery"].(map[string]any)
	if made["aud"] != c.ID || made["iss"] != publicURL+"/" || delivery["method"] != pollMethod || len(made["events_delivered"].([]any)) != 1 {
		t.Errorf("made %v", made)
	}
	if list := h.call("GET", streams, "", token).is(http.StatusOK).array(); len(list) != 1 || list[0]["stream_id"] != id {
		t.Errorf("listed %v", list)
	}
	if one := h.call("GET", streams+"?stream_id="+id, "", token).is(http.StatusOK).object(); one["description"] != "the bank" {
		t.Errorf("the one is %v", one)
	}
	h.call("POST", h.at(document["verification_endpoint"]), `{"stream_id":"`+id+`","state":"s1"}`, token).is(http.StatusNoContent)
	h.call("POST", h.at(document["verification_endpoint"]), `{"stream_id":"`+id+`"}`, token).refused(http.StatusTooManyRequests, "too_many_verifications")
	h.enroll("maria")
	h.call("POST", "/users/maria/mfa-reset", `{"reason":"lost"}`).is(http.StatusOK)
	polled := h.call("POST", h.at(delivery["endpoint_url"]), `{"returnImmediately":true}`, token).is(http.StatusOK).object()
	var events []string
	var acked []string
	for jti, set := range polled["sets"].(map[string]any) {
		claims := h.opened(set.(string), c.ID)
		if claims["jti"] != jti {
			t.Errorf("under %s there is %v", jti, claims)
		}
		for event := range claims["events"].(map[string]any) {
			events = append(events, event)
		}
		acked = append(acked, jti)
	}
	slices.Sort(events)
	if strings.Join(events, " ") != "https://schemas.openid.net/secevent/ssf/event-type/verification urn:tutela:params:secevent:mfa-reset" || polled["moreAvailable"] != false {
		t.Errorf("polled %v", polled)
	}
	// One is acknowledged, and of the other the receiver says that it has no use for it.
	body, err := json.Marshal(map[string]any{
		"returnImmediately": true, "ack": acked[:1], "setErrs": map[string]any{acked[1]: map[string]string{"err": "invalid_request", "description": "what is it?"}},
	})
	must(t, err)
	if left := h.call("POST", h.at(delivery["endpoint_url"]), string(body), token).is(http.StatusOK).object(); len(left["sets"].(map[string]any)) != 0 {
		t.Errorf("left are %v", left)
	}
	h.call("DELETE", streams+"?stream_id="+id, "", token).is(http.StatusNoContent)
	h.call("DELETE", streams+"?stream_id="+id, "", token).refused(http.StatusNotFound, "inexistent_stream")
	if list := h.call("GET", streams, "", token).is(http.StatusOK).array(); len(list) != 0 {
		t.Errorf("listed %v", list)
	}
}

func TestStreams_ArePatchedReplacedAndPaused(t *testing.T) {
	h := newHouse(t)
	_, token := h.clientFor(access.Client{Scopes: []string{"ssf.manage"}})
	_, stranger := h.clientFor(access.Client{Scopes: []string{"ssf.manage"}})
	made := h.call("POST", "/ssf/streams", "", token).is(http.StatusCreated).object()
	id := made["stream_id"].(string)
	with := func(members map[string]any) string {
		members["stream_id"] = id
		body, err := json.Marshal(members)
		must(t, err)
		return string(body)
	}
	push := map[string]any{"method": "urn:ietf:rfc:8935", "endpoint_url": "https://receiver.example/", "authorization_header": "Bearer hidden"}
	patched := h.call("PATCH", "/ssf/streams", with(map[string]any{"delivery": push, "iss": made["iss"], "aud": made["aud"], "events_supported": made["events_supported"]}), token).is(http.StatusOK)
	if strings.Contains(patched.body, "hidden") || patched.object()["delivery"].(map[string]any)["endpoint_url"] != "https://receiver.example/" {
		t.Errorf("patched %s", patched.body)
	}
	for _, wrong := range []map[string]any{
		{"iss": "https://other.example/"}, {"aud": "other"}, {"aud": 7}, {"aud": []any{made["aud"], "other"}}, {"events_supported": []string{}}, {"events_delivered": []string{"x"}},
		{"min_verification_interval": 0}, {"delivery": map[string]any{"method": "urn:ietf:rfc:8935"}}, {"delivery": map[string]any{}}, {"events_requested": "all"},
		{"delivery": map[string]any{"method": "urn:ietf:rfc:8935", "endpoint_url": "https://a.example/", "authorization_header": "a\nb"}},
	} {
		for _, method := range []string{"PATCH", "PUT"} {
			h.call(method, "/ssf/streams", with(wrong), token).refused(http.StatusBadRequest, "invalid_body")
		}
	}
	h.call("PATCH", "/ssf/streams", `{"description":"x"}`, token).refused(http.StatusBadRequest, "invalid_body")
	// What a GET answers, its PUT takes.
	shown := h.call("GET", "/ssf/streams?stream_id="+id, "", token).is(http.StatusOK)
	h.call("PUT", "/ssf/streams", shown.body, token).is(http.StatusOK)
	replaced := h.call("PUT", "/ssf/streams", with(map[string]any{"events_requested": []string{}}), token).is(http.StatusOK).object()
	if replaced["delivery"].(map[string]any)["method"] != pollMethod || len(replaced["events_delivered"].([]any)) != 0 {
		t.Errorf("replaced %v", replaced)
	}
	paused := h.call("POST", "/ssf/status", with(map[string]any{"status": "paused", "reason": "upgrade"}), token).is(http.StatusOK).object()
	if got := h.call("GET", "/ssf/status?stream_id="+id, "", token).is(http.StatusOK).object(); got["status"] != "paused" || got["reason"] != "upgrade" || paused["status"] != "paused" {
		t.Errorf("the status is %v", got)
	}
	h.call("POST", "/ssf/status", with(map[string]any{"status": "on"}), token).refused(http.StatusBadRequest, "invalid_body")
	h.call("GET", "/ssf/status", "", token).refused(http.StatusBadRequest, "invalid_query_string")

	for _, refused := range []answer{
		h.call("GET", "/ssf/streams?stream_id="+id, "", stranger), h.call("DELETE", "/ssf/streams?stream_id="+id, "", stranger),
		h.call("PATCH", "/ssf/streams", with(map[string]any{}), stranger), h.call("PUT", "/ssf/streams", with(map[string]any{}), stranger),
		h.call("GET", "/ssf/status?stream_id="+id, "", stranger), h.call("POST", "/ssf/status", with(map[string]any{"status": "enabled"}), stranger),
		h.call("POST", "/ssf/verification", with(map[string]any{}), stranger), h.call("POST", "/ssf/streams/"+url.PathEscape(id)+"/poll", "{}", stranger),
	} {
		refused.refused(http.StatusNotFound, "inexistent_stream")
	}
}

func TestSubjects_AreAddedAndRemoved(t *testing.T) {
	h := newHouse(t)
	_, token := h.clientFor(access.Client{Scopes: []string{"ssf.manage"}})
	h.enroll("maria")
	id := h.call("POST", "/ssf/streams", "", token).is(http.StatusCreated).object()["stream_id"].(string)
	body := `{"stream_id":"` + id + `","subject":{"format":"iss_sub","iss":"` + publicURL + `/","sub":"maria"},"verified":true}`
	h.call("POST", "/ssf/subjects/remove", body, token).is(http.StatusNoContent)
	h.call("POST", "/users/maria/mfa-reset", `{"reason":"lost"}`).is(http.StatusOK)
	if got := h.call("POST", "/ssf/streams/"+id+"/poll", `{"returnImmediately":true}`, token).object(); len(got["sets"].(map[string]any)) != 0 {
		t.Errorf("polled %v", got)
	}
	h.call("POST", "/ssf/subjects/add", body, token).is(http.StatusOK)
	h.call("POST", "/users/maria/mfa-reset", `{"reason":"lost"}`).is(http.StatusOK)
	h.enroll("maria")
	if got := h.call("POST", "/ssf/streams/"+id+"/poll", `{"returnImmediately":true}`, token).object(); len(got["sets"].(map[string]any)) == 0 {
		t.Errorf("polled %v", got)
	}
	h.call("POST", "/ssf/subjects/add", strings.Replace(body, `"maria"`, `"nobody"`, 1), token).refused(http.StatusNotFound, "inexistent_subject")
	h.call("POST", "/ssf/subjects/add", strings.Replace(body, `"iss_sub"`, `"email"`, 1), token).refused(http.StatusBadRequest, "invalid_body")
}

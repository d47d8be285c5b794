package managementapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"tutela/server/access"
	"tutela/storage/audit"
)

func TestClients_AreMadeShownChangedRotatedAndRemoved(t *testing.T) {
	h := newHouse(t)
	made := h.call("POST", "/clients", `{"name":"helpdesk","scopes":["read:users"]}`).is(http.StatusCreated).object()
	id, _ := made["client_id"].(string)
	secret, _ := made["client_secret"].(string)
	if len(id) != 32 || len(secret) != 48 || made["name"] != "helpdesk" {
		t.Fatalf("made %v", made)
	}
	path := "/clients/" + id
	shown := h.call("GET", path, "").is(http.StatusOK)
	if strings.Contains(shown.body, "secret") || shown.object()["id_token_alg"] != "ES256" {
		t.Errorf("shown %s", shown.body)
	}
	listed := h.call("GET", "/clients?include_totals=true", "").is(http.StatusOK)
	if strings.Contains(listed.body, "secret") || listed.object()["total"] != float64(2) {
		t.Errorf("listed %s", listed.body)
	}
	changed := h.call("PATCH", path, `{"name":"help desk","scopes":["read:users","read:logs"]}`).is(http.StatusOK).object()
	if changed["name"] != "help desk" || len(changed["scopes"].([]any)) != 2 || changed["client_secret"] != nil {
		t.Errorf("changed %v", changed)
	}
	h.call("PATCH", path, `{"scopes":["reset:admin_mfa"]}`).refused(http.StatusForbidden, "client_beyond_caller")
	h.call("PATCH", path, `{"delivery_mode":"ping"}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("PATCH", path, `{"scopes":["no:scope"]}`).refused(http.StatusBadRequest, "invalid_body")
	rotated := h.call("POST", path+"/rotate-secret", `{"overlap":60}`).is(http.StatusOK)
	if rotated.object()["client_secret"] == secret || rotated.header.Get("Cache-Control") != "no-store" {
		t.Errorf("rotated %s", rotated.body)
	}
	h.call("POST", path+"/rotate-secret", `{"overlap":604801}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("POST", path+"/rotate-secret", "").is(http.StatusOK)
	if _, err := h.access.Authenticate(t.Context(), id, secret); err == nil {
		t.Error("the first secret still counts")
	}
	h.call("DELETE", path, "").is(http.StatusNoContent)
	h.call("GET", path, "").refused(http.StatusNotFound, "inexistent_client")
	h.call("DELETE", path, "").refused(http.StatusNotFound, "inexistent_client")
}

// The keys of a client that signs are changed by API; a client that has a secret comes to sign, and its secret ends.
func TestClients_ChangeTheirKeys(t *testing.T) {
	h := newHouse(t)
	jwk := func() string {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		text, err := json.Marshal(jose.JSONWebKey{Key: key.Public(), KeyID: "one"})
		must(t, err)
		return string(text)
	}
	made := h.call("POST", "/clients", `{"name":"idp","scopes":["read:users"],"jwks":{"keys":[`+jwk()+`]}}`).is(http.StatusCreated).object()
	if made["client_secret"] != nil || made["jwks"] == nil {
		t.Errorf("made %v", made)
	}
	path := "/clients/" + made["client_id"].(string)
	changed := h.call("PATCH", path, `{"jwks":`+jwk()+`}`).is(http.StatusOK).object()
	if keys, _ := changed["jwks"].(map[string]any)["keys"].([]any); len(keys) != 1 {
		t.Errorf("changed %v", changed)
	}
	h.call("PATCH", path, `{"jwks":{"keys":[]}}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("PATCH", path, `{"jwks":7}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("POST", path+"/rotate-secret", "").refused(http.StatusBadRequest, "invalid_body")
	h.call("PATCH", path, `{"grants":[]}`).refused(http.StatusBadRequest, "invalid_body")

	secret := h.call("POST", "/clients", `{"name":"jobs","scopes":["read:users"]}`).is(http.StatusCreated).object()
	id := secret["client_id"].(string)
	for range 3 {
		h.call("POST", "/clients/"+id+"/rotate-secret", `{"overlap":60}`).is(http.StatusOK)
	}
	h.call("POST", "/clients/"+id+"/rotate-secret", `{"overlap":60}`).refused(http.StatusConflict, "too_many_secrets")
	h.call("PATCH", "/clients/"+id, `{"jwks":`+jwk()+`}`).is(http.StatusOK)
	if _, err := h.access.Authenticate(t.Context(), id, secret["client_secret"].(string)); err == nil {
		t.Error("the secret still counts")
	}
}

func TestClients_OfTheOperatorAreNotForAProgramToChange(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{"user_id":"auth0|ada"}`).is(http.StatusCreated)
	better, _, err := h.access.AddClient(t.Context(), audit.ByOperator(0), access.Client{Name: "better", Scopes: []string{"reset:admin_mfa"}})
	must(t, err)
	h.call("PATCH", "/clients/"+better.ID, `{"name":"mine"}`).refused(http.StatusForbidden, "client_beyond_caller")
	h.call("DELETE", "/clients/"+better.ID, "").refused(http.StatusForbidden, "client_beyond_caller")
	h.call("POST", "/clients/"+better.ID+"/rotate-secret", "").refused(http.StatusForbidden, "client_beyond_caller")
	h.call("POST", "/clients", `{"name":"x","scopes":["read:users"],"acts_as":"auth0|ada"}`).refused(http.StatusForbidden, "client_beyond_caller")
	h.call("POST", "/clients", `{"name":"x","scopes":["read:users"],"acts_as":"nobody"}`).refused(http.StatusNotFound, "inexistent_user")
	h.call("POST", "/clients", `{"scopes":["read:users"]}`).refused(http.StatusBadRequest, "invalid_body")
}

func TestPolicies_AreListedAndChangedAllOrNone(t *testing.T) {
	h := newHouse(t)
	list := h.call("GET", "/policies", "").is(http.StatusOK).array()
	at := slices.IndexFunc(list, func(p map[string]any) bool { return p["name"] == "approval.digits" })
	if at < 0 || list[at]["value"] != "6" || list[at]["default"] != "6" || list[at]["accepts"] != "2 to 8" {
		t.Errorf("listed %v", list)
	}
	h.call("PATCH", "/policies", `{"approval.presence":"number","restore.wait":"5m"}`).is(http.StatusOK)
	h.call("PATCH", "/policies", `{"approval.presence":"tap"}`).refused(http.StatusForbidden, "policy_weakened")
	h.call("PATCH", "/policies", `{"restore.wait":"6m","restore.none":"x"}`).refused(http.StatusNotFound, "inexistent_policy")
	h.call("PATCH", "/policies", `{"restore.wait":"6m","approval.digits":"9"}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("PATCH", "/policies", `{"restore.wait":6}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("PATCH", "/policies", `[]`).refused(http.StatusBadRequest, "invalid_body")
	for _, p := range h.call("GET", "/policies", "").is(http.StatusOK).array() {
		if p["name"] == "restore.wait" && p["value"] != "5m" || p["name"] == "approval.presence" && p["value"] != "number" {
			t.Errorf("%v", p)
		}
	}
	if said := h.logsOf("fapi"); len(said) == 0 || said[len(said)-1]["description"] != "Change the Installation's Policies" {
		t.Errorf("a refused weakening is no event: %v", said)
	}
}

func TestClients_SayHowTheyLearnOfADecision(t *testing.T) {
	h := newHouse(t)
	h.token = h.tokenFor("openid", "manage:clients")
	made := h.call("POST", "/clients", `{"name":"mail","scopes":["openid"]}`).is(http.StatusCreated).object()
	if made["delivery_mode"] != "poll" || made["notification_endpoint"] != nil {
		t.Errorf("made %v", made)
	}
	path := "/clients/" + made["client_id"].(string)
	pinged := h.call("PATCH", path, `{"delivery_mode":"ping","notification_endpoint":"https://example.com/ping"}`).is(http.StatusOK).object()
	if pinged["delivery_mode"] != "ping" || pinged["notification_endpoint"] != "https://example.com/ping" {
		t.Errorf("changed %v", pinged)
	}
	polls := h.call("PATCH", path, `{"delivery_mode":"poll"}`).is(http.StatusOK).object()
	if polls["delivery_mode"] != "poll" || polls["notification_endpoint"] != nil {
		t.Errorf("changed %v", polls)
	}
}

func TestClients_SignTheirRequestsByOneOfTheirKeys(t *testing.T) {
	h := newHouse(t)
	h.token = h.tokenFor("openid", "manage:clients")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	jwk, err := json.Marshal(jose.JSONWebKey{Key: key.Public()})
	must(t, err)
	h.call("POST", "/clients", `{"name":"bank","scopes":["openid"],"request_alg":"ES256"}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("POST", "/clients", `{"name":"bank","scopes":["openid"],"request_alg":"PS256","jwks":`+string(jwk)+`}`).refused(http.StatusBadRequest, "invalid_body")
	made := h.call("POST", "/clients", `{"name":"bank","scopes":["openid"],"request_alg":"ES256","jwks":`+string(jwk)+`}`).is(http.StatusCreated).object()
	if made["request_alg"] != "ES256" || made["client_secret"] != nil {
		t.Errorf("made %v", made)
	}
	path := "/clients/" + made["client_id"].(string)
	h.call("PATCH", path, `{"request_alg":"none"}`).refused(http.StatusBadRequest, "invalid_body")
	if kept := h.call("PATCH", path, `{"request_alg":null,"name":"bank 2"}`).is(http.StatusOK).object(); kept["request_alg"] != "ES256" {
		t.Errorf("changed %v", kept)
	}
	if ended := h.call("PATCH", path, `{"request_alg":""}`).is(http.StatusOK).object(); ended["request_alg"] != nil {
		t.Errorf("changed %v", ended)
	}
}

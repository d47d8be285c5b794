package managementapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestWebhooks_AreMadeShownChangedRotatedAndRemoved(t *testing.T) {
	h := newHouse(t)
	made := h.call("POST", "/webhooks", `{"url":"https://127.0.0.1/","events":["td_reset","*"]}`).is(http.StatusCreated).object()
	id, _ := made["id"].(string)
	secret, _ := made["secret"].(string)
	if !strings.HasPrefix(secret, "whsec_") || made["enabled"] != true || made["mails"] != false || fmt.Sprint(made["events"]) != "[td_reset *]" {
		t.Fatalf("made %v", made)
	}
	path := "/webhooks/" + id
	read := h.call("GET", path, "").is(http.StatusOK).object()
	if read["secret"] != nil || read["url"] != "https://127.0.0.1/" || read["last_success"] != nil || read["parked"] != nil {
		t.Errorf("read %v", read)
	}
	listed := h.call("GET", "/webhooks?include_totals=true", "").is(http.StatusOK).object()
	if list, _ := listed["webhooks"].([]any); len(list) != 1 || listed["total"] != float64(1) {
		t.Errorf("listed %v", listed)
	}
	if changed := h.call("PATCH", path, `{"enabled":false,"events":["td_reset"]}`).is(http.StatusOK).object(); changed["secret"] != nil || changed["enabled"] != false {
		t.Errorf("changed %v", changed)
	}
	if moved := h.call("PATCH", path, `{"url":"https://127.0.0.1/new"}`).is(http.StatusOK).object(); moved["secret"] == nil || moved["secret"] == secret {
		t.Errorf("moved %v", moved)
	}
	if rotated := h.call("POST", path+"/rotate", "").is(http.StatusOK).object(); rotated["secret"] == nil || rotated["secret"] == secret {
		t.Errorf("rotated %v", rotated)
	}
	if tried := h.call("POST", path+"/test", "").is(http.StatusOK).object(); len(tried) != 2 || tried["delivered"] != false || tried["reason"] != "forbidden" {
		t.Errorf("tried %v", tried)
	}
	if list := h.call("GET", path+"/deliveries?status=failed", "").is(http.StatusOK).array(); len(list) != 0 {
		t.Errorf("deliveries %v", list)
	}
	h.call("POST", path+"/deliveries/dlv_x/retry", "").refused(http.StatusNotFound, "inexistent_delivery")
	h.call("DELETE", path, "").is(http.StatusNoContent)
	h.call("GET", path, "").refused(http.StatusNotFound, "inexistent_webhook")
}

func TestWebhooks_RefuseWhatIsNone(t *testing.T) {
	h := newHouse(t)
	for _, body := range []string{
		`{}`, `{"url":"https://example.com/"}`, `{"url":"ftp://example.com/","events":["*"]}`,
		`{"url":"https://example.com/","events":["nothing"]}`, `{"url":7,"events":["*"]}`,
	} {
		h.call("POST", "/webhooks", body).refused(http.StatusBadRequest, "invalid_body")
	}
	h.call("POST", "/webhooks", `{"url":"https://example.com/","events":["*"],"mails":true}`).refused(http.StatusForbidden, "webhook_beyond_caller")
	id, _ := h.call("POST", "/webhooks", `{"url":"https://example.com/","events":["*"]}`).is(http.StatusCreated).object()["id"].(string)
	h.call("POST", "/webhooks/"+id+"/rotate", `{"overlap":604801}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("GET", "/webhooks/"+id+"/deliveries?status=nothing", "").refused(http.StatusBadRequest, "invalid_query_string")
}

package managementapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"tutela/recovery/webhook"
	"tutela/storage/audit"
	"tutela/storage/outbox"
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

// send_mail goes to who mails, with the link that the call answers, to the address that it names or the user has.
func TestCreateTicket_MailsTheLinkWhereAWebhookMails(t *testing.T) {
	h := newHouse(t)
	mail := func(body string) answer {
		t.Helper()
		return h.call("POST", "/guardian/enrollments/ticket", body)
	}
	mail(`{"user_id":"auth0|new","email":"new@example.com","send_mail":true}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("GET", "/users/auth0%7Cnew", "").refused(http.StatusNotFound, "inexistent_user")

	posted := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
		posted <- string(body)
	}))
	t.Cleanup(receiver.Close)
	hooks := webhook.New(h.store, webhook.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	yes := true
	_, _, err := hooks.Add(t.Context(), audit.ByOperator(0), webhook.Change{URL: &receiver.URL, Mails: &yes})
	must(t, err)
	send := func() string {
		t.Helper()
		sender, err := outbox.NewSender(h.store, outbox.Options{Handlers: []outbox.Handler{hooks.MailHandler()}})
		must(t, err)
		must(t, sender.Drain(t.Context()))
		return <-posted
	}

	link, _ := mail(`{"user_id":"auth0|new","email":"new@example.com","send_mail":true,"email_locale":"de"}`).is(http.StatusOK).object()["ticket_url"].(string)
	if got := send(); !strings.Contains(got, `"data":{"address":"new@example.com","locale":"de","ticket_url":"`+link+`","user_id":"auth0|new"}`) {
		t.Errorf("mailed %s", got)
	}
	mail(`{"user_id":"auth0|new","send_mail":true,"allow_multiple_enrollments":true}`).is(http.StatusOK)
	if got := send(); !strings.Contains(got, `"address":"new@example.com"`) {
		t.Errorf("mailed %s", got)
	}
	h.call("PATCH", "/users/auth0%7Cnew", `{"email":"other@example.com"}`).is(http.StatusOK)
	if got := send(); !strings.Contains(got, `"email.changed"`) || !strings.Contains(got, `"address":"new@example.com"`) || strings.Contains(got, "other@") {
		t.Errorf("told %s", got)
	}
	for _, body := range []string{
		`{"user_id":"nomail","send_mail":true}`, `{"user_id":"auth0|new","send_mail":true,"email":"none"}`,
		`{"user_id":"auth0|new","send_mail":true,"email_locale":"d e"}`,
	} {
		mail(body).refused(http.StatusBadRequest, "invalid_body")
	}
}

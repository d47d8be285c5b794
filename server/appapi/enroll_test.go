package appapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/device/phone"
	"tutela/storage"
)

// body is the body of an enrolment with a new key, changed by change.
func (h *house) body(change func(map[string]any)) string {
	h.t.Helper()
	key, err := phone.NewKey(phone.ES256)
	h.must(err)
	return h.bodyOf(key, change)
}

func (h *house) bodyOf(key *phone.Key, change func(map[string]any)) string {
	h.t.Helper()
	public, err := key.Public(false)
	h.must(err)
	body := map[string]any{"identifier": "9774d56d682e549c", "name": "Pixel 9", "public_key": public}
	if change != nil {
		change(body)
	}
	return h.json(body)
}

func ticketField(ticket string) string { return `Ticket id="` + ticket + `"` }

func (h *house) postEnroll(ticket, body string) answer {
	h.t.Helper()
	return h.call("POST", "/api/enroll", body, "Authorization", ticketField(ticket), "Content-Type", "application/json; charset=utf-8")
}

func TestEnroll_AnswersAsTheSDKsNeedIt(t *testing.T) {
	h := newHouse(t)
	a := h.postEnroll(h.ticket("maria"), h.body(nil))
	h.accepted(a, http.StatusCreated)
	for _, member := range []string{"id", "url", "issuer", "user_id", "token"} {
		if text, _ := a.body[member].(string); text == "" {
			t.Errorf("%s is missing: Android cannot do without it", member)
		}
	}
	totp, _ := a.body["totp"].(map[string]any)
	if totp["algorithm"] != "sha1" || totp["digits"] != 6.0 || totp["period"] != 30.0 || totp["secret"] == "" {
		t.Errorf("totp is %v", totp)
	}
	if code, _ := a.body["recovery_code"].(string); len(code) != 24 {
		t.Errorf("recovery_code is %q", code)
	}
	if a.body["url"] != "https://mfa.example.org/appliance-mfa" || a.body["user_id"] != "maria" {
		t.Errorf("got %s", a.raw)
	}
}

func TestEnroll_AnswersTheSameUnderTheSDKsMount(t *testing.T) {
	h := newHouse(t)
	ticket := h.ticket("maria")
	body := h.body(nil)
	first := h.postEnroll(ticket, body)
	again := h.call("POST", "/appliance-mfa/api/enroll", body, "Authorization", ticketField(ticket))
	h.accepted(again, http.StatusCreated)
	if diff := cmp.Diff(first.body, again.body); diff != "" {
		t.Error(diff)
	}
}

func TestEnroll_TakesEveryKindOfKey(t *testing.T) {
	h := newHouse(t)
	for _, kind := range []phone.Algorithm{phone.RS256, phone.ES256, phone.EdDSA} {
		p, _ := h.enroll("user of "+string(kind), withKey(kind))
		if _, err := p.Status(t.Context()); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestEnroll_TakesTheLeadingZeroOfAndroidAndTheTimesOfIOS(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria", withKey(phone.RS256), tapOnly, func(o *phone.Options) {
		o.Quirks = phone.Quirks{LeadingZero: true, AppleJSON: true}
	})
	if _, err := p.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.ask("maria")
	h.must(p.Approve(t.Context(), h.approval(p), ""))
}

func TestEnroll_GivesALostAnswerAgainToTheSameKeyAlone(t *testing.T) {
	h := newHouse(t)
	ticket := h.ticket("maria")
	body := h.body(nil)
	first := h.postEnroll(ticket, body)
	again := h.postEnroll(ticket, body)
	if diff := cmp.Diff(first.body, again.body); diff != "" {
		t.Error(diff)
	}
	h.refused(h.postEnroll(ticket, h.body(nil)), 404, "enrollment_transaction_not_found")
	// The first authenticated call shows that the answer has arrived.
	h.call("GET", "/api/device-accounts/"+first.body["id"].(string), "", "Authorization", "Bearer "+first.body["token"].(string))
	h.refused(h.postEnroll(ticket, body), 404, "enrollment_transaction_not_found")
}

func TestEnroll_SpendsATicketByExactlyOneOfManyKeys(t *testing.T) {
	h := newHouse(t)
	ticket := h.ticket("maria")
	var bodies []string
	for range 16 {
		bodies = append(bodies, h.body(nil))
	}
	statuses := make([]int, len(bodies))
	var group sync.WaitGroup
	for i, body := range bodies {
		group.Go(func() { statuses[i] = h.postEnroll(ticket, body).status })
	}
	group.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	if diff := cmp.Diff(map[int]int{201: 1, 404: 15}, count); diff != "" {
		t.Error(diff)
	}
}

func TestEnroll_RefusesWithoutATicketBeforeItLooksAtAnything(t *testing.T) {
	h := newHouse(t)
	ticket := h.ticket("maria")
	for _, field := range []string{
		"", "Ticket", `Ticket id="` + ticket, "Bearer " + ticket, "Ticket " + ticket, `Ticket name="` + ticket + `"`,
	} {
		header := []string{}
		if field != "" {
			header = []string{"Authorization", field}
		}
		h.Unchanged(func() { h.refused(h.call("POST", "/api/enroll", "no json", header...), 401, "invalid_token") })
	}
	h.accepted(h.call("POST", "/api/enroll", h.body(nil), "Authorization", "ticket id="+ticket), 201)
}

// What can be no ticket is answered as one that is unknown: apps then say "ask for a new one".
func TestEnroll_OfWhatCanBeNoTicketIsNotFound(t *testing.T) {
	h := newHouse(t)
	ticket := h.ticket("maria")
	for _, id := range []string{
		"", " ", ticket + `\`, strings.Repeat("a", 300), "ask me later!", ticket + "?", "https://mfa.example.org/mfa/enrollment?ticket=", "T\xef\xbf\xbdcket", "<" + ticket + ">",
	} {
		h.Unchanged(func() {
			h.refused(h.call("POST", "/api/enroll", "no json", "Authorization", `Ticket id="`+id+`"`), 404, "enrollment_transaction_not_found")
		})
	}
	h.refused(h.call("POST", "/api/enroll", "no json", "Authorization", "Ticket id="), 404, "enrollment_transaction_not_found")
}

func TestEnroll_RefusesAnUnknownSpentOrExpiredTicketAlike(t *testing.T) {
	h := newHouse(t)
	spent := h.ticket("maria")
	h.accepted(h.postEnroll(spent, h.body(nil)), 201)
	expired := h.ticket("maria")
	blocked := h.ticket("bert")
	h.block("bert")
	want := h.postEnroll("never-made", h.body(nil))
	h.refused(want, 404, "enrollment_transaction_not_found")
	h.clock.Advance(5*24*60*60*1e9 + 1)
	for _, ticket := range []string{spent, expired, blocked} {
		got := h.postEnroll(ticket, h.body(nil))
		if got.status != want.status || got.raw != want.raw {
			t.Errorf("got %s, want %s", got.raw, want.raw)
		}
	}
}

func TestEnroll_RefusesWhatIsMalformedAndChangesNothing(t *testing.T) {
	h := newHouse(t)
	ticket := h.ticket("maria")
	put := func(member string, value any) string {
		return h.body(func(b map[string]any) { b[member] = value })
	}
	nested := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for name, body := range map[string]string{
		"empty":                   "",
		"no JSON":                 "{",
		"an array":                "[]",
		"null":                    "null",
		"no members":              "{}",
		"identifier of a number":  put("identifier", 7),
		"empty identifier":        put("identifier", ""),
		"long identifier":         put("identifier", strings.Repeat("x", 600)),
		"no name":                 put("name", nil),
		"blank name":              put("name", "  "),
		"identifier of two lines": put("identifier", "a\nb"),
		"identifier turned round": put("identifier", "a\u202eb"),
		"key of a string":         put("public_key", "key"),
		"no key":                  put("public_key", nil),
		"key of an unknown kind":  put("public_key", map[string]any{"kty": "oct", "k": "AAAA"}),
		"number of the key wrong": put("public_key", map[string]any{"kty": "RSA", "n": 7, "e": "AQAB"}),
		"short RSA key":           put("public_key", map[string]any{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(append([]byte{1}, make([]byte, 127)...)), "e": "AQAB"}),
		"point off the curve":     put("public_key", map[string]any{"kty": "EC", "crv": "P-256", "x": strings.Repeat("A", 43), "y": strings.Repeat("A", 43)}),
		"push of a string":        put("push_credentials", "token"),
		"push service unknown":    put("push_credentials", map[string]any{"service": "WNS", "token": "t"}),
		"push token missing":      put("push_credentials", map[string]any{"service": "GCM"}),
		"Web Push without JSON":   put("push_credentials", map[string]any{"service": "WEBPUSH", "token": "t"}),
		"Web Push of no URL":      put("push_credentials", map[string]any{"service": "WEBPUSH", "token": webPush("file:///etc/passwd")}),
		"push token of a number":  put("push_credentials", map[string]any{"service": "GCM", "token": 7}),
		"capability of a number":  put("capabilities", []any{7}),
		"too many capabilities":   put("capabilities", strings.Split(strings.Repeat("x,", 40), ",")),
		"deep nesting":            put("more", json.RawMessage(nested)),
	} {
		t.Run(name, func(t *testing.T) {
			h.Unchanged(func() { h.refused(h.postEnroll(ticket, body), 400, "invalid_body") })
		})
	}
	h.accepted(h.postEnroll(ticket, h.body(func(b map[string]any) {
		b["push_credentials"] = nil
		b["capabilities"] = nil
		b["unknown"] = map[string]any{"a": 1}
	})), 201)
}

// The person at the phone may not know that it has such a name, so she is not shut out for it.
func TestEnroll_MendsTheNameOfThePhone(t *testing.T) {
	h := newHouse(t)
	for given, kept := range map[string]string{
		"Maria’s phone ❤️\u200d🔥": "Maria’s phone ❤️\u200d🔥",
		"ok\r\x1b[2Jby=admin":     "ok\ufffd\ufffd[2Jby=admin",
		"\u202enohpi":             "\ufffdnohpi",
		strings.Repeat("ü", 200):  strings.Repeat("ü", 128),
	} {
		a := h.postEnroll(h.ticket("maria"), h.body(func(b map[string]any) {
			b["name"] = given
		}))
		h.accepted(a, 201)
		read := h.call("GET", "/appliance-mfa/api/device-accounts/"+a.body["id"].(string), "", "Authorization", "Bearer "+a.body["token"].(string))
		if read.body["name"] != kept {
			t.Errorf("%q became %v, not %q", given, read.body["name"], kept)
		}
	}
}

func TestEnroll_RefusesAKeyThatTheUserHasAlready(t *testing.T) {
	h := newHouse(t)
	key, err := phone.NewKey(phone.EdDSA)
	h.must(err)
	h.accepted(h.postEnroll(h.ticket("maria"), h.bodyOf(key, nil)), 201)
	second := h.ticket("maria")
	other := func(b map[string]any) { b["identifier"] = "another phone" }
	h.Unchanged(func() { h.refused(h.postEnroll(second, h.bodyOf(key, other)), 409, "device_account_conflict") })
	h.accepted(h.postEnroll(h.ticket("bert"), h.bodyOf(key, nil)), 201)
	h.accepted(h.postEnroll(second, h.body(other)), 201) // nothing was spent
}

func TestEnroll_ReplacesTheEnrollmentOfTheSamePhone(t *testing.T) {
	h := newHouse(t)
	old, code := h.enroll("maria")
	_, err := old.Status(t.Context()) // its app has the code
	h.must(err)
	p := h.phone(func(o *phone.Options) { o.Identifier = old.Identifier() })
	enrolled, err := p.Enroll(t.Context(), h.ticket("maria"))
	h.must(err)
	if code == "" || enrolled.RecoveryCode != "" {
		t.Errorf("codes: first %q, then %q; the first is valid still", code, enrolled.RecoveryCode)
	}
	_, err = old.Status(t.Context())
	if phone.CodeOf(err) != "device_account_not_found" {
		t.Errorf("the replaced phone got %v", err)
	}
}

func TestEnroll_UnderThePolicyNumberRefusesAnAppThatCannot(t *testing.T) {
	h := newHouse(t)
	h.Set("approval.presence", "number")
	ticket := h.ticket("maria")
	h.refused(h.postEnroll(ticket, h.body(nil)), 400, "invalid_body")
	h.accepted(h.postEnroll(ticket, h.body(func(b map[string]any) { b["capabilities"] = []string{"number-matching"} })), 201)
}

func TestEnroll_ChargesTheAddressThatGuesses(t *testing.T) {
	h := newHouse(t, withLimit(3))
	relayed := func(ticket, body string) answer {
		return h.call("POST", "/api/enroll", body, "Authorization", ticketField(ticket), "X-Forwarded-For", "203.0.113.9")
	}
	for i := range 3 {
		h.refused(relayed(fmt.Sprint("guess", i), h.body(nil)), 404, "enrollment_transaction_not_found")
	}
	tooMany := relayed("guess", h.body(nil))
	h.refused(tooMany, 429, "too_many_attempts")
	if tooMany.header.Get("Retry-After") == "" || tooMany.header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("headers are %v", tooMany.header)
	}
	h.accepted(relayed(h.ticket("maria"), h.body(nil)), 201) // who has a ticket is not refused for others
}

func TestEnroll_ClipsALongNameAndTakesATypedTicket(t *testing.T) {
	h := newHouse(t)
	ticket := h.ticket("maria")
	long := strings.Repeat("漢", 100)
	typed := " " + ticket[:4] + " " + ticket[4:20] + "  " + ticket[20:] + " "
	enrolled := h.postEnroll(typed, h.body(func(m map[string]any) { m["name"] = long }))
	h.accepted(enrolled, 201)
	token := fmt.Sprint("Bearer ", enrolled.body["token"])
	path := fmt.Sprint("/api/device-accounts/", enrolled.body["id"])
	if name := h.call("GET", path, "", "Authorization", token).body["name"]; name != strings.Repeat("漢", 85) {
		t.Errorf("the name kept is %q", name)
	}
	h.accepted(h.call("PATCH", path, `{"name":"`+strings.Repeat("x", 300)+`"}`, "Authorization", token, "Content-Type", "application/json"), 200)
	if name := h.call("GET", path, "", "Authorization", token).body["name"]; name != strings.Repeat("x", 256) {
		t.Errorf("the name kept is %q", name)
	}
	link := h.URL + "/mfa/enrollment?ticket=" + h.ticket("otto")
	h.accepted(h.postEnroll(link, h.body(nil)), 201)
}

func TestEnroll_KeepsHowItCameAboutAndWhatTheAppRunsOn(t *testing.T) {
	h := unasked(t)
	on := func(platform string) func(*phone.Options) {
		return func(o *phone.Options) { o.Platform = platform }
	}
	of := func(p *phone.Phone) (via device.Via, platform string) {
		h.View(func(tx *storage.Tx) error {
			_, e, err := device.Find(tx, p.Enrollment().ID)
			h.must(err)
			via = e.Via
			platform = e.Push.Platform
			return nil
		})
		return via, platform
	}
	p, code := h.backedUp("maria", on("android"))
	if via, platform := of(p); via != device.ViaTicket || platform != "android" {
		t.Errorf("by a ticket: %s on %q", via, platform)
	}
	silent, _ := h.enroll("otto")
	if _, platform := of(silent); platform != "" {
		t.Errorf("an app that says nothing runs on %q", platform)
	}
	odd, _ := h.enroll("paul", on("plan\n9"+strings.Repeat("x", 100)))
	if _, platform := of(odd); len(platform) > 32 || strings.Contains(platform, "\n") {
		t.Errorf("kept of what is no word: %q", platform)
	}

	h.must(p.Reinstall(phone.Reinstallation{}))
	_, err := p.StartRestore(t.Context(), false)
	h.must(err)
	_, err = p.RestoreWithCode(t.Context(), code)
	h.must(err)
	if via, platform := of(p); via != device.ViaRestore || platform != "android" {
		t.Errorf("by a restore: %s on %q", via, platform)
	}
}

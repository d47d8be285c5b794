package fcm_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device/push"
	"tutela/device/push/fcm"
	"tutela/device/push/pushtest"
	"tutela/device/push/wire"
	"tutela/storage/storagetest/check"
)

// phone is the token of a phone. It has a character that would change a URL.
const phone = "dGVzdA:APA91b/../x"

// start starts a stand-in, and a carrier to it.
func start(t testing.TB) (*pushtest.FCM, *fcm.Carrier) {
	t.Helper()
	service := pushtest.StartFCM(t)
	carrier, err := fcm.New(fcm.Credentials{JSON: service.Credentials(), Endpoint: service.Endpoint()})
	check.Must(t, err)
	t.Cleanup(carrier.Close)
	return service, carrier
}

func to(token string) push.Address { return push.Address{Service: push.GCM, Token: token} }

// approval is a message of a size that is usual.
func approval() push.Message {
	return push.Message{
		TransactionToken: "a.b.c",
		Enrollment:       "dev_0123456789abcdef",
		Challenge:        "nonce",
		Started:          "2026-03-01T12:00:00.005Z",
		Server:           "https://mfa.example.com",
		Source:           &push.Source{Browser: push.Named{Name: "Firefox", Version: "128"}},
		Location:         &push.Location{Name: "192.0.2.7"},
		NumberMatching:   true,
		BindingMessage:   "pay 5",
		ClientName:       "Bank",
		Life:             299*time.Second + 999*time.Millisecond,
	}
}

func TestDeliver_PhoneGetsADataMessageOfStrings(t *testing.T) {
	service, carrier := start(t)
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	taken := service.Taken(phone)
	if len(taken) != 1 {
		t.Fatalf("taken: %v, wrong: %v", taken, service.Wrong())
	}
	want := map[string]any{
		"txtkn": "a.b.c", "dai": "dev_0123456789abcdef", "c": "nonce", "d": "2026-03-01T12:00:00.005Z", "sh": "https://mfa.example.com",
		"s": `{"b":{"n":"Firefox","v":"128"}}`, "l": `{"n":"192.0.2.7"}`, "nm": "true", "bm": "pay 5", "cn": "Bank",
	}
	if diff := cmp.Diff(want, taken[0].Data); diff != "" {
		t.Error(diff)
	}
	raw := string(taken[0].Raw)
	if !strings.Contains(raw, `"android":{"ttl":"299s","priority":"high"}`) {
		t.Errorf("the message: %s", raw)
	}
	for _, other := range []string{"collapse", "notification", "validate_only", "topic"} {
		if strings.Contains(raw, other) {
			t.Errorf("the message holds %s: %s", other, raw)
		}
	}
}

func TestDeliver_LifeIsWholeSecondsWithinWhatFCMTakes(t *testing.T) {
	service, carrier := start(t)
	for life, want := range map[time.Duration]string{
		-time.Second:           "0s",
		0:                      "0s",
		999 * time.Millisecond: "0s",
		24 * time.Hour:         "86400s",
		40 * 24 * time.Hour:    "2419200s",
	} {
		m := approval()
		m.Life = life
		token := life.String()
		check.Must(t, carrier.Deliver(t.Context(), to(token), m))
		if raw := string(service.Taken(token)[0].Raw); !strings.Contains(raw, `"ttl":"`+want+`"`) {
			t.Errorf("a life of %s: %s", life, raw)
		}
	}
}

func TestDeliver_LeavesOutWhatDoesNotFit(t *testing.T) {
	service, carrier := start(t)
	m := approval()
	m.BindingMessage = strings.Repeat("b", 4096)
	check.Must(t, carrier.Deliver(t.Context(), to(phone), m))
	data := service.Taken(phone)[0].Data
	for key, there := range map[string]bool{"l": false, "s": false, "bm": false, "cn": true, "txtkn": true, "nm": true} {
		if _, is := data[key]; is != there {
			t.Errorf("%s is there: %v", key, is)
		}
	}
	m.TransactionToken = strings.Repeat("t", 5000)
	pushtest.ExpectRefusal(t, carrier.Deliver(t.Context(), to(phone), m), pushtest.Means(push.Unfit, 400, "INVALID_ARGUMENT", 0))
}

// refusals are the answers of FCM that are no success, each with what it means.
var refusals = map[string]struct {
	play pushtest.Play
	want push.Refusal
}{
	"404 with UNREGISTERED":    {pushtest.FCMRefusal(404, "UNREGISTERED"), pushtest.Means(push.Gone, 404, "UNREGISTERED", 0)},
	"404 bare":                 {pushtest.GoogleError(404), pushtest.Means(push.Setup, 404, "NOT_FOUND", 0)},
	"404 of a web server":      {pushtest.Play{Status: 404, Body: "<html>"}, pushtest.Means(push.Setup, 404, "", 0)},
	"UNREGISTERED without 404": {pushtest.FCMRefusal(400, "UNREGISTERED"), pushtest.Means(push.Mismatch, 400, "UNREGISTERED", 0)},
	"403 SENDER_ID_MISMATCH":   {pushtest.FCMRefusal(403, "SENDER_ID_MISMATCH"), pushtest.Means(push.Mismatch, 403, "SENDER_ID_MISMATCH", 0)},
	"403":                      {pushtest.GoogleError(403), pushtest.Means(push.Setup, 403, "PERMISSION_DENIED", 0)},
	"401 THIRD_PARTY_AUTH_ERROR": {
		pushtest.FCMRefusal(401, "THIRD_PARTY_AUTH_ERROR"), pushtest.Means(push.Setup, 401, "THIRD_PARTY_AUTH_ERROR", 0),
	},
	"400 about the token": {
		pushtest.FCMRefusalOf(400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token", ""),
		pushtest.Means(push.Mismatch, 400, "INVALID_ARGUMENT", 0),
	},
	"400 that names the token's field": {
		pushtest.FCMRefusalOf(400, "INVALID_ARGUMENT", "no", "message.token"), pushtest.Means(push.Mismatch, 400, "INVALID_ARGUMENT", 0),
	},
	"400 about the message": {
		pushtest.FCMRefusalOf(400, "INVALID_ARGUMENT", "Android message is too big", "message"),
		pushtest.Means(push.Unfit, 400, "INVALID_ARGUMENT", 0),
	},
	"400 without a code":       {pushtest.GoogleError(400), pushtest.Means(push.Unfit, 400, "INVALID_ARGUMENT", 0)},
	"413":                      {pushtest.Play{Status: 413}, pushtest.Means(push.Unfit, 413, "", 0)},
	"429 QUOTA_EXCEEDED":       {pushtest.FCMRefusal(429, "QUOTA_EXCEEDED").After("7"), pushtest.Means(push.Busy, 429, "QUOTA_EXCEEDED", 7*time.Second)},
	"429 bare":                 {pushtest.Play{Status: 429}.After("3600"), pushtest.Means(push.Busy, 429, "", time.Hour)},
	"429 for a thousand years": {pushtest.Play{Status: 429}.After("99999999999999999999"), pushtest.Means(push.Busy, 429, "", 24*time.Hour)},
	"429 since yesterday":      {pushtest.Play{Status: 429}.AfterDate(time.Unix(0, 0)), pushtest.Means(push.Busy, 429, "", 0)},
	"429 in no words":          {pushtest.Play{Status: 429}.After("soon"), pushtest.Means(push.Busy, 429, "", 0)},
	"500":                      {pushtest.FCMRefusal(500, "INTERNAL"), pushtest.Means(push.Busy, 500, "INTERNAL", 0)},
	"502 of a proxy":           {pushtest.Play{Status: 502, Body: "<html>"}, pushtest.Means(push.Busy, 502, "", 0)},
	"503":                      {pushtest.FCMRefusal(503, "UNAVAILABLE").After("1"), pushtest.Means(push.Busy, 503, "UNAVAILABLE", time.Second)},
	"503 bare":                 {pushtest.Play{Status: 503}, pushtest.Means(push.Busy, 503, "", 0)},
	"a redirect":               {pushtest.Redirect("/v1/elsewhere"), pushtest.Means(push.Setup, 307, "", 0)},
	"a redirect to a page":     {pushtest.Play{Status: 303, Header: map[string]string{"Location": "/v1/elsewhere"}}, pushtest.Means(push.Setup, 303, "", 0)},
	"a hostile word":           {pushtest.FCMRefusal(403, "évil\n"+strings.Repeat("x", 99)), pushtest.Means(push.Setup, 403, ".vil."+strings.Repeat("x", 59), 0)},
}

func TestDeliver_TellsWhatARefusalMeansAfterOneRequest(t *testing.T) {
	service, carrier := start(t)
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) {
			token := "phone-of-" + strings.ReplaceAll(name, " ", "-")
			before := service.Requests()
			service.Script(token, c.play)
			err := carrier.Deliver(t.Context(), to(token), approval())
			pushtest.ExpectRefusal(t, err, c.want)
			if n := service.Requests() - before; n != 1 {
				t.Errorf("%d requests", n)
			}
			if got := service.Taken(token); len(got) != 0 {
				t.Errorf("the phone got %v", got)
			}
			if strings.Contains(err.Error(), token) {
				t.Errorf("the error names the token: %v", err)
			}
		})
	}
	if wrong := service.Wrong(); len(wrong) != 0 {
		t.Errorf("FCM does not understand: %v", wrong)
	}
}

func TestDeliver_RetryAfterMayBeADate(t *testing.T) {
	service, carrier := start(t)
	service.Script(phone, pushtest.GoogleError(503).AfterDate(time.Now().Add(time.Hour)))
	var got *push.Refusal
	if err := carrier.Deliver(t.Context(), to(phone), approval()); !errors.As(err, &got) || got.After <= 0 || got.After > time.Hour {
		t.Errorf("%v: %+v", err, got)
	}
}

// An error that is no refusal says that nobody knows what became of the message: it is sent again.
func TestDeliver_TellsOfWhatIsNoAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		play pushtest.Play
		says string
		got  int // messages that the phone got
	}{
		"an answer that is cut":           {pushtest.Cut, "unexpected EOF", 1},
		"an answer of 1 GiB":              {pushtest.Flood, wire.ErrTooLarge.Error(), 0},
		"a page with status 200":          {pushtest.Play{Status: 200, Body: "<html>Log in to the network"}, "not as FCM does", 0},
		"an empty object with status 200": {pushtest.Play{Status: 200, Body: "{}"}, "not as FCM does", 0},
		"nothing with status 204":         {pushtest.Play{Status: 204}, "not as FCM does", 0},
	} {
		t.Run(name, func(t *testing.T) {
			service, carrier := start(t)
			service.Script(phone, c.play)
			err := carrier.Deliver(t.Context(), to(phone), approval())
			var refusal *push.Refusal
			if err == nil || errors.As(err, &refusal) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if n := service.Requests(); n != 1 {
				t.Errorf("%d requests", n)
			}
			if got := len(service.Taken(phone)); got != c.got {
				t.Errorf("the phone got %d", got)
			}
			check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
		})
	}
}

func TestDeliver_EndsWithItsContextWhenNobodyAnswers(t *testing.T) {
	service, carrier := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	hang := pushtest.Hang
	hang.Then = cancel
	service.Script(phone, hang)
	if err := carrier.Deliver(ctx, to(phone), approval()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if n := service.Requests(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestDeliver_ANetworkWithoutFCMIsTriedOnce(t *testing.T) {
	service := pushtest.StartFCM(t)
	closed, attempts := refusing(t)
	carrier, err := fcm.New(fcm.Credentials{JSON: service.Credentials(), Endpoint: closed})
	check.Must(t, err)
	err = carrier.Deliver(t.Context(), to(phone), approval())
	var refusal *push.Refusal
	if err == nil || errors.As(err, &refusal) {
		t.Errorf("%v", err)
	}
	if n := attempts(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// refusing listens, and closes every connection at once. It returns its URL and how many there were.
func refusing(t *testing.T) (url string, attempts func() int) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check.Must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	var mu sync.Mutex
	n := 0
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			n++
			mu.Unlock()
			_ = conn.Close()
		}
	}()
	return "http://" + listener.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func TestDeliver_OneAccessTokenServesAll(t *testing.T) {
	service, carrier := start(t)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			if err := carrier.Deliver(t.Context(), to(fmt.Sprintf("phone-%d", i)), approval()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := service.TokenRequests(); n != 1 {
		t.Errorf("%d access tokens for 64 messages", n)
	}
	if n := len(service.Taken("")); n != 64 || service.Requests() != 64 {
		t.Errorf("%d messages by %d requests", n, service.Requests())
	}
}

func TestDeliver_ARevokedAccessTokenIsRenewedOnce(t *testing.T) {
	service, carrier := start(t)
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	for range 3 {
		service.Revoke()
		before := service.Requests()
		check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
		if n := service.Requests() - before; n != 2 {
			t.Errorf("%d requests, want one with the old token and one with the new", n)
		}
	}
	if n := service.TokenRequests(); n != 4 {
		t.Errorf("%d access tokens", n)
	}
	if n := len(service.Taken(phone)); n != 4 {
		t.Errorf("the phone got %d messages", n)
	}
}

// TestDeliver_NewAccessTokensAreNotAskedForWithoutEnd shows that a service that accepts no token costs a request a message.
func TestDeliver_NewAccessTokensAreNotAskedForWithoutEnd(t *testing.T) {
	service, carrier := start(t)
	service.Always(phone, pushtest.GoogleError(401))
	for range 5 {
		pushtest.ExpectRefusal(t, carrier.Deliver(t.Context(), to(phone), approval()), pushtest.Means(push.Setup, 401, "UNAUTHENTICATED", 0))
	}
	if n := service.TokenRequests(); n != 2 {
		t.Errorf("%d access tokens", n)
	}
	if n := service.Requests(); n != 6 {
		t.Errorf("%d requests", n)
	}
}

func TestDeliver_AnAccessTokenThatEndsIsReplacedBefore(t *testing.T) {
	service, carrier := start(t)
	service.TokensLive(5 * time.Second) // shorter than what is left of a token that is still used
	for range 2 {
		check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	}
	if service.TokenRequests() != 2 || service.Requests() != 2 {
		t.Errorf("%d access tokens, %d requests", service.TokenRequests(), service.Requests())
	}
}

func TestDeliver_TellsWhatTheTokenEndpointSays(t *testing.T) {
	for name, c := range map[string]struct {
		play pushtest.Play
		want push.Refusal // zero: an error that is none
	}{
		"the key was removed": {
			pushtest.Play{Status: 400, Body: `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`},
			pushtest.Means(push.Setup, 400, "invalid_grant", 0),
		},
		"401":           {pushtest.Play{Status: 401, Body: `{"error":"invalid_client"}`}, pushtest.Means(push.Setup, 401, "invalid_client", 0)},
		"503":           {pushtest.Play{Status: 503}.After("9"), pushtest.Means(push.Busy, 503, "", 9*time.Second)},
		"a redirect":    {pushtest.Redirect("/token"), pushtest.Means(push.Setup, 307, "", 0)},
		"1 GiB":         {pushtest.Flood, push.Refusal{}},
		"a cut answer":  {pushtest.Cut, push.Refusal{}},
		"a page":        {pushtest.Play{Status: 200, Body: "<html>"}, push.Refusal{}},
		"an empty word": {pushtest.Play{Status: 200, Body: `{"access_token":"","expires_in":3600}`}, push.Refusal{}},
		"a broken line": {pushtest.Play{Status: 200, Body: `{"access_token":"a\r\nX: y","expires_in":60}`}, push.Refusal{}},
	} {
		t.Run(name, func(t *testing.T) {
			service, carrier := start(t)
			service.ScriptToken(c.play)
			err := carrier.Deliver(t.Context(), to(phone), approval())
			if c.want.Verdict != "" {
				pushtest.ExpectRefusal(t, err, c.want)
			} else if refused := new(push.Refusal); err == nil || errors.As(err, &refused) {
				t.Errorf("%v", err)
			}
			if service.TokenRequests() != 1 || service.Requests() != 0 {
				t.Errorf("%d requests for a token, %d to send", service.TokenRequests(), service.Requests())
			}
		})
	}
}

// TestDeliver_SharesTheFailureOfATokenRequest shows that messages that wait do not each ask a token endpoint in trouble.
func TestDeliver_SharesTheFailureOfATokenRequest(t *testing.T) {
	service, carrier := start(t)
	const callers = 16
	var arrived sync.WaitGroup
	arrived.Add(callers)
	service.ScriptToken(pushtest.Play{Status: 503, Then: arrived.Wait})
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			arrived.Done()
			if err := carrier.Deliver(t.Context(), to(phone), approval()); err == nil {
				return // it came after the failure
			} else if !errors.Is(err, push.ErrRefused) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := service.TokenRequests(); n > 2 {
		t.Errorf("%d requests for a token", n)
	}
}

func TestDeliver_KeepsConnectionsOpen(t *testing.T) {
	service, carrier := start(t)
	for range 20 {
		check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	}
	if n := service.Connections(); n > 2 {
		t.Errorf("%d connections for 20 messages, one after the other", n)
	}
}

func TestDeliver_RefusesOtherServices(t *testing.T) {
	_, carrier := start(t)
	err := carrier.Deliver(t.Context(), push.Address{Service: push.APNs, Token: phone}, approval())
	if !errors.Is(err, push.ErrNotCarried) {
		t.Errorf("%v", err)
	}
}

func TestNew_SaysWhatIsWrongWithCredentialsAndQuotesNothing(t *testing.T) {
	service := pushtest.StartFCM(t)
	good := string(service.Credentials())
	for name, c := range map[string]struct {
		file, endpoint string
		is             error
		says           string
	}{
		"no JSON":                      {"-----BEGIN PRIVATE KEY-----", "", fcm.ErrCredentials, "no JSON"},
		"another kind":                 {strings.Replace(good, "service_account", "authorized_user", 1), "", fcm.ErrCredentials, `"type"`},
		"no project":                   {strings.Replace(good, "project_id", "project", 1), "", fcm.ErrCredentials, `"project_id"`},
		"a path as a project":          {strings.Replace(good, `"project_id": "`, `"project_id": "../`, 1), "", fcm.ErrCredentials, `"project_id"`},
		"no e-mail":                    {strings.Replace(good, "client_email", "email", 1), "", fcm.ErrCredentials, `"client_email"`},
		"a cut key":                    {strings.Replace(good, `MIIE`, `MIII`, 1), "", fcm.ErrCredentials, `"private_key"`},
		"no key":                       {strings.Replace(good, "private_key\"", "key\"", 1), "", fcm.ErrCredentials, `"private_key"`},
		"a foreign token_uri":          {strings.ReplaceAll(good, "http://127.0.0.1", "http://192.0.2.1"), "", fcm.ErrCredentials, `"token_uri"`},
		"an endpoint without a scheme": {good, "fcm.googleapis.com", fcm.ErrEndpoint, "https://"},
		"an endpoint without TLS":      {good, "http://fcm.googleapis.com/v1", fcm.ErrEndpoint, "https://"},
		"an endpoint with a query":     {good, "https://fcm.googleapis.com/v1?a=b", fcm.ErrEndpoint, "URL"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fcm.New(fcm.Credentials{JSON: []byte(c.file), Endpoint: c.endpoint})
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), "MII") {
				t.Errorf("the error quotes the key: %v", err)
			}
		})
	}
}

// TestStandIn_RefusesWhatFCMRefuses shows that the stand-in would notice.
func TestStandIn_RefusesWhatFCMRefuses(t *testing.T) {
	service, carrier := start(t)
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	authorization := service.Taken(phone)[0].Header.Get("Authorization")
	for body, status := range map[string]int{
		`{"message":{"token":"x","data":{"nm":"true"},"android":{"priority":"high","ttl":"1s"}}}`:                             200,
		`{"message":{"token":"x","data":{"nm":true},"android":{"priority":"high","ttl":"1s"}}}`:                               400,
		`{"message":{"token":"x","data":{"s":{"b":{}}},"android":{"priority":"high","ttl":"1s"}}}`:                            400,
		`{"message":{"token":"x","data":{"from":"me"},"android":{"priority":"high","ttl":"1s"}}}`:                             400,
		`{"message":{"token":"x","data":{},"android":{"priority":"HIGH","ttl":"1s"}}}`:                                        400,
		`{"message":{"token":"x","data":{},"android":{"priority":"high","ttl":1}}}`:                                           400,
		`{"message":{"token":"x","data":{},"android":{"priority":"high","ttl":"-1s"}}}`:                                       400,
		`{"message":{"token":"","data":{},"android":{"priority":"high","ttl":"1s"}}}`:                                         400,
		`{"message":{"token":"x","mfa":{},"data":{},"android":{"priority":"high","ttl":"1s"}}}`:                               400,
		`{"message":{"token":"x","data":{"a":"` + strings.Repeat("b", 4096) + `"},"android":{"priority":"high","ttl":"1s"}}}`: 400,
		`{`: 400,
	} {
		if got := post(t, service.Endpoint()+"/projects/"+service.Project()+"/messages:send", authorization, body); got != status {
			t.Errorf("%.90s: %d", body, got)
		}
	}
	sound := `{"message":{"token":"x","data":{},"android":{"priority":"high","ttl":"1s"}}}`
	if got := post(t, service.Endpoint()+"/projects/"+service.Project()+"/messages:send", "Bearer ya29.invented", sound); got != 401 {
		t.Errorf("with an invented access token: %d", got)
	}
	if got := post(t, service.Endpoint()+"/projects/another/messages:send", authorization, sound); got != 404 {
		t.Errorf("to another project: %d", got)
	}
}

func post(t *testing.T, url, authorization, body string) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	check.Must(t, err)
	req.Header.Set("Authorization", authorization)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	check.Must(t, err)
	check.Must(t, resp.Body.Close())
	return resp.StatusCode
}

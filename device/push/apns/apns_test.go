package apns_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"tutela/device/push"
	"tutela/device/push/apns"
	"tutela/device/push/pushtest"
	"tutela/device/push/wire"
	"tutela/storage/storagetest/check"
)

// tokenOf returns the device token of a phone.
func tokenOf(n int) string { return fmt.Sprintf("%064x", n) }

// phone is the token of one phone.
var phone = tokenOf(0xfeed)

// start starts a stand-in, and a carrier to it by key.
func start(t testing.TB, o pushtest.APNsOptions) (*pushtest.APNs, *apns.Carrier) {
	t.Helper()
	service := pushtest.StartAPNs(t, o)
	carrier, err := apns.New(byKey(service))
	check.Must(t, err)
	t.Cleanup(carrier.Close)
	return service, carrier
}

func byKey(service *pushtest.APNs) apns.Credentials {
	return apns.Credentials{
		Key:      service.Key(),
		KeyID:    pushtest.APNsKeyID,
		TeamID:   pushtest.APNsTeamID,
		Topic:    pushtest.APNsTopic,
		Endpoint: service.Endpoint(),
		Roots:    service.Roots(),
	}
}

func to(token string) push.Address { return push.Address{Service: push.APNs, Token: token} }

// approval is a message of a size that is usual.
func approval() push.Message {
	return push.Message{
		TransactionToken: "a.b.c",
		Enrollment:       "dev_0123456789abcdef",
		Challenge:        "N5vJTL1nLx0Kzm4dA3jC9qUuXKxGq0mR8s7T6u5V4wY",
		Started:          "2026-03-01T12:00:00.005Z",
		Server:           "https://mfa.example.com",
		Source:           &push.Source{Browser: push.Named{Name: "Firefox", Version: "128"}},
		Location:         &push.Location{Name: "192.0.2.7"},
		NumberMatching:   true,
		BindingMessage:   "pay 5",
		ClientName:       "Bank",
		Life:             5 * time.Minute,
	}
}

func notice() push.Message {
	return push.Message{
		Enrollment: "dev_0123456789abcdef",
		Server:     "https://mfa.example.com",
		Started:    "2026-03-01T12:00:00.005Z",
		Notice:     "device_added",
		Text:       "A phone was added to your account.",
		Phone:      "Pixel",
		Life:       24 * time.Hour,
	}
}

// data is what the phone got.
func data(t *testing.T, want string) (object map[string]any) {
	t.Helper()
	check.Must(t, json.Unmarshal([]byte(want), &object))
	return object
}

func TestDeliver_ApprovalHasTheCategoryOfTheSDKAndObjectsBelowMFA(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{})
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	taken := service.Taken(phone)
	if len(taken) != 1 {
		t.Fatalf("taken: %v, wrong: %v", taken, service.Wrong())
	}
	want := data(t, `{
		"aps": {"category": "com.auth0.notification.authentication", "sound": "default", "mutable-content": 1,
			"alert": {"title": "Bank", "body": "Is it you who is logging in? Open the app to answer."}},
		"mfa": {"txtkn": "a.b.c", "dai": "dev_0123456789abcdef", "c": "N5vJTL1nLx0Kzm4dA3jC9qUuXKxGq0mR8s7T6u5V4wY",
			"d": "2026-03-01T12:00:00.005Z", "sh": "https://mfa.example.com", "s": {"b": {"n": "Firefox", "v": "128"}},
			"l": {"n": "192.0.2.7"}, "nm": true, "bm": "pay 5", "cn": "Bank"}}`)
	if diff := cmp.Diff(want, taken[0].Data); diff != "" {
		t.Error(diff)
	}
}

func TestDeliver_NoticeIsAPlainAlertThatSaysItsText(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{})
	check.Must(t, carrier.Deliver(t.Context(), to(phone), notice()))
	want := data(t, `{
		"aps": {"sound": "default", "mutable-content": 1, "alert": {"body": "A phone was added to your account."}},
		"mfa": {"dai": "dev_0123456789abcdef", "d": "2026-03-01T12:00:00.005Z", "sh": "https://mfa.example.com",
			"notice": "device_added", "text": "A phone was added to your account.", "name": "Pixel"}}`)
	if diff := cmp.Diff(want, service.Await(phone, 1)[0].Data); diff != "" {
		t.Error(diff)
	}
}

func TestDeliver_HeadersSayHowLongAndWhatForAndWhichReplacesWhich(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{})
	other := approval()
	other.Challenge = "another"
	elsewhere := approval()
	elsewhere.Enrollment = "dev_another"
	long := notice()
	long.Restore = strings.Repeat("r", 100)
	odd := notice()
	odd.Notice = "naïve\r\nX: y"
	all := []push.Message{approval(), approval(), other, elsewhere, notice(), long, odd}
	before := time.Now()
	for _, m := range all {
		check.Must(t, carrier.Deliver(t.Context(), to(strings.ToUpper(phone)), m))
	}
	collapse := map[string]int{}
	for i, taken := range service.Await(phone, len(all)) {
		collapse[taken.Header.Get("apns-collapse-id")]++
		if id := taken.Header.Get("apns-collapse-id"); id == "" || len(id) > 64 {
			t.Errorf("apns-collapse-id %q", id)
		}
		at, err := strconv.ParseInt(taken.Header.Get("apns-expiration"), 10, 64)
		check.Must(t, err)
		if earliest := before.Add(all[i].Life).Unix(); at < earliest || at > time.Now().Add(all[i].Life).Unix() {
			t.Errorf("apns-expiration %d of a life of %s", at, all[i].Life)
		}
		for name, want := range map[string]string{
			"apns-push-type": "alert", "apns-priority": "10", "apns-topic": pushtest.APNsTopic,
		} {
			if got := taken.Header.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	if len(collapse) != len(all)-1 || collapse[approval().Challenge+approval().Enrollment] != 2 {
		t.Errorf("of %d messages, two of which are the same: %v", len(all), collapse)
	}
}

func TestDeliver_LeavesOutWhatDoesNotFit(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{})
	m := approval()
	m.BindingMessage = strings.Repeat("<", 700) // six bytes each, as JSON is written
	check.Must(t, carrier.Deliver(t.Context(), to(phone), m))
	mfa, _ := service.Taken(phone)[0].Data["mfa"].(map[string]any)
	for key, there := range map[string]bool{"l": false, "s": false, "bm": false, "cn": true, "txtkn": true, "c": true, "nm": true} {
		if _, is := mfa[key]; is != there {
			t.Errorf("%s is there: %v", key, is)
		}
	}
	m.TransactionToken = strings.Repeat("t", 5000)
	pushtest.ExpectRefusal(t, carrier.Deliver(t.Context(), to(phone), m), pushtest.Means(push.Unfit, 413, "PayloadTooLarge", 0))
}

// day is when a token went.
var day = time.Date(2026, 3, 1, 12, 0, 0, 5_000_000, time.UTC)

func gone(reason string, since time.Time) push.Refusal {
	return push.Refusal{
		Verdict: push.Gone,
		Status:  410,
		Reason:  reason,
		Since:   since,
	}
}

// refusals are the answers of APNs that are no success, each with what it means.
var refusals = map[string]struct {
	play pushtest.Play
	want push.Refusal
}{
	"410 Unregistered":       {pushtest.APNsGone("Unregistered", day), gone("Unregistered", day)},
	"410 ExpiredToken":       {pushtest.APNsGone("ExpiredToken", day), gone("ExpiredToken", day)},
	"410 without a time":     {pushtest.APNsRefusal(410, "Unregistered"), gone("Unregistered", time.Time{})},
	"410 before time":        {pushtest.APNsGone("Unregistered", time.UnixMilli(-5)), gone("Unregistered", time.Time{})},
	"410 in no number":       {pushtest.Play{Status: 410, Body: `{"reason":"Unregistered","timestamp":"now"}`}, gone("Unregistered", time.Time{})},
	"410 of a web server":    {pushtest.Play{Status: 410, Body: "<html>"}, pushtest.Means(push.Setup, 410, "", 0)},
	"400 Unregistered":       {pushtest.APNsRefusal(400, "Unregistered"), pushtest.Means(push.Mismatch, 400, "Unregistered", 0)},
	"BadDeviceToken":         {pushtest.APNsRefusal(400, "BadDeviceToken"), pushtest.Means(push.Mismatch, 400, "BadDeviceToken", 0)},
	"DeviceTokenNotForTopic": {pushtest.APNsRefusal(400, "DeviceTokenNotForTopic"), pushtest.Means(push.Mismatch, 400, "DeviceTokenNotForTopic", 0)},
	"BadTopic":               {pushtest.APNsRefusal(400, "BadTopic"), pushtest.Means(push.Setup, 400, "BadTopic", 0)},
	"MissingTopic":           {pushtest.APNsRefusal(400, "MissingTopic"), pushtest.Means(push.Setup, 400, "MissingTopic", 0)},
	"TopicDisallowed":        {pushtest.APNsRefusal(400, "TopicDisallowed"), pushtest.Means(push.Setup, 400, "TopicDisallowed", 0)},
	"InvalidPushType":        {pushtest.APNsRefusal(400, "InvalidPushType"), pushtest.Means(push.Setup, 400, "InvalidPushType", 0)},
	"BadCollapseId":          {pushtest.APNsRefusal(400, "BadCollapseId"), pushtest.Means(push.Unfit, 400, "BadCollapseId", 0)},
	"IdleTimeout":            {pushtest.APNsRefusal(400, "IdleTimeout"), pushtest.Means(push.Busy, 400, "IdleTimeout", 0)},
	"BadCertificate":         {pushtest.APNsRefusal(403, "BadCertificate"), pushtest.Means(push.Setup, 403, "BadCertificate", 0)},
	"BadCertificateEnviron":  {pushtest.APNsRefusal(403, "BadCertificateEnvironment"), pushtest.Means(push.Setup, 403, "BadCertificateEnvironment", 0)},
	"Forbidden":              {pushtest.APNsRefusal(403, "Forbidden"), pushtest.Means(push.Setup, 403, "Forbidden", 0)},
	"InvalidProviderToken":   {pushtest.APNsRefusal(403, "InvalidProviderToken"), pushtest.Means(push.Setup, 403, "InvalidProviderToken", 0)},
	"a word to come":         {pushtest.APNsRefusal(403, "UnrelatedKeyIdInToken"), pushtest.Means(push.Setup, 403, "UnrelatedKeyIdInToken", 0)},
	"BadPath":                {pushtest.APNsRefusal(404, "BadPath"), pushtest.Means(push.Setup, 404, "BadPath", 0)},
	"MethodNotAllowed":       {pushtest.APNsRefusal(405, "MethodNotAllowed"), pushtest.Means(push.Setup, 405, "MethodNotAllowed", 0)},
	"PayloadTooLarge":        {pushtest.APNsRefusal(413, "PayloadTooLarge"), pushtest.Means(push.Unfit, 413, "PayloadTooLarge", 0)},
	"413":                    {pushtest.Play{Status: 413}, pushtest.Means(push.Unfit, 413, "", 0)},
	"TooManyRequests":        {pushtest.APNsRefusal(429, "TooManyRequests").After("7"), pushtest.Means(push.Busy, 429, "TooManyRequests", 7*time.Second)},
	"TooManyProviderToken":   {pushtest.APNsRefusal(429, "TooManyProviderTokenUpdates"), pushtest.Means(push.Busy, 429, "TooManyProviderTokenUpdates", 0)},
	"InternalServerError":    {pushtest.APNsRefusal(500, "InternalServerError"), pushtest.Means(push.Busy, 500, "InternalServerError", 0)},
	"ServiceUnavailable":     {pushtest.APNsRefusal(503, "ServiceUnavailable").After("60"), pushtest.Means(push.Busy, 503, "ServiceUnavailable", time.Minute)},
	"Shutdown":               {pushtest.APNsRefusal(503, "Shutdown"), pushtest.Means(push.Busy, 503, "Shutdown", 0)},
	"a redirect":             {pushtest.Redirect("/3/device/elsewhere"), pushtest.Means(push.Setup, 307, "", 0)},
	"a redirect to a page":   {pushtest.Play{Status: 303, Header: map[string]string{"Location": "/"}}, pushtest.Means(push.Setup, 303, "", 0)},
}

func TestDeliver_TellsWhatARefusalMeansAfterOneRequest(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{})
	n := 0
	for name, c := range refusals {
		n++
		token := tokenOf(n)
		t.Run(name, func(t *testing.T) {
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
		})
	}
	if wrong := service.Wrong(); len(wrong) != 0 {
		t.Errorf("APNs does not understand: %v", wrong)
	}
}

// TestDeliver_ATokenIsGoneNoLaterThanNow holds for a clock that is behind Apple's.
func TestDeliver_ATokenIsGoneNoLaterThanNow(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{})
	service.Script(phone, pushtest.APNsGone("Unregistered", time.Now().Add(1000*time.Hour)))
	var got *push.Refusal
	err := carrier.Deliver(t.Context(), to(phone), approval())
	if !errors.As(err, &got) || got.Verdict != push.Gone || got.Since.IsZero() || got.Since.After(time.Now()) {
		t.Errorf("%v: %+v", err, got)
	}
}

// An error that is no refusal says that nobody knows what became of the message. It never names the token.
func TestDeliver_TellsOfWhatIsNoAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		play pushtest.Play
		says string
		got  int // messages that the phone got
	}{
		"an answer that is cut":    {pushtest.Cut, "stream error", 1},
		"an answer of 1 GiB":       {pushtest.Flood, wire.ErrTooLarge.Error(), 0},
		"a page with status 200":   {pushtest.Play{Status: 200, Body: "<html>Log in to the network"}, "not as APNs does", 0},
		"a number with status 200": {pushtest.Play{Status: 200, Body: `{"timestamp": "soon"}`}, "not as APNs does", 0},
	} {
		t.Run(name, func(t *testing.T) {
			service, carrier := start(t, pushtest.APNsOptions{})
			service.Script(phone, c.play)
			err := carrier.Deliver(t.Context(), to(phone), approval())
			var refusal *push.Refusal
			if err == nil || errors.As(err, &refusal) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), phone) {
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
	service, carrier := start(t, pushtest.APNsOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	hang := pushtest.Hang
	hang.Then = cancel
	service.Script(phone, hang)
	err := carrier.Deliver(ctx, to(phone), approval())
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), phone) {
		t.Errorf("%v", err)
	}
	if n := service.Requests(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestDeliver_SaysThatAServerIsNotApples(t *testing.T) {
	service := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	credentials := byKey(service)
	credentials.Roots = nil // this machine does not know the stand-in's issuer
	carrier, err := apns.New(credentials)
	check.Must(t, err)
	err = carrier.Deliver(t.Context(), to(phone), approval())
	if err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), phone) {
		t.Errorf("%v", err)
	}
}

func TestDeliver_RefusesATokenThatIsNoneBeforeItAsksAnybody(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{})
	for _, token := range []string{
		"../../v1/x", "feed?x=y", "feed#", "feed%2f", "fe ed", "feed/", "", "phone", "feed\n", "ｆｅｅｄ", strings.Repeat("f", 201),
	} {
		err := carrier.Deliver(t.Context(), to(token), approval())
		pushtest.ExpectRefusal(t, err, pushtest.Means(push.Mismatch, 0, "BadDeviceToken", 0))
	}
	if n := service.Requests(); n != 0 {
		t.Errorf("%d requests", n)
	}
	if err := carrier.Deliver(t.Context(), push.Address{Service: push.FCM, Token: phone}, approval()); !errors.Is(err, push.ErrNotCarried) {
		t.Errorf("to another service: %v", err)
	}
}

func deliverMany(t *testing.T, carrier *apns.Carrier, n int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if err := carrier.Deliver(t.Context(), to(tokenOf(i)), approval()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestDeliver_WaitsForAStreamInsteadOfOpeningConnections has 32 messages at once, of which the service takes one at a time.
func TestDeliver_WaitsForAStreamInsteadOfOpeningConnections(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{Streams: 1})
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	deliverMany(t, carrier, 32)
	if n := service.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if n := service.Requests(); n != 33 {
		t.Errorf("%d requests for 33 messages", n)
	}
	if n := service.ProviderTokens(); n != 1 {
		t.Errorf("%d provider tokens", n)
	}
}

// TestDeliver_BeginsWithOneConnection has all messages at once, before there is any connection.
func TestDeliver_BeginsWithOneConnection(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{Streams: 1})
	deliverMany(t, carrier, 32)
	if n := service.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if n := len(service.Taken("")); n != 32 {
		t.Errorf("%d messages", n)
	}
}

// TestDeliver_GoesOnWhereAServerThatStopsHasLeftOff: a request that such a server has not taken is sent to the next.
func TestDeliver_GoesOnWhereAServerThatStopsHasLeftOff(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{})
	service.GoAway(1)
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	if n := len(service.Taken(phone)); n != 1 || service.Requests() != 1 {
		t.Errorf("the phone got %d, by %d requests", n, service.Requests())
	}
	if n := service.Connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestDeliver_AnExpiredProviderTokenIsRenewedOnce(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{})
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	service.Script(phone, pushtest.APNsRefusal(403, "ExpiredProviderToken"))
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	if service.ProviderTokens() != 2 || service.Requests() != 3 || len(service.Taken(phone)) != 2 {
		t.Errorf("%d provider tokens, %d requests, %d messages", service.ProviderTokens(), service.Requests(), len(service.Taken(phone)))
	}
	// Within 20 minutes there is no third.
	service.Always("", pushtest.APNsRefusal(403, "ExpiredProviderToken"))
	for range 3 {
		before := service.Requests()
		pushtest.ExpectRefusal(t, carrier.Deliver(t.Context(), to(phone), approval()), pushtest.Means(push.Setup, 403, "ExpiredProviderToken", 0))
		if n := service.Requests() - before; n != 1 {
			t.Errorf("%d requests", n)
		}
	}
	if n := service.ProviderTokens(); n != 2 {
		t.Errorf("%d provider tokens", n)
	}
}

func TestDeliver_ByACertificateInOldAndNewEncryption(t *testing.T) {
	service := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	for name, how := range map[string]*pkcs12.Encoder{
		"RC2":     pkcs12.LegacyRC2,
		"3DES":    pkcs12.LegacyDES,
		"AES-256": pkcs12.Modern2023,
		"PBMAC1":  pkcs12.Modern2026,
	} {
		t.Run(name, func(t *testing.T) {
			carrier, err := apns.New(apns.Credentials{
				Certificate: service.Certificate(how, "geheim", pushtest.APNsTopic),
				Password:    "geheim",
				Endpoint:    service.Endpoint(),
				Roots:       service.Roots(),
			})
			check.Must(t, err)
			defer carrier.Close()
			check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
			if carrier.Topic() != pushtest.APNsTopic || time.Until(carrier.Expires()) <= 0 {
				t.Errorf("topic %q, until %s", carrier.Topic(), carrier.Expires())
			}
		})
	}
	if n := service.ProviderTokens(); n != 0 {
		t.Errorf("%d provider tokens", n)
	}
}

func TestDeliver_WithoutTLSOnThisMachine(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{Plain: true})
	deliverMany(t, carrier, 8)
	if n := len(service.Taken("")); n != 8 {
		t.Errorf("%d messages", n)
	}
}

func TestNew_SaysWhatIsWrongWithCredentialsAndQuotesNothing(t *testing.T) {
	service := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	p12 := service.Certificate(pkcs12.Modern2023, "geheim", pushtest.APNsTopic)
	unnamed := service.Certificate(pkcs12.Modern2023, "geheim", "")
	for says, change := range map[string]func(*apns.Credentials){
		"give a key or a certificate":          func(c *apns.Credentials) { c.Key = nil },
		"not both":                             func(c *apns.Credentials) { c.Certificate = p12 },
		"no .p8 file":                          func(c *apns.Credentials) { c.Key = []byte("MIIgeheim") },
		"the key id":                           func(c *apns.Credentials) { c.KeyID = "" },
		"the team id":                          func(c *apns.Credentials) { c.TeamID = "def123ghij" },
		"the topic":                            func(c *apns.Credentials) { c.Topic = "" },
		"the topic must be the app's bundle":   func(c *apns.Credentials) { c.Topic = "com.example/app" },
		"it must begin with https://":          func(c *apns.Credentials) { c.Endpoint = "http://192.0.2.1" },
		"give an endpoint or the sandbox":      func(c *apns.Credentials) { c.Sandbox = true },
		"the password of the certificate":      func(c *apns.Credentials) { *c = apns.Credentials{Certificate: p12, Password: "falsch"} },
		"no PKCS#12 file":                      func(c *apns.Credentials) { *c = apns.Credentials{Certificate: []byte("MIIgeheim")} },
		"the certificate names no topic: give": func(c *apns.Credentials) { *c = apns.Credentials{Certificate: unnamed, Password: "geheim"} },
	} {
		c := byKey(service)
		change(&c)
		_, err := apns.New(c)
		isOne := errors.Is(err, apns.ErrCredentials) || errors.Is(err, apns.ErrEndpoint)
		if !isOne || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("want %q: %v", says, err)
		}
	}
}

func TestNew_ChoosesApplesHost(t *testing.T) {
	service := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	for sandbox, want := range map[bool]string{false: "https://api.push.apple.com", true: "https://api.sandbox.push.apple.com"} {
		c := byKey(service)
		c.Endpoint = ""
		c.Sandbox = sandbox
		carrier, err := apns.New(c)
		check.Must(t, err)
		if carrier.Host() != want {
			t.Errorf("sandbox %v: %s", sandbox, carrier.Host())
		}
	}
}

// TestStandIn_RefusesWhatAPNsRefuses shows that the stand-in would notice.
func TestStandIn_RefusesWhatAPNsRefuses(t *testing.T) {
	service, carrier := start(t, pushtest.APNsOptions{Plain: true})
	check.Must(t, carrier.Deliver(t.Context(), to(phone), approval()))
	sound := service.Taken(phone)[0]
	const payload = `{"aps":{"alert":{"body":"x"},"sound":"default"},"mfa":{"c":"x"}}`
	for _, c := range []struct {
		path, header, value, body string
		status                    int
		reason                    string
	}{
		{"/3/device/" + phone, "", "", payload, 200, ""},
		{"/3/device/" + phone, "Authorization", "", payload, 403, "MissingProviderToken"},
		{"/3/device/" + phone, "Authorization", "bearer a.b.c", payload, 403, "InvalidProviderToken"},
		{"/3/device/" + phone, "Apns-Topic", "", payload, 400, "MissingTopic"},
		{"/3/device/" + phone, "Apns-Topic", "com.example.other", payload, 400, "DeviceTokenNotForTopic"},
		{"/3/device/" + phone, "Apns-Push-Type", "background", payload, 400, "InvalidPushType"},
		{"/3/device/" + phone, "Apns-Priority", "high", payload, 400, "BadPriority"},
		{"/3/device/" + phone, "Apns-Expiration", "soon", payload, 400, "BadExpirationDate"},
		{"/3/device/" + phone, "Apns-Collapse-Id", strings.Repeat("c", 65), payload, 400, "BadCollapseId"},
		{"/3/device/feed", "", "", payload, 400, "BadDeviceToken"},
		{"/3/devices/" + phone, "", "", payload, 404, "BadPath"},
		{"/3/device/" + phone, "", "", "", 400, "PayloadEmpty"},
		{"/3/device/" + phone, "", "", `{"mfa":"` + strings.Repeat("x", 4096) + `"}`, 413, "PayloadTooLarge"},
		{"/3/device/" + phone, "", "", `{"aps":{"alert":{"body":"x"}},"c":"x"}`, 400, "BadPayload"},
		{"/3/device/" + phone, "", "", `{"aps":{"alert":{"body":"x"}},"mfa":"{}"}`, 400, "BadPayload"},
		{"/3/device/" + phone, "", "", `{"aps":{},"mfa":{}}`, 400, "BadPayload"},
	} {
		header := sound.Header.Clone()
		if c.header != "" {
			header.Set(c.header, c.value)
		}
		answer := post(t, service.Endpoint()+c.path, header, c.body)
		if answer.Status != c.status || !strings.Contains(string(answer.Body), c.reason) {
			t.Errorf("%s %s: %d %s, want %d %s", c.header, c.body[:min(len(c.body), 60)], answer.Status, answer.Body, c.status, c.reason)
		}
	}
}

func post(t *testing.T, url string, header http.Header, body string) wire.Answer {
	t.Helper()
	transport := wire.NewTransport()
	defer transport.CloseIdleConnections()
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	check.Must(t, err)
	for name, values := range header {
		if values[0] != "" {
			req.Header[name] = values
		}
	}
	req.Header.Del("Content-Length")
	answer, err := wire.Fetch(transport, req)
	check.Must(t, err)
	return answer
}

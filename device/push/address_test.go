package push_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"tutela/device/push"
)

// The receiver's public key and authentication secret of RFC 8291 §5.
const (
	rfcP256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	rfcAuth   = "BTBZMqHH6r4Tts7J_aSIgg"
	endpoint  = "https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV?v=1&t=<a>"
)

// subscription is a subscription as a browser writes it.
func subscription(endpoint, p256dh, auth string) string {
	return `{"endpoint":"` + endpoint + `","expirationTime":null,"keys":{"p256dh":"` + p256dh + `","auth":"` + auth + `"}}`
}

func TestParseAddress_TakesATokenOfAnyServiceOfTheProtocol(t *testing.T) {
	for _, service := range []string{"GCM", "FCM", "APNS"} {
		for _, token := range []string{"x", "ü", strings.Repeat("x", 4096)} {
			a, err := push.ParseAddress(service, token)
			if err != nil || a.IsZero() || string(a.Service) != service || a.Token != token {
				t.Errorf("%s %.10q: %+v, %v", service, token, a, err)
			}
		}
	}
}

func TestParseAddress_RefusesWhatReachesNoPhoneAndQuotesNoToken(t *testing.T) {
	good := subscription(endpoint, rfcP256DH, rfcAuth)
	for name, c := range map[string]struct{ service, token string }{
		"no token":         {"GCM", ""},
		"too long":         {"GCM", strings.Repeat("x", 4097)},
		"not UTF-8":        {"GCM", "secret\xff"},
		"no service":       {"", "secret"},
		"lower case":       {"gcm", "secret"},
		"another":          {"SMS", "secret"},
		"a bare token":     {"WEBPUSH", "secret"},
		"padded too long":  {"WEBPUSH", good + strings.Repeat(" ", 4096)},
		"APNs, mixed case": {"APNs", "secret"},
	} {
		a, err := push.ParseAddress(c.service, c.token)
		if !errors.Is(err, push.ErrAddress) || !a.IsZero() {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error quotes the token: %v", name, err)
		}
	}
}

func TestParseAddress_OfWebPushHasAnEndpointAndTwoKeys(t *testing.T) {
	a, err := push.ParseAddress("WEBPUSH", subscription(endpoint, rfcP256DH, rfcAuth))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"endpoint":"` + endpoint + `","keys":{"p256dh":"` + rfcP256DH + `","auth":"` + rfcAuth + `"}}`; a.Token != want {
		t.Errorf("the token is %s, want %s", a.Token, want)
	}
	s, err := a.Subscription()
	if err != nil || s.Endpoint != endpoint || s.P256DH[0] != 4 || s.P256DH[64] != 0x0e || s.Auth[0] != 0x05 || s.Auth[15] != 0x82 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestParseAddress_KnowsASubscriptionAgain is why an app that names its subscription once more changes nothing.
func TestParseAddress_KnowsASubscriptionAgain(t *testing.T) {
	first, err := push.ParseAddress("WEBPUSH", subscription(endpoint, rfcP256DH, rfcAuth))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"padded":            subscription(endpoint, rfcP256DH+"=", rfcAuth+"=="),
		"in another order":  `{"keys":{"auth":"` + rfcAuth + `","p256dh":"` + rfcP256DH + `"}, "endpoint":"` + endpoint + `"}`,
		"escaped":           subscription(strings.ReplaceAll(endpoint, "&", "\\u0026"), rfcP256DH, rfcAuth),
		"as it was written": first.Token,
	} {
		again, err := push.ParseAddress("WEBPUSH", text)
		if err != nil || again != first {
			t.Errorf("%s: %+v, %v", name, again, err)
		}
	}
	other, err := push.ParseAddress("WEBPUSH", subscription(endpoint+"x", rfcP256DH, rfcAuth))
	if err != nil || other == first {
		t.Errorf("another endpoint is the same address: %v", err)
	}
}

func TestParseSubscription_RefusesWhatCanBeNone(t *testing.T) {
	offCurve := "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw8"
	for name, text := range map[string]string{
		"no JSON":                 `subscription`,
		"an array":                `[]`,
		"nothing in it":           `{}`,
		"no keys":                 `{"endpoint":"` + endpoint + `"}`,
		"no endpoint":             subscription("", rfcP256DH, rfcAuth),
		"a path":                  subscription("/push/1", rfcP256DH, rfcAuth),
		"no host":                 subscription("https:///push/1", rfcP256DH, rfcAuth),
		"a port alone":            subscription("https://:443/push/1", rfcP256DH, rfcAuth),
		"a file":                  subscription("file:///etc/passwd", rfcP256DH, rfcAuth),
		"another scheme":          subscription("gopher://push.example.net/1", rfcP256DH, rfcAuth),
		"credentials":             subscription("https://user:pass@push.example.net/1", rfcP256DH, rfcAuth),
		"a fragment":              subscription(endpoint+"#x", rfcP256DH, rfcAuth),
		"an empty fragment":       subscription(endpoint+"#", rfcP256DH, rfcAuth),
		"a blank":                 subscription("https://push.example.net/a b", rfcP256DH, rfcAuth),
		"a line end":              subscription(`https://push.example.net/a\r\nHost: x`, rfcP256DH, rfcAuth),
		"not ASCII":               subscription("https://push.example.net/ü", rfcP256DH, rfcAuth),
		"an endpoint too long":    subscription("https://push.example.net/"+strings.Repeat("x", 2048), rfcP256DH, rfcAuth),
		"a number":                `{"endpoint":1,"keys":{"p256dh":"` + rfcP256DH + `","auth":"` + rfcAuth + `"}}`,
		"a point off the curve":   subscription(endpoint, offCurve, rfcAuth),
		"a compressed point":      subscription(endpoint, "AiVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcx", rfcAuth),
		"the point at infinity":   subscription(endpoint, "AA", rfcAuth),
		"a key that is no base64": subscription(endpoint, "*"+rfcP256DH[1:], rfcAuth),
		"a short secret":          subscription(endpoint, rfcP256DH, rfcAuth[:20]),
		"a long secret":           subscription(endpoint, rfcP256DH, rfcAuth+"AAAA"),
		"no secret":               subscription(endpoint, rfcP256DH, ""),
	} {
		if s, err := push.ParseSubscription(text); !errors.Is(err, push.ErrAddress) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func TestSubscription_IsOfWebPushAlone(t *testing.T) {
	a, err := push.ParseAddress("FCM", subscription(endpoint, rfcP256DH, rfcAuth))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Subscription(); !errors.Is(err, push.ErrAddress) {
		t.Errorf("an FCM token that looks like a subscription: %v", err)
	}
}

func TestKeptAddress_IsTheAddressAgain(t *testing.T) {
	for _, want := range []push.Address{{}, {Service: push.APNs, Token: "abc"}} {
		if got := want.Keep().Open(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if kept := (push.Address{}).Keep(); kept.Service != "" || kept.Token != nil {
		t.Errorf("no address is kept as %+v", kept)
	}
}

// FuzzParseSubscription: what is taken is taken again as it is written, and is the same.
func FuzzParseSubscription(f *testing.F) {
	f.Add(subscription(endpoint, rfcP256DH, rfcAuth))
	f.Add(subscription("http://127.0.0.1:9/x?q=\\\"", rfcP256DH, rfcAuth))
	f.Fuzz(func(t *testing.T, text string) {
		s, err := push.ParseSubscription(text)
		if err != nil {
			return
		}
		again, err := push.ParseSubscription(s.String())
		if err != nil || again != s {
			t.Errorf("%q: %+v, %v, want %+v", text, again, err, s)
		}
	})
}

func TestThrough_TellsServicesApartAndNamesNoHost(t *testing.T) {
	web := func(endpoint string) push.Address {
		a, err := push.ParseAddress("WEBPUSH", subscription(endpoint, rfcP256DH, rfcAuth))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	through := func(service push.Service) string { return push.Address{Service: service, Token: "x"}.Through() }
	if through(push.GCM) != through(push.FCM) {
		t.Error("GCM is another name of FCM")
	}
	one := web("https://ada.example.org/1").Through()
	two := web("https://ben.example.org/1").Through()
	if one != web("https://ada.example.org/2").Through() {
		t.Error("two addresses of a host go different ways")
	}
	for _, same := range []string{"https://ADA.example.org/1", "https://ada.example.org:443/1", "https://ada.example.org:/1"} {
		if web(same).Through() != one {
			t.Errorf("%s goes another way than the same host", same)
		}
	}
	for _, other := range []string{"https://ada.example.org:8443/1", "http://ada.example.org/1"} {
		if web(other).Through() == one {
			t.Errorf("%s goes the way of another origin", other)
		}
	}
	if len(one) < len("WEBPUSH/")+32 {
		t.Errorf("%s is so short that a stranger finds a host with the same", one)
	}
	ways := []string{through(push.FCM), through(push.APNs), one, two}
	slices.Sort(ways)
	if len(slices.Compact(ways)) != 4 || strings.Contains(strings.Join(ways, " "), "example") {
		t.Errorf("the ways are %q", ways)
	}
}

package push_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"tutela/device/push"
	"tutela/device/push/apns"
	"tutela/device/push/fcm"
	"tutela/device/push/pushtest"
	"tutela/device/push/webpush"
	"tutela/storage"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// leaky is a carrier that fails as a test says.
type leaky struct{ err error }

func (f leaky) Deliver(context.Context, push.Address, push.Message) error { return f.err }

// The parts of addresses that no error may have.
const (
	fcmToken  = "dGVzdA:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"
	apnsToken = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"
)

// subscribed is a subscription at an origin.
func subscribed(t *testing.T, origin string) push.Address {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	check.Must(t, err)
	s := push.Subscription{Endpoint: origin + "/wpush/v2/gAAAAABk?secret=hemmelig&x=1"}
	copy(s.P256DH[:], key.PublicKey().Bytes())
	_, _ = rand.Read(s.Auth[:])
	a, err := push.ParseAddress(string(push.WebPush), s.String())
	check.Must(t, err)
	return a
}

// expectHushed fails the test when a text has a part of an address.
func expectHushed(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("nothing failed")
	}
	for _, part := range []string{fcmToken[7:], apnsToken[:16], "FC13ADFF785122B4", "wpush", "gAAAAABk", "hemmelig", "geheim"} {
		if strings.Contains(err.Error(), part) {
			t.Errorf("the error has %s: %v", part, err)
		}
	}
}

// TestGateway_NamesNoPhoneWhateverACarrierReturns gives each carrier's place to one that says all it knows.
func TestGateway_NamesNoPhoneWhateverACarrierReturns(t *testing.T) {
	web := subscribed(t, "https://push.example.net")
	s, err := web.Subscription()
	check.Must(t, err)
	inside := errors.New("connection reset")
	for _, to := range []push.Address{
		{Service: push.FCM, Token: fcmToken},
		{Service: push.APNs, Token: apnsToken},
		web,
	} {
		endpoint := "https://push.example.net/3/device/" + to.Token
		if to.Service == push.WebPush {
			endpoint = s.Endpoint
		}
		quoted := to.Token + endpoint
		for name, err := range map[string]error{
			"a URL":              &url.Error{Op: "Post", URL: endpoint, Err: inside},
			"a URL with a user":  &url.Error{Op: "Post", URL: strings.Replace(endpoint, "//", "//me:geheim@", 1), Err: inside},
			"a wrapped URL":      errors.Join(errors.New("send"), &url.Error{Op: "Post", URL: endpoint, Err: inside}),
			"the token":          errors.Join(errors.New("no such phone "+to.Token), inside),
			"a part of it":       errors.Join(errors.New("no such phone "+to.Token[:len(to.Token)-3]), inside),
			"in capital letters": errors.Join(errors.New(strings.ToUpper(quoted)), inside),
			"escaped":            errors.Join(errors.New(url.PathEscape(quoted)+" "+url.QueryEscape(quoted)), inside),
			"the path":           errors.Join(errors.New(endpoint[len("https://push.example.net"):]), inside),
			"very long":          errors.Join(inside, errors.New(strings.Repeat("x ", 2000)+quoted)),
		} {
			t.Run(string(to.Service)+" "+name, func(t *testing.T) {
				got := push.NewGateway(leaky{err}).Deliver(t.Context(), to, push.Message{})
				expectHushed(t, got)
				if !errors.Is(got, inside) {
					t.Errorf("what it wraps is lost: %v", got)
				}
				if len(got.Error()) > 2048 || name == "a URL" && got.Error() != `Post "https://push.example.net": connection reset` {
					t.Errorf("the error says %v", got)
				}
			})
		}
		for reason, want := range map[string]string{to.Token[:min(64, len(to.Token))]: "", "BadDeviceToken": "BadDeviceToken"} {
			said := &push.Refusal{
				Verdict: push.Busy,
				Status:  429,
				Reason:  reason,
				After:   time.Minute,
			}
			got := push.NewGateway(leaky{said}).Deliver(t.Context(), to, push.Message{})
			expectHushed(t, got)
			var r *push.Refusal
			if !errors.As(got, &r) || r.Reason != want || r.Status != 429 || storage.RetryAfter(got) != time.Minute {
				t.Errorf("%s refused: %v", to.Service, got)
			}
		}
	}
}

// place is where a push service should be, and is not.
type place struct {
	origin string
	says   string // part of the error
}

// places are ways not to reach a service.
func places(t *testing.T) map[string]place {
	t.Helper()
	closed, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check.Must(t, err)
	check.Must(t, closed.Close())
	strange := httptest.NewUnstartedServer(http.NotFoundHandler())
	strange.Config.ErrorLog = log.New(io.Discard, "", 0) // it says that its certificate is refused
	strange.EnableHTTP2 = true
	strange.StartTLS()
	t.Cleanup(strange.Close)
	return map[string]place{
		"a name that nobody has":          {"https://push.invalid", ""},
		"a port that is closed":           {"https://" + closed.Addr().String(), "refuse"},
		"a certificate of nobody's":       {strange.URL, "certificate"},
		"one that answers after too long": {silent(t), ""},
	}
}

// silent is a server that takes connections and says nothing.
func silent(t *testing.T) (origin string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check.Must(t, err)
	var open []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open = append(open, conn)
		}
	}()
	t.Cleanup(func() {
		check.Must(t, l.Close())
		<-done
		for _, conn := range open {
			_ = conn.Close()
		}
	})
	return "https://" + l.Addr().String()
}

// TestGateway_NamesNoPhoneWhenItCannotReachAService has the real carriers fail to connect.
func TestGateway_NamesNoPhoneWhenItCannotReachAService(t *testing.T) {
	google := pushtest.StartFCM(t)
	apple := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	keys, err := webpush.OpenKeys(t.Context(), ground.Open(t, ground.Options{}).Store)
	check.Must(t, err)
	for name, at := range places(t) {
		android, err := fcm.New(fcm.Credentials{JSON: google.Credentials(), Endpoint: at.origin})
		check.Must(t, err)
		iphone, err := apns.New(apns.Credentials{
			Key:      apple.Key(),
			KeyID:    pushtest.APNsKeyID,
			TeamID:   pushtest.APNsTeamID,
			Topic:    pushtest.APNsTopic,
			Endpoint: at.origin,
		})
		check.Must(t, err)
		web := webpush.New(keys, webpush.Options{
			Contact: "mailto:ops@example.com",
			Allow:   []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		})
		for to, carrier := range map[push.Address]push.Carrier{
			{Service: push.FCM, Token: fcmToken}:   android,
			{Service: push.APNs, Token: apnsToken}: iphone,
			subscribed(t, at.origin):               web,
		} {
			t.Run(string(to.Service)+" "+name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second) // only one that says nothing needs it
				defer cancel()
				if at.says != "" {
					ctx = t.Context()
				}
				err := push.NewGateway(carrier).Deliver(ctx, to, push.Message{Enrollment: "dev_0123456789abcdef", Challenge: "c", Life: time.Minute})
				expectHushed(t, err)
				var r *push.Refusal
				if errors.As(err, &r) || !strings.Contains(err.Error(), at.says) {
					t.Errorf("the error says %v", err)
				}
			})
		}
		android.Close()
		iphone.Close()
		web.Close()
	}
}

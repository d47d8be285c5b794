package provider_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"tutela/device/push"
	"tutela/device/push/provider"
	"tutela/device/push/pushtest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house is an installation with two servers, each with a gateway and a service of its own over one store.
type house struct {
	*ground.Ground
	t          *testing.T
	google     *pushtest.FCM
	apple      *pushtest.APNs
	a, b       *provider.Service
	atA, atB   *push.Gateway
	everywhere []*push.Gateway
}

func onEveryEngine(t *testing.T, test func(h *house)) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) {
		h := &house{
			Ground: ground.Open(t, o),
			t:      t,
			google: pushtest.StartFCM(t),
			apple:  pushtest.StartAPNs(t, pushtest.APNsOptions{}),
		}
		h.a, h.atA = h.server()
		h.b, h.atB = h.server()
		h.everywhere = []*push.Gateway{h.atA, h.atB}
		test(h)
	})
}

func (h *house) server() (*provider.Service, *push.Gateway) {
	s := provider.New(h.Store, provider.Options{
		FCMEndpoint:  h.google.Endpoint(),
		FCMTokens:    strings.TrimSuffix(h.google.Endpoint(), "/v1") + "/token",
		APNsEndpoint: h.apple.Endpoint(),
		APNsRoots:    h.apple.Roots(),
	})
	g := push.NewGateway(nil)
	g.Prefer(s)
	return s, g
}

var (
	byOperator = audit.ByOperator(0)
	android    = push.Address{Service: push.FCM, Token: "android-token"}
	iPhone     = push.Address{Service: push.APNs, Token: strings.Repeat("ab", 32)}
)

var message = push.Message{
	TransactionToken: "a.b.c",
	Enrollment:       "dev_0123456789abcdef",
	Challenge:        "challenge",
	Life:             time.Minute,
}

// sends reports whether a gateway carries a message to an address, and that Carries says so.
func (h *house) sends(g *push.Gateway, to push.Address) bool {
	h.t.Helper()
	err := g.Deliver(h.t.Context(), to, message)
	if err != nil && !errors.Is(err, push.ErrNotCarried) {
		h.t.Fatalf("%s: %v", to.Service, err)
	}
	h.View(func(tx *storage.Tx) error {
		carries, failed := g.Carries(tx, to)
		if failed != nil || carries != (err == nil) {
			h.t.Errorf("%s: Carries says %v, %v, and Deliver %v", to.Service, carries, failed, err)
		}
		return nil
	})
	return err == nil
}

func (h *house) expectSent(to push.Address, want bool) {
	h.t.Helper()
	for i, g := range h.everywhere {
		if got := h.sends(g, to); got != want {
			h.t.Errorf("%s by server %d: %v, want %v", to.Service, i, got, want)
		}
	}
}

func (h *house) states() (list []audit.Word) {
	h.t.Helper()
	entries, _, err := audit.List(h.t.Context(), h.Store, audit.Query{Types: []audit.Type{audit.TenantUpdate}}, false)
	check.Must(h.t, err)
	for _, e := range entries {
		if e.Facts[audit.FactChange] == audit.ChangePush {
			list = append(list, e.Facts[audit.FactService]+" "+e.Facts[audit.FactStatus])
		}
	}
	return list
}

func TestFCM_ThatIsSetAtOneServerCarriesAtEveryServerAtOnce(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		file := string(h.google.Credentials())
		check.Must(h.t, h.a.SetFCM(h.t.Context(), byOperator, &file))
		h.expectSent(android, false) // those of the command line count, and there are none
		h.Set("push.provider", provider.Direct)
		h.expectSent(android, true)
		h.expectSent(iPhone, false)
		if h.google.TokenRequests() != 2 {
			h.t.Errorf("%d access tokens were asked for by two servers", h.google.TokenRequests())
		}
		check.Must(h.t, h.b.SetFCM(h.t.Context(), byOperator, nil)) // keeps what was set
		h.expectSent(android, true)
		nonsense := "tutela"
		check.Must(h.t, h.b.SetFCM(h.t.Context(), byOperator, &nonsense))
		h.expectSent(android, false)
		h.Set("push.provider", provider.Guardian)
		if err := h.a.Trouble(h.t.Context()); err != nil {
			h.t.Errorf("what does not count is in trouble: %v", err)
		}
	})
}

// Of a key file no more is read than who signs: its URLs would have the server send what it signs to strangers.
func TestFCM_ReadsOfAKeyFileWhoSignsAndNoURL(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		var file map[string]any
		check.Must(h.t, json.Unmarshal(h.google.Credentials(), &file))
		file["token_uri"] = "https://thief.example.com/token"
		file["auth_uri"] = "https://thief.example.com/auth"
		file["universe_domain"] = "thief.example.com"
		encoded, err := json.Marshal(file)
		check.Must(h.t, err)
		text := string(encoded)
		check.Must(h.t, h.a.SetFCM(h.t.Context(), byOperator, &text))
		h.Set("push.provider", provider.Direct)
		h.expectSent(android, true)
		if h.Holds("thief.example.com") || h.Holds("PRIVATE KEY") || h.Holds("hafenlicht-standin") {
			h.t.Error("the file lies in the store, or is not sealed")
		}
	})
}

func TestFCM_TakesWhateverIsNoKeyFileAndSaysThatItIsNotSetUp(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.Set("push.provider", provider.Direct)
		for _, nonsense := range []string{
			"", "tutela", "{}", "[]", "null", `{"type":"external_account","credential_source":{"file":"/etc/passwd"}}`,
			`{"type":"authorized_user"}`, `{"type":"service_account","project_id":"x","client_email":"y","private_key":"z"}`,
		} {
			check.Must(h.t, h.a.SetFCM(h.t.Context(), byOperator, &nonsense))
			h.expectSent(android, false)
			if err := h.b.Trouble(h.t.Context()); err == nil || !strings.Contains(err.Error(), "FCM is not set up: ") {
				h.t.Errorf("%q: readiness says %v", nonsense, err)
			}
			if got := h.states(); got[0] != "FCM unusable" {
				h.t.Errorf("%q: the event says %v", nonsense, got[0])
			}
		}
		if h.google.Requests() > 0 {
			h.t.Errorf("somebody was asked: %v", h.google.Wrong())
		}
		how, err := h.a.Describe(h.t.Context())
		check.Must(h.t, err)
		if !strings.Contains(how[push.FCM], "not set up") || !strings.Contains(how[push.APNs], "not carried") {
			h.t.Errorf("described as %v", how)
		}
	})
}

func TestAPNs_TakesCertificatesInOldAndNewEncryption(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.Set("push.provider", provider.Direct)
		for name, how := range map[string]*pkcs12.Encoder{"RC2": pkcs12.LegacyRC2, "3DES": pkcs12.LegacyDES, "PBES2": pkcs12.Modern} {
			p12 := h.apple.Certificate(how, "", pushtest.APNsTopic)
			of, err := h.a.SetAPNs(h.t.Context(), byOperator, provider.APNsChange{P12: p12})
			if err != nil || !of.Enabled {
				h.t.Fatalf("%s: %+v, %v", name, of, err)
			}
			h.expectSent(iPhone, true)
			if h.Holds(string(p12[20:60])) {
				h.t.Errorf("%s: it lies in the store unsealed", name)
			}
		}
	})
}

func TestAPNs_KeepsOrSetsBackWhatIsLeftOut(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		h.Set("push.provider", provider.Direct)
		bundle := pushtest.APNsTopic
		sandbox := true
		p12 := h.apple.Certificate(pkcs12.Modern, "", "")
		expect := func(what string, change provider.APNsChange, want provider.APNs) {
			h.t.Helper()
			_, err := h.a.SetAPNs(ctx, byOperator, change)
			check.Must(h.t, err)
			if got, err := h.b.APNs(ctx); err != nil || got != want {
				h.t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
			}
		}
		if got, err := h.a.APNs(ctx); err != nil || got != (provider.APNs{}) {
			h.t.Errorf("in the beginning: %+v, %v", got, err)
		}
		expect("a certificate that names no app", provider.APNsChange{P12: p12}, provider.APNs{})
		if err := h.b.Trouble(ctx); err == nil || !strings.Contains(err.Error(), "bundle id") {
			h.t.Errorf("readiness says %v", err)
		}
		expect("the app", provider.APNsChange{Bundle: &bundle}, provider.APNs{Bundle: bundle, Enabled: true})
		h.expectSent(iPhone, true)
		expect("the sandbox", provider.APNsChange{Sandbox: &sandbox}, provider.APNs{Bundle: bundle, Sandbox: true, Enabled: true})
		expect("nothing, by PATCH", provider.APNsChange{}, provider.APNs{Bundle: bundle, Sandbox: true, Enabled: true})
		expect("the app alone, by PUT", provider.APNsChange{Bundle: &bundle, Replace: true}, provider.APNs{Bundle: bundle, Enabled: true})
		expect("nothing, by PUT", provider.APNsChange{Replace: true}, provider.APNs{})
		_, err := h.a.SetAPNs(ctx, byOperator, provider.APNsChange{P12: []byte("tutela")})
		if !errors.Is(err, provider.ErrCertificate) {
			h.t.Errorf("no certificate: %v", err)
		}
		_, err = h.a.SetAPNs(ctx, byOperator, provider.APNsChange{P12: h.apple.Certificate(pkcs12.Modern, "secret", "")})
		if !errors.Is(err, provider.ErrCertificate) {
			h.t.Errorf("one with a password: %v", err)
		}
		_, err = h.a.SetAPNs(ctx, byOperator, provider.APNsChange{P12: h.apple.Certificate(pkcs12.Modern.WithIterations(500_001), "", "")})
		if !errors.Is(err, provider.ErrCertificate) || !strings.Contains(err.Error(), "too many iterations") {
			h.t.Errorf("one that takes long to open: %v", err)
		}
	})
}

func TestAPNs_TellsOfACertificateThatHasExpired(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.Set("push.provider", provider.Direct)
		change := provider.APNsChange{P12: h.apple.Certificate(pkcs12.Modern, "", pushtest.APNsTopic)}
		h.Clock.Advance(time.Until(h.Clock.Wall()).Abs() + 48*time.Hour)
		of, err := h.a.SetAPNs(h.t.Context(), byOperator, change)
		if err != nil || !of.Enabled {
			h.t.Fatalf("%+v, %v", of, err)
		}
		if got := h.states(); got[0] != "APNS expired" {
			h.t.Errorf("the event says %v", got)
		}
		if err := h.b.Trouble(h.t.Context()); err == nil || !strings.Contains(err.Error(), "the certificate has expired on ") {
			h.t.Errorf("readiness says %v", err)
		}
	})
}

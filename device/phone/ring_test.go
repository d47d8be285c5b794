package phone

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The example of RFC 8291, Appendix A.
const (
	rfcPrivate = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
	rfcAuth    = "BTBZMqHH6r4Tts7J_aSIgg"
	rfcBody    = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_y" +
		"l95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
	rfcText = "When I grow up, I want to be a watermelon"
)

func decode64(t *testing.T, text string) []byte {
	t.Helper()
	b, err := b64.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOpenPush_OpensTheExampleOfTheRFCAndNothingElse(t *testing.T) {
	private, err := ecdh.P256().NewPrivateKey(decode64(t, rfcPrivate))
	if err != nil {
		t.Fatal(err)
	}
	auth := decode64(t, rfcAuth)
	body := decode64(t, rfcBody)
	if text, err := openPush(body, private, auth); err != nil || string(text) != rfcText {
		t.Errorf("%q, %v", text, err)
	}
	for n := range body {
		if _, err := openPush(body[:n], private, auth); err == nil {
			t.Errorf("%d bytes open", n)
		}
		changed := append([]byte{}, body...)
		changed[n] ^= 1
		if _, err := openPush(changed, private, auth); err == nil && (n < 16 || n > 19) {
			t.Errorf("another byte %d opens", n)
		}
	}
}

// FuzzOpenPush: whatever comes, nothing panics.
func FuzzOpenPush(f *testing.F) {
	body, err := b64.DecodeString(rfcBody)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := openPush(body, private, make([]byte, 16)); err == nil {
			t.Error("a message to somebody else opens")
		}
	})
}

// ringFor makes a ring for the subscription of the RFC, without a server, and the sender that it trusts.
func ringFor(t *testing.T) (*Ring, *ecdsa.PrivateKey) {
	t.Helper()
	sender, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := sender.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	r := &Ring{
		path:     "/push/x",
		origin:   "http://127.0.0.1:9",
		auth:     decode64(t, rfcAuth),
		senderID: b64.EncodeToString(point),
		messages: make(chan Message, 1),
		seen:     map[string]bool{},
	}
	if r.sender, err = jwkOfPoint(r.senderID); err != nil {
		t.Fatal(err)
	}
	if r.private, err = ecdh.P256().NewPrivateKey(decode64(t, rfcPrivate)); err != nil {
		t.Fatal(err)
	}
	return r, sender
}

// vapid signs who sends.
func vapid(t *testing.T, by *ecdsa.PrivateKey, id string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed := b64.EncodeToString([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + b64.EncodeToString(payload)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, by, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return "vapid t=" + signed + "." + b64.EncodeToString(signature[:]) + ", k=" + id
}

func TestRing_TakesWhatItsServerHasSignedForItAndNothingElse(t *testing.T) {
	r, sender := ringFor(t)
	_, stranger := ringFor(t)
	soon := time.Now().Add(time.Hour).Unix()
	good := vapid(t, sender, r.senderID, map[string]any{"aud": r.origin, "exp": soon})
	for name, c := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"another path":  {func(q *http.Request) { q.URL.Path = "/push/y" }, 404},
		"a GET":         {func(q *http.Request) { q.Method = http.MethodGet }, 405},
		"not encrypted": {func(q *http.Request) { q.Header.Del("Content-Encoding") }, 415},
		"not signed":    {func(q *http.Request) { q.Header.Del("Authorization") }, 403},
		"by a stranger": {func(q *http.Request) {
			q.Header.Set("Authorization", vapid(t, stranger, r.senderID, map[string]any{"aud": r.origin, "exp": soon}))
		}, 403},
		"for another": {func(q *http.Request) {
			q.Header.Set("Authorization", vapid(t, sender, r.senderID, map[string]any{"aud": "http://x", "exp": soon}))
		}, 403},
		"over": {func(q *http.Request) {
			q.Header.Set("Authorization", vapid(t, sender, r.senderID, map[string]any{"aud": r.origin, "exp": soon - 7200}))
		}, 403},
		"for ever": {func(q *http.Request) {
			q.Header.Set("Authorization", vapid(t, sender, r.senderID, map[string]any{"aud": r.origin, "exp": soon + 1e6}))
		}, 403},
		"no message inside": {func(*http.Request) {}, 400}, // the text of the RFC
	} {
		q := httptest.NewRequest(http.MethodPost, r.path, strings.NewReader(string(decode64(t, rfcBody))))
		q.Header.Set("Content-Encoding", "aes128gcm")
		q.Header.Set("TTL", "1")
		q.Header.Set("Authorization", good)
		c.change(q)
		w := httptest.NewRecorder()
		r.ServeHTTP(w, q)
		if w.Code != c.status {
			t.Errorf("%s: %d, want %d: %s", name, w.Code, c.status, w.Body)
		}
	}
}

func TestRing_ReturnsAMessageThatComesTwiceOnceAndBoundsWhatIsUnread(t *testing.T) {
	r, _ := ringFor(t)
	approval := func(challenge string) Message {
		return Message{Approval: &Approval{EnrollmentID: "dev_x", Challenge: challenge}}
	}
	for range 2 {
		if !r.keep(approval("a")) {
			t.Error("a message is refused")
		}
	}
	if r.keep(approval("b")) {
		t.Error("more are kept than are read")
	}
	if m, err := r.Next(t.Context()); err != nil || m.Approval.Challenge != "a" {
		t.Errorf("%+v, %v", m, err)
	}
	if !r.keep(approval("b")) {
		t.Error("one that was refused is refused for ever")
	}
}

func TestReinstall_KeepsThePhonesPushServiceAndANewPhoneHasNone(t *testing.T) {
	p, err := New(Options{BaseURL: "http://localhost", Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	end, err := p.begin()
	if err != nil {
		t.Fatal(err)
	}
	err = p.change(func(s *state) {
		s.device.Distributor = &distributor{Address: "127.0.0.1:1"}
		s.device.Push = &PushCredentials{Service: "WEBPUSH", Token: "{}"}
	})
	end()
	if err != nil {
		t.Fatal(err)
	}
	for _, new := range []bool{false, true} {
		if err := p.Reinstall(Reinstallation{NewPhone: new}); err != nil {
			t.Fatal(err)
		}
		if d := p.snapshot().device; (d.Distributor == nil) != new || (d.Push == nil) != new {
			t.Errorf("new phone %t: %+v", new, d)
		}
	}
}

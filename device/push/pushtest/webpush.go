package pushtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"tutela/device/push"
)

// WebPush is a Web Push service, and the browsers that subscribe to it. Each message must be as RFC 8030, RFC 8291 and RFC 8292
// want it: what is not is answered as the services answer it, and fails the test. A message that is right is answered by the
// next of the answers that the test gives, else by 201. Safe for concurrent use.
type WebPush struct {
	*httptest.Server

	key     string // the public key of the sender, by which browsers subscribe
	ended   chan struct{}
	mu      sync.Mutex
	browser map[string]*Browser // by path
	answers []http.HandlerFunc
	arrived []Arrived
	faults  []error
	news    chan struct{} // closed and made anew with each arrival
}

// Browser is a subscriber.
type Browser struct {
	Endpoint string
	path     string
	private  *ecdh.PrivateKey
	auth     []byte
}

// Arrived is a message that was as it must be, whatever was answered.
type Arrived struct {
	Path     string // of the endpoint
	Text     []byte // decrypted
	Body     int    // bytes of the request's body
	TTL      int    // seconds
	Topic    string
	Urgency  string
	Token    string // the VAPID token
	Contact  string
	Proto    string // of HTTP
	Lifetime time.Duration
}

// NewWebPush starts a service for messages of the sender with a public key, over http.
func NewWebPush(t testing.TB, key string) *WebPush {
	t.Helper()
	return startWebPush(t, key, nil, (*httptest.Server).Start)
}

// NewWebPushAt starts a service that listens on an address, such as 127.0.0.2:0.
func NewWebPushAt(t testing.TB, key, address string) *WebPush {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return startWebPush(t, key, l, (*httptest.Server).Start)
}

// NewWebPushTLS starts a service over https and HTTP/2.
func NewWebPushTLS(t testing.TB, key string) *WebPush {
	t.Helper()
	return startWebPush(t, key, nil, func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.StartTLS()
	})
}

func startWebPush(t testing.TB, key string, at net.Listener, start func(*httptest.Server)) *WebPush {
	t.Helper()
	w := &WebPush{
		key:     key,
		ended:   make(chan struct{}),
		browser: map[string]*Browser{},
		news:    make(chan struct{}),
	}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	if at != nil {
		_ = w.Listener.Close()
		w.Listener = at
	}
	start(w.Server)
	t.Cleanup(func() {
		close(w.ended)
		w.Close()
		for _, fault := range w.faults {
			t.Errorf("a message to the push service: %v", fault)
		}
	})
	return w
}

// Subscribe makes a browser with a subscription of its own.
func (w *WebPush) Subscribe(t testing.TB) *Browser {
	t.Helper()
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{path: "/push/" + rand.Text(), private: private, auth: make([]byte, 16)}
	_, _ = rand.Read(b.auth)
	b.Endpoint = w.URL + b.path
	w.mu.Lock()
	defer w.mu.Unlock()
	w.browser[b.path] = b
	return b
}

// Subscription is the JSON that the browser gives the app.
func (b *Browser) Subscription() string {
	return fmt.Sprintf(`{"endpoint":%q,"expirationTime":null,"keys":{"p256dh":%q,"auth":%q}}`, b.Endpoint,
		base64.RawURLEncoding.EncodeToString(b.private.PublicKey().Bytes()), base64.RawURLEncoding.EncodeToString(b.auth))
}

// Address is the subscription as the server keeps it.
func (b *Browser) Address(t testing.TB) push.Address {
	t.Helper()
	a, err := push.ParseAddress(string(push.WebPush), b.Subscription())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Answer gives the answers to the next messages.
func (w *WebPush) Answer(next ...http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = append(w.answers, next...)
}

// Take returns the messages that arrived since the last call.
func (w *WebPush) Take() []Arrived {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.arrived
	w.arrived = nil
	return taken
}

// Await returns the next message that arrives, or that has arrived and was not taken.
func (w *WebPush) Await(t testing.TB) Arrived {
	t.Helper()
	for {
		w.mu.Lock()
		news := w.news
		if len(w.arrived) > 0 {
			first := w.arrived[0]
			w.arrived = w.arrived[1:]
			w.mu.Unlock()
			return first
		}
		w.mu.Unlock()
		select {
		case <-news:
		case <-t.Context().Done():
			t.Fatal("no message came before the test ended")
		}
	}
}

// Status answers with a status and header fields, in pairs.
func Status(code int, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(fields); i += 2 {
			w.Header().Set(fields[i], fields[i+1])
		}
		w.WriteHeader(code)
	}
}

// Says answers with a status and a body.
func Says(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// Hang answers nothing, until the caller or the test gives up.
func (w *WebPush) Hang() http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-w.ended:
		}
	}
}

// Reset breaks the connection: before the status, or in the middle of the body.
func Reset(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if code != 0 {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

// Endless answers with a status and 1 GiB, as long as somebody reads. It reports how much was taken.
func Endless(code int, taken chan<- int64) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		part := make([]byte, 64<<10)
		var sent int64
		for sent < 1<<30 {
			n, err := w.Write(part)
			sent += int64(n)
			if err != nil {
				break
			}
		}
		taken <- sent
	}
}

// serve is the service: it looks at the message, then answers.
func (w *WebPush) serve(to http.ResponseWriter, r *http.Request) {
	arrived, status, err := w.read(r)
	w.mu.Lock()
	if err != nil {
		w.faults = append(w.faults, fmt.Errorf("%d: %w", status, err))
		w.mu.Unlock()
		http.Error(to, "not as it must be", status)
		return
	}
	answer := Status(http.StatusCreated, "Location", "/message/"+rand.Text(), "TTL", strconv.Itoa(arrived.TTL))
	if len(w.answers) > 0 {
		answer = w.answers[0]
		w.answers = w.answers[1:]
	}
	w.arrived = append(w.arrived, arrived)
	close(w.news)
	w.news = make(chan struct{})
	w.mu.Unlock()
	answer(to, r)
}

// read looks at everything that a service looks at, and opens the message as the browser does.
func (w *WebPush) read(r *http.Request) (a Arrived, status int, err error) {
	w.mu.Lock()
	b := w.browser[r.URL.Path]
	w.mu.Unlock()
	if b == nil {
		return a, http.StatusNotFound, errors.New("no such subscription")
	}
	if r.Method != http.MethodPost {
		return a, http.StatusMethodNotAllowed, fmt.Errorf("by %s", r.Method)
	}
	a = Arrived{
		Path:    r.URL.Path,
		Topic:   r.Header.Get("Topic"),
		Urgency: r.Header.Get("Urgency"),
		Proto:   r.Proto,
	}
	if a.TTL, err = strconv.Atoi(r.Header.Get("TTL")); err != nil || a.TTL < 0 || a.TTL > 28*24*3600 {
		return a, http.StatusBadRequest, fmt.Errorf("TTL %q", r.Header.Get("TTL"))
	}
	if strings.Trim(a.Topic, base64Alphabet) != "" || len(a.Topic) > 32 {
		return a, http.StatusBadRequest, fmt.Errorf("topic %q", a.Topic)
	}
	if got := r.Header.Get("Content-Encoding"); got != "aes128gcm" {
		return a, http.StatusUnsupportedMediaType, fmt.Errorf("content encoding %q", got)
	}
	if err := a.verify(r.Header.Get("Authorization"), w.key, w.URL); err != nil {
		return a, http.StatusUnauthorized, err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 4097))
	if err != nil || len(body) > 4096 {
		return a, http.StatusRequestEntityTooLarge, fmt.Errorf("a body of %d bytes: %w", len(body), err)
	}
	a.Body = len(body)
	if a.Text, err = Decrypt(body, b.private, b.auth); err != nil {
		return a, http.StatusBadRequest, err
	}
	return a, 0, nil
}

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// verify checks who sends, as RFC 8292 §4.2 says. The audience is the service's origin.
func (a *Arrived) verify(authorization, key, origin string) error {
	rest, ok := strings.CutPrefix(authorization, "vapid t=")
	token, by, two := strings.Cut(rest, ", k=")
	if !ok || !two {
		return fmt.Errorf("authorization %q", authorization)
	}
	if by != key {
		return errors.New("another key than the one that the browsers subscribed by")
	}
	public, err := publicKey(by)
	if err != nil {
		return err
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return fmt.Errorf("the token: %w", err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(public, &claims); err != nil {
		return fmt.Errorf("the token: %w", err)
	}
	if len(claims.Audience) != 1 || claims.Audience[0] != origin || claims.Expiry == nil {
		return fmt.Errorf("a token for %q until %v, not for %s", claims.Audience, claims.Expiry, origin)
	}
	a.Lifetime = time.Until(claims.Expiry.Time())
	if a.Lifetime <= 0 || a.Lifetime > 24*time.Hour {
		return fmt.Errorf("a token for %s more", a.Lifetime)
	}
	if !strings.HasPrefix(claims.Subject, "https://") && !strings.HasPrefix(claims.Subject, "mailto:") || strings.Count(claims.Subject, "mailto:") > 1 {
		return fmt.Errorf("the contact %q", claims.Subject)
	}
	a.Token = token
	a.Contact = claims.Subject
	return nil
}

// publicKey reads an uncompressed point of P-256.
func publicKey(encoded string) (*ecdsa.PublicKey, error) {
	point, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("the key %q: %w", encoded, err)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("the key %q: %w", encoded, err)
	}
	return public, nil
}

// Decrypt opens a message as its receiver does: one record of aes128gcm, under keys that follow from both sides' keys and
// the receiver's secret.
//
// Source: RFC 8291 §3 and §4; RFC 8188 §2.
func Decrypt(body []byte, private *ecdh.PrivateKey, auth []byte) ([]byte, error) {
	// salt (16) ‖ record size (4) ‖ length of the key id ‖ key id: the sender's public key
	if len(body) < 21 || len(body) < 21+int(body[20])+17 {
		return nil, errors.New("the message is too short")
	}
	salt := body[:16]
	size := binary.BigEndian.Uint32(body[16:20])
	from := body[21 : 21+int(body[20])]
	record := body[21+int(body[20]):]
	if int64(len(record)) > int64(size) {
		return nil, errors.New("the message has more than one record")
	}
	sender, err := ecdh.P256().NewPublicKey(from)
	if err != nil {
		return nil, fmt.Errorf("the sender's key: %w", err)
	}
	shared, err := private.ECDH(sender)
	if err != nil {
		return nil, err
	}
	info := "WebPush: info\x00" + string(private.PublicKey().Bytes()) + string(from)
	ikm, err := hkdf.Key(sha256.New, shared, auth, info, 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nonce, record, nil)
	if err != nil {
		return nil, errors.New("the message does not open")
	}
	text := strings.TrimRight(string(plain), "\x00") // what pads the last record, behind its delimiter
	if !strings.HasSuffix(text, "\x02") {
		return nil, errors.New("the message has no end")
	}
	return []byte(text[:len(text)-1]), nil
}

// Member is a member of a message.
func (a Arrived) Member(t testing.TB, name string) any {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(a.Text, &all); err != nil {
		t.Fatalf("the message %q: %v", a.Text, err)
	}
	return all[name]
}

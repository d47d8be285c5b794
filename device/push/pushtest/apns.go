package pushtest

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	stdjson "encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"golang.org/x/net/http2"
	"software.sslmate.com/src/go-pkcs12"
)

// The app of the stand-in, and its key.
const (
	APNsTopic  = "com.example.hafenlicht"
	APNsKeyID  = "ABC123DEFG"
	APNsTeamID = "DEF123GHIJ"
)

// APNs is a stand-in of the Apple Push Notification service: HTTP/2 over TLS, by provider tokens or by a client's certificate.
type APNs struct {
	*desk
	server  *http.Server
	address string
	key     *ecdsa.PrivateKey // that signs provider tokens
	issuer  *issuer           // of the server's certificate and of the clients'
	plain   bool

	mu        sync.Mutex
	goAways   int             // connections that are told to go away before they are answered
	providers map[string]bool // provider tokens that were shown
	leaving   sync.WaitGroup
}

// APNsOptions changes a stand-in. The zero value is the service as it is.
type APNsOptions struct {
	Streams int  // requests at a time on a connection; 0: 1000
	Plain   bool // HTTP/2 without TLS
}

// StartAPNs starts a stand-in that ends with the test.
func StartAPNs(t testing.TB, o APNsOptions) *APNs {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	a := &APNs{
		desk:      newDesk(t),
		key:       key,
		issuer:    newIssuer(t),
		plain:     o.Plain,
		providers: map[string]bool{},
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	must(t, err)
	a.address = listener.Addr().String()
	if !a.plain {
		listener = tls.NewListener(listener, a.tlsConfig())
	}
	a.server = &http.Server{
		Handler:   http.HandlerFunc(a.serveSend),
		Protocols: new(http.Protocols),
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: cmp.Or(o.Streams, 1000)},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	a.server.Protocols.SetHTTP2(true)
	a.server.Protocols.SetUnencryptedHTTP2(true)
	ended := make(chan error, 1)
	go func() { ended <- a.server.Serve(door{listener, a}) }()
	t.Cleanup(func() {
		_ = a.server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		a.leaving.Wait()
	})
	return a
}

func (a *APNs) tlsConfig() *tls.Config {
	a.t.Helper()
	clients := x509.NewCertPool()
	clients.AddCert(a.issuer.cert)
	return &tls.Config{
		Certificates: []tls.Certificate{a.issuer.issue(a.t, pkix.Name{CommonName: "APNs stand-in"}, time.Hour)},
		ClientAuth:   tls.VerifyClientCertIfGiven,
		ClientCAs:    clients,
		NextProtos:   []string{"h2"},
		MinVersion:   tls.VersionTLS12,
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// door is the listener of a stand-in: it counts, and deals with the connections that are to go away.
type door struct {
	net.Listener
	of *APNs
}

// Accept returns the next connection that is served.
func (d door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		d.of.note(func() { d.of.conns++ })
		if !d.of.mayLeave() {
			return conn, nil
		}
		d.of.leaving.Go(func() {
			_ = goAway(conn) // the caller has hung up
			_ = conn.Close()
		})
	}
}

// mayLeave reports whether the next connection is to go away.
func (a *APNs) mayLeave() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.goAways == 0 {
		return false
	}
	a.goAways--
	return true
}

// goAway is a connection of a server that is about to stop: it takes no request, and says so.
func goAway(conn net.Conn) error {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		if _, asks := frame.(*http2.HeadersFrame); asks {
			return framer.WriteGoAway(0, http2.ErrCodeNo, []byte(`{"reason":"Shutdown"}`))
		}
	}
}

// GoAway has the next n connections end without an answer to their first request, as those to a server that stops.
func (a *APNs) GoAway(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.goAways = n
}

// Endpoint is what stands in the place of https://api.push.apple.com.
func (a *APNs) Endpoint() string {
	if a.plain {
		return "http://" + a.address
	}
	return "https://" + a.address
}

// Roots holds the issuer of the stand-in's certificate.
func (a *APNs) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.issuer.cert)
	return pool
}

// RootsFile writes the issuer of the stand-in's certificate into a folder, for SSL_CERT_FILE, and returns the name of the file.
func (a *APNs) RootsFile(folder string) string {
	a.t.Helper()
	return a.write(folder, "roots.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.issuer.cert.Raw}))
}

// Key returns the .p8 file of the key that the stand-in knows.
func (a *APNs) Key() []byte {
	a.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	must(a.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// KeyFile writes the key into a folder, and returns the name of the file.
func (a *APNs) KeyFile(folder string) string {
	a.t.Helper()
	return a.write(folder, "AuthKey_"+APNsKeyID+".p8", a.Key())
}

func (a *APNs) write(folder, name string, content []byte) string {
	a.t.Helper()
	name = filepath.Join(folder, name)
	must(a.t, os.WriteFile(name, content, 0o600))
	return name
}

// Certificate returns a PKCS#12 file, encrypted in one of the ways that are in use, with a certificate that the stand-in knows.
// It names the topic as Apple's do, unless topic is "".
func (a *APNs) Certificate(how *pkcs12.Encoder, password, topic string) []byte {
	a.t.Helper()
	name := pkix.Name{CommonName: "Apple Push Services: " + APNsTopic}
	if topic != "" {
		name.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: topic}}
	}
	made := a.issuer.issue(a.t, name, 24*time.Hour)
	file, err := how.Encode(made.PrivateKey, made.Leaf, []*x509.Certificate{a.issuer.cert}, password)
	must(a.t, err)
	return file
}

// ProviderTokens returns how many provider tokens were shown.
func (a *APNs) ProviderTokens() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.providers)
}

// APNsRefusal is the answer of APNs with one of its reasons, such as BadDeviceToken.
func APNsRefusal(status int, reason string) Play {
	body, err := stdjson.Marshal(map[string]any{"reason": reason})
	return jsonPlay(status, body, err)
}

// APNsGone is the answer of APNs about a token that is not valid any more since a time.
func APNsGone(reason string, since time.Time) Play {
	body, err := stdjson.Marshal(map[string]any{"reason": reason, "timestamp": since.UnixMilli()})
	return jsonPlay(http.StatusGone, body, err)
}

func jsonPlay(status int, body []byte, err error) Play {
	if err != nil {
		body = []byte(err.Error()) // strings and numbers can always be encoded
	}
	return Play{Status: status, Header: map[string]string{"Content-Type": "application/json"}, Body: string(body)}
}

// serveSend answers a request.
func (a *APNs) serveSend(w http.ResponseWriter, r *http.Request) {
	a.noteRequest()
	w.Header().Set("apns-id", rand.Text())
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	refused := a.identify(r)
	if refused == nil {
		refused = checkAPNs(r, raw)
	}
	if refused != nil {
		a.noteWrong(refused.Error())
		APNsRefusal(refused.status, refused.reason).play(w, r, "")
		return
	}
	token := strings.TrimPrefix(r.URL.Path, "/3/device/")
	play := a.next(token)
	if play.takes() {
		data := map[string]any{}
		_ = stdjson.Unmarshal(raw, &data) // checkAPNs has read it
		a.noteTaken(Taken{
			Token:  token,
			Header: r.Header.Clone(),
			Data:   data,
			Raw:    raw,
		})
	}
	a.noteAsked(token)
	play.play(w, r, "")
}

// apnsWrong is what APNs finds wrong with a request.
type apnsWrong struct {
	status int
	reason string
	words  string
}

func (w *apnsWrong) Error() string { return w.reason + ": " + w.words }

// identify checks who asks.
//
// Source: Apple, "Establishing a token-based connection to APNs": ES256, kid, iss, iat, at most an hour old.
func (a *APNs) identify(r *http.Request) *apnsWrong {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		if r.Header.Get("Authorization") != "" {
			return &apnsWrong{http.StatusForbidden, "InvalidProviderToken", "a token beside a certificate"}
		}
		return nil
	}
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "bearer ")
	if !ok {
		return &apnsWrong{http.StatusForbidden, "MissingProviderToken", "no bearer"}
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	var payload []byte
	if err == nil {
		payload, err = signed.Verify(&a.key.PublicKey)
	}
	var claims struct {
		Issuer string `json:"iss"`
		Issued int64  `json:"iat"`
	}
	if err == nil {
		err = stdjson.Unmarshal(payload, &claims)
	}
	if err == nil && (claims.Issuer != APNsTeamID || signed.Signatures[0].Header.KeyID != APNsKeyID) {
		err = errors.New("another key or team")
	}
	if err != nil {
		return &apnsWrong{http.StatusForbidden, "InvalidProviderToken", err.Error()}
	}
	if age := time.Since(time.Unix(claims.Issued, 0)); age > time.Hour || age < -time.Minute {
		return &apnsWrong{http.StatusForbidden, "ExpiredProviderToken", age.String()}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.providers[text] = true
	return nil
}

// apnsPayload is a payload, as far as the system reads it. What else an app may read stands beside it.
type apnsPayload struct {
	APS struct {
		Category string `json:"category"`
		Alert    struct {
			Title string `json:"title"`
			Body  string `json:"body"`
		} `json:"alert"`
		Sound          string `json:"sound"`
		MutableContent int    `json:"mutable-content"`
	} `json:"aps"`
	MFA map[string]any `json:"mfa"`
}

var apnsPath = regexp.MustCompile(`^/3/device/[0-9a-f]{64}$`)

// checkAPNs checks a request but for who asks.
//
// Source: Apple, "Sending notification requests to APNs".
func checkAPNs(r *http.Request, raw []byte) *apnsWrong {
	bad := func(reason, words string) *apnsWrong { return &apnsWrong{http.StatusBadRequest, reason, words} }
	expiration, err := strconv.ParseInt(r.Header.Get("apns-expiration"), 10, 64)
	var p apnsPayload
	switch {
	case r.Method != http.MethodPost:
		return &apnsWrong{http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method}
	case !strings.HasPrefix(r.URL.Path, "/3/device/"):
		return &apnsWrong{http.StatusNotFound, "BadPath", r.URL.Path}
	case !apnsPath.MatchString(r.URL.Path):
		return bad("BadDeviceToken", r.URL.Path)
	case r.Header.Get("apns-topic") == "":
		return bad("MissingTopic", "")
	case r.Header.Get("apns-topic") != APNsTopic:
		return bad("DeviceTokenNotForTopic", r.Header.Get("apns-topic"))
	case r.Header.Get("apns-push-type") != "alert":
		return bad("InvalidPushType", r.Header.Get("apns-push-type"))
	case r.Header.Get("apns-priority") != "10":
		return bad("BadPriority", r.Header.Get("apns-priority"))
	case err != nil || expiration < 0:
		return bad("BadExpirationDate", r.Header.Get("apns-expiration"))
	case len(r.Header.Get("apns-collapse-id")) > 64:
		return bad("BadCollapseId", r.Header.Get("apns-collapse-id"))
	case len(raw) == 0:
		return bad("PayloadEmpty", "")
	case len(raw) > 4096:
		return &apnsWrong{http.StatusRequestEntityTooLarge, "PayloadTooLarge", strconv.Itoa(len(raw))}
	}
	if err := json.Unmarshal(raw, &p, json.RejectUnknownMembers(true)); err != nil {
		return bad("BadPayload", err.Error())
	}
	if p.APS.Alert.Body == "" {
		return bad("BadPayload", "an alert that says nothing")
	}
	return nil
}

// issuer issues certificates.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Stand-in of Apple"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(365 * 24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &issuer{cert, key}
}

// issue issues a certificate, for a server on this machine and for a client.
func (i *issuer) issue(t testing.TB, name pkix.Name, life time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      name,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(life),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, &key.PublicKey, i.key)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

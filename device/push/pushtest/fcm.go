package pushtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	stdjson "encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

// FCM is a stand-in of Firebase Cloud Messaging, HTTP v1, with the OAuth token endpoint of its credentials.
type FCM struct {
	*desk
	server *httptest.Server

	mu      sync.Mutex
	tokens  map[string]time.Time // access tokens that were issued, with their end
	life    time.Duration
	granted int
	grants  []Play
}

// fcmProject is the project of the stand-in.
const fcmProject = "hafenlicht-standin"

const (
	fcmScope  = "https://www.googleapis.com/auth/firebase.messaging"
	fcmEmail  = "tutela@hafenlicht-standin.iam.gserviceaccount.com"
	fcmKeyID  = "0123456789abcdef0123456789abcdef01234567"
	jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// fcmKey is the service account's key. It takes a moment to make.
var fcmKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// StartFCM starts a stand-in that ends with the test.
func StartFCM(t testing.TB) *FCM {
	t.Helper()
	f := &FCM{desk: newDesk(t), tokens: map[string]time.Time{}, life: time.Hour}
	mux := http.NewServeMux()
	mux.HandleFunc("/token", f.serveToken)
	mux.HandleFunc("/v1/projects/"+fcmProject+"/messages:send", f.serveSend)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		f.noteRequest()
		f.noteWrong("nothing is at " + r.Method + " " + r.URL.Path)
		http.NotFound(w, r)
	})
	f.server = httptest.NewUnstartedServer(mux)
	f.server.Config.ConnState = f.countConnection
	f.server.Start()
	t.Cleanup(func() {
		f.server.CloseClientConnections()
		f.server.Close()
	})
	return f
}

// Endpoint is what stands in the place of https://fcm.googleapis.com/v1.
func (f *FCM) Endpoint() string { return f.server.URL + "/v1" }

// Project is the project of the credentials.
func (f *FCM) Project() string { return fcmProject }

// Credentials returns the key file of a service account that the stand-in knows.
func (f *FCM) Credentials() []byte {
	f.t.Helper()
	key, err := fcmKey()
	if err != nil {
		f.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.t.Fatal(err)
	}
	file, err := stdjson.MarshalIndent(map[string]string{
		"type":                        "service_account",
		"project_id":                  fcmProject,
		"private_key_id":              fcmKeyID,
		"private_key":                 string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":                fcmEmail,
		"client_id":                   "100000000000000000000",
		"auth_uri":                    f.server.URL + "/auth",
		"token_uri":                   f.server.URL + "/token",
		"auth_provider_x509_cert_url": f.server.URL + "/certs",
		"client_x509_cert_url":        f.server.URL + "/cert",
		"universe_domain":             "googleapis.com",
	}, "", "  ")
	if err != nil {
		f.t.Fatal(err)
	}
	return file
}

// CredentialsFile writes the credentials into a folder, and returns the name of the file.
func (f *FCM) CredentialsFile(folder string) string {
	f.t.Helper()
	name := filepath.Join(folder, "fcm.json")
	if err := os.WriteFile(name, f.Credentials(), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return name
}

// Revoke ends all access tokens that were issued: a request with one is 401.
func (f *FCM) Revoke() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.tokens)
}

// TokensLive sets how long access tokens live that are issued from now on: at first an hour.
func (f *FCM) TokensLive(life time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.life = life
}

// ScriptToken plays these for the next requests for an access token, one each. After that one is issued for each.
func (f *FCM) ScriptToken(plays ...Play) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grants = append(f.grants, plays...)
}

// TokenRequests returns how many requests for an access token there were.
func (f *FCM) TokenRequests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.granted
}

// FCMRefusal is the answer of FCM with one of its error codes, such as UNREGISTERED.
func FCMRefusal(status int, code string) Play {
	return FCMRefusalOf(status, code, "the message is refused", "")
}

// FCMRefusalOf is the answer of FCM with words, and the field that it finds wrong, such as message.token.
func FCMRefusalOf(status int, code, words, field string) Play {
	details := []any{map[string]any{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}}
	if field != "" {
		details = append(details, map[string]any{
			"@type":           "type.googleapis.com/google.rpc.BadRequest",
			"fieldViolations": []any{map[string]string{"field": field, "description": words}},
		})
	}
	return googleError(status, words, details)
}

// googleError is an error of Google's APIs.
func googleError(status int, words string, details []any) Play {
	names := map[int]string{
		400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
		413: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
	}
	of := map[string]any{"code": status, "message": words, "status": names[status]}
	if details != nil {
		of["details"] = details
	}
	body, err := stdjson.Marshal(map[string]any{"error": of})
	if err != nil {
		body = []byte(err.Error()) // strings and numbers can always be encoded
	}
	return Play{
		Status: status,
		Header: map[string]string{"Content-Type": "application/json; charset=UTF-8"},
		Body:   string(body),
	}
}

// GoogleError is an error of Google's APIs that names no code of FCM, such as the 404 of a project that is not there.
func GoogleError(status int) Play {
	return googleError(status, "Google says "+http.StatusText(status), nil)
}

func (f *FCM) serveToken(w http.ResponseWriter, r *http.Request) {
	play := Accept
	f.mu.Lock()
	f.granted++
	if len(f.grants) > 0 {
		play = f.grants[0]
		f.grants = f.grants[1:]
	}
	life := f.life
	f.mu.Unlock()
	if err := f.checkAssertion(r); err != nil {
		f.noteWrong("token request: " + err.Error())
		Play{Status: http.StatusBadRequest, Body: `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`}.play(w, r, "")
		return
	}
	access := "ya29." + rand.Text()
	if play.takes() {
		f.mu.Lock()
		f.tokens[access] = time.Now().Add(life)
		f.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	play.play(w, r, fmt.Sprintf(`{"access_token":%q,"expires_in":%d,"token_type":"Bearer"}`, access, int(life/time.Second)))
}

// checkAssertion checks a request for an access token.
//
// Source: RFC 7523 §2.1 and §3; developers.google.com/identity/protocols/oauth2/service-account.
func (f *FCM) checkAssertion(r *http.Request) error {
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return fmt.Errorf("%s with Content-Type %q", r.Method, r.Header.Get("Content-Type"))
	}
	if err := r.ParseForm(); err != nil {
		return err
	}
	if r.PostForm.Get("grant_type") != jwtBearer {
		return fmt.Errorf("grant_type %q", r.PostForm.Get("grant_type"))
	}
	signed, err := jose.ParseSignedCompact(r.PostForm.Get("assertion"), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return err
	}
	key, err := fcmKey()
	if err != nil {
		return err
	}
	payload, err := signed.Verify(crypto.PublicKey(&key.PublicKey))
	if err != nil {
		return err
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Scope    string `json:"scope"`
		Audience string `json:"aud"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
	}
	if err := stdjson.Unmarshal(payload, &claims); err != nil {
		return err
	}
	now := time.Now().Unix()
	if claims.Issuer != fcmEmail || claims.Scope != fcmScope || claims.Audience != f.server.URL+"/token" ||
		claims.Issued > now+60 || claims.Expires < now || claims.Expires > claims.Issued+3600 {
		return fmt.Errorf("claims %+v", claims)
	}
	return nil
}

// authorized reports whether a request has an access token that was issued.
func (f *FCM) authorized(r *http.Request) bool {
	access, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	f.mu.Lock()
	defer f.mu.Unlock()
	return ok && time.Now().Before(f.tokens[access])
}

// fcmRequest is a request to send, as FCM takes it. Only what a data message needs is taken.
type fcmRequest struct {
	Message struct {
		Token   string            `json:"token"`
		Data    map[string]string `json:"data"`
		Android struct {
			Priority    string `json:"priority"`
			TTL         string `json:"ttl"`
			CollapseKey string `json:"collapse_key"`
		} `json:"android"`
	} `json:"message"`
}

func (f *FCM) serveSend(w http.ResponseWriter, r *http.Request) {
	f.noteRequest()
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	switch {
	case err != nil:
		return
	case r.Method != http.MethodPost:
		f.noteWrong(r.Method + " " + r.URL.Path)
		GoogleError(http.StatusNotFound).play(w, r, "")
		return
	case !f.authorized(r):
		GoogleError(http.StatusUnauthorized).play(w, r, "")
		return
	}
	var req fcmRequest
	if wrong := req.read(r, raw); wrong != nil {
		f.noteWrong(wrong.words)
		FCMRefusalOf(http.StatusBadRequest, "INVALID_ARGUMENT", wrong.words, wrong.field).play(w, r, "")
		return
	}
	token := req.Message.Token
	play := f.next(token)
	if play.takes() {
		data := map[string]any{}
		for key, value := range req.Message.Data {
			data[key] = value
		}
		f.noteTaken(Taken{
			Token:  token,
			Header: r.Header.Clone(),
			Data:   data,
			Raw:    raw,
		})
	}
	f.noteAsked(token)
	play.play(w, r, fmt.Sprintf(`{"name":"projects/%s/messages/0:%s"}`, fcmProject, rand.Text()))
}

// fcmWrong is what FCM finds wrong with a request, and where.
type fcmWrong struct{ words, field string }

var (
	fcmTTL      = regexp.MustCompile(`^[0-9]+(\.[0-9]{1,9})?s$`)
	fcmReserved = regexp.MustCompile(`^(from|message_type|google\..*|gcm\..*)$`)
)

// read reads a request, and returns what is wrong with it.
//
// Source: firebase.google.com/docs/reference/fcm/rest/v1/projects.messages.
func (req *fcmRequest) read(r *http.Request, raw []byte) *fcmWrong {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return &fcmWrong{"Content-Type " + r.Header.Get("Content-Type"), "body"}
	}
	if err := json.Unmarshal(raw, req, json.RejectUnknownMembers(true)); err != nil {
		return &fcmWrong{"Invalid JSON payload received. " + err.Error(), "message"}
	}
	m := &req.Message
	size := 0
	for key, value := range m.Data {
		if fcmReserved.MatchString(key) {
			return &fcmWrong{"Invalid data payload key: " + key, "message.data"}
		}
		size += len(key) + len(value)
	}
	switch {
	case m.Token == "" || strings.ContainsAny(m.Token, " \n"):
		return &fcmWrong{"The registration token is not a valid FCM registration token", "message.token"}
	case size > 4096:
		return &fcmWrong{"Android message is too big", "message"}
	case m.Android.Priority != "high" && m.Android.Priority != "normal":
		return &fcmWrong{"Invalid value at 'message.android.priority': " + m.Android.Priority, "message.android.priority"}
	case !fcmTTL.MatchString(m.Android.TTL):
		return &fcmWrong{"Invalid ttl: " + m.Android.TTL, "message.android.ttl"}
	}
	return nil
}

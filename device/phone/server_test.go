package phone

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// fakeServer answers as the app API says, strictly, for one user; just enough of it to try the phone's own logic. It
// verifies every signature with another library than the phone's.
type fakeServer struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	now      func() time.Time
	lose     map[string]bool            // "METHOD suffix": the server acts, and the answer is lost
	before   func(*http.Request)        // looks at a request before it is acted on
	tickets  map[string]enrolledKey     // spent ones, by ticket
	devices  map[string]jose.JSONWebKey // by enrollment id
	names    map[string]string          // identifier by enrollment id
	versions []fakeVersion              // newest last
	handle   string                     // of the backup
	code     string                     // the user's recovery code
	restores map[string]*fakeRestore    // by id
	answered []map[string]any           // claims of challenge responses
	puts     []string                   // manifests as they came
	calls    map[string]int             // by "METHOD suffix"
}

type enrolledKey struct {
	thumb  string
	answer map[string]any
}

type fakeVersion struct {
	manifest string
	body     []byte
	key      jose.JSONWebKey
}

type fakeRestore struct {
	token  string
	key    jose.JSONWebKey
	name   string
	result map[string]any
}

func newServer(t testing.TB) *fakeServer {
	s := &fakeServer{
		t: t, now: time.Now, lose: map[string]bool{}, tickets: map[string]enrolledKey{}, devices: map[string]jose.JSONWebKey{},
		names: map[string]string{}, restores: map[string]*fakeRestore{}, calls: map[string]int{}, code: "FIRST",
	}
	mux := http.NewServeMux()
	routes := map[string]http.HandlerFunc{
		"POST /api/enroll":                                     s.enroll,
		"GET /api/device-accounts/{id}":                        s.device(s.account),
		"PATCH /api/device-accounts/{id}":                      s.device(s.account),
		"DELETE /api/device-accounts/{id}":                     s.device(s.unenroll),
		"GET /api/device-accounts/{id}/approvals":              s.device(s.approvals),
		"POST /api/resolve-transaction":                        s.resolve,
		"PUT /api/device-accounts/{id}/backup":                 s.device(s.putBackup),
		"GET /api/device-accounts/{id}/backup":                 s.device(s.getBackup),
		"DELETE /api/device-accounts/{id}/backup":              s.device(s.deleteBackup),
		"POST /api/device-accounts/{id}/backup/handle":         s.device(s.newHandle),
		"GET /api/device-accounts/{id}/backup/generations":     s.device(s.generations),
		"GET /api/device-accounts/{id}/backup/generations/{n}": s.device(s.getBackup),
		"POST /api/restores":                                   s.startRestore,
		"GET /api/restores/{id}":                               s.restore(s.restoreState),
		"POST /api/restores/{id}/recovery-code":                s.restore(s.redeem),
		"POST /api/restores/{id}/first-time-setup":             s.restore(s.giveUp),
	}
	for pattern, handler := range routes {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /appliance-mfa"+path, s.losing(method+" "+path[strings.LastIndex(path, "/")+1:], handler))
	}
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// losing serialises calls, counts them, and loses the answers that the test wants lost.
func (s *fakeServer) losing(name string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls[name]++
		if s.before != nil {
			s.before(r)
		}
		if !s.lose[name] {
			next(w, r)
			return
		}
		delete(s.lose, name)
		next(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler) // cuts the connection
	}
}

func (s *fakeServer) base() string { return s.URL + "/appliance-mfa" }

func (s *fakeServer) refuse(w http.ResponseWriter, status int, code string, more map[string]any) {
	body := map[string]any{"statusCode": status, "error": http.StatusText(status), "message": "no: " + code, "errorCode": code}
	maps.Copy(body, more)
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	s.write(w, status, body)
}

func (s *fakeServer) write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.t.Error(err)
	}
}

func read[T any](s *fakeServer, r *http.Request) T {
	var v T
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		s.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return v
}

// verified checks a JWS by key and returns its claims, or nil.
func verified(token string, key jose.JSONWebKey) map[string]any {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(key.Algorithm)})
	if err != nil {
		return nil
	}
	payload, err := jws.Verify(key.Key)
	if err != nil {
		return nil
	}
	var claims map[string]any
	if json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	return claims
}

type fakeInstallation struct {
	Identifier   string          `json:"identifier"`
	Name         string          `json:"name"`
	PublicKey    jose.JSONWebKey `json:"public_key"`
	Capabilities []string        `json:"capabilities"`
	Handle       string          `json:"restore_handle"`
	Automatic    *bool           `json:"automatic_restore"`
}

func thumb(k jose.JSONWebKey) string {
	sum, err := k.Thumbprint(5) // crypto.SHA256
	if err != nil {
		return err.Error()
	}
	return string(sum)
}

func (s *fakeServer) bind(i fakeInstallation) map[string]any {
	id := "dev_" + rand.Text()[:16]
	s.devices[id], s.names[id] = i.PublicKey, i.Identifier
	return map[string]any{
		"id": id, "url": s.base(), "issuer": "Example", "user_id": "maria/1", "token": "token of " + id,
		"totp": map[string]any{"secret": "JBSWY3DP", "algorithm": "sha1", "digits": 6, "period": 30},
	}
}

func (s *fakeServer) enroll(w http.ResponseWriter, r *http.Request) {
	ticket, ok := strings.CutPrefix(r.Header.Get("Authorization"), `Ticket id="`)
	ticket, ok2 := strings.CutSuffix(ticket, `"`)
	body := read[fakeInstallation](s, r)
	if !ok || !ok2 || body.Identifier == "" || body.Name == "" || !body.PublicKey.Valid() {
		s.refuse(w, 400, "invalid_body", nil)
		return
	}
	spent, again := s.tickets[ticket]
	if again && spent.thumb != thumb(body.PublicKey) {
		s.refuse(w, 404, "enrollment_transaction_not_found", nil)
		return
	}
	if !again {
		answer := s.bind(body)
		answer["recovery_code"] = s.code
		spent = enrolledKey{thumb(body.PublicKey), answer}
		s.tickets[ticket] = spent
	}
	s.write(w, 201, spent.answer)
}

// device lets a call through that a device JWT opens, checked as strictly as the protocol allows.
func (s *fakeServer) device(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key, known := s.devices[r.PathValue("id")]
		if !known {
			s.refuse(w, 404, "device_account_not_found", nil)
			return
		}
		claims := verified(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), key)
		if claims == nil || claims["iss"] != r.PathValue("id") || claims["sub"] != "maria/1" || claims["aud"] != s.base()+"/api/device-accounts" {
			s.refuse(w, 401, "invalid_token", nil)
			return
		}
		iat, exp := claims["iat"].(float64), claims["exp"].(float64)
		now := float64(s.now().Unix())
		if iat > now+300 || exp < now-300 {
			s.refuse(w, 401, "clock_skew", nil)
			return
		}
		if exp-iat > 7260 {
			s.refuse(w, 401, "invalid_token", nil)
			return
		}
		next(w, r)
	}
}

func (s *fakeServer) account(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPatch {
		if i := read[fakeInstallation](s, r); i.Identifier != "" {
			s.names[r.PathValue("id")] = i.Identifier
		}
	}
	s.write(w, 200, map[string]any{"id": r.PathValue("id"), "identifier": s.names[r.PathValue("id")], "name": "x"})
}

func (s *fakeServer) unenroll(w http.ResponseWriter, r *http.Request) {
	delete(s.devices, r.PathValue("id"))
	w.WriteHeader(204)
}

func (s *fakeServer) approvals(w http.ResponseWriter, r *http.Request) {
	list := []any{}
	if !slices.Contains(strings.Split(r.URL.Query().Get("seen"), ","), "nonce") {
		list = append(list, map[string]any{
			"txtkn": "a.eyJleHAiOjE3OTU0MjU4OTl9.c", "dai": r.PathValue("id"), "c": "nonce", "d": "2026-11-23T15:04:05.678Z", "sh": s.base(),
			"s": map[string]any{"b": map[string]any{"n": "Firefox", "v": "145"}}, "nm": true,
		})
	}
	s.write(w, 200, list)
}

func (s *fakeServer) resolve(w http.ResponseWriter, r *http.Request) {
	body := read[map[string]string](s, r)
	for _, key := range s.devices {
		if claims := verified(body["challenge_response"], key); claims != nil {
			s.answered = append(s.answered, claims)
			w.WriteHeader(204)
			return
		}
	}
	s.refuse(w, 401, "invalid_token", nil)
}

func (s *fakeServer) putBackup(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	signed, key := r.Header.Get("Backup-Manifest"), s.devices[r.PathValue("id")]
	s.puts = append(s.puts, signed)
	latest := int64(len(s.versions))
	again := latest > 0 && s.versions[latest-1].manifest == signed
	if !again {
		parent := ""
		match := r.Header.Get("If-None-Match") == "*" && latest == 0
		if latest > 0 {
			parent = hexDigest([]byte(s.versions[latest-1].manifest))
			match = r.Header.Get("If-Match") == etag(latest)
		}
		if !match {
			more := map[string]any{"generation": latest}
			if latest > 0 {
				more["manifest"] = s.versions[latest-1].manifest
			}
			s.refuse(w, 412, "backup_conflict", more)
			return
		}
		claims := verified(signed, key)
		if claims == nil || claims["generation"] != float64(latest+1) || claims["parent"] != parent ||
			claims["digest"] != hexDigest(body) || claims["size"] != float64(len(body)) {
			s.refuse(w, 400, "backup_invalid", nil)
			return
		}
		s.versions = append(s.versions, fakeVersion{signed, body, key})
	}
	answer := map[string]any{"generation": len(s.versions), "digest": hexDigest(body), "created_at": "2026-11-23T15:04:05.678Z"}
	if len(s.versions) == 1 {
		if s.handle == "" {
			s.handle = rand.Text()
		}
		answer["restore_handle"] = s.handle
	}
	s.write(w, 201, answer)
}

func (s *fakeServer) getBackup(w http.ResponseWriter, r *http.Request) {
	n := len(s.versions)
	if wanted := r.PathValue("n"); wanted != "" {
		n, _ = strconv.Atoi(wanted)
	}
	if n == 0 {
		s.refuse(w, 404, "backup_not_found", nil)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf("%q", strconv.Itoa(n)))
	w.Header().Set("Backup-Manifest", s.versions[n-1].manifest)
	_, _ = w.Write(s.versions[n-1].body)
}

func (s *fakeServer) deleteBackup(w http.ResponseWriter, _ *http.Request) {
	s.versions, s.handle = nil, ""
	w.WriteHeader(204)
}

func (s *fakeServer) newHandle(w http.ResponseWriter, _ *http.Request) {
	s.handle = rand.Text()
	s.write(w, 200, map[string]any{"restore_handle": s.handle})
}

func (s *fakeServer) generations(w http.ResponseWriter, _ *http.Request) {
	list := []any{}
	for i, v := range slices.Backward(s.versions) {
		list = append(list, map[string]any{"generation": i + 1, "digest": hexDigest(v.body), "manifest": v.manifest, "public_key": v.key})
	}
	s.write(w, 200, list)
}

func (s *fakeServer) startRestore(w http.ResponseWriter, r *http.Request) {
	body := read[fakeInstallation](s, r)
	id := "rst_" + rand.Text()
	restore := &fakeRestore{token: rand.Text(), key: body.PublicKey, name: body.Identifier}
	s.restores[id] = restore
	step, reason := StepRecoveryCode, "backup_found"
	switch {
	case body.Handle == "":
		step, reason = StepFirstTimeSetup, "no_backup_restored"
	case body.Automatic == nil || !*body.Automatic:
		step, reason = StepFirstTimeSetup, "restore_disabled"
	case body.Handle != s.handle:
		step, reason = StepFirstTimeSetup, "no_backup"
	}
	if body.Handle != "" {
		claims := verified(r.Header.Get("Restore-Proof"), body.PublicKey)
		if claims == nil || claims["handle"] != hexDigest([]byte(body.Handle)) {
			s.refuse(w, 401, "invalid_token", nil)
			return
		}
	}
	s.write(w, 201, map[string]any{"id": id, "token": restore.token, "step": step, "reason": reason, "expires_at": "2026-11-23T15:19:05.678Z"})
}

func (s *fakeServer) restore(next func(http.ResponseWriter, *http.Request, *fakeRestore)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		restore := s.restores[r.PathValue("id")]
		if restore == nil || r.Header.Get("Authorization") != "Bearer "+restore.token {
			s.refuse(w, 404, "restore_not_found", nil)
			return
		}
		next(w, r, restore)
	}
}

func (s *fakeServer) redeem(w http.ResponseWriter, r *http.Request, restore *fakeRestore) {
	if restore.result == nil {
		if body := read[map[string]string](s, r); body["recovery_code"] != s.code {
			s.refuse(w, 403, "invalid_recovery_code", nil)
			return
		}
		clear(s.devices)
		s.code, s.handle = "NEXT", rand.Text()
		restore.result = s.bind(fakeInstallation{Identifier: restore.name, PublicKey: restore.key})
		restore.result["recovery_code"], restore.result["restore_handle"] = s.code, s.handle
		restore.result["backup"] = map[string]any{"generation": len(s.versions)}
	}
	s.write(w, 200, restore.result)
}

func (s *fakeServer) restoreState(w http.ResponseWriter, r *http.Request, restore *fakeRestore) {
	answer := map[string]any{"id": r.PathValue("id"), "step": StepRecoveryCode, "reason": "backup_found", "expires_at": "2026-11-23T15:19:05.678Z"}
	claims := verified(r.Header.Get("Restore-Proof"), restore.key)
	if restore.result != nil {
		answer["step"] = StepDone
		if claims != nil && claims["restore"] == r.PathValue("id") {
			answer["result"] = restore.result
		}
	}
	s.write(w, 200, answer)
}

func (s *fakeServer) giveUp(w http.ResponseWriter, r *http.Request, _ *fakeRestore) {
	s.write(w, 200, map[string]any{"id": r.PathValue("id"), "step": StepFirstTimeSetup, "reason": "chosen", "expires_at": "2026-11-23T15:19:05.678Z"})
}

// must unwraps a result that a test expects.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// open is the phone of a folder, as a new process would open it.
func open(t testing.TB, s *fakeServer, folder string) *Phone {
	t.Helper()
	return must(New(Options{BaseURL: s.URL, Folder: folder}))(t)
}

// enrolledPhone is a phone of a fresh folder, enrolled.
func enrolledPhone(t testing.TB, s *fakeServer) *Phone {
	t.Helper()
	p := open(t, s, t.TempDir())
	must(p.Enroll(context.Background(), "ticket-"+rand.Text()))(t)
	return p
}

package phone

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/device/login"
	"tutela/recovery/user"
	"tutela/server/appapi"
	"tutela/server/servertest"
	"tutela/storage"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// maria is the user of all phones. Her id has a character that Apple's JSON escapes.
const maria = "maria/1"

// disturbed is a real server behind a network that a test can disturb: answers get lost, or are changed on the way.
type disturbed struct {
	*servertest.House
	URL string // as phones know it: the network's

	t     testing.TB
	proxy *httptest.Server

	mu       sync.Mutex
	lose     map[string]bool          // "METHOD segment": the server acts, and its next answer is lost
	before   func()                   // runs before each request reaches the server
	tamper   func(body []byte) []byte // changes the answers to GETs
	calls    map[string]int           // by "METHOD segment"
	puts     []string                 // the manifests of PUTs
	answered []map[string]any         // the claims of answers to approvals
	code     string                   // maria's recovery code, as last issued to a phone
}

func newServer(t testing.TB) *disturbed {
	t.Helper()
	s := &disturbed{t: t, lose: map[string]bool{}, calls: map[string]int{}}
	s.proxy = httptest.NewServer(http.HandlerFunc(s.carry))
	t.Cleanup(s.proxy.Close)
	s.URL = s.proxy.URL
	s.House = servertest.Open(t, servertest.Options{
		Ground: ground.Options{Clock: storage.NewFakeClock(time.Now())}, // phones go by the machine's clock
		Public: []string{s.URL},
		Mount: func(h *servertest.House) {
			appapi.Mount(h.Server, appapi.Services{
				Devices:  h.Devices,
				Logins:   h.Logins,
				Backups:  h.Backups,
				Restores: h.Restores,
				Epoch:    h.Store.Epoch,
			})
		},
	})
	s.Set("restore.veto", "off") // the tests of the wait set another
	return s
}

// base is the base URL of the API.
func (s *disturbed) base() string { return s.URL + "/appliance-mfa" }

// named is a call by its method and the last segment of its path, in which an enrollment's id is {id}.
func named(r *http.Request) string {
	segment := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	if strings.HasPrefix(segment, "dev_") {
		segment = "{id}"
	}
	return r.Method + " " + segment
}

// carry takes a request to the server and its answer back.
func (s *disturbed) carry(w http.ResponseWriter, r *http.Request) {
	target := must(url.Parse(s.House.URL))(s.t)
	name := named(r)
	body := must(io.ReadAll(r.Body))(s.t)
	lost := s.note(name, r, body)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) },
		ModifyResponse: func(resp *http.Response) error {
			if lost {
				return http.ErrAbortHandler
			}
			return s.change(r.Method, resp)
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // cuts the connection
	}).ServeHTTP(w, r)
}

// note counts a call, keeps what it carried, and reports whether its answer is to be lost.
func (s *disturbed) note(name string, r *http.Request, body []byte) (lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[name]++
	switch name {
	case "PUT backup":
		s.puts = append(s.puts, r.Header.Get("Backup-Manifest"))
	case "POST resolve-transaction":
		s.answered = append(s.answered, claimsOf(s.t, body))
	}
	if s.before != nil {
		s.before()
	}
	lost = s.lose[name]
	delete(s.lose, name)
	return lost
}

// change has an answer tampered with.
func (s *disturbed) change(method string, resp *http.Response) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tamper == nil || method != http.MethodGet {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	changed := s.tamper(body)
	resp.Body = io.NopCloser(strings.NewReader(string(changed)))
	resp.ContentLength = int64(len(changed))
	resp.Header.Del("Content-Length")
	return nil
}

// claimsOf reads the claims of a challenge response, whose signature the server checks.
func claimsOf(t testing.TB, body []byte) (claims map[string]any) {
	var answer struct {
		JWT string `json:"challenge_response"`
	}
	check.Must(t, json.Unmarshal(body, &answer))
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(answer.JWT, ".")[1])
	check.Must(t, err)
	check.Must(t, json.Unmarshal(payload, &claims))
	return claims
}

// ticket makes a ticket for maria.
func (s *disturbed) ticket() string {
	s.t.Helper()
	return s.Ticket(user.User{ID: maria})
}

// ask has a login system ask for an approval of maria.
func (s *disturbed) ask() login.Begun {
	s.t.Helper()
	return must(s.Logins.Begin(ctx, login.Request{
		Client: "shop",
		UserID: maria,
		Scope:  "openid",
		Life:   2 * time.Minute,
		Agent:  "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
	}))(s.t)
}

// finds reports whether a restore handle finds a backup.
func (s *disturbed) finds(handle string) bool {
	s.t.Helper()
	key := must(must(NewKey(ES256))(s.t).Public(false))(s.t)
	body := must(json.Marshal(map[string]any{
		"restore_handle": handle, "automatic_restore": true, "identifier": "another", "name": "another", "public_key": key,
	}))(s.t)
	a := s.Call(http.MethodPost, "/api/restores", string(body), "Content-Type", "application/json")
	return a.Body["step"] == StepRecoveryCode
}

// generations counts the versions of backups that the server keeps.
func (s *disturbed) generations() int { return len(s.Rows("backup_version")) }

// stored is all that the server holds, by key.
type stored map[string]string

// snapshot returns all that the server holds.
func (s *disturbed) snapshot() stored {
	s.t.Helper()
	all := stored{}
	s.Scan(func(key, value string) { all[key] = value })
	return all
}

// rollBack makes the server hold what it held before, as a restored copy of its disk would.
func (s *disturbed) rollBack(to stored) {
	s.t.Helper()
	now := s.snapshot()
	check.Must(s.t, s.Store.Engine().Update(ctx, func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		for key := range now {
			ws.Delete([]byte(key))
		}
		for key, value := range maps.All(to) {
			ws.Put([]byte(key), []byte(value))
		}
		return ws, nil
	}))
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
func open(t testing.TB, s *disturbed, folder string) *Phone {
	t.Helper()
	return must(New(Options{BaseURL: s.URL, Folder: folder}))(t)
}

// enrolledPhone is a phone of a fresh folder, enrolled.
func enrolledPhone(t testing.TB, s *disturbed) *Phone {
	t.Helper()
	p := open(t, s, t.TempDir())
	s.code = must(p.Enroll(context.Background(), s.ticket()))(t).RecoveryCode
	return p
}

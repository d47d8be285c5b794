package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tutela/device/devicetest"
	"tutela/device/phone"
	"tutela/device/push/webpush"
	"tutela/recovery"
	"tutela/server/access"
	"tutela/server/servertest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// The people of the tables in docs/recovery.md.
const (
	she   = "she"
	desk  = "help desk"
	thief = "thief"
)

// stage is where the stories of docs/recovery.md are played: all APIs of a real server over HTTP, on a clock that the test
// owns, with the simulated phone, a bank that asks it and a help desk. It remembers who did what.
type stage struct {
	*servertest.House
	t    *testing.T
	sent *devicetest.Pushes
	bank credentialPair
	help credentialPair

	steps []step
	told  []string // the words of the notices that came to maria's phones, each once
	over  bool     // the thief is done: what is told from now on is of the owner's own doing
}

// step is what one person has to do.
type step struct{ who, does string }

// maria is the person whose phone is lost.
const maria = "maria"

// ownAddress is where maria logs in from; thiefAddress is where somebody else does.
const (
	ownAddress   = "203.0.113.7"
	thiefAddress = "198.51.100.66"
)

func openStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, sent: &devicetest.Pushes{}}
	s.House = servertest.Open(t, servertest.Options{
		Ground: ground.Options{Clock: storage.NewFakeClock(time.Now())}, // apps set their clock by the Date header
		Push:   s.sent,
		Mount: func(h *servertest.House) {
			parts := &house{
				store:    h.Store,
				ring:     h.Ring,
				access:   h.Access,
				codes:    h.Codes,
				devices:  h.Devices,
				logins:   h.Logins,
				backups:  h.Backups,
				restores: h.Restores,
				admins:   h.Admins,
			}
			keys, err := webpush.OpenKeys(t.Context(), h.Store)
			check.Must(t, err)
			parts.webPush = keys
			parts.mount(h.Server, slog.New(slog.DiscardHandler))
		},
	})
	s.bank = s.client("Hafenlicht Bank", "openid")
	s.help = s.client("Help desk", "read:users", "update:users", "reset:mfa", "read:logs",
		"create:guardian_enrollment_tickets", "read:guardian_enrollments", "delete:guardian_enrollments")
	return s
}

func (s *stage) client(name string, scopes ...string) credentialPair {
	s.t.Helper()
	client, secret, err := s.Access.AddClient(s.t.Context(), audit.ByOperator(0), access.Client{Name: name, Scopes: scopes})
	check.Must(s.t, err)
	return credentialPair{client.ID, secret}
}

func (s *stage) must(err error) {
	s.t.Helper()
	check.Must(s.t, err)
}

// does notes what a person does.
func (s *stage) does(who, what string) { s.steps = append(s.steps, step{who, what}) }

// form calls the login API as a client.
func (s *stage) form(as credentialPair, path string, pairs ...string) reply {
	s.t.Helper()
	v := url.Values{"client_id": {as.id}, "client_secret": {as.secret}}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return s.call("POST", path, v.Encode(), "Content-Type", formType)
}

func (s *stage) call(method, path, body string, header ...string) reply {
	s.t.Helper()
	a := s.Call(method, path, body, header...)
	return reply{a.Status, a.Header, []byte(a.Raw)}
}

// json calls with a JSON body and a bearer token.
func (s *stage) json(method, path, bearer string, body any) reply {
	s.t.Helper()
	encoded, err := json.Marshal(body)
	s.must(err)
	return s.call(method, path, string(encoded), "Authorization", "Bearer "+bearer, "Content-Type", jsonType)
}

// manage is a call of the help desk's, which must succeed.
func (s *stage) manage(method, path string, body any) reply {
	s.t.Helper()
	token := s.form(s.help, "/oauth/token", "grant_type", access.GrantClientCredentials, "audience", s.URL+"/api/v2/").member("access_token")
	r := s.json(method, "/api/v2"+path, token, body)
	if r.status >= 400 {
		s.t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
	}
	return r
}

// owner is maria with what she has.
type owner struct {
	*phone.Phone
	folder string // where her phone's state lies
	code   string // on paper
}

// text is v as JSON.
func (s *stage) text(v any) string {
	s.t.Helper()
	encoded, err := json.Marshal(v)
	s.must(err)
	return string(encoded)
}

// pushOf is the push address of a phone.
func pushOf(name string) *phone.PushCredentials {
	return &phone.PushCredentials{Service: "FCM", Token: "push of " + name}
}

// phoneIn opens the phone whose state lies in a folder.
func (s *stage) phoneIn(folder, name string, change ...func(*phone.Options)) *phone.Phone {
	s.t.Helper()
	o := phone.Options{
		BaseURL: s.URL,
		Client:  s.Client,
		Folder:  folder,
		Name:    name,
		Push:    pushOf(name),
		Now:     s.Clock.Wall,
	}
	for _, c := range change {
		c(&o)
	}
	p, err := phone.New(o)
	s.must(err)
	return p
}

// settle makes maria with an enrolled phone, its backup of two accounts, and a code on paper. Her app has spoken to the server a day ago.
func (s *stage) settle(change ...func(*phone.Options)) *owner {
	s.t.Helper()
	folder := filepath.Join(s.t.TempDir(), "phone")
	o := &owner{Phone: s.phoneIn(folder, "Pixel 9", change...), folder: folder}
	enrolled, err := o.Enroll(s.t.Context(), s.ticket(nil))
	s.must(err)
	o.code = enrolled.RecoveryCode
	_, err = o.Backup(s.t.Context(), []phone.Account{
		{Issuer: "Werft", Name: "maria", Secret: "JBSWY3DPEHPK3PXP"},
		{Issuer: "Reederei", Name: "m.claasen", Secret: "KRSXG5DTORQWY3DF"},
	}, phone.BackupOptions{})
	s.must(err)
	s.Clock.Advance(24 * time.Hour)
	s.hears()
	s.steps = nil
	s.told = nil
	return o
}

// ticket makes a ticket for maria, with more members in the request.
func (s *stage) ticket(more map[string]any) string {
	s.t.Helper()
	body := map[string]any{"user_id": maria}
	for name, value := range more {
		body[name] = value
	}
	return s.manage("POST", "/guardian/enrollments/ticket", body).member("ticket_id")
}

// twin is a second phone with the state that the first has now, as when its owner keeps the old one and sets up a new one
// from it.
func (s *stage) twin(o *owner) *owner {
	s.t.Helper()
	folder := filepath.Join(s.t.TempDir(), "twin")
	s.must(os.CopyFS(folder, os.DirFS(o.folder)))
	return &owner{Phone: s.phoneIn(folder, o.Name()), folder: folder, code: o.code}
}

// newPhone is another phone to which the platform backup of o's came, or none did. The old one lives on.
func (s *stage) newPhone(o *owner, name string, withBackup bool, change ...func(*phone.Options)) *owner {
	s.t.Helper()
	n := s.twin(o)
	s.must(n.Reinstall(phone.Reinstallation{WithoutBackup: !withBackup, NewPhone: true}))
	n.Phone = s.phoneIn(n.folder, name, change...)
	return n
}

// hears delivers what is due to phones, and returns the notices that came, as "word → phone".
func (s *stage) hears() (notices []string) {
	s.t.Helper()
	s.Drain(recovery.Notice.Handler(s.Devices.DeliverNotice))
	for _, d := range s.sent.Take() {
		if d.Notice != "" {
			at := strings.TrimPrefix(d.To.Token, "push of ")
			notices = append(notices, d.Notice+" → "+at)
			if !s.over && at != thief && !slices.Contains(s.told, d.Notice) {
				s.told = append(s.told, d.Notice)
			}
		}
	}
	slices.Sort(notices)
	return notices
}

// heard fails the test unless a notice came to a phone.
func (s *stage) heard(notice, at string) {
	s.t.Helper()
	if all := s.hears(); !slices.Contains(all, notice+" → "+at) {
		s.t.Fatalf("%s did not hear of %s, but %v", at, notice, all)
	}
}

// asks has the bank ask for an approval of maria's.
func (s *stage) asks(from string) reply {
	s.t.Helper()
	return s.form(s.bank, "/bc-authorize", "scope", "openid", "login_hint", maria, "ip", from)
}

// collects is what the bank then gets.
func (s *stage) collects(begun reply) reply {
	s.t.Helper()
	return s.form(s.bank, "/oauth/token", "grant_type", access.GrantCIBA, "auth_req_id", begun.member("auth_req_id"))
}

// logsIn logs in by a phone, which must work.
func (s *stage) logsIn(p *phone.Phone) {
	s.t.Helper()
	begun := s.asks(ownAddress)
	if begun.status != http.StatusOK {
		s.t.Fatalf("the bank may not ask: %d %s", begun.status, begun.body)
	}
	s.must(s.approve(p, begun))
	if got := s.collects(begun); got.member("id_token") == "" {
		s.t.Fatalf("approved, and the bank got %d %s", got.status, got.body)
	}
}

// approve approves the login that the bank has begun, with the number that it shows.
func (s *stage) approve(p *phone.Phone, begun reply) error {
	s.t.Helper()
	pending, err := p.Approvals(s.t.Context(), 0, nil)
	if err != nil {
		return err
	}
	if len(pending) == 0 {
		return fmt.Errorf("the phone %s is not asked", p.Name())
	}
	return p.Approve(s.t.Context(), pending[len(pending)-1], begun.member("number"))
}

// byCode tries to log in by a recovery code. The next code is "" when it was refused.
func (s *stage) byCode(code string) (next string, refusal reply) {
	s.t.Helper()
	started := s.form(s.bank, "/mfa/start", "user_id", maria)
	if started.status != http.StatusOK {
		return "", started
	}
	got := s.form(s.bank, "/oauth/token", "grant_type", access.GrantRecoveryCode, "mfa_token", started.member("mfa_token"), "recovery_code", code)
	return got.member("recovery_code"), got
}

// logsInByCode logs in by a recovery code, which must work, and notes the next one.
func (s *stage) logsInByCode(o *owner) {
	s.t.Helper()
	next, refusal := s.byCode(o.code)
	if next == "" {
		s.t.Fatalf("the code does not log in: %d %s", refusal.status, refusal.body)
	}
	o.code = next
}

// restore starts a restore, which must lead to a step with a reason.
func (s *stage) restore(p *phone.Phone, step, reason string) phone.Restore {
	s.t.Helper()
	r, err := p.StartRestore(s.t.Context(), false)
	s.must(err)
	if r.Step != step || r.Reason != reason {
		s.t.Fatalf("the server decides %s: %s, not %s: %s", r.Step, r.Reason, step, reason)
	}
	return r
}

// waits lets the time pass until a restore may go on, and returns how long that is.
func (s *stage) waits(r phone.Restore) time.Duration {
	s.t.Helper()
	if r.WaitUntil == "" {
		return 0
	}
	until, err := time.Parse(time.RFC3339, r.WaitUntil)
	s.must(err)
	wait := until.Sub(s.Clock.Wall()).Round(time.Second)
	s.Clock.Advance(wait + time.Millisecond)
	return wait
}

// redeems finishes a restore with the code on paper, which must work, and notes the next one.
func (s *stage) redeems(o *owner) {
	s.t.Helper()
	restored, err := o.RestoreWithCode(s.t.Context(), o.code)
	s.must(err)
	o.code = restored.RecoveryCode
	_, accounts, err := o.FetchBackup(s.t.Context())
	s.must(err)
	if len(accounts) != 2 {
		s.t.Fatalf("%d accounts came back", len(accounts))
	}
}

// said is a duration as people say it.
func said(d time.Duration) string {
	if d == time.Minute {
		return "a minute"
	}
	return fmt.Sprintf("%d minutes", int(d.Minutes()))
}

// refusal returns the error code of a refused call; the call must be refused.
func (s *stage) refusal(err error) string {
	s.t.Helper()
	code := phone.CodeOf(err)
	if code == "" {
		s.t.Fatalf("not refused: %v", err)
	}
	return code
}

// acts returns who had to act, in the order of their first step, with how many steps and which.
func (s *stage) acts() string {
	var people []string
	for _, step := range s.steps {
		if !slices.Contains(people, step.who) {
			people = append(people, step.who)
		}
	}
	if len(people) == 0 {
		return "nobody"
	}
	var each []string
	for _, who := range people {
		var does []string
		for _, step := range s.steps {
			if step.who == who {
				does = append(does, step.does)
			}
		}
		each = append(each, fmt.Sprintf("**%s**, %d: %s", who, len(does), strings.Join(does, " · ")))
	}
	return strings.Join(each, "<br>")
}

// secondPhone enrols another phone of maria's.
func (s *stage) secondPhone() *phone.Phone {
	s.t.Helper()
	p := s.phoneIn(filepath.Join(s.t.TempDir(), "second"), "Tablet")
	_, err := p.Enroll(s.t.Context(), s.ticket(map[string]any{"allow_multiple_enrollments": true}))
	s.must(err)
	s.hears()
	return p
}

// enrols enrols a phone with a ticket, and notes the code that came with it.
func (s *stage) enrols(n *owner, ticket string) {
	s.t.Helper()
	enrolled, err := n.Enroll(s.t.Context(), ticket)
	s.must(err)
	if enrolled.RecoveryCode != "" {
		n.code = enrolled.RecoveryCode
	}
}

// replaces has the help desk make a ticket that replaces a lost phone, by which the new one enrols.
func (s *stage) replaces(lost, n *owner, more map[string]any) {
	s.t.Helper()
	s.does(she, "calls the help desk")
	s.does(desk, "checks who calls")
	s.does(desk, "makes a ticket that replaces the lost phone")
	body := map[string]any{"replaces": lost.Enrollment().ID}
	for name, value := range more {
		body[name] = value
	}
	before := n.code
	s.does(she, "scans its QR code")
	s.enrols(n, s.ticket(body))
	if n.code != before {
		s.does(she, nextCode)
	}
	if is := s.manage("GET", "/users/"+maria+"/enrollments", nil); strings.Contains(string(is.body), lost.Enrollment().ID) {
		s.t.Fatalf("the lost phone is still there: %s", is.body)
	}
}

// signed is a call that a phone signs, which must be answered with a status.
func (s *stage) signed(p *phone.Phone, method, path string, status int) reply {
	s.t.Helper()
	jwt, err := p.DeviceJWT()
	s.must(err)
	r := s.json(method, "/appliance-mfa"+path, jwt, nil)
	if r.status != status {
		s.t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
	}
	return r
}

// stolenToken is what a platform's backup may carry: a phone's id and device token, as they are at a moment.
type stolenToken struct{ id, token string }

func tokenOf(p *phone.Phone) stolenToken {
	e := p.Enrollment()
	return stolenToken{e.ID, e.Token}
}

// byToken is a call to a phone's own record by a device token alone.
func (s *stage) byToken(t stolenToken, method, body string) reply {
	s.t.Helper()
	return s.call(method, "/appliance-mfa/api/device-accounts/"+t.id, body, "Authorization", "Bearer "+t.token, "Content-Type", jsonType)
}

// showsCodes is an app that shows its user the recovery code.
func showsCodes(o *phone.Options) { o.Capabilities = []string{phone.NumberMatching, "recovery-code"} }

// heIsDone ends the thief's part. What the test then does to see that the owner is not kept out is no part of his story.
func (s *stage) heIsDone() {
	s.t.Helper()
	s.hears()
	s.over = true
}

// toldOf is what maria's phones were told of the thief.
func (s *stage) toldOf() string {
	if len(s.told) == 0 {
		return "nothing"
	}
	slices.Sort(s.told)
	return "`" + strings.Join(s.told, "`, `") + "`"
}

// guesses tries n wrong codes by a restore or a login; none may be told apart from another but by how soon it comes.
func (s *stage) guesses(n int, try func() (status int, body string)) {
	s.t.Helper()
	for range n {
		if status, body := try(); status != http.StatusForbidden && status != http.StatusTooManyRequests {
			s.t.Fatalf("a wrong code got %d %s", status, body)
		}
	}
}

// gets fails the test unless a caller gets the tokens of a login, or fails to.
func (s *stage) gets(got reply, tokens bool) {
	s.t.Helper()
	if (got.member("id_token") != "") != tokens {
		s.t.Fatalf("the caller got %d %s", got.status, got.body)
	}
}

// wrongCode has the form of a recovery code, and is nobody's.
const wrongCode = "7V3KQ9X2M4T8R6W5Y1ZJ0ABV"

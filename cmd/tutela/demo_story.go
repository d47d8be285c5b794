package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"tutela/server/access"
)

const (
	demoBrowser = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
	demoAddress = "203.0.113.7"
	demoThief   = "198.51.100.66"
)

// tell tells the story, chapter by chapter.
func (s *story) tell(ctx context.Context) error {
	s.say("%s\n", s.bold("tutela demo: maria and her phone"))
	for _, chapter := range []func(context.Context) error{
		s.opens, s.enrols, s.logsIn, s.refuses, s.backsUp, s.changesPhone, s.losesPhone, s.newPhoneAnswers, s.startsOver, s.isReset, s.leavesNothing, s.setsUpAgain,
	} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) opens(ctx context.Context) error {
	s.begin("A server opens, and two programs are registered with it")
	if err := s.startServer(ctx); err != nil {
		return err
	}
	s.note("tutela serve --dev: a process of its own, on %s", s.public)
	for _, c := range []struct {
		name, scope string
		into        *credentials
	}{
		{"Hafenlicht Bank", "openid", &s.bank},
		{"Help desk", "read:users reset:mfa create:guardian_enrollment_tickets read:guardian_enrollments", &s.admin},
	} {
		text, err := s.tutela(ctx, "client", "add", c.name, "--scope", c.scope, "--data", filepath.Join(s.dir, "data"))
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(text), c.into); err != nil {
			return fmt.Errorf("read the client's credentials: %w", err)
		}
		s.show("operator", fmt.Sprintf("tutela client add %q --scope %q", c.name, c.scope))
	}
	return s.check(s.bank.Secret != "" && s.admin.Secret != "", "each program gets a secret")
}

func (s *story) enrols(ctx context.Context) error {
	s.begin("Maria enrols her phone")
	link, err := s.ticket(ctx)
	if err != nil {
		return err
	}
	s.show("operator", "tutela ticket maria\n"+strings.TrimSpace(link))
	var enrolled enrolledJSON
	if err := s.phoneJSON(ctx, &enrolled, "enroll", strings.TrimSpace(link), "--name", "Pixel 9"); err != nil {
		return err
	}
	s.code = enrolled.RecoveryCode
	s.enrollment = enrolled.EnrollmentID
	s.show("phone", "Connected to Hafenlicht as "+enrolled.UserID+".\nSave your recovery code:  "+grouped(s.code))
	s.note("the phone made a key that never leaves it; the server keeps its public half, and a keyed hash of the code")
	if err := s.turnsOn(ctx); err != nil {
		return err
	}
	s.note("it is its own push service, by Web Push: what comes is encrypted for it alone")
	return errors.Join(
		s.check(enrolled.UserID == "maria", "the phone is maria's, not %q", enrolled.UserID),
		s.check(len(s.code) == 24, "the recovery code has 24 characters"))
}

func (s *story) ticket(ctx context.Context, more ...string) (string, error) {
	args := append([]string{"ticket", "maria", "--data", filepath.Join(s.dir, "data")}, more...)
	return s.tutela(ctx, args...)
}

// begun is the answer of /bc-authorize.
type begun struct {
	ID       string `json:"auth_req_id"`
	Number   string `json:"number"`
	Delivery string `json:"delivery"`
}

// asks lets the bank ask maria's phone.
func (s *story) asks(ctx context.Context, ip, message string) (begun, error) {
	var b begun
	a, err := s.form(ctx, s.bank, "/bc-authorize", "scope", "openid", "login_hint", "maria",
		"binding_message", message, "ip", ip, "user_agent", demoBrowser)
	if err != nil {
		return b, err
	}
	if err := s.check(a.status == http.StatusOK, "the bank may ask: %d %s", a.status, a.body); err != nil {
		return b, err
	}
	err = a.decode(&b)
	return b, err
}

// collects lets the bank wait for the outcome of a login.
func (s *story) collects(ctx context.Context, b begun) (response, error) {
	return s.form(ctx, s.bank, "/oauth/token", "grant_type", access.GrantCIBA, "auth_req_id", b.ID, "wait", "30")
}

func (s *story) logsIn(ctx context.Context) error {
	s.begin("Maria logs in at her bank, and her phone is asked")
	b, err := s.asks(ctx, demoAddress, "Sign in to online banking")
	if err != nil {
		return err
	}
	s.show("browser", "Open the app on your phone and type this number:   "+b.Number)
	// The bank's request is held before the phone answers: the answer must wake it.
	outcome := make(chan response, 1)
	failed := make(chan error, 1)
	go func() {
		a, err := s.collects(ctx, b)
		outcome <- a
		failed <- err
	}()
	screen, err := s.rings()
	if err != nil {
		return err
	}
	s.show("it rings", screen)
	if _, err := s.phone(ctx, "approve", "--number", b.Number); err != nil {
		return err
	}
	a := <-outcome
	if err := <-failed; err != nil {
		return err
	}
	subject, err := s.subject(ctx, a)
	if err != nil {
		return err
	}
	s.show("browser", "Welcome, maria.")
	s.note("the bank's held request was answered at once with an ID token, verified against the published keys: sub=%s", subject)
	return errors.Join(
		s.check(b.Delivery == "push" && len(b.Number) == 6, "a push and six digits, not %q and %q", b.Delivery, b.Number),
		s.check(strings.Contains(screen, "signing in to Hafenlicht Bank"), "the phone rang for the bank: %s", screen),
		s.check(subject == "maria", "the ID token is maria's"))
}

// subject verifies the ID token of an answer with the published keys and returns its sub.
func (s *story) subject(ctx context.Context, a response) (string, error) {
	var tokens struct {
		IDToken string `json:"id_token"`
	}
	if err := s.check(a.status == http.StatusOK, "the bank gets tokens: %d %s", a.status, a.body); err != nil {
		return "", err
	}
	if err := a.decode(&tokens); err != nil {
		return "", err
	}
	// As a login system would: the keys come from the server, the algorithm does not come from the token.
	published, err := s.call(ctx, http.MethodGet, "/.well-known/jwks.json", "", nil)
	if err != nil {
		return "", err
	}
	var keys jose.JSONWebKeySet
	if err := published.decode(&keys); err != nil {
		return "", err
	}
	token, err := jose.ParseSignedCompact(tokens.IDToken, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", err
	}
	payload, err := token.Verify(keys)
	if err != nil {
		return "", err
	}
	var claims struct {
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", err
	}
	return claims.Subject, s.check(claims.Audience == s.bank.ID, "the ID token is for the bank")
}

func (s *story) refuses(ctx context.Context) error {
	s.begin("Somebody else has her password")
	b, err := s.asks(ctx, demoThief, "Sign in to online banking")
	if err != nil {
		return err
	}
	s.show("thief", "Open the app on your phone and type this number:   "+b.Number)
	screen, err := s.rings()
	if err != nil {
		return err
	}
	s.show("it rings", strings.SplitN(screen, "\n", 2)[0])
	if _, err := s.phone(ctx, "deny", "--reason", "not_me"); err != nil {
		return err
	}
	a, err := s.collects(ctx, b)
	if err != nil {
		return err
	}
	s.show("thief", "Sign-in refused.")
	again, err := s.asks(ctx, demoThief, "Sign in to online banking")
	if err != nil {
		return err
	}
	s.note("the next request from that address is %s: her phone stays quiet, only the app's own list has it", again.Delivery)
	if _, err := s.phone(ctx, "deny", "--reason", "hack"); err != nil {
		return err
	}
	return errors.Join(
		s.check(a.problem() == "access_denied", "the thief is refused: %d %s", a.status, a.body),
		s.check(again.Delivery == "silent", "further pushes from that address are silent, not %q", again.Delivery))
}

func (s *story) backsUp(ctx context.Context) error {
	s.begin("Her phone backs its accounts up")
	for _, account := range []string{
		"otpauth://totp/Werft:maria?secret=JBSWY3DPEHPK3PXP&issuer=Werft",
		"otpauth://totp/Reederei:m.claasen?secret=KRSXG5DTORQWY3DF&issuer=Reederei",
	} {
		if _, err := s.phone(ctx, "backup", "--add", account); err != nil {
			return err
		}
	}
	s.note("the key of the blob is on the phone and in its platform backup; each generation is signed and chained to the one before")
	var versions []struct {
		Generation int `json:"generation"`
	}
	if err := s.phoneJSON(ctx, &versions, "backup", "--list"); err != nil {
		return err
	}
	return s.check(len(versions) == 2 && versions[0].Generation == 2, "two generations are kept: %v", versions)
}

func (s *story) newPhoneAnswers(ctx context.Context) error {
	s.begin("The new phone answers for her")
	return s.logsInAgain(ctx)
}

// logsInAgain goes through an ordinary login.
func (s *story) logsInAgain(ctx context.Context) error {
	b, err := s.asks(ctx, demoAddress, "Sign in to online banking")
	if err != nil {
		return err
	}
	s.show("browser", "Open the app on your phone and type this number:   "+b.Number)
	if _, err := s.phone(ctx, "approve", "--number", b.Number, "--wait", "5s"); err != nil {
		return err
	}
	a, err := s.collects(ctx, b)
	if err != nil {
		return err
	}
	subject, err := s.subject(ctx, a)
	if err != nil {
		return err
	}
	s.show("browser", "Welcome, maria.")
	return s.check(subject == "maria", "the ID token is maria's")
}

func (s *story) startsOver(ctx context.Context) error {
	s.begin("That phone is stolen, and no backup comes to the next one")
	if _, err := s.phone(ctx, "reinstall", "--without-backup", "--new-phone"); err != nil {
		return err
	}
	if _, err := s.phone(ctx, "--server", s.public, "restore"); err != nil {
		return err
	}
	s.note("first-time setup; but she can still log in, with the recovery code that she saved")
	started, err := s.form(ctx, s.bank, "/mfa/start", "user_id", "maria")
	if err != nil {
		return err
	}
	var mfa struct {
		Token string `json:"mfa_token"`
	}
	if err := started.decode(&mfa); err != nil {
		return err
	}
	a, err := s.form(ctx, s.bank, "/oauth/token", "grant_type", access.GrantRecoveryCode, "mfa_token", mfa.Token, "recovery_code", s.code)
	if err != nil {
		return err
	}
	var tokens struct {
		RecoveryCode string `json:"recovery_code"`
	}
	subject, err := s.subject(ctx, a)
	if err := errors.Join(err, a.decode(&tokens)); err != nil {
		return err
	}
	s.show("browser", "Welcome, maria. Your next recovery code:  "+grouped(tokens.RecoveryCode))
	used := s.code
	s.code = tokens.RecoveryCode
	return errors.Join(s.check(subject == "maria", "the ID token is maria's"),
		s.check(len(s.code) == 24 && s.code != used, "the code was replaced"))
}

func (s *story) isReset(ctx context.Context) error {
	s.begin("She has lost that code too, and calls the help desk")
	granted, err := s.form(ctx, s.admin, "/oauth/token", "grant_type", "client_credentials", "audience", s.public+"/api/v2/")
	if err != nil {
		return err
	}
	var token struct {
		Token string `json:"access_token"`
	}
	if err := granted.decode(&token); err != nil {
		return err
	}
	// Three calls: a dry run, the reset, and the reset again, which must find nothing left.
	path := "/api/v2/users/" + url.PathEscape("maria") + "/mfa-reset"
	body := map[string]any{"reason": "lost phone and code; passport seen at the branch", "caller_check": "document", "dry_run": true}
	dry, err := s.call(ctx, http.MethodPost, path, token.Token, body)
	if err != nil {
		return err
	}
	body["dry_run"] = false
	done, err := s.call(ctx, http.MethodPost, path, token.Token, body)
	if err != nil {
		return err
	}
	s.receipt = done.body
	again, err := s.call(ctx, http.MethodPost, path, token.Token, body)
	if err != nil {
		return err
	}
	planned := rowsOf(dry)
	removed := rowsOf(done)
	second := rowsOf(again)
	s.show("help desk", fmt.Sprintf("A dry run says: %d rows would go.\nReset: %d rows went. A receipt is signed.\nOnce more: %d rows. Nothing was left.", planned, removed, second))
	asked, err := s.form(ctx, s.bank, "/bc-authorize", "scope", "openid", "login_hint", "maria")
	if err != nil {
		return err
	}
	s.note("for the bank she is new again: %s", asked.problem())
	return errors.Join(
		s.check(done.status == http.StatusOK && planned > 0 && planned == removed, "the reset does what the dry run said: %d, %d: %s", planned, removed, done.body),
		s.check(second == 0, "a second reset finds nothing: %d", second),
		s.check(asked.problem() == "unknown_user_id", "maria has nothing enrolled: %s", asked.body))
}

func rowsOf(a response) int {
	var receipt struct {
		Removed []struct {
			Rows int `json:"rows"`
		} `json:"removed"`
	}
	if a.decode(&receipt) != nil {
		return -1
	}
	rows := 0
	for _, r := range receipt.Removed {
		rows += r.Rows
	}
	return rows
}

func (s *story) leavesNothing(ctx context.Context) error {
	s.begin("The reset proves itself")
	file := filepath.Join(s.dir, "receipt.json")
	if err := os.WriteFile(file, s.receipt, 0o600); err != nil {
		return err
	}
	data := filepath.Join(s.dir, "data")
	verified, err := s.tutela(ctx, "receipt", "verify", file, "--data", data)
	if err != nil {
		return err
	}
	s.show("help desk", "tutela receipt verify receipt.json\n"+verified)
	before, err := s.fileHolds("Pixel 9")
	if err != nil {
		return err
	}
	if _, err := s.tutela(ctx, "compact", "--data", data); err != nil {
		return err
	}
	s.show("operator", "tutela compact")
	after, err := s.fileHolds("Pixel 9")
	if err != nil {
		return err
	}
	s.note("the name of her phone in the raw file: before compacting %s, after it %s", whereFound(before), whereFound(after))
	return s.check(!after, "nothing of her phone is left in the file")
}

func whereFound(found bool) string {
	if found {
		return "still in a freed page"
	}
	return "nowhere"
}

// fileHolds reports whether the raw data file holds a text.
func (s *story) fileHolds(text string) (bool, error) {
	content, err := os.ReadFile(filepath.Join(s.dir, "data", "tutela.db"))
	return bytes.Contains(content, []byte(text)), err
}

func (s *story) setsUpAgain(ctx context.Context) error {
	s.begin("Maria sets up again, as a new user")
	link, err := s.ticket(ctx)
	if err != nil {
		return err
	}
	var enrolled enrolledJSON
	if err := s.phoneJSON(ctx, &enrolled, "enroll", strings.TrimSpace(link), "--name", "Galaxy S26"); err != nil {
		return err
	}
	s.show("phone", "Connected to Hafenlicht as "+enrolled.UserID+".\nSave your recovery code:  "+grouped(enrolled.RecoveryCode))
	if err := s.logsInAgain(ctx); err != nil {
		return err
	}
	return s.check(enrolled.UserID == "maria" && enrolled.RecoveryCode != s.code, "a new enrollment with a new code")
}

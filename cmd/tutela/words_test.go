package main

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tutela/device/phone"
)

// dataOfBefore returns a command line on a data file of a release that folded identities by Unicode: it holds the user
// "zoe " with the email "miKe@example.com", whose K is a Kelvin sign, and the user turk with "mİke@example.com".
func dataOfBefore(t *testing.T) *commandLine {
	t.Helper()
	c := newCommandLineOnNothing(t)
	must(t, os.Mkdir(c.data, 0o700))
	key, err := os.ReadFile("testdata/before/master.key")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(c.data, "master.key"), key, 0o600))
	packed, err := os.Open("testdata/before/tutela.db.gz")
	must(t, err)
	defer func() { must(t, packed.Close()) }()
	unpacked, err := gzip.NewReader(packed)
	must(t, err)
	file, err := os.OpenFile(filepath.Join(c.data, "tutela.db"), os.O_CREATE|os.O_WRONLY, 0o600)
	must(t, err)
	_, err = io.Copy(file, unpacked)
	must(t, err)
	must(t, file.Close())
	return c
}

func TestUsers_OfEarlierDataFilesAreFoundAndCanBeChanged(t *testing.T) {
	c := dataOfBefore(t)
	s := c.serve()
	s.admin = s.addClient(t, "admin", "read:users create:guardian_enrollment_tickets")
	s.login(t)
	const kelvin = "mi\u212ae@example.com"
	const turk = "mİke@example.com"
	found := func(email string) (ids string) {
		var list []struct {
			ID string `json:"user_id"`
		}
		must(t, s.manage(t.Context(), http.MethodGet, "/users-by-email?email="+url.QueryEscape(email), nil, &list))
		for _, u := range list {
			ids += u.ID + ","
		}
		return ids
	}
	shows := func(email, want string) {
		t.Helper()
		if got := found(email); got != want {
			t.Errorf("%s finds %q, want %q", email, got, want)
		}
	}
	shows(kelvin, "zoe ,")
	shows(turk, "turk,")
	shows("mike@example.com", "") // neither of them
	// Both can be changed as they are, and are found after it; and who was shadowed can come.
	for _, id := range []string{"zoe ", "turk"} {
		c.run("user", "block", id)
	}
	shows(kelvin, "zoe ,")
	shows(turk, "turk,")
	must(t, s.manage(t.Context(), http.MethodPost, "/guardian/enrollments/ticket", map[string]string{"user_id": "mike", "email": "MIKE@example.com"}, nil))
	shows("mike@example.com", "mike,")
	// The id that would be refused today still names its user, who has no twin.
	for _, twin := range []string{" zoe", "zoe  ", "mi\u212ae", "zo\u200be"} {
		c.try("ticket", twin).notUnderstood("the user id ")
	}
	if shown := c.run("user", "show", "zoe ", "--json"); !strings.Contains(shown, `"blocked": true`) {
		t.Errorf("shown: %s", shown)
	}
}

// A stranger writes what he likes into every text that he can: a phone's name, the reason of a denial, a client's name, the
// reason of a reset. On the operator's terminal none of it is a fact, a line, or a command.
func TestTerminal_LetsNothingOfAStrangerPassForAFact(t *testing.T) {
	const forged = `ok by=operator result=approved  td_reset`
	const hostile = "x\" by=operator\r\n2026-01-01 00:00:00  td_reset\x1b[2J\u202e\U000e0041"
	c := newCommandLine(t)
	s := c.serve()
	s.bank = s.addClient(t, forged, "openid")
	s.admin = s.addClient(t, "admin", "read:users create:guardian_enrollment_tickets reset:mfa")
	s.login(t)
	c.try("client", "add", hostile, "--scope", "openid").notUnderstood("the client's name holds U+000D")
	c.try("ticket", hostile).notUnderstood("the user id holds U+000D")
	shown := map[string]string{}
	for user, name := range map[string]string{"maria": forged, "otto": hostile} {
		deny(t, s, user, name, hostile)
		shown["user "+user] = c.run("user", "show", user)
		shown["events "+user] = c.run("events", "--last", "500")
		c.run("user", "reset", user, "--yes", "--reason", forged)
		shown["reset "+user] = c.run("user", "show", user)
	}
	shown["clients"] = c.run("client", "list")
	shown["users"] = c.run("user", "list")
	shown["events"] = c.run("events", "--last", "500")
	c.try("user", "reset", "maria", "--yes", "--reason", hostile).notUnderstood("the reason of a reset holds U+000D")
	for _, what := range []string{"clients", "user maria", "reset maria", "events maria", "events"} {
		if !strings.Contains(shown[what], `"`+forged) {
			t.Errorf("%s do not show the words in quotes:\n%s", what, shown[what])
		}
	}
	for what, text := range shown {
		for _, r := range text {
			if r != '\n' && (r < ' ' || r == '\u202e' || r >= '\U000e0000') {
				t.Errorf("%s hold %U:\n%q", what, r, text)
				break
			}
		}
		if bare := withoutQuoted(text); strings.Contains(bare, "by=operator result=approved") || strings.Contains(bare, "2026-01-01") {
			t.Errorf("%s take a stranger's words for facts:\n%s", what, text)
		}
	}
}

// deny enrols a phone of this name, which denies a login for this reason.
func deny(t *testing.T, s *liveServer, user, name, reason string) {
	t.Helper()
	var ticket struct {
		ID string `json:"ticket_id"`
	}
	must(t, s.manage(t.Context(), http.MethodPost, "/guardian/enrollments/ticket", map[string]string{"user_id": user}, &ticket))
	p, err := phone.New(phone.Options{
		BaseURL:    s.public,
		Name:       name,
		Identifier: user,
		Client:     s.phones,
	})
	must(t, err)
	_, err = p.Enroll(t.Context(), ticket.ID)
	must(t, err)
	_, err = s.ask(t.Context(), user)
	must(t, err)
	list, err := p.Approvals(t.Context(), 0, nil)
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("%d approvals", len(list))
	}
	must(t, p.Deny(t.Context(), list[0], reason))
}

// withoutQuoted returns a text without what stands in quotes.
func withoutQuoted(text string) string {
	var bare strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case !quoted:
			bare.WriteByte(text[i])
		}
	}
	return bare.String()
}

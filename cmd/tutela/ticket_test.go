package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// enrolledBy enrols a new phone by a ticket, and returns its folder and what it printed.
func (c *commandLine) enrolledBy(ticket string) (folder string, printed map[string]any) {
	c.t.Helper()
	folder = filepath.Join(c.t.TempDir(), "phone")
	r := c.tryWith(nil, "phone", "--phone", folder, "--json", "enroll", "--name", "Pixel 10", strings.TrimSpace(ticket))
	if r.status != 0 {
		c.t.Fatal(r.stderr)
	}
	return folder, decode(c.t, r.stdout)
}

// The help desk's way for a lost phone: one command, and the new phone takes its place.
func TestTicket_ReplacesALostPhone(t *testing.T) {
	c := newCommandLine(t)
	c.serve()
	_, lost := c.enrolled("maria")
	c.try("ticket", "maria").refused(`--replaces PHONE makes a ticket for one in the place of a lost phone`)
	c.try("ticket", "maria", "--replaces", "dev_0000000000000000").
		refused(`"maria" has no phone "dev_0000000000000000" that could be replaced: tutela device list maria shows the ids`)
	ticket := c.run("ticket", "maria", "--replaces", lost)
	if shown := c.run("user", "show", "maria"); !strings.Contains(shown, ", in the place of "+lost) {
		t.Errorf("shown:\n%s", shown)
	}
	c.enrolledBy(ticket)
	if listed := c.run("device", "list", "maria"); !strings.Contains(listed, "Pixel 10") || strings.Contains(listed, lost) {
		t.Errorf("listed:\n%s", listed)
	}
}

// A ticket for one factor enrols nothing else; no terminal draws a code that no app could use.
func TestTicket_ForOneFactor(t *testing.T) {
	c := newCommandLine(t)
	c.serve()
	c.try("ticket", "maria", "--factor", "sms").
		notUnderstood("this factor is not available here; push-notification, otp, webauthn-roaming and webauthn-platform are")
	for factor, drawn := range map[string]bool{"push-notification": true, "otp": false, "webauthn-platform": false} {
		made := decode(t, c.run("ticket", "maria", "--factor", factor, "--json"))
		if _, has := made["uri"]; has != drawn {
			t.Errorf("of a ticket for %s is printed %v", factor, made)
		}
	}
	shown := c.run("user", "show", "maria")
	for _, want := range []string{", for otp alone", ", for push-notification alone", ", for webauthn-platform alone"} {
		if !strings.Contains(shown, want) {
			t.Errorf("shown without %q:\n%s", want, shown)
		}
	}
	link := strings.TrimSpace(c.run("ticket", "maria", "--factor", "otp"))
	r := c.tryWith(nil, "phone", "--phone", filepath.Join(t.TempDir(), "phone"), "enroll", link)
	if r.status == 0 || !strings.Contains(r.stderr, "the ticket is for otp alone") {
		t.Errorf("an app enrols with a ticket for codes: %d %s", r.status, r.stderr)
	}
}

// The server sends no mail: it says so, unless somebody else mails for it.
func TestTicket_IsMailedByAWebhookThatMailsAlone(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		c.try("ticket", "maria", "--email", "maria@example.com", "--send-mail").
			notUnderstood("send_mail needs a webhook that mails, and there is none: send the link yourself")
		c.try("ticket", "maria", "--email-locale", "de").refused("--email-locale is the language of the mail: name --send-mail too")
		c.run("webhook", "add", "https://mail.example.com/", "--mails")
		c.try("ticket", "maria", "--send-mail").notUnderstood("the user has no email address: name one")
		if link := c.run("ticket", "maria", "--email", "maria@example.com", "--send-mail", "--email-locale", "de"); !strings.Contains(link, "/mfa/enrollment?ticket=") {
			t.Errorf("printed: %s", link)
		}
	})
}

// A code is declared lost by a phone, or by a ticket: the next phone gets another, and the old one counts until then.
func TestTicket_WithANewCode(t *testing.T) {
	for name, lose := range map[string]func(c *commandLine, phone string) []string{
		"by the phone": func(c *commandLine, phone string) []string {
			if r := c.tryWith(nil, "phone", "--phone", phone, "lose-code"); r.status != 0 {
				c.t.Fatal(r.stderr)
			}
			return []string{"ticket", "maria", "--multiple"}
		},
		"by the ticket": func(*commandLine, string) []string { return []string{"ticket", "maria", "--multiple", "--new-code"} },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCommandLine(t)
			c.serve()
			phone, first := c.enrolledBy(c.run("ticket", "maria"))
			code, _ := first["recovery_code"].(string)
			practise := func(code string) bool {
				return c.tryWith(nil, "phone", "--phone", phone, "practise", "--code", code).status == 0
			}
			if shown := c.run("user", "show", "maria"); !strings.Contains(shown, "issued, but nobody is known to have seen it") {
				t.Errorf("before the app's first call:\n%s", shown)
			}
			if !practise(code) {
				t.Fatalf("the code %q is not right", code)
			}
			_, second := c.enrolledBy(c.run("ticket", "maria", "--multiple"))
			if second["recovery_code"] != nil {
				t.Errorf("a code that is held was replaced: %v", second)
			}
			ticket := c.run(lose(c, phone)...)
			if shown := c.run("user", "show", "maria"); !practise(code) || !strings.Contains(shown, "declared lost") {
				t.Errorf("the lost code counts: %t; shown:\n%s", practise(code), shown)
			}
			_, third := c.enrolledBy(ticket)
			next, _ := third["recovery_code"].(string)
			if practise(code) || !practise(next) {
				t.Errorf("after %q came %q, and the first counts: %t", code, next, practise(code))
			}
		})
	}
}

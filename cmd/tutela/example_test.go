package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "golang.org/x/oauth2" // of docs/examples/login.go.txt, which is run and not built

	"tutela/device/phone"
	"tutela/server/access"
)

// node is the Node on this machine. make test installs one where it can; without one only a machine that is not CI's may
// leave these tests out.
func node(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs Node: run it without -short")
	}
	path, err := exec.LookPath("node")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("there is no node here: apt-get install nodejs")
	}
	if err != nil {
		t.Fatal("there is no node, which CI needs: make test installs it")
	}
	return path
}

// example is a program of docs/examples that is run in a folder of its own.
type example struct {
	t       *testing.T
	program []string
	folder  string
	env     []string
}

func (e example) run(args ...string) (output string, err error) {
	e.t.Helper()
	run := exec.CommandContext(e.t.Context(), e.program[0], append(e.program[1:len(e.program):len(e.program)], args...)...)
	run.Dir = e.folder
	run.Env = append(os.Environ(), e.env...)
	both, err := run.CombinedOutput()
	return string(both), err
}

// says runs the program, which must succeed, and returns what a pattern found in its output.
func (e example) says(pattern string, args ...string) string {
	e.t.Helper()
	output, err := e.run(args...)
	found := regexp.MustCompile(pattern).FindStringSubmatch(output)
	if err != nil || found == nil {
		e.t.Fatalf("%v: %v\n%s\nwant %s", args, err, output, pattern)
	}
	return found[len(found)-1]
}

func examplePath(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "docs", "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// asked is a login of a user that her phones have been asked about.
func (m *mounted) asked(userID string) (authReqID, number string) {
	m.t.Helper()
	begun := m.ok(m.form("/bc-authorize", "scope", "openid", "login_hint", userID, "binding_message", "Sign in to the shop", "ip", "203.0.113.7"))
	return begun.member("auth_req_id"), begun.member("number")
}

func (m *mounted) collect(authReqID string) reply {
	return m.form("/oauth/token", "grant_type", access.GrantCIBA, "auth_req_id", authReqID)
}

// The sample client of docs/app-makers.md does against the real server what the page says.
func TestExample_ThePhoneOfAppMakersWorks(t *testing.T) {
	app := example{t: t, program: []string{node(t), examplePath(t, "phone.mjs")}, folder: t.TempDir()}
	m := mount(t)
	link := m.url + "/mfa/enrollment?ticket=" + m.ticket("zoe")
	code := app.says(`recovery code: ([0-9A-Z]{24})`, "enroll", link)

	login, number := m.asked("zoe")
	app.says(`is it you\? \{"who":"zoe","at":"all","what":"Sign in to the shop","where":"203.0.113.7",.*"number":true\}\napproved`, "approve", number)
	if r := m.collect(login); r.member("id_token") == "" {
		t.Errorf("after the approval: %d %s", r.status, r.body)
	}
	login, number = m.asked("zoe")
	if output, err := app.run("approve", strings.Repeat("0", len(number))); err == nil || !strings.Contains(output, "invalid_otp") {
		t.Errorf("a wrong number: %v %s", err, output)
	}
	if r := m.collect(login); r.member("error") != "access_denied" {
		t.Errorf("after a wrong number: %d %s", r.status, r.body)
	}
	login, _ = m.asked("zoe")
	app.says(`denied`, "deny")
	if r := m.collect(login); r.member("error") != "access_denied" {
		t.Errorf("after the denial: %d %s", r.status, r.body)
	}

	app.says(`backed up as generation 1`, "backup", `["bank","mail"]`)
	app.says(`backed up as generation 2`, "backup", `["bank","mail","shop"]`)
	m.must(os.Remove(filepath.Join(app.folder, "phone.json")))
	if output, err := app.run("restore", strings.Repeat("0", 24)); err == nil || !strings.Contains(output, "invalid_recovery_code") {
		t.Errorf("a wrong code: %v %s", err, output)
	}
	m.must(os.Remove(filepath.Join(app.folder, "phone.json")))
	restored, err := app.run("restore", code)
	next := regexp.MustCompile(`recovery code: ([0-9A-Z]{24})\naccounts: \["bank","mail","shop"\]`).FindStringSubmatch(restored)
	if err != nil || next == nil || next[1] == code {
		t.Fatalf("restored: %v %s", err, restored)
	}
	app.says(`backed up as generation 3`, "backup", `["bank","mail","shop"]`)
	app.isAllowedByTheOldPhone(m, next[1])
	login, number = m.asked("zoe")
	app.says(`approved`, "approve", number)
	if r := m.collect(login); r.member("id_token") == "" {
		t.Errorf("after the approval by the restored phone: %d %s", r.status, r.body)
	}
}

// isAllowedByTheOldPhone restores on a new phone while the old one is in the other hand, and allows it.
func (e *example) isAllowedByTheOldPhone(m *mounted, code string) {
	e.t.Helper()
	m.policy("restore.veto", "alive")
	old := *e
	old.folder = e.t.TempDir()
	m.must(os.CopyFS(old.folder, os.DirFS(e.folder)))
	m.must(os.Remove(filepath.Join(e.folder, "phone.json")))
	restored := make(chan string, 1)
	go func() {
		output, err := e.run("restore", code)
		restored <- fmt.Sprint(output, err)
	}()
	old.says(`allowed: Sample phone`, "allow")
	if said := <-restored; !strings.Contains(said, "the old phone is asked until ") || !strings.Contains(said, `accounts: ["bank","mail","shop"]`) {
		e.t.Fatalf("the new phone said %s", said)
	}
}

// exampleModules installs what examples import, in a folder with those that are named.
func exampleModules(t *testing.T, names ...string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for _, name := range append([]string{"package.json", "package-lock.json"}, names...) {
		content, err := os.ReadFile(examplePath(t, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(folder, strings.TrimSuffix(name, ".txt")), content, 0o600))
	}
	npm := example{t: t, program: []string{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"}, folder: folder}
	if output, err := npm.run(); err != nil && os.Getenv("CI") == "" {
		t.Skipf("npm brings nothing: %v\n%s", err, output)
	} else if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return folder
}

// The recipes of docs/login-systems.md log a person in at the real server, and say who is unknown.
func TestExample_TheLoginsOfLibrariesWork(t *testing.T) {
	program := node(t)
	modules := exampleModules(t, "login.mjs", "signed.mjs", "login.go.txt")
	m := mount(t)
	p, err := phone.New(phone.Options{BaseURL: m.url})
	m.must(err)
	_, err = p.Enroll(t.Context(), m.ticket("zoe"))
	m.must(err)
	private, public := clientKey(t)
	m.must(os.WriteFile(filepath.Join(modules, "private-key.pem"), []byte(private), 0o600))
	bank := m.loginClient(access.Client{
		Name:       "bank",
		Scopes:     []string{"openid"},
		Keys:       public,
		RequestAlg: "ES256",
	})
	for name, login := range map[string]example{
		"openid-client": {t: t, program: []string{program, "login.mjs", m.url + "/", m.client.id, m.client.secret}, folder: modules},
		"signed":        {t: t, program: []string{program, "signed.mjs", m.url + "/", bank["id"], "private-key.pem"}, folder: modules},
		"x/oauth2":      {t: t, program: []string{"go", "run", filepath.Join(modules, "login.go"), m.url, m.client.id, m.client.secret}, folder: "../.."},
	} {
		t.Run(name, func(t *testing.T) {
			wants := regexp.MustCompile(`Welcome, zoe|ID token, to be verified: eyJ`)
			if output, err := login.approved(m, p, "zoe", true); err != nil || !wants.MatchString(output) {
				t.Errorf("approved: %v\n%s", err, output)
			}
			if output, err := login.approved(m, p, "zoe", false); err == nil || !strings.Contains(output, "access_denied") {
				t.Errorf("denied: %v\n%s", err, output)
			}
			if output, err := login.run("zeo"); err == nil || !strings.Contains(output, "unknown_user_id: ") {
				t.Errorf("mistyped: %v\n%s", err, output)
			}
		})
	}
}

// approved runs a login while the user's phone answers it, and returns all that it says.
func (e example) approved(m *mounted, p *phone.Phone, user string, yes bool) (output string, err error) {
	e.t.Helper()
	run := exec.CommandContext(e.t.Context(), e.program[0], append(e.program[1:len(e.program):len(e.program)], user)...)
	run.Dir = e.folder
	run.Env = append(os.Environ(), e.env...)
	out, err := run.StdoutPipe()
	m.must(err)
	var complaints strings.Builder
	run.Stderr = &complaints
	m.must(run.Start())
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err == nil {
		_, number, _ := strings.Cut(strings.TrimSpace(first), ": ")
		asked, err := p.Approvals(e.t.Context(), 0, nil)
		m.must(err)
		if yes {
			m.must(p.Approve(e.t.Context(), asked[0], number))
		} else {
			m.must(p.Deny(e.t.Context(), asked[0], ""))
		}
	}
	rest, err := io.ReadAll(lines)
	err = errors.Join(err, run.Wait()) // from here on nobody writes complaints
	return first + string(rest) + complaints.String(), err
}

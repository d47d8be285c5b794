package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"tutela/device"
	"tutela/device/phone"
	"tutela/server/access"
	"tutela/storage/audit"
)

// loginModules installs npm's clients of login systems, as they are, in a folder with the driver and the recipe.
func loginModules(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	must(t, os.CopyFS(folder, os.DirFS(filepath.Join("testdata", "loginclients"))))
	recipe, err := os.ReadFile(examplePath(t, "mfa.mjs"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(folder, "mfa.mjs"), recipe, 0o600))
	npm := example{t: t, program: []string{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"}, folder: folder}
	if output, err := npm.run(); err != nil && os.Getenv("CI") == "" {
		t.Skipf("npm brings no clients: %v\n%s", err, output)
	} else if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return folder
}

// loginClient registers a client for the driver.
func (m *mounted) loginClient(c access.Client) map[string]string {
	m.t.Helper()
	added, secret, err := m.house.access.AddClient(m.t.Context(), audit.ByOperator(0), c)
	m.must(err)
	return map[string]string{"id": added.ID, "secret": secret}
}

// clientKey makes a key of a client: as PKCS #8 for itself, and as a JWK Set for us.
func clientKey(t *testing.T) (private string, public json.RawMessage) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	public, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one"}}})
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), public
}

// wantSaid are what the driver says that it has done, with each client.
var wantSaid = []string{
	"openid-client: CIBA by secret and by private_key_jwt",
	"openid-client and jose: CIBA by signed requests",
	"auth0/legacy: CIBA by secret and by private_key_jwt, client credentials",
	"@auth0/auth0-auth-js: CIBA",
	"@auth0/auth0-auth-js: CIBA by private_key_jwt",
	"@auth0/auth0-auth-js: MFA by an approval",
	"@auth0/auth0-auth-js: MFA by a one-time code",
	"@auth0/auth0-auth-js: first enrolments",
	"@auth0/auth0-auth-js: a new phone by the recovery code",
}

func TestLoginClients_WorkAsTheyAre(t *testing.T) {
	program := node(t)
	folder := loginModules(t)
	m := mountTLS(t)
	p := m.phoneOf("zoe")
	private, public := clientKey(t)
	tap := m.loginClient(access.Client{Name: "tap", Scopes: []string{"openid"}, Presence: device.PresenceTap})
	config, err := json.Marshal(map[string]any{
		"domain": m.domain(),
		"tap":    tap,
		"number": m.loginClient(access.Client{Name: "number", Scopes: []string{"openid"}}),
		"signer": m.loginClient(access.Client{
			Name:     "signer",
			Scopes:   []string{"openid"},
			Presence: device.PresenceTap,
			Keys:     public,
		}),
		"requester": m.loginClient(access.Client{
			Name:       "requester",
			Scopes:     []string{"openid"},
			Keys:       public,
			RequestAlg: "ES256",
		}),
		"admin":        map[string]string{"id": m.client.id, "secret": m.client.secret},
		"pem":          private,
		"user":         "zoe",
		"recoveryCode": p.UnseenRecoveryCode(),
		"oldPhone":     p.Enrollment().ID,
	})
	must(t, err)
	run := exec.CommandContext(t.Context(), program, "driver.mjs", string(config))
	run.Dir = folder
	run.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+m.tls.certFile)
	said := m.serves(run, p)
	if !slices.Equal(said, append(slices.Clone(wantSaid), "done")) {
		t.Errorf("it did %q", said)
	}
	m.recipe(t, program, folder, tap)
}

// phoneOf enrols a phone of a user.
func (m *mounted) phoneOf(userID string) *phone.Phone {
	m.t.Helper()
	p, err := phone.New(phone.Options{BaseURL: m.url, Client: m.road})
	m.must(err)
	_, err = p.Enroll(m.t.Context(), m.ticket(userID))
	m.must(err)
	return p
}

// serves runs a driver, does with the phone what it asks for, and returns what it says that it has done.
func (m *mounted) serves(run *exec.Cmd, p *phone.Phone) (said []string) {
	m.t.Helper()
	out, err := run.StdoutPipe()
	m.must(err)
	in, err := run.StdinPipe()
	m.must(err)
	var complaints strings.Builder
	run.Stderr = &complaints
	m.must(run.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var what []string
		if json.Unmarshal(lines.Bytes(), &what) != nil || len(what) == 0 {
			m.t.Logf("the driver: %s", lines.Text())
			continue
		}
		switch what[0] {
		case "said":
			said = append(said, what[1])
			continue
		case "done":
			said = append(said, what[0])
			continue
		}
		answer, err := json.Marshal(m.does(p, what))
		m.must(err)
		_, err = io.WriteString(in, string(answer)+"\n")
		m.must(err)
	}
	if err := run.Wait(); err != nil {
		m.t.Fatalf("%v after %q\n%s", err, said, complaints.String())
	}
	return said
}

// does does what a person does with her phone, or with a new one.
func (m *mounted) does(p *phone.Phone, what []string) string {
	m.t.Helper()
	ctx := m.t.Context()
	switch what[0] {
	case "approve":
		m.must(p.Approve(ctx, m.askedOf(ctx, p, what[1]), strings.Join(what[2:], "")))
	case "deny":
		m.must(p.Deny(ctx, m.askedOf(ctx, p, what[1]), ""))
	case "code":
		code, err := p.OneTimeCode()
		m.must(err)
		return code.Code
	case "codeOf":
		return codeOf(m.t, what[1])
	case "enrol":
		fresh, err := phone.New(phone.Options{BaseURL: m.url, Client: m.road})
		m.must(err)
		_, err = fresh.Enroll(ctx, what[1])
		m.must(err)
	default:
		m.t.Fatalf("the driver asks for %v", what)
	}
	return ""
}

// askedOf is the approval with a message that a phone is asked.
func (m *mounted) askedOf(ctx context.Context, p *phone.Phone, message string) phone.Approval {
	m.t.Helper()
	list, err := p.Approvals(ctx, 0, nil)
	m.must(err)
	at := slices.IndexFunc(list, func(a phone.Approval) bool { return a.BindingMessage == message })
	if at < 0 {
		m.t.Fatalf("nothing is asked as %q: %+v", message, list)
	}
	return list[at]
}

// recipe runs the recipe of docs/login-systems.md for Auth0's SDK: approved, and denied.
func (m *mounted) recipe(t *testing.T, program, folder string, tap map[string]string) {
	m.t.Helper()
	p := m.phoneOf("noa")
	login := example{
		t:       t,
		program: []string{program, "mfa.mjs", m.domain(), tap["id"], tap["secret"], "noa"},
		folder:  folder,
		env:     []string{"NODE_EXTRA_CA_CERTS=" + m.tls.certFile},
	}
	if output, err := login.approved(m, p, "0", true); err != nil || !strings.Contains(output, "Welcome, noa") {
		m.t.Errorf("approved: %v\n%s", err, output)
	}
	if output, err := login.approved(m, p, "0", false); err == nil || !strings.Contains(output, "access_denied: MFA Authorization rejected.") {
		m.t.Errorf("denied: %v\n%s", err, output)
	}
}

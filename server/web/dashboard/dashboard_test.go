package dashboard

import (
	"encoding/csv"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"tutela/device/devicetest"
	"tutela/recovery/admin/signin"
	"tutela/recovery/user"
	"tutela/server/web/webtest"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

// ageOfProof is when a passkey that was shown counts no longer.
const ageOfProof = 6 * time.Minute

// session makes an admin, and returns the secret of a session of his.
func (h *house) session(id string, role user.Role) string {
	h.t.Helper()
	a := devicetest.NewAuthenticator(h.t)
	a.Party.Origin = h.Base
	secret := secretIn(h.t, h.invite(id, role, false))
	browser := signin.NewSecret()
	options, err := h.SignIn.SpendInvite(h.t.Context(), secret, browser)
	check.Must(h.t, err)
	session, err := h.SignIn.AcceptInvite(h.t.Context(), signin.Made{
		Invite:   secret,
		Browser:  browser,
		Name:     "A laptop",
		Response: a.Create(options),
	}, audit.ByUser().WithOrigin("192.0.2.17", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"))
	check.Must(h.t, err)
	return session
}

// signedIn returns a client that is signed in as an admin.
func (h *house) signedIn(id string, role user.Role) *webtest.Client {
	h.t.Helper()
	session := h.session(id, role)
	c := webtest.NewClient(h.t, h.Base, nil)
	u, err := url.Parse(h.Base)
	check.Must(h.t, err)
	c.HTTP.Jar.SetCookies(u, []*http.Cookie{{Name: "__Host-" + sessionCookie, Value: session, Path: "/", Secure: true}})
	return c
}

func TestDashboard_NobodyIsLetInWithoutASession(t *testing.T) {
	h := newHouse(t)
	c := webtest.NewClient(t, h.Base, nil)
	for _, path := range []string{"/admin/team", "/admin/prove", "/admin/team/add"} {
		a := c.Get(path)
		if a.Status != http.StatusUnauthorized || !strings.Contains(a.Body, "Sign in as an admin") {
			t.Errorf("%s: %d", path, a.Status)
		}
	}
	if a := c.Get("/admin"); a.Status != http.StatusOK || a.Header.Get("Referrer-Policy") != "no-referrer" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("/admin: %d %v", a.Status, a.Header)
	}
	for _, path := range []string{"/admin/team/invite", "/admin/team/end", "/admin/team/passkey", "/admin/team/add", "/admin/signout", "/admin/prove"} {
		if a := c.Post(path, url.Values{"user": {"eve"}, "role": {"owner"}}); a.Status != http.StatusUnauthorized {
			t.Errorf("POST %s: %d", path, a.Status)
		}
	}
	if team, err := h.SignIn.Team(t.Context()); err != nil || len(team) > 0 {
		t.Errorf("team %v, %v", team, err)
	}
}

func TestDashboard_AFormFromElsewhereDoesNothing(t *testing.T) {
	h := newHouse(t)
	c := h.signedIn("ada", user.Owner)
	form := url.Values{"user": {"eve"}, "role": {"owner"}}
	for what, header := range map[string][]string{
		"another site":   {"Sec-Fetch-Site", "cross-site"},
		"a sister site":  {"Sec-Fetch-Site", "same-site"},
		"another origin": {"Origin", "https://evil.example"},
	} {
		c.Header = header
		if a := c.Post("/admin/team/invite", form); a.Status != http.StatusForbidden {
			t.Errorf("%s: %d", what, a.Status)
		}
	}
	c.Header = []string{"Sec-Fetch-Site", "same-origin"}
	if a := c.Do(http.MethodPost, "/admin/team/invite", form.Encode()); a.Status != http.StatusForbidden {
		t.Errorf("without the token: %d", a.Status)
	}
	if a := c.Post("/admin/team/invite", form); a.Status != http.StatusOK || !strings.Contains(a.Body, "/admin/invite?invite=") {
		t.Errorf("of ours: %d", a.Status)
	}
}

func TestDashboard_OnlyOwnersInvite(t *testing.T) {
	h := newHouse(t)
	for _, role := range []user.Role{user.Viewer, user.Helpdesk, user.Admin} {
		c := h.signedIn("a-"+string(role), role)
		a := c.Post("/admin/team/invite", url.Values{"user": {"eve"}, "role": {"viewer"}})
		if a.Status != http.StatusForbidden || !strings.Contains(a.Body, "only owners invite admins") {
			t.Errorf("%s: %d", role, a.Status)
		}
	}
}

func TestBelow_LeadsNowhereElse(t *testing.T) {
	for to, want := range map[string]string{
		"admin/team":               "admin/team",
		"admin/users/x?tab=1":      "admin/users/x?tab=1",
		"https://evil.example":     "admin",
		"//evil.example/admin/":    "admin",
		"admin/../mfa":             "admin",
		"admin/\\evil":             "admin",
		"admin/invite?invite=abc":  "admin",
		"":                         "admin",
		"javascript:alert(1)":      "admin",
		"admin/x\r\nSet-Cookie: a": "admin",
	} {
		if got := below(to); got != want {
			t.Errorf("%q leads to %q", to, got)
		}
	}
}

func TestExport_IsHarmlessToSpreadsheets(t *testing.T) {
	h := newHouse(t)
	c := h.signedIn("ada", user.Viewer)
	for _, id := range []string{"=cmd", "+1", "-1", "@x", "plain, with \"quotes\""} {
		_, err := h.Admins.AddUser(t.Context(), user.User{ID: id}, audit.ByOperator(0))
		check.Must(t, err)
		check.Must(t, h.Admins.SetBlocked(t.Context(), id, true, audit.ByOperator(0)))
	}
	a := c.Get("/admin/events/export.csv")
	if a.Status != http.StatusOK || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/csv") ||
		!strings.HasPrefix(a.Header.Get("Content-Disposition"), "attachment") {
		t.Fatalf("%d %v", a.Status, a.Header)
	}
	if strings.Count(a.Body, "\n") != strings.Count(a.Body, "\r\n") {
		t.Error("lines end otherwise than RFC 4180 has it")
	}
	rows, err := csv.NewReader(strings.NewReader(a.Body)).ReadAll()
	check.Must(t, err)
	seen := map[string]bool{}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("a spreadsheet may run %q", cell)
			}
			seen[cell] = true
		}
	}
	for _, want := range []string{"'=cmd", "'+1", "'-1", "'@x", `plain, with "quotes"`} {
		if !seen[want] {
			t.Errorf("%q is not there", want)
		}
	}
}

func TestExport_HasEveryEventThatFitsOnce(t *testing.T) {
	h := newHouse(t)
	c := h.signedIn("ada", user.Viewer)
	_, err := h.Admins.AddUser(t.Context(), user.User{ID: "maria"}, audit.ByOperator(0))
	check.Must(t, err)
	const blocks = exportBatch + 7
	for i := range blocks {
		check.Must(t, h.Admins.SetBlocked(t.Context(), "maria", i%2 == 0, audit.ByOperator(0)))
	}
	a := c.Get("/admin/events/export.jsonl?q=maria&kind=admins")
	ids := map[string]bool{}
	for text := range strings.Lines(a.Body) {
		var e line
		check.Must(t, json.Unmarshal([]byte(text), &e))
		if e.UserID != "maria" || ids[e.ID] {
			t.Fatalf("%s", text)
		}
		ids[e.ID] = true
	}
	if len(ids) != blocks {
		t.Errorf("%d events of %d", len(ids), blocks)
	}
	if refused := webtest.NewClient(t, h.Base, nil).Get("/admin/events/export.csv"); refused.Status != http.StatusUnauthorized {
		t.Errorf("to a stranger: %d", refused.Status)
	}
}

func TestEvents_ArePagedToTheEnd(t *testing.T) {
	h := newHouse(t)
	c := h.signedIn("ada", user.Viewer)
	_, err := h.Admins.AddUser(t.Context(), user.User{ID: "maria"}, audit.ByOperator(0))
	check.Must(t, err)
	const blocks = 2*eventsShown + 3
	for i := range blocks {
		check.Must(t, h.Admins.SetBlocked(t.Context(), "maria", i%2 == 0, audit.ByOperator(0)))
	}
	seen := 0
	for path := "/admin/events?q=maria&pause=1"; path != ""; {
		a := c.Get(path)
		seen += strings.Count(a.Body, "call=")
		path = ""
		if _, link, more := strings.Cut(a.Body, `class="linkish" href="../admin/events`); more {
			query, _, _ := strings.Cut(link, `"`)
			path = "/admin/events" + html.UnescapeString(query)
		}
	}
	if seen != blocks {
		t.Errorf("%d events of %d", seen, blocks)
	}
}

// Mail scanners, and browsers that load ahead what may be clicked, open links.
func TestInvite_OpeningChangesNothing(t *testing.T) {
	h := newHouse(t)
	link, err := url.Parse(h.invite("ada", user.Owner, false))
	check.Must(t, err)
	before := h.Dump()
	for _, header := range [][]string{nil, {"Sec-Purpose", "prefetch;prerender"}} {
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			for _, path := range []string{"/admin/invite", "/admin/invite/passkey"} {
				c := webtest.NewClient(t, h.Base, nil)
				c.Header = header
				if a := c.Do(method, path+"?"+link.RawQuery, ""); a.Status != http.StatusOK {
					t.Errorf("%s %s: %d", method, path, a.Status)
				}
			}
		}
	}
	if !slices.Equal(before, h.Dump()) {
		t.Error("opening has changed the store")
	}
	c := webtest.NewClient(t, h.Base, nil)
	if a := c.Post("/admin/invite", url.Values{"invite": {link.Query().Get("invite")}}); a.Status != http.StatusOK || !strings.Contains(a.Body, "Make your passkey") {
		t.Errorf("after that: %d %s", a.Status, a.Body)
	}
}

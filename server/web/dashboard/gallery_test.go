package dashboard

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/web/webtest"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// The tests of this package share a browser.
func TestMain(m *testing.M) { webtest.Main(m) }

// allStates are the states of all pages, those that need time to have passed at the end.
func allStates() []state {
	all := slices.Concat(frameStates, userStates, houseStates)
	slices.SortStableFunc(all, func(a, b state) int {
		if a.stale == b.stale {
			return 0
		}
		return map[bool]int{true: 1, false: -1}[a.stale]
	})
	return all
}

// lane goes through the states in one language, in one tab, with houses of its own.
type lane struct {
	t        *testing.T
	tab      *webtest.Tab
	filled   *house
	empty    *house
	address  *house
	invite   string               // the secret of the last one
	sessions map[string]string    // by the house's base and role
	seen     map[string]*userSeen // by id
	client   string
}

// userSeen is what addresses of a user's pages name.
type userSeen struct{ uid, device, receipt string }

func (l *lane) furnished() *house { return l.filled }
func (l *lane) fresh() *house     { return l.empty }
func (l *lane) nameless() *house  { return l.address }

// invites makes an invite for somebody.
func (l *lane) invites(id string) { l.invite = secretIn(l.t, l.filled.invite(id, user.Viewer, false)) }

// TestBrowser_EveryPageInEveryState looks at all pages: filled, empty, in error and limited, in both languages, in the light and in the
// dark, on the narrowest phone, and with letters twice as large.
func TestBrowser_EveryPageInEveryState(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	covered(t, h)
	for _, language := range []string{"en", "de"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			l := newLane(t, language)
			for _, s := range allStates() {
				t.Run(s.name, func(t *testing.T) {
					l.t = t
					l.tab.For(t)
					l.visit(s, language)
				})
			}
			l.tab.For(t)
		})
	}
}

// covered fails the test for a page that has no state in the table, and for a kind of state that no page has.
func covered(t *testing.T, h *house) {
	t.Helper()
	rows := map[string][]string{}
	for _, s := range allStates() {
		rows[s.page] = append(rows[s.page], s.is)
	}
	for _, route := range h.Server.App().GetRoutes(true) {
		isPage := route.Method == http.MethodGet && (route.Path == "/admin" || strings.HasPrefix(route.Path, "/admin/"))
		if !isPage || slices.Contains(downloads, route.Path) {
			continue
		}
		if of := cmp.Or(twins[route.Path], route.Path); !slices.Contains(rows[of], filled) {
			t.Errorf("%s has no row in the table of states: write what it is when it is filled, empty, wrong, limited", route.Path)
		}
	}
}

func newLane(t *testing.T, language string) *lane {
	t.Helper()
	l := &lane{
		t:        t,
		sessions: map[string]string{},
		seen:     map[string]*userSeen{},
	}
	l.filled = houseSince(t, ground.Start.AddDate(0, 0, 1-furnishedDays))
	l.filled.furnish()
	l.empty = newHouse(t)
	l.address = houseAt(t, "127.0.0.1")
	list, err := l.filled.Access.ListClients(t.Context())
	check.Must(t, err)
	l.client = list[0].ID
	l.session(l.filled, user.Owner)
	l.tab = webtest.Open(t)
	l.tab.Speaks(language)
	return l
}

// adminsByRole are those who look.
var adminsByRole = map[user.Role]string{user.Owner: "ada", user.Admin: "bea", user.Helpdesk: "dora", user.Viewer: "vera"}

// session returns the secret of a session in a house.
func (l *lane) session(h *house, role user.Role) string {
	key := h.Base + string(role)
	if l.sessions[key] == "" {
		l.sessions[key] = h.session(adminsByRole[role], role)
	}
	return l.sessions[key]
}

// visit goes to a page, brings it into its state, and looks at it.
func (l *lane) visit(s state, language string) {
	l.t.Helper()
	h := s.house(l)
	if s.begin != nil {
		s.begin(l)
	}
	if s.stale {
		h.Clock.Advance(ageOfProof)
	}
	l.become(h, s.as)
	l.tab.Go(h.Base + l.addressOf(h, s))
	shows := fmt.Sprintf(`document.readyState === "complete" && document.querySelector(%q) !== null`, s.shows)
	if s.do != nil {
		l.tab.Until(`document.readyState === "complete" && document.querySelector("h1, dialog h2") !== null`)
		s.do(l)
	}
	l.tab.Until(shows)
	name := s.name
	if language != "en" {
		name += "." + language
	}
	l.tab.LooksIn(name, language != "en")
}

// become has the browser be that of somebody.
func (l *lane) become(h *house, as user.Role) {
	l.t.Helper()
	cookie := "__Host-" + sessionCookie
	switch {
	case as == nobody || h == l.address:
		l.tab.Call("Network.deleteCookies", map[string]any{"name": cookie, "url": h.Base})
	case as == ended:
		l.tab.Keep(h.Base, cookie, "a-session-that-is-over")
	default:
		l.tab.Keep(h.Base, cookie, l.session(h, as))
	}
}

// addressOf fills the pattern of a state's page in.
func (l *lane) addressOf(h *house, s state) string {
	l.t.Helper()
	u := l.userOf(h, s.of)
	what := cmp.Or(h.known[s.what], s.what)
	path := strings.NewReplacer(
		":uid", u.uid,
		":receipt", u.receipt,
		":device", u.device,
		":act", what,
		":policy", what,
		":id", cmp.Or(what, l.client),
	).Replace(s.page)
	if s.page == "/admin/invite" && s.query == "" {
		s.query = "?invite={invite}"
	}
	return path + strings.ReplaceAll(s.query, "{invite}", url.QueryEscape(l.invite))
}

// userOf returns what the addresses of a user's pages name. Nobody's are of the right form.
func (l *lane) userOf(h *house, id string) *userSeen {
	l.t.Helper()
	if id == "" || id == "nobody" {
		return &userSeen{uid: strings.Repeat("0", 32)}
	}
	if l.seen[id] == nil {
		d, err := h.Admins.DetailOf(l.t.Context(), id)
		check.Must(l.t, err)
		l.seen[id] = namesOf(d)
	}
	return l.seen[id]
}

func namesOf(d admin.Detail) *userSeen {
	u := &userSeen{uid: d.User.UID.String(), device: "dev_none", receipt: "rcp_none"}
	if len(d.Enrollments) > 0 {
		u.device = d.Enrollments[0].ID
	}
	if len(d.Receipts) > 0 {
		u.receipt = d.Receipts[0].ID
	}
	return u
}

// send sends a form of the page with fields changed, without the browser's own look at them.
func (l *lane) send(form string, fields url.Values) {
	l.t.Helper()
	values, err := json.Marshal(fields)
	check.Must(l.t, err)
	l.tab.Until(fmt.Sprintf(`document.querySelector(%q) !== null`, form))
	l.tab.Eval(fmt.Sprintf(`(() => {
		const form = document.querySelector(%q);
		for (const [name, [value]] of Object.entries(%s || {})) {
			const field = form.elements[name];
			if (field instanceof RadioNodeList) field.value = value; else if (field) field.value = value;
		}
		form.submit();
	})()`, form, values))
}

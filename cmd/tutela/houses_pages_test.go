package main

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"tutela/server/web/webtest"
)

var (
	numberOn = regexp.MustCompile(`class="number"><span role="img" aria-label="([0-9 ]+)"`)
	heldOn   = regexp.MustCompile(`data-live="([^"]+)"`)
	renames  = regexp.MustCompile(`me/rename\?id=([^"]+)"`)
)

// browserOf is a browser that comes to a house, and stops where it is sent to a login system. Its cookies go to both houses: they do not
// tell ports apart.
func (n *neighbours) browserOf(t *testing.T, jar http.CookieJar, m *mounted) *webtest.Client {
	t.Helper()
	c := webtest.NewClient(t, m.url, nil)
	c.HTTP.Jar = jar
	c.HTTP.CheckRedirect = func(to *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(to.URL.String(), shopURL) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return c
}

// numberAt opens a hosted page at a browser's house, and returns its path, the number and the address that it holds.
func numberAt(t *testing.T, c *webtest.Client, link string) (path, number, held string) {
	t.Helper()
	address, err := url.Parse(link)
	must(t, err)
	path = address.RequestURI()
	shown := c.Get(path)
	at := numberOn.FindStringSubmatch(shown.Body)
	live := heldOn.FindStringSubmatch(shown.Body)
	if at == nil || live == nil {
		t.Fatalf("%d %s", shown.Status, shown.Body)
	}
	return path, strings.ReplaceAll(at[1], " ", ""), "/mfa/" + strings.TrimPrefix(strings.ReplaceAll(live[1], "&amp;", "&"), "../mfa/")
}

func (n *neighbours) approve(t *testing.T, number string) {
	t.Helper()
	list, err := n.a.phone.Approvals(t.Context(), 0, nil)
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("the phone is asked %d approvals", len(list))
	}
	must(t, n.a.phone.Approve(t.Context(), list[0], number))
}

// A challenge page that one house shows moves on when the phone has answered at the other, which sends the browser back as well.
func TestTwoHouses_AChallengePageIsOpenAtOneAndDecidedAtTheOther(t *testing.T) {
	n := mountNeighbours(t)
	answerAll(t, n)
	jar := webtest.NewJar(t)
	here := n.browserOf(t, jar, n.a)
	there := n.browserOf(t, jar, n.b)
	link := n.b.ok(n.b.form("/mfa/requests", pageOf("maria")...)).member("url")
	path, number, held := numberAt(t, here, link)
	moved := waitsAt(n.a, func() (webtest.Answer, error) { return here.Get(held), nil })
	n.road.leadTo(n.b)
	n.approve(t, number)
	if a, _ := moved(); a.Status != http.StatusOK || strings.Contains(a.Body, "data-live") {
		t.Errorf("the page that waited: %d %s", a.Status, a.Body)
	}
	back := there.Get(path)
	to, err := url.Parse(back.Header.Get("Location"))
	must(t, err)
	if code := to.Query().Get("code"); back.Status != http.StatusSeeOther || code == "" {
		t.Fatalf("the other house: %d %s", back.Status, back.Header)
	} else if got := n.a.ok(n.a.form("/oauth/token", "grant_type", "authorization_code", "code", code, "redirect_uri", shopURL, "code_verifier", pageVerifier)); got.member("id_token") == "" {
		t.Errorf("%s", got.body)
	}
}

func TestTwoHouses_HerOwnPageIsOpenedAtOneAndActsAtTheOther(t *testing.T) {
	n := mountNeighbours(t)
	answerAll(t, n)
	jar := webtest.NewJar(t)
	here := n.browserOf(t, jar, n.a)
	there := n.browserOf(t, jar, n.b)
	link := n.a.ok(n.a.form("/mfa/requests", pageOf("maria", "purpose", "manage")...)).member("url")
	path, number, _ := numberAt(t, here, link)
	n.road.leadTo(n.b)
	n.approve(t, number)
	opened := here.Get(path)
	id := renames.FindStringSubmatch(opened.Body)
	if id == nil {
		t.Fatalf("%d %s", opened.Status, opened.Body)
	}
	if a := there.Post("/mfa/me/rename", url.Values{"id": {id[1]}, "name": {"The blue one"}}); a.Status != http.StatusOK {
		t.Errorf("the other house: %d %s", a.Status, a.Body)
	}
	if a := here.Get("/mfa/me"); !strings.Contains(a.Body, "The blue one") {
		t.Errorf("the first house: %d %s", a.Status, a.Body)
	}
	there.Post("/mfa/me/leave", url.Values{})
	if a := here.Get("/mfa/me"); a.Status != http.StatusForbidden {
		t.Errorf("after she has left at the other: %d", a.Status)
	}
}

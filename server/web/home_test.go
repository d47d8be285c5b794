package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"tutela/server"
	"tutela/server/servertest"
	"tutela/storage"
)

// at asks for the root of the server as something that wants accept.
func (h *house) at(accept string) (status int, kind, body string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.url+"/", nil)
	h.must(err)
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	h.must(err)
	content, err := io.ReadAll(resp.Body)
	h.must(errors.Join(err, resp.Body.Close()))
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(content)
}

// asBrowsers is what a browser accepts.
const asBrowsers = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestHome_TellsAPersonWhatThisIsAndWhereToGo(t *testing.T) {
	h := newHouse(t, func(o *servertest.Options) {
		o.Config = func(c *server.Config) { c.Version = "1.2.3" }
	})
	status, kind, body := h.at(asBrowsers)
	if status != http.StatusOK || !strings.HasPrefix(kind, "text/html") {
		t.Fatalf("%d %s", status, kind)
	}
	for _, says := range []string{"It is up, and ready.", "recovery code", `href="docs"`, `href="openapi.json"`, `href="readyz"`, "tutela ticket maria", "tutela 1.2.3"} {
		if !strings.Contains(body, says) {
			t.Errorf("the page lacks %q", says)
		}
	}
}

func TestHome_AnswersMachinesAsAnyPathThatThereIsNot(t *testing.T) {
	h := newHouse(t)
	for _, accept := range []string{"", "*/*", "application/json"} {
		if status, kind, body := h.at(accept); status != http.StatusNotFound || !strings.HasPrefix(kind, "application/json") || !strings.Contains(body, "no such path") {
			t.Errorf("%q: %d %s %s", accept, status, kind, body)
		}
	}
}

func TestHome_SaysThatTheServerIsNotReady(t *testing.T) {
	h := newHouse(t, func(o *servertest.Options) {
		o.Config = func(c *server.Config) {
			c.Checks = []server.Check{{Name: "disk", Run: func(context.Context) error { return storage.ErrUnavailable }}}
		}
	})
	if _, _, body := h.at(asBrowsers); !strings.Contains(body, "It is up, and not ready.") || strings.Contains(body, "and ready.") {
		t.Errorf("the page:\n%s", body)
	}
}

package server_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"tutela/server"
	"tutela/storage"
)

// guarded serves POST /mfa/in/{name}, which lets the name "friend" in and answers with it and the body.
func guarded(s *server.Server) {
	s.Door("POST", "/mfa/in/{name}", func(asked server.Asked) (any, error) {
		switch name := asked.Param("name"); name {
		case "a friend":
			return name, nil
		case "broken":
			var nobody *strings.Builder
			nobody.Len() // panics
			return nil, nil
		default:
			return nil, storage.NewError(storage.Denied, "a stranger").With("%s is a stranger", asked.Header("X-Name"))
		}
	})
	s.App().Post("/mfa/in/:name", func(c *fiber.Ctx) error {
		name, ok := server.CallOf(c.UserContext()).Admitted().(string)
		if !ok {
			return errors.New("came past the door")
		}
		return c.JSON(name + " says " + string(c.Body()))
	})
	s.App().Post("/mfa/open", func(c *fiber.Ctx) error { return c.JSON(string(c.Body())) })
}

func TestDoor_RefusesBeforeTheBodyIsThereAndClosesTheConnection(t *testing.T) {
	r := start(t, server.Config{}, guarded)
	for name, fields := range map[string]string{
		"a length":        "Content-Length: 60000\r\n",
		"too long a body": "Content-Length: 6000000\r\n",
		"chunks":          "Transfer-Encoding: chunked\r\n",
		"asks first":      "Content-Length: 60000\r\nExpect: 100-continue\r\n",
		"a mounted path":  "Content-Length: 60000\r\n",
	} {
		path := "/mfa/in/me"
		if name == "a mounted path" {
			path = "/appliance-mfa//mfa/in/me/"
		}
		back := r.send("POST " + path + " HTTP/1.1\r\nHost: x\r\nX-Name: Eve\r\n" + fields + "\r\n")
		got := parse(t, back)
		if got.status != 403 || got.header.Get("Connection") != "close" || got.header.Get("X-Request-Id") == "" || strings.Count(back, "HTTP/1.1 ") != 1 {
			t.Errorf("%s: %q", name, back)
		}
		wantJSON(t, got.body, `{"error":"access_denied","error_description":"Eve is a stranger"}`)
	}
	if lines := strings.Count(r.log.String(), `"status":403`); lines != 5 {
		t.Errorf("%d calls are logged", lines)
	}
}

func TestDoor_HandsOnWhatItHasFoundAndTheBodyIsReadThen(t *testing.T) {
	r := start(t, server.Config{}, guarded)
	const hello = "Content-Length: 5\r\n\r\nhello"
	for name, raw := range map[string]string{
		"a length":   "POST /mfa/in/a%20friend HTTP/1.1\r\nHost: x\r\n" + hello,
		"chunks":     "POST /mfa/in/a%20friend HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"asks first": "POST /mfa/in/a%20friend HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n" + hello,
	} {
		// On one connection: behind calls without a door, and before them.
		back := r.send("POST /mfa/open HTTP/1.1\r\nHost: x\r\n" + hello + raw + raw + "POST /mfa/open HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + hello)
		if strings.Count(back, `"a friend says hello"`) != 2 || strings.Count(back, `"hello"`) != 2 || strings.Count(back, "HTTP/1.1 200") != 4 {
			t.Errorf("%s: %q", name, back)
		}
	}
}

func TestDoor_KeepsTheConnectionBehindASmallBody(t *testing.T) {
	r := start(t, server.Config{}, guarded)
	refused := "POST /mfa/in/me HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
	back := r.send(refused + refused + "POST /mfa/open HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
	if strings.Count(back, "HTTP/1.1 403") != 2 || strings.Count(back, `"hello"`) != 1 {
		t.Errorf("%q", back)
	}
}

func TestDoor_APanicIsAnsweredAndClosesTheConnection(t *testing.T) {
	r := start(t, server.Config{}, guarded)
	back := r.send("POST /mfa/in/broken HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
	if got := parse(t, back); got.status != 500 || got.header.Get("Connection") != "close" {
		t.Errorf("%q", back)
	}
	if got := r.ask("POST", "/mfa/in/a%20friend", "hello"); got.status != 200 {
		t.Errorf("after it: %d %s", got.status, got.body)
	}
}

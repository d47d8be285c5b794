package page

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/server"
	"tutela/storage"
)

// Troubled is the data of a page about something that went wrong.
type Troubled struct {
	Frame
	Kind      string   // what went wrong: a section of the catalogue below "trouble"
	Reference []string // what to tell the help desk
	Again     bool     // the same address may be asked again
}

// Trouble returns the page about an error of a kind: what happened, what did not, what to do. kind is a section of the
// catalogue below "trouble" with title, lead and next.
func (c *Call) Trouble(status int, kind string) Reply {
	return Reply{
		Status:   status,
		Template: "trouble.html",
		Header:   map[string]string{},
		Data: Troubled{
			Frame:     c.frame,
			Kind:      kind,
			Reference: c.Reference(),
			Again:     c.Method() == fiber.MethodGet,
		},
	}
}

// troubleOf returns the page for an error.
func (c *Call) troubleOf(err error) Reply {
	if c.set.trouble != nil {
		r, left := c.set.trouble(c, err)
		if left == nil {
			return r
		}
		err = left
	}
	switch {
	case errors.Is(err, ErrForged):
		return c.Trouble(http.StatusForbidden, "forged")
	case errors.Is(err, ErrNoCookies):
		return c.Trouble(http.StatusBadRequest, "cookies")
	case errors.Is(err, ErrOldForm):
		return c.Trouble(http.StatusForbidden, "old_form")
	case errors.Is(err, server.ErrTooManyCalls):
		return c.later(c.Trouble(http.StatusTooManyRequests, "often"), storage.RetryAfter(err)+time.Second)
	case storage.CodeOf(err) == storage.Unavailable:
		return c.later(c.Trouble(http.StatusServiceUnavailable, "busy"), 5*time.Second)
	case storage.CodeOf(err) == storage.OutcomeUnknown:
		return c.later(c.Trouble(http.StatusServiceUnavailable, "unsure"), 5*time.Second)
	}
	server.CallOf(c.UserContext()).Failed(err)
	return c.Trouble(http.StatusInternalServerError, "broken")
}

func (c *Call) later(r Reply, after time.Duration) Reply {
	r.Header[fiber.HeaderRetryAfter] = strconv.Itoa(int(after / time.Second))
	return r
}

// Charge counts a call with a secret that does not exist towards the limit of its address. It returns err, or the refusal
// once there are too many.
func (c *Call) Charge(err error) error {
	if tooMany := c.kit.server.AddressLimit().Charge(server.CallOf(c.UserContext())); tooMany != nil {
		return tooMany
	}
	return err
}

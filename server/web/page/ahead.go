package page

import (
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// Ahead reports whether nobody has opened the page: a browser loads it ahead, in case that somebody will, or a program looks whether it is
// there. Where opening does something, such a call is answered by [Call.NotYet].
//
// Source: Speculation Rules, "Sec-Purpose"; Purpose and X-Moz are what older browsers send.
func (c *Call) Ahead() bool {
	if c.Method() == fiber.MethodHead {
		return true
	}
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
		if strings.Contains(strings.ToLower(c.Get(name)), "prefetch") {
			return true
		}
	}
	return false
}

// NotYet answers a call that is ahead. A browser throws a page away that failed, and loads it when somebody opens it.
func (c *Call) NotYet() Reply { return c.Trouble(http.StatusServiceUnavailable, "busy") }

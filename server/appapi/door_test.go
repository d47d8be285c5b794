package appapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"tutela/device"
	"tutela/server"
)

// worthless are credentials of each scheme that are well formed and nobody's.
var worthless = map[string]string{
	schemeDevice:    "Bearer eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJkZXZfMDEyMzQ1Njc4OWFiY2RlZiJ9.AAAA",
	schemeAnyDevice: "Bearer dt_guess",
	schemeBearer:    "Bearer guess",
	schemeTicket:    `Ticket id="guess"`,
	schemeStart:     `Ticket id="guess"`,
	schemeFlow:      "Bearer guess",
}

// bodied are the operations that a body may come with, by what they want to be shown.
func (h *house) bodied(each func(op *huma.Operation, path, credential string)) {
	h.t.Helper()
	parameter := regexp.MustCompile(`\{[a-z]+\}`)
	count := 0
	for _, item := range h.srv.API().OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Post, item.Put, item.Patch, item.Delete} {
			if op == nil || !strings.HasPrefix(op.Path, "/api/") {
				continue
			}
			credential := ""
			for _, wanted := range op.Security {
				for scheme := range wanted {
					credential = worthless[scheme]
				}
			}
			count++
			each(op, parameter.ReplaceAllString(op.Path, "nobody"), credential)
		}
	}
	if count < 12 {
		h.t.Fatalf("%d operations", count)
	}
}

func TestEveryCall_IsRefusedBeforeItsBodyIsRead(t *testing.T) {
	h := newHouse(t, withLimit(2), func(c *server.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })
	n := 0
	h.bodied(func(op *huma.Operation, path, credential string) {
		n++
		from := []string{"Authorization", credential, "X-Forwarded-For", fmt.Sprintf("203.0.%d.9", n)}
		for call := range 4 {
			got := h.Knock(op.Method, path, from...)
			wanted := got.Status == http.StatusUnauthorized || got.Status == http.StatusNotFound
			if credential == "" { // let in, and then told that its body is too large
				wanted = got.Status == http.StatusRequestEntityTooLarge
			}
			if call >= 2 { // the address has used up what it had
				wanted = got.Status == http.StatusTooManyRequests && got.Header.Get("Retry-After") != ""
			}
			if !wanted {
				t.Errorf("%s, call %d: %d %s", op.OperationID, call, got.Status, got.Raw)
			}
		}
	})
}

// What a phone in service is refused counts as well, and so does what is no guess at all.
func TestEveryOutcomeOfWhoIsNotLetInIsCharged(t *testing.T) {
	for name, refused := range map[string]func(h *house, from ...string) answer{
		"suspended": func(h *house, from ...string) answer {
			p, _ := h.enroll("maria")
			h.change(p.Enrollment().ID, func(e *device.Enrollment) { e.Status = device.Suspended })
			return h.call("GET", path(p, ""), "", append(from, "Authorization", h.bearer(p))...)
		},
		"the device token where the JWT is wanted": func(h *house, from ...string) answer {
			p, _ := h.enroll("maria")
			return h.call("GET", path(p, "/backup"), "", append(from, "Authorization", "Bearer "+p.Enrollment().Token)...)
		},
		"another scheme": func(h *house, from ...string) answer {
			return h.call("POST", "/api/enroll", "{}", append(from, "Authorization", "Basic eDp5")...)
		},
		"a txtkn of nobody's": func(h *house, from ...string) answer {
			return h.call("POST", "/api/resolve-transaction", "{}", append(from, "Authorization", "Bearer x.y.z")...)
		},
		"a restore of nobody's": func(h *house, from ...string) answer {
			return h.call("POST", "/api/restores/rst_x/recovery-code", "{", append(from, "Authorization", "Bearer rt_x")...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, withLimit(1))
			if a := refused(h, "X-Forwarded-For", "203.0.113.9"); a.status < 400 || a.status == http.StatusTooManyRequests {
				t.Fatalf("got %d %s", a.status, a.raw)
			}
			h.refused(refused(h, "X-Forwarded-For", "203.0.113.9"), http.StatusTooManyRequests, "too_many_attempts")
		})
	}
}

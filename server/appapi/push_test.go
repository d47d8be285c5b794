package appapi

import (
	"testing"

	"tutela/server"
)

func TestWebPush_TellsAnybodyTheKeyUnderBothBases(t *testing.T) {
	const page = "https://app.example.org"
	h := newHouse(t, func(c *server.Config) {
		c.Origin = func(origin string) bool { return origin == page }
	})
	for _, base := range []string{"", "/appliance-mfa"} {
		for origin, allowed := range map[string]string{page: page, "https://other.example.org": ""} {
			a := h.call("GET", base+"/api/push/web", "", "Origin", origin)
			if a.status != 200 || a.body["public_key"] != webPushKey || len(a.body) != 1 {
				t.Errorf("%s: %d %s", base, a.status, a.raw)
			}
			if got := a.header.Get("Access-Control-Allow-Origin"); got != allowed {
				t.Errorf("%s: a page of %s may read it: %q", base, origin, got)
			}
		}
	}
}

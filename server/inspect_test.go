package server

import (
	"net/url"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// What passes the edge parses, as Huma's adapter takes for granted.
func FuzzInspect(f *testing.F) {
	f.Add("/api/things/a%2Fb?q=%41", "application/json; charset=utf-8")
	f.Add("//[::1/%zz", "Text/Plain ;")
	f.Add("http://[::1]:x/?%", "+;")
	f.Add("*", "a+b;c+d")
	f.Fuzz(func(t *testing.T, target, kind string) {
		var ctx fasthttp.RequestCtx
		ctx.Request.SetRequestURI(target)
		ctx.Request.Header.SetContentType(kind)
		if p := inspect(&ctx, AppAPI); p != nil {
			if p.Status < 400 || p.Status > 499 {
				t.Errorf("status %d", p.Status)
			}
			return
		}
		if _, err := url.Parse(string(ctx.Request.RequestURI())); err != nil {
			t.Errorf("%q passed, but: %v", target, err)
		}
		_, query, _ := strings.Cut(string(ctx.Request.Header.RequestURI()), "?")
		if _, err := url.ParseQuery(strings.ReplaceAll(query, ";", "")); err != nil {
			t.Errorf("query %q passed, but: %v", query, err)
		}
	})
}

package webtest

import (
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"tutela/storage/storagetest/check"
)

// Localhost is a name under which a browser comes to a server that is not there yet: passkeys need one. It returns the public URL,
// and what leads it to where the server listens.
func Localhost(t testing.TB) (public string, lead func(to string)) {
	t.Helper()
	proxy := httptest.NewUnstartedServer(nil)
	public = "http://localhost:" + strings.Split(proxy.Listener.Addr().String(), ":")[1]
	return public, func(to string) {
		target, err := url.Parse(to)
		check.Must(t, err)
		proxy.Config.Handler = &httputil.ReverseProxy{
			ErrorLog: log.New(io.Discard, "", 0), // of calls that a page has left
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.Out.Host = r.In.Host
			},
		}
		proxy.Start()
		t.Cleanup(proxy.Close)
	}
}

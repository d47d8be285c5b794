// Package page is the kit that all pages of people and admins are made of.
//
// A package of pages embeds its templates, calls [Kit.Set], and mounts handlers with [Set.Get] and [Set.Post]. The kit does
// what every page needs: the frame with the organisation's name and logo, the language, the security headers, the check of
// posted forms against forgery, cookies, error pages, and the waiting for something to happen.
//
// Every page works without script, in any browser, at 320 px. The Content-Security-Policy lets a browser load our own files
// alone and run no inline script or style, and Trusted Types keep strings from becoming script. What a page shows is never
// cached: Back asks the server again.
package page

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/server"
	"tutela/storage/setting/brand"
)

// Options say whose pages they are.
type Options struct {
	Name      string                                     // of the organisation, where the policy brand.name says nothing
	PublicURL string                                     // by which people come; the first, when there are several
	Now       func() time.Time                           // the store's time
	Brand     func(context.Context) (brand.Brand, error) // how the organisation presents itself
}

// Kit makes pages. Mount what is made with it before the server serves; after that it is safe for concurrent use.
type Kit struct {
	Options
	server *server.Server
	site   site
}

// New makes a kit for the pages of a server, and mounts the files that all pages load.
func New(s *server.Server, o Options) *Kit {
	k := &Kit{Options: o, server: s, site: siteOf(o.PublicURL)}
	k.mountAssets(s.App())
	k.mountBrand(s.App())
	return k
}

// App is the router on which pages are mounted.
func (k *Kit) App() *fiber.App { return k.server.App() }

// Server is the server under the pages.
func (k *Kit) Server() *server.Server { return k.server }

// Host is the host and port by which people come.
func (k *Kit) Host() string { return k.site.host }

// versionOf names a content, so that a browser may keep it for ever.
func versionOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:6])
}

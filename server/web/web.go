// Package web serves the pages that people see: it mounts the packages of pages below it, and the pages that belong to none of
// them, at the root and for a phone that cannot come back by itself.
package web

import (
	"embed"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/own"
	"tutela/device/passkey"
	"tutela/server"
	"tutela/server/web/challenge"
	"tutela/server/web/dashboard"
	"tutela/server/web/enrollment"
	ownpages "tutela/server/web/own"
	"tutela/server/web/page"
	"tutela/storage/setting/brand"
)

//go:embed pages/*.html
var files embed.FS

// Services are what the pages call.
type Services struct {
	Devices  *device.Service
	Logins   *login.Service
	Issuer   string // of what browsers bring back to login systems
	Passkeys *passkey.Service
	Brand    *brand.Service
	Own      *own.Service
	Now      func() time.Time // the store's time

	Dashboard *dashboard.Services // nil: there is none
}

// web is the pages of this package.
type web struct {
	server *server.Server
}

// Mount puts the pages on the server.
func Mount(s *server.Server, services Services) {
	kit := page.New(s, page.Options{
		Name:      services.Devices.Issuer(),
		PublicURL: services.Devices.PublicURL(),
		Now:       services.Now,
		Brand:     services.Brand.Get,
	})
	w := &web{s}
	set := kit.Set(files)
	w.mountHome(set)
	set.Get(s.App(), server.HelpPath, w.help)
	challenge.Mount(kit, challenge.Services{Logins: services.Logins, Issuer: services.Issuer})
	enrollment.Mount(kit, enrollment.Services{
		Devices:  services.Devices,
		Passkeys: services.Passkeys,
		Now:      services.Now,
	})
	if services.Dashboard != nil {
		dashboard.Mount(kit, *services.Dashboard)
	}
	ownpages.Mount(kit, ownpages.Services{
		Own:   services.Own,
		Visit: challenge.VisitOf,
		Now:   services.Now,
	})
}

// help is the page to which an app sends the person when a restore cannot go on in the app. The part of the link after # names the
// reason, and the browser scrolls there. The page says nothing about any person.
func (w *web) help(c *page.Call) (page.Reply, error) {
	return page.Reply{Template: "help.html", Data: c.Frame()}, nil
}

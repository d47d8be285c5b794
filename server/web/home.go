package web

import (
	"github.com/gofiber/fiber/v2"

	"tutela/server/web/page"
)

// home is the page at the root of the server.
type home struct {
	page.Frame
	Ready   bool
	Version string
}

// mountHome serves a page at / to people. A program that does not ask for HTML gets a 404.
func (w *web) mountHome(set *page.Set) {
	app := w.server.App()
	app.Get("/", func(c *fiber.Ctx) error {
		c.Vary(fiber.HeaderAccept)
		if c.Accepts(fiber.MIMEApplicationJSON, fiber.MIMETextHTML) != fiber.MIMETextHTML {
			return fiber.ErrNotFound
		}
		return c.Next()
	})
	set.Get(app, "/", func(c *page.Call) (page.Reply, error) {
		return page.Reply{Template: "home.html", Data: home{c.Frame(), w.server.Ready(), w.server.Version()}}, nil
	})
}

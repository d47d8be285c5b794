package web

import (
	"net/http"

	"github.com/gofiber/fiber/v2"
)

// home is the page at the root of the server.
type home struct {
	frame
	Ready   bool
	Version string
}

// mountHome serves a page at / to people. A program that does not ask for HTML gets a 404.
func (w *web) mountHome(app *fiber.App) {
	page := w.handle(func(*fiber.Ctx) (reply, error) {
		return reply{
			status: http.StatusOK,
			page:   "home.html",
			data: home{
				frame:   frame{Organisation: w.name, Root: "mfa/"},
				Ready:   w.server.Ready(),
				Version: w.server.Version(),
			},
		}, nil
	})
	app.Get("/", func(c *fiber.Ctx) error {
		c.Vary(fiber.HeaderAccept)
		if c.Accepts(fiber.MIMEApplicationJSON, fiber.MIMETextHTML) != fiber.MIMETextHTML {
			return fiber.ErrNotFound
		}
		return page(c)
	})
}

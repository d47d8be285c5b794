package web

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"tutela/server"
)

// mountHelp serves the page that an app leads to when a restore cannot go on in it. The part of the link after # is the reason,
// which the browser goes to; the page says nothing of any person.
func (w *web) mountHelp(app *fiber.App) {
	app.Get(server.HelpPath, w.handle(func(c *fiber.Ctx) (reply, error) {
		return reply{status: http.StatusOK, page: "help.html", data: w.frame(c)}, nil
	}))
}

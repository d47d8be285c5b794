package web

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"tutela/server"
)

// mountHelp serves the page to which an app sends the person when a restore cannot go on in the app. The part of the link
// after # names the reason, and the browser scrolls there. The page says nothing about any person.
func (w *web) mountHelp(app *fiber.App) {
	app.Get(server.HelpPath, w.handle(func(c *fiber.Ctx) (reply, error) {
		return reply{status: http.StatusOK, page: "help.html", data: w.frame(c)}, nil
	}))
}

package page

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"tutela/storage/setting/brand"
)

// mountBrand serves the organisation's logo and colour.
func (k *Kit) mountBrand(app *fiber.App) {
	app.Get("/mfa/logo", func(c *fiber.Ctx) error {
		look, err := k.Brand(c.UserContext())
		if err != nil {
			return err
		}
		if look.Logo.Content == nil {
			return fiber.ErrNotFound
		}
		c.Set(fiber.HeaderContentType, look.Logo.Kind)
		// Opened by itself the picture runs and loads nothing.
		c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; style-src 'unsafe-inline'; sandbox")
		c.Set(fiber.HeaderCacheControl, cachedAs(c, versionOf(look.Logo.Content)))
		return c.Status(http.StatusOK).Send(look.Logo.Content)
	})
	app.Get("/mfa/brand.css", func(c *fiber.Ctx) error {
		look, err := k.Brand(c.UserContext())
		if err != nil {
			return err
		}
		c.Set(fiber.HeaderContentType, "text/css; charset=utf-8")
		version := ""
		if look.Colour != "" {
			version = look.Colour[1:]
		}
		c.Set(fiber.HeaderCacheControl, cachedAs(c, version))
		return c.Status(http.StatusOK).SendString(brand.Style(look.Colour))
	})
}

// cachedAs lets a browser keep what it asked for by its version, and nothing else.
func cachedAs(c *fiber.Ctx, version string) string {
	if version == "" || c.Query("v") != version {
		return "no-store"
	}
	return "public, max-age=31536000, immutable"
}

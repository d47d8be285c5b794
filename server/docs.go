package server

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// docsFiles holds the page that shows the APIs to people. Its viewer is RapiDoc (MIT), the packed file rapidoc-min.js of the npm
// package. It takes 218 KB in the binary; other viewers take ten times that. It never runs text as code.
//
//go:embed docs
var docsFiles embed.FS

// docsPolicy lets the docs page load files and make calls from this server alone. It allows inline styles, since the viewer
// writes its styles into the page.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// mountDocs serves the docs page.
func mountDocs(app *fiber.App) {
	for path, file := range map[string]struct{ name, kind string }{
		"/docs":            {"docs/index.html", fiber.MIMETextHTMLCharsetUTF8},
		"/docs/docs.js":    {"docs/docs.js", fiber.MIMETextJavaScriptCharsetUTF8},
		"/docs/rapidoc.js": {"docs/rapidoc-9.3.8.js.gz", fiber.MIMETextJavaScriptCharsetUTF8},
	} {
		app.Get(path, func(c *fiber.Ctx) error {
			body, err := docsFiles.ReadFile(file.name)
			if err != nil {
				return fmt.Errorf("read a file of the docs page: %w", err)
			}
			if strings.HasSuffix(file.name, ".gz") {
				if body, err = packed(c, body); err != nil {
					return err
				}
			}
			c.Set(fiber.HeaderContentType, file.kind)
			c.Set(fiber.HeaderContentSecurityPolicy, docsPolicy)
			c.Set(fiber.HeaderCacheControl, "public, max-age=300")
			return c.Send(body)
		})
	}
}

// packed returns a packed file as it is, with its Content-Encoding, to a caller who accepts that, and unpacks it for others.
func packed(c *fiber.Ctx, file []byte) ([]byte, error) {
	c.Vary(fiber.HeaderAcceptEncoding)
	if c.AcceptsEncodings("gzip") == "gzip" {
		c.Set(fiber.HeaderContentEncoding, "gzip")
		return file, nil
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("unpack a file of the docs page: %w", err)
	}
	whole, err := io.ReadAll(unpacked)
	if err != nil {
		return nil, fmt.Errorf("unpack a file of the docs page: %w", err)
	}
	return whole, nil
}

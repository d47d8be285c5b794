package page

import (
	"bytes"
	"compress/gzip"
	"embed"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// The files that pages load. Those of others come from the npm registry, pinned, by make assets (assets/PINNED); their
// licences lie beside them.
//
//go:embed assets
var files embed.FS

// asset is a file as browsers get it.
type asset struct {
	kind    string
	content []byte
	gzip    []byte // nil: it would save nothing
	brotli  []byte
	version string
}

// assets are all files by name. They are compressed once in a process.
var assets = sync.OnceValue(func() map[string]*asset {
	all := map[string]*asset{
		"style.css":   {kind: "text/css; charset=utf-8", content: style()},
		"page.js":     {kind: "text/javascript; charset=utf-8", content: read("page.js")},
		"trust.js":    {kind: "text/javascript; charset=utf-8", content: read("trust.js")},
		"htmx.js":     {kind: "text/javascript; charset=utf-8", content: read("htmx.js")},
		"webauthn.js": {kind: "text/javascript; charset=utf-8", content: read("webauthn.js")},
		"passkey.js":  {kind: "text/javascript; charset=utf-8", content: read("passkey.js")},
		"mark.svg":    {kind: "image/svg+xml", content: read("mark.svg")},
	}
	for _, a := range all {
		a.version = versionOf(a.content)
		a.gzip = gzipped(a.content)
		a.brotli = fasthttp.AppendBrotliBytesLevel(nil, a.content, fasthttp.CompressBrotliBestCompression)
	}
	return all
})

// read returns an embedded file. Its name is one of ours.
func read(name string) []byte {
	content, err := files.ReadFile("assets/" + name)
	if err != nil {
		return nil // a test asks for each
	}
	return content
}

// style is the style sheet of all pages: Pico in a layer, and our own rules outside of any, so that they win. It is one
// file, because each further one costs a round trip before anything is seen.
func style() []byte {
	pico := bytes.TrimPrefix(read("pico.css"), []byte(`@charset "UTF-8";`))
	return bytes.Join([][]byte{[]byte("@charset \"UTF-8\";@layer pico{"), pico, []byte("}\n"), read("style.css")}, nil)
}

func gzipped(content []byte) []byte {
	var to bytes.Buffer
	w, err := gzip.NewWriterLevel(&to, gzip.BestCompression)
	if err != nil {
		return nil
	}
	_, _ = w.Write(content) // a buffer takes everything
	_ = w.Close()
	return to.Bytes()
}

func (k *Kit) mountAssets(app *fiber.App) {
	for name, a := range assets() {
		app.Get("/mfa/"+name, a.serve)
	}
}

// serve sends the file in the smallest form that the browser takes.
func (a *asset) serve(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, a.kind)
	c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	c.Vary(fiber.HeaderAcceptEncoding)
	takes := &c.Request().Header
	switch {
	case takes.HasAcceptEncoding("br"):
		c.Set(fiber.HeaderContentEncoding, "br")
		return c.Send(a.brotli)
	case takes.HasAcceptEncoding("gzip"):
		c.Set(fiber.HeaderContentEncoding, "gzip")
		return c.Send(a.gzip)
	}
	return c.Send(a.content)
}

// Asset returns the address of one of the kit's files, from this page, named by its content.
func (f Frame) Asset(name string) string {
	a := assets()[name]
	if a == nil {
		return ""
	}
	return f.Root + name + "?v=" + a.version
}

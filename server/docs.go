package server

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"path"
	"slices"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
)

// docsPolicy lets the docs page load nothing, from here or elsewhere: its style stands in the page, and it has no script.
const docsPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docsOperation is one operation as the docs page shows it.
type docsOperation struct {
	Method, Path string
	*huma.Operation
}

// Takes names the types of the request's body, by content type.
func (o docsOperation) Takes() []docsType {
	if o.RequestBody == nil {
		return nil
	}
	return docsTypes(o.RequestBody.Content)
}

// Gives names the types of the answers' bodies, by status.
func (o docsOperation) Gives() map[string][]docsType {
	gives := make(map[string][]docsType, len(o.Responses))
	for status, response := range o.Responses {
		gives[status] = docsTypes(response.Content)
	}
	return gives
}

// docsType is a body: its content type, and its schema or the name of one.
type docsType struct {
	Media  string
	Schema *huma.Schema
}

func docsTypes(content map[string]*huma.MediaType) []docsType {
	types := make([]docsType, 0, len(content))
	for _, media := range slices.Sorted(maps.Keys(content)) {
		types = append(types, docsType{media, content[media].Schema})
	}
	return types
}

var docsPage = template.Must(template.New("docs").Funcs(template.FuncMap{"base": path.Base}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>tutela API</title>
<style>
:root { color-scheme: light dark } body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code { font-size: .9em } article { border-top: 1px solid #8884; padding: .5rem 0 } h3 { margin: .5rem 0 } table { border-collapse: collapse }
td, th { text-align: left; vertical-align: top; padding: .1rem 1rem .1rem 0 }
</style>
<h1>tutela API {{.Version}}</h1>
<p>Made from the types that the server reads and writes. The same for programs: <a href="openapi.json">openapi.json</a>.</p>
{{define "schema"}}{{with .}}{{if .Ref}}<a href="#{{base .Ref}}">{{base .Ref}}</a>{{else}}{{.Type}}{{with .Format}} ({{.}}){{end}}{{with .Items}} of {{template "schema" .}}{{end}}{{with .Enum}}: {{range $i, $v := .}}{{if $i}}, {{end}}<code>{{$v}}</code>{{end}}{{end}}{{end}}{{end}}{{end}}
<h2>Operations</h2>
{{range .Operations}}<article><h3><code>{{.Method}} {{.Path}}</code></h3>
{{with .Summary}}<p>{{.}}</p>{{end}}{{with .Description}}<p>{{.}}</p>{{end}}
<table>
{{range .Parameters}}<tr><th>{{.In}} <code>{{.Name}}</code>{{if .Required}} *{{end}}<td>{{template "schema" .Schema}}<td>{{.Description}}{{end}}
{{range .Takes}}<tr><th>takes<td>{{template "schema" .Schema}}<td><code>{{.Media}}</code>{{end}}
{{range $status, $types := .Gives}}<tr><th>{{$status}}{{range $types}}<td>{{template "schema" .Schema}}<td><code>{{.Media}}</code>{{end}}{{end}}
</table></article>
{{end}}
<h2>Types</h2>
{{range $name, $schema := .Schemas}}<article id="{{$name}}"><h3><code>{{$name}}</code></h3>{{with .Description}}<p>{{.}}</p>{{end}}
<table>{{range $member, $type := .Properties}}<tr><th><code>{{$member}}</code><td>{{template "schema" $type}}<td>{{$type.Description}}{{end}}</table></article>
{{end}}
</html>`))

// mountDocs serves the docs page, made at the first call, when all operations are mounted.
func mountDocs(app *fiber.App, api huma.API) {
	render := sync.OnceValues(func() ([]byte, error) { return renderDocs(api.OpenAPI()) })
	app.Get("/docs", func(c *fiber.Ctx) error {
		page, err := render()
		if err != nil {
			return err
		}
		c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
		c.Set(fiber.HeaderContentSecurityPolicy, docsPolicy)
		c.Set(fiber.HeaderCacheControl, "public, max-age=300")
		return c.Send(page)
	})
}

// renderDocs writes the page: operations by path, then the types that they name.
func renderDocs(described *huma.OpenAPI) ([]byte, error) {
	var operations []docsOperation
	for at, item := range described.Paths {
		for method, op := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put,
			http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		} {
			if op != nil {
				operations = append(operations, docsOperation{method, at, op})
			}
		}
	}
	slices.SortFunc(operations, func(a, b docsOperation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	var page bytes.Buffer
	err := docsPage.Execute(&page, map[string]any{
		"Version":    described.Info.Version,
		"Operations": operations,
		"Schemas":    described.Components.Schemas.Map(),
	})
	if err != nil {
		return nil, fmt.Errorf("render the docs page: %w", err)
	}
	return page.Bytes(), nil
}

package webtest

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// axe-core, as the npm registry has it: make assets brings it, pinned.
//
//go:embed axe.js.gz
var axePacked []byte

var axe = sync.OnceValue(func() string {
	unpacked, err := gzip.NewReader(bytes.NewReader(axePacked))
	if err != nil {
		return ""
	}
	script, _ := io.ReadAll(unpacked)
	return string(script)
})

// Axe fails the test for each violation that axe-core finds in the page, by its default rules. It finds nothing where scripts do not run,
// since it waits for timers.
func (c *Tab) Axe(name string) {
	c.t.Helper()
	c.axe(name, "")
}

// ofColours are axe-core's rules that look at colours. No other says anything else of a page in the dark than of the same in the light.
const ofColours = `"color-contrast", "link-in-text-block"`

// axe is Axe by the named rules alone, each in quotation marks; "" is all.
func (c *Tab) axe(name, rules string) {
	c.t.Helper()
	if c.silent {
		return
	}
	c.Until(`document.readyState === "complete"`)
	if c.Eval(`typeof axe`) != "object" {
		c.Eval(axe())
	}
	options := `{ resultTypes: ["violations"] }`
	if rules != "" {
		options = `{ resultTypes: ["violations"], runOnly: { type: "rule", values: [` + rules + `] } }`
	}
	found := c.Text(`axe.run(` + options + `).then((r) => JSON.stringify(r.violations.map((v) => ({ id: v.id, help: v.help, nodes: v.nodes.map((n) => n.html.slice(0, 300) + " " + n.failureSummary) }))))`)
	var violations []struct {
		ID    string
		Help  string
		Nodes []string
	}
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		c.t.Fatalf("%s: axe said %q: %v", name, found, err)
	}
	for _, v := range violations {
		c.t.Errorf("%s: axe: %s: %s\n%s", name, v.ID, v.Help, strings.Join(v.Nodes, "\n"))
	}
}

// Widths at which a page is looked at: the narrowest phone, a usual one, a desk.
var Widths = []int{320, 390, 1280}

// Looks looks at the page at all widths, in the light and in the dark, and with letters twice as large: nothing is wider than the window,
// nothing is cut off, and axe finds nothing. Where TUTELA_SHOTS names a folder, it leaves pictures of the page there.
func (c *Tab) Looks(name string) {
	c.t.Helper()
	if c.pictures(name) {
		return
	}
	folder := os.Getenv("TUTELA_SHOTS")
	for _, width := range Widths {
		for _, scheme := range []string{"light", "dark"} {
			c.Size(width, scheme)
			where := fmt.Sprintf("%s at %d px, %s", name, width, scheme)
			if scheme == "light" { // nothing is wider in the dark
				c.fits(where, width)
			}
			switch {
			case width == Widths[0]:
			case scheme == "light":
				c.Axe(where)
			default:
				c.axe(where, ofColours)
			}
			if folder != "" && width != Widths[0] {
				c.Shoot(filepath.Join(folder, fmt.Sprintf("%s.%d-%s.png", name, width, scheme)))
			}
		}
	}
	c.twice(name)
	c.Size(1280, "light")
}

// fits fails the test when the page is wider than the window, or something to press or read as a whole is cut off.
func (c *Tab) fits(where string, width int) {
	c.t.Helper()
	// A phone makes its window as wide as the page asks for, so the window is no measure.
	if wide := c.Eval(`document.documentElement.scrollWidth`); wide != float64(width) {
		c.t.Errorf("%s: the page is %v px wide; the widest: %s", where, wide, c.Text(fmt.Sprintf(`[...document.querySelectorAll("body *")].filter((e) =>
			e.getBoundingClientRect().right > %d).map((e) => e.outerHTML.slice(0, 120)).slice(-3).join("\n")`, width)))
	}
	cut := c.Text(fmt.Sprintf(`[...document.querySelectorAll("a.button, button, .code span, .secret span, h1, h2, td, th, label, .badge")].filter((e) =>
		e.getClientRects().length && !e.closest(".scroll") && getComputedStyle(e).clipPath === "none" && !e.closest("thead") &&
		(e.scrollWidth > e.clientWidth + 1 && e.clientWidth || e.getBoundingClientRect().right > %d)).map((e) => e.outerHTML.slice(0, 200)).join("\n")`, width))
	if cut != "" {
		c.t.Errorf("%s: this is cut off: %s", where, cut)
	}
	// Words that are broken letter by letter fit everywhere, and nobody reads them.
	squeezed := c.Text(`[...document.querySelectorAll("main strong, main p, main span, main time, main dd, main li")].filter((e) =>
		e.getClientRects().length && getComputedStyle(e).clipPath === "none" && e.textContent.trim().length > 11 &&
		e.getBoundingClientRect().width < 3.2 * parseFloat(getComputedStyle(e).fontSize)).map((e) => e.outerHTML.slice(0, 200)).join("\n")`)
	if squeezed != "" {
		c.t.Errorf("%s: this has no room: %s", where, squeezed)
	}
}

// twice looks at the page with letters twice as large.
//
// Source: WCAG 2.2, success criterion 1.4.4 (resize text).
func (c *Tab) twice(name string) {
	c.t.Helper()
	c.Size(1280, "light")
	c.Eval(`document.documentElement.style.setProperty("font-size", "200%", "important")`)
	c.fits(name+" with letters twice as large", 1280)
	c.Eval(`document.documentElement.style.removeProperty("font-size")`)
}

// LooksIn looks at a page that is looked at in two languages, as [Tab.Looks] does, but for this: axe looks at it in the light at one width
// and in the dark at the other, and the other way round in the other language. Two languages together show axe all that Looks does.
func (c *Tab) LooksIn(name string, second bool) {
	c.t.Helper()
	if c.pictures(name) {
		return
	}
	phone := Widths[1]
	desk := Widths[2]
	light := desk
	dark := phone
	if second {
		light = phone
		dark = desk
	}
	c.Size(Widths[0], "light")
	c.fits(fmt.Sprintf("%s at %d px", name, Widths[0]), Widths[0])
	for _, at := range []struct {
		width  int
		scheme string
		rules  string
	}{{dark, "dark", ofColours}, {light, "light", ""}} {
		c.Size(at.width, at.scheme)
		where := fmt.Sprintf("%s at %d px, %s", name, at.width, at.scheme)
		c.fits(where, at.width)
		c.axe(where, at.rules)
		if folder := os.Getenv("TUTELA_SHOTS"); folder != "" {
			c.Shoot(filepath.Join(folder, fmt.Sprintf("%s.%d-%s.png", name, at.width, at.scheme)))
		}
	}
	c.twice(name)
	c.Size(desk, "light")
}

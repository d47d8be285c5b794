package webtest

import (
	"encoding/json"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tutela/storage/storagetest/check"
)

// State is one way in which a page can look: filled, empty, with an error, or past a limit.
type State struct {
	Name string
	// Reach brings a tab there, in whatever language it speaks: it presses by selectors, and not by words. It is called once a language.
	Reach func(c *Tab)
	// Silent has no scripts run: Reach leads to what only browsers without them show.
	Silent bool
}

// Languages are those of the catalogues.
var Languages = []string{"en", "de"}

// LookAt looks at each state in both languages, in the light and in the dark. Nothing is wider than the narrowest phone, nothing is cut
// off when letters are twice as large, and axe finds nothing. Where TUTELA_SHOTS names a folder, it leaves pictures there; where
// TUTELA_PICTURES does, it only takes those of the docs. begin is called with the test of each state.
func LookAt(t *testing.T, states []State, begin func(t *testing.T)) *Seen {
	t.Helper()
	seen := &Seen{pages: map[string]string{}}
	c := Open(t)
	for _, state := range states {
		t.Run(state.Name, func(t *testing.T) {
			begin(t)
			for _, language := range Languages {
				c.t = t
				name := state.Name + "." + language
				if os.Getenv("TUTELA_PICTURES") != "" && !hasShot(name) {
					continue
				}
				c.visit(state, language)
				seen.pages[name] = html.UnescapeString(c.Text(`document.documentElement.outerHTML`))
				c.lookedAt(name, language)
			}
		})
	}
	c.t = t
	return seen
}

// visit brings the tab to a state, as a browser that was here never before.
func (c *Tab) visit(state State, language string) {
	c.t.Helper()
	c.Call("Network.clearBrowserCookies", nil)
	c.silent = state.Silent
	c.Call("Emulation.setScriptExecutionDisabled", map[string]any{"value": state.Silent})
	c.Speaks(language)
	state.Reach(c)
	c.Until(`document.readyState === "complete" && !!document.querySelector("h1")`)
	if got := c.Text(`document.documentElement.lang`); got != language {
		c.t.Errorf("%s: the page is in %q, and the browser speaks %q", state.Name, got, language)
	}
}

// hasShot reports whether the docs have a picture of a state.
func hasShot(name string) bool {
	return slices.ContainsFunc(Shots, func(s Shot) bool { return s.Looks == name })
}

// lookedAt looks at the page that a tab is on. Every rule of axe is asked in one of the two schemes; in the other, what hangs on colours.
func (c *Tab) lookedAt(name, language string) {
	c.t.Helper()
	if c.pictures(name) {
		return
	}
	schemes := []string{"light", "dark"}
	if language != Languages[0] {
		slices.Reverse(schemes)
	}
	c.Size(Widths[0], schemes[0])
	c.fits(fmt.Sprintf("%s at %d px", name, Widths[0]), Widths[0])
	c.breaks(name+", "+schemes[0], `{ resultTypes: ["violations"] }`)
	c.Size(1280, schemes[1])
	c.breaks(name+", "+schemes[1], `{ resultTypes: ["violations"], runOnly: ["color-contrast", "link-in-text-block"] }`)
	c.larger(name)
	if folder := os.Getenv("TUTELA_SHOTS"); folder != "" {
		for _, width := range Widths[1:] {
			for _, scheme := range schemes {
				c.Size(width, scheme)
				c.Shoot(filepath.Join(folder, fmt.Sprintf("%s.%d-%s.png", name, width, scheme)))
			}
		}
	}
}

// Fits fails the test where something is wider than the narrowest phone, or cut off when letters are twice as large.
func (c *Tab) Fits(name string) {
	c.t.Helper()
	if os.Getenv("TUTELA_PICTURES") != "" {
		return
	}
	c.Size(Widths[0], "light")
	c.fits(fmt.Sprintf("%s at %d px", name, Widths[0]), Widths[0])
	c.Size(1280, "light")
	c.larger(name)
}

// larger looks at the page with letters twice as large.
//
// Source: WCAG 2.2, success criterion 1.4.4 (resize text).
func (c *Tab) larger(name string) {
	c.t.Helper()
	c.Eval(`document.documentElement.style.setProperty("font-size", "200%", "important")`)
	c.fits(name+" with letters twice as large", 1280)
	c.Eval(`document.documentElement.style.removeProperty("font-size")`)
}

// breaks fails the test for each rule of axe that the page breaks.
func (c *Tab) breaks(where, options string) {
	c.t.Helper()
	if c.silent { // axe waits for timers, which do not run
		return
	}
	if c.Eval(`typeof axe`) != "object" {
		c.Eval(axe())
	}
	found := c.Text(`axe.run(document, ` + options + `).then((r) => JSON.stringify(r.violations.map((v) =>
		v.id + ": " + v.help + "\n" + v.nodes.map((n) => n.html.slice(0, 300) + " " + n.failureSummary).join("\n"))))`)
	var violations []string
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		c.t.Fatalf("%s: axe said %q: %v", where, found, err)
	}
	for _, violation := range violations {
		c.t.Errorf("%s: axe: %s", where, violation)
	}
}

// Seen are the pages that were looked at.
type Seen struct {
	pages map[string]string // by state and language, as the browser has them
}

// verb is what a text has in the place of a value.
var verb = regexp.MustCompile(`%\[\d+\]\w`)

// Lacks fails the test for each text of the sections of the catalogue that no page has shown, in each language: it belongs to a state that
// nobody has looked at. elsewhere are keys of texts that pages do not show.
func (s *Seen) Lacks(t *testing.T, catalogues string, sections, elsewhere []string) {
	t.Helper()
	if os.Getenv("TUTELA_PICTURES") != "" {
		return // not all were looked at
	}
	for _, language := range Languages {
		content, err := os.ReadFile(filepath.Join(catalogues, language+".json"))
		check.Must(t, err)
		var catalogue map[string]any
		check.Must(t, json.Unmarshal(content, &catalogue))
		for _, section := range sections {
			eachText(section, catalogue[section], func(key, text string) {
				if !slices.Contains(elsewhere, key) && !s.shows(language, text) {
					t.Errorf("%s: no state shows %s: %q", language, key, text)
				}
			})
		}
	}
}

// eachText calls fn for each text of a section; of those with plural forms, for the last.
func eachText(key string, value any, fn func(key, text string)) {
	switch value := value.(type) {
	case string:
		fn(key, value)
	case map[string]any:
		if other, plural := value["other"].(string); plural {
			fn(key, other)
			return
		}
		for name, below := range value {
			eachText(key+"."+name, below, fn)
		}
	}
}

// shows reports whether a page in a language has a text, whatever its values are.
func (s *Seen) shows(language, text string) bool {
	parts := verb.Split(html.UnescapeString(text), -1)
	for name, page := range s.pages {
		if strings.HasSuffix(name, "."+language) && inOrder(page, parts) {
			return true
		}
	}
	return false
}

// inOrder reports whether a page has all parts, one after another.
func inOrder(page string, parts []string) bool {
	for _, part := range parts {
		_, after, found := strings.Cut(page, part)
		if !found {
			return false
		}
		page = after
	}
	return true
}

// Visit goes to an address, and waits for its page.
func (c *Tab) Visit(url string) {
	c.t.Helper()
	c.Go(url)
	c.Until(`document.readyState === "complete" && !!document.querySelector("h1")`)
}

// Send fills the fields of a form, by their names, and sends it past what the browser itself would find wrong. It waits for the page that
// answers.
func (c *Tab) Send(form string, fields map[string]string) {
	c.t.Helper()
	c.Until(fmt.Sprintf(`document.readyState === "complete" && !!document.querySelector(%q)`, form))
	values, err := json.Marshal(fields)
	check.Must(c.t, err)
	c.leave()
	c.Eval(fmt.Sprintf(`(() => {
		const form = document.querySelector(%q);
		for (const [name, value] of Object.entries(%s || {})) form.elements[name].value = value;
		form.submit();
	})()`, form, values))
	c.arrive()
}

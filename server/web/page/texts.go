package page

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"
)

// The texts of all pages, one file a language, nested by section. A text may have verbs as fmt does; a number that has
// plural forms comes first among them.
//
//go:embed catalogue/*.json
var catalogues embed.FS

// languages are those of the catalogues; the first is what everybody gets who reads none of the others.
var languages = []language.Tag{language.English, language.German}

var (
	matcher = language.NewMatcher(languages)
	texts   = mustLoad()
)

// entry is one text of a catalogue: Other, and forms for numbers where it has them.
type entry struct {
	text  string
	forms map[string]string // by the name of the plural form: one, other, =0; nil: it has none
}

// mustLoad reads the catalogues, which are built into the binary. It panics as template.Must does.
func mustLoad() catalog.Catalog {
	b := catalog.NewBuilder(catalog.Fallback(languages[0]))
	for _, tag := range languages {
		entries, err := load(tag.String())
		if err != nil {
			panic(err) //nolint:forbidigo // a built-in file, read at every start
		}
		for key, e := range entries {
			if err := e.add(b, tag, key); err != nil {
				panic(err) //nolint:forbidigo // as above
			}
		}
	}
	return b
}

// load reads the catalogue of a language, by key: "section.page.text".
func load(lang string) (map[string]entry, error) {
	content, err := catalogues.ReadFile("catalogue/" + lang + ".json")
	if err != nil {
		return nil, err
	}
	var sections map[string]any
	if err := json.Unmarshal(content, &sections); err != nil {
		return nil, fmt.Errorf("the catalogue of %s: %w", lang, err)
	}
	entries := map[string]entry{}
	flatten(entries, "", sections)
	return entries, nil
}

func flatten(to map[string]entry, prefix string, section map[string]any) {
	for name, value := range section {
		key := prefix + name
		switch value := value.(type) {
		case string:
			to[key] = entry{text: value}
		case map[string]any:
			if forms := formsOf(value); forms != nil {
				to[key] = entry{text: forms["other"], forms: forms}
				continue
			}
			flatten(to, key+".", value)
		}
	}
}

// formsOf returns the plural forms of a number, or nil when value is a section.
func formsOf(value map[string]any) map[string]string {
	if _, plural := value["other"].(string); !plural {
		return nil
	}
	forms := map[string]string{}
	for name, text := range value {
		forms[name], _ = text.(string)
	}
	return forms
}

func (e entry) add(b *catalog.Builder, tag language.Tag, key string) error {
	if e.forms == nil {
		return b.SetString(tag, key, e.text)
	}
	var cases []any
	for _, form := range []string{"=0", "one", "other"} {
		if text, ok := e.forms[form]; ok {
			cases = append(cases, form, text)
		}
	}
	return b.Set(tag, key, plural.Selectf(1, "%d", cases...))
}

// Texts are the texts in one language.
type Texts struct {
	tag     language.Tag
	printer *message.Printer
}

// TextsFor returns the texts in the language that a reader understands best. accept is the header Accept-Language.
func TextsFor(accept string) Texts {
	wanted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		wanted = nil
	}
	_, index, _ := matcher.Match(wanted...)
	tag := languages[index]
	return Texts{tag, message.NewPrinter(tag, message.Catalog(texts))}
}

// Lang is the language, "en" or "de".
func (t Texts) Lang() string { return t.tag.String() }

// T is a text of the catalogue. args fill its verbs; numbers are written as the language does.
func (t Texts) T(key string, args ...any) string { return t.printer.Sprintf(key, args...) }

// H is a text of the catalogue that has markup. args are escaped.
func (t Texts) H(key string, args ...any) template.HTML {
	escaped := make([]any, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case template.HTML, int, int64:
			escaped[i] = arg
		default:
			escaped[i] = template.HTMLEscapeString(fmt.Sprint(arg))
		}
	}
	return template.HTML(t.T(key, escaped...)) //nolint:gosec // the catalogue is ours, and what comes from elsewhere is escaped
}

// Instant is an instant as machines read it.
func (t Texts) Instant(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// Day is a day: "2 January 2026".
func (t Texts) Day(at time.Time) string {
	at = at.UTC()
	return t.T("date.day", at.Day(), t.T("date.month."+strconv.Itoa(int(at.Month()))), strconv.Itoa(at.Year()))
}

// Clock is a time of the day, which the page's script writes in the reader's own zone.
func (t Texts) Clock(at time.Time) template.HTML {
	return t.timed(at, "clock", t.T("date.clock", at.UTC().Format("15:04")))
}

// When is a day and a time, which the page's script writes in the reader's own zone.
func (t Texts) When(at time.Time) template.HTML {
	weekday := t.T("date.weekday." + strconv.Itoa(int(at.UTC().Weekday())))
	return t.timed(at, "when", t.T("date.when", weekday, t.Day(at), at.UTC().Format("15:04")))
}

func (t Texts) timed(at time.Time, kind, text string) template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<time datetime="%s" data-time="%s">%s</time>`, t.Instant(at), kind, template.HTMLEscapeString(text))
	return template.HTML(b.String()) //nolint:gosec // an instant, and text that is escaped
}

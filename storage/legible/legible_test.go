package legible_test

import (
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"tutela/storage/legible"
)

// names are texts of people from everywhere, with what their scripts need.
var names = []string{
	"Maria", "Zoë Müller-Lüdenscheidt", "Þórr Ðór", "Владимир", "Ελένη", "山田　太郎", "葛\U000e0100城", "김민준", "ﾔﾏﾀﾞ",
	"مريم بنت عبد الله", "مُ\u200cنا", "שרה כהן", "שלום!\u200f (a)", "می\u200cخواهم", "PDF\u200cها", "۵\u200cشنبه",
	"क्\u200dष", "श्री\u200cमान", "ന്\u200d", "ශ්\u200dරී", "กรุงเทพ\u200bมหานคร", "ខ្មែរ", "ᠮᠣᠩ\u180bᠭᠣᠯ", "ᠠ\u180eᠠ",
	"👩🏽\u200d💻", "👨\u200d👩\u200d👧\u200d👦", "❤️\u200d🔥", "🏳️\u200d🌈", "🏳️\u200d⚧️", "🐈\u200d⬛", "1️⃣ #️⃣ ©️ ℹ️ ™",
	"🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "🫪", "\u0600١٢",
	`a "b" c=d \ <e>`, " edges ", "",
}

// hidden are texts that show less than they hold, or something else.
var hidden = []string{
	"a\nb", "a\rb", "a\tb", "a\x00", "\x1b[2J", "a\x7f", "a\u0085b", "\u009b2J", "a\u2028b", "a\u2029b",
	"a\u202ab", "a\u202bb", "a\u202cb", "a\u202db", "a\u202eb", "a\u2066b", "a\u2067b", "a\u2068b", "a\u2069b",
	"a\u200bb", "ma\u200cria", "ma\u200dria", "a\u200e", "a\u200f", "a\u061c", "a\u2060b", "a\ufeffb", "so\u00adft", "a\u034fb",
	"a\ufe0fb", "a\U000e0100b", "👍\ufe0f\ufe0f", "👍\U000e0100", "a\u180eb", "a\u180bb",
	"a\U000e0001", "a\U000e0041\U000e0042", "🏴\U000e0067\U000e0062", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f\U000e0041",
	"a\u3164b", "\u115f", "\u1160", "\uffa0", "a\u2800b", "a\u17b4", "\ufff9a\ufffab\ufffb", "a\ufdd0", "a\U0001d173", "👍\u200da", "a\u200d👍",
}

func TestCheck_LetsNamesOfAllScriptsAndEmojiThrough(t *testing.T) {
	for _, name := range names {
		if err := legible.Check("name", name, 100); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if clean := legible.Clean(name, 100); clean != name {
			t.Errorf("%q became %q", name, clean)
		}
	}
}

func TestCheck_RefusesWhatPeopleCannotSeeAndNamesTheField(t *testing.T) {
	for _, text := range hidden {
		err := legible.Check("the client's name", text, 100)
		if err == nil {
			t.Errorf("%q passes", text)
			continue
		}
		if !strings.HasPrefix(err.Error(), "the client's name holds U+") || strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
		if clean := legible.Clean(text, 100); legible.Check("", clean, 100) != nil || !strings.ContainsRune(clean, utf8.RuneError) {
			t.Errorf("%q became %q", text, clean)
		}
	}
	for _, text := range []string{"\xff", strings.Repeat("x", 101)} {
		if err := legible.Check("name", text, 100); err == nil || err.Error() != "name must be text of at most 100 bytes" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestRequire_TakesNoBlankForAText(t *testing.T) {
	for _, text := range []string{"", " ", "\u00a0\u3000", "\u2800", "\u200b"} {
		if err := legible.Require("name", text, 100); err == nil || err.Error() != "name must be text of 1 to 100 bytes, not all blank" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCheckIdentity_RefusesATwin(t *testing.T) {
	for _, id := range []string{
		"zoe ", " zoe", "zoe\u00a0", "\u3000zoe", "zoe\u2800", // blanks at an edge
		"mi\u212ae", "ｍike", "zoe\u0308", "ﬁona", "\u2126", "x²", // other forms of the same letters
		"می\u200cخواهم", "❤️", "zo\u200be", "\U000e0041", "a\u202eb", "a\nb", // what shows nothing
		"mаria", "Ηenry", "оtto", // letters of Cyrillic and Greek
	} {
		if err := legible.CheckIdentity("the user id", id, 255); err == nil || !strings.HasPrefix(err.Error(), "the user id ") {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{
		"maria", "auth0|5f7c8ec7c33c6c004bbafe82", "CN=Maria López,OU=Personal,DC=example", "zoë", "Владимир", "auth0|мария", "Ελένη", "李小龍",
		"김민준", "مريم", "שרה", "श्री", "google-oauth2|1", "a b", "mİke", "🦊", "東京tokyo",
	} {
		if err := legible.CheckIdentity("the user id", id, 255); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestFold_MakesNoOtherLetterAnASCIILetter(t *testing.T) {
	for text, want := range map[string]string{
		"MIKE@Example.COM": "mike@example.com", "MÜLLER": "müller", "ВЛАД": "влад", "mi\u212ae": "mi\u212ae", "mİke": "mİke", "ΜΑΡΙΑΣ": "μαριασ",
	} {
		if got := legible.Fold(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for r := rune(utf8.RuneSelf); r <= unicode.MaxRune; r++ {
		if utf8.ValidRune(r) && legible.Fold(string(r))[0] < utf8.RuneSelf {
			t.Errorf("%U becomes %q", r, legible.Fold(string(r)))
		}
	}
}

func TestQuote_LetsNothingPassForAFact(t *testing.T) {
	for text, want := range map[string]string{
		"maria":               `maria`,
		"auth0|5f7c8e":        `auth0|5f7c8e`,
		"maria@example.com":   `maria@example.com`,
		"2001:db8::1":         `2001:db8::1`,
		"Zoë":                 `Zoë`,
		"مريم":                `مريم`,
		"":                    `""`,
		"-":                   `"-"`,
		"ok by=admin":         `"ok by=admin"`,
		"by=admin":            `"by=admin"`,
		"a  active":           `"a  active"`,
		"a\u00a0b":            "\"a\u00a0b\"",
		"a,active":            `"a,active"`,
		`x" by="admin`:        `"x\" by=\"admin"`,
		`x\`:                  `"x\\"`,
		"x\r2026-01-01":       `"x\r2026-01-01"`,
		"x\n2026-01-01":       `"x\n2026-01-01"`,
		"\x1b[2J\x1b]0;x\a":   `"\x1b[2J\x1b]0;x\x07"`,
		"\u009b2J":            `"\u009b2J"`,
		"a\u202eb":            `"a\u202eb"`,
		"a\U000e0041":         `"a\U000e0041"`,
		"a\xff":               `"a\xff"`,
		"\u0338x":             `"\u0338x"`,
		"👩🏽\u200d💻 $(reboot)": "\"👩🏽\u200d💻 $(reboot)\"",
	} {
		if got := legible.Quote(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := legible.Escape("Sign in to \"Bank\"\x1b[1m\u202e"); got != `Sign in to "Bank"\x1b[1m\u202e` {
		t.Errorf("%s", got)
	}
}

func FuzzLegible(f *testing.F) {
	for _, text := range append(names, hidden...) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1024 {
			t.Skip("texts are bounded before they come here")
		}
		// What is let through needs no mending; what is mended is let through, within its bound.
		refused := legible.Check("field", text, 64)
		clean := legible.Clean(text, 64)
		if (refused == nil) != (clean == text) {
			t.Errorf("%q: %v, and mended %q", text, refused, clean)
		}
		if err := legible.Check("field", clean, 64); err != nil {
			t.Errorf("%q mended is %q: %v", text, clean, err)
		}
		if refused != nil && text != "" && len(text) > 3 && strings.Contains(refused.Error(), text) {
			t.Errorf("%q: the error repeats it: %v", text, refused)
		}
		// An identity is a text that is there, and differs from another that is one in more than its case and form.
		if legible.CheckIdentity("field", text, 64) == nil && (refused != nil || strings.TrimSpace(text) != text || text == "") {
			t.Errorf("%q passes for an identity", text)
		}
		// What is printed is one line that shows all of it, and can be read back.
		quoted := legible.Quote(text)
		if legible.Check("field", quoted, len(quoted)) != nil {
			t.Errorf("%q is printed as %q", text, quoted)
		}
		if quoted == text {
			if text == "" || strings.ContainsAny(text, " =,;\"'\\`()<>[]{}") {
				t.Errorf("%q is printed bare", text)
			}
		} else if back, err := strconv.Unquote(quoted); err != nil || back != text {
			t.Errorf("%q is printed as %s: %q, %v", text, quoted, back, err)
		}
	})
}

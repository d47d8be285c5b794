package legible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quote returns a text as one word of a line that states facts: in quotes unless it is one plain word. So nothing in it
// passes for another column, another name=value, the end of the line or a command to the terminal. What people cannot see is
// escaped as in Go: \n, \x1b, \u202e. No text is shown as another is.
func Quote(text string) string {
	first, _ := utf8.DecodeRuneInString(text)
	if text != "" && text != "-" && !unicode.IsMark(first) && !strings.ContainsFunc(text, isUnplain) && Check("", text, len(text)) == nil {
		return text
	}
	return `"` + escape(text, `"\`) + `"`
}

// Escape returns a text that stands on a line alone, behind its label: as it is, with what people cannot see escaped as Quote
// does.
func Escape(text string) string { return escape(text, "") }

// isUnplain reports whether a character makes a text more than one plain word: a dash within columns stands for nothing, a
// comma and an equals sign part facts.
func isUnplain(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.M, unicode.N) && !strings.ContainsRune("@._+-/|:~%#", r)
}

// escape writes a backslash before the characters in special, and what people cannot see as Go writes it; so a mark that
// would stand upon the quote before it. When something in the text hides, nothing unseen is let through.
func escape(text, special string) string {
	var b strings.Builder
	_, hides := hidden(text)
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case strings.ContainsRune(special, r):
			b.WriteString(`\` + string(r))
		case hides && isUnseen(r), i == 0 && unicode.IsMark(r):
			b.WriteString(escaped(r))
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

func escaped(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < utf8.RuneSelf:
		return fmt.Sprintf(`\x%02x`, r)
	case r <= 0xffff:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

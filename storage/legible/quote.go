package legible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quote returns a text as one word for a line of facts, in quotes unless it is one plain word. So no part of it can be
// mistaken for another column, another name=value, the end of the line or a command to the terminal. Invisible
// characters are escaped as in Go: \n, \x1b, \u202e. Two different texts never look the same.
func Quote(text string) string {
	first, _ := utf8.DecodeRuneInString(text)
	if text != "" && text != "-" && !unicode.IsMark(first) && !strings.ContainsFunc(text, isUnplain) && Check("", text, len(text)) == nil {
		return text
	}
	return `"` + escape(text, `"\`) + `"`
}

// Escape returns a text for the end of a line, after its label: unchanged, but with invisible characters escaped as
// Quote does.
func Escape(text string) string { return escape(text, "") }

// isUnplain reports whether a text with this character must be quoted: in columns a dash means "none", and a comma and
// an equals sign separate facts.
func isUnplain(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.M, unicode.N) && !strings.ContainsRune("@._+-/|:~%#", r)
}

// escape writes a backslash before the characters in special, and writes invisible characters as Go does. It also
// escapes a combining mark at the beginning, which would merge with the quote before it. If any character of the text
// hides, it escapes every invisible one.
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

package legible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// CheckIdentity is Require for a text by which somebody is told from everybody else: two that look alike are one, or one
// of them is refused. Beyond what Require asks, an identity
//
//   - has no blank at an edge,
//   - is as Unicode composes it (NFKC): no Kelvin sign for a K, no full-width letters, no two ways to write an é,
//   - has no character that shows nothing, wherever it stands,
//   - does not mix Latin, Greek and Cyrillic letters in one word.
//
// The classes of PRECIS are not used: what a login system calls its users is opaque and may hold the blanks and symbols that
// they refuse. This is their rule on compatible characters, and that of UTS #39 on scripts.
//
// Sources: RFC 8264 §9.17; RFC 8265 §3; Unicode Technical Standard #39 §5.2.
func CheckIdentity(field, text string, most int) error {
	if err := Require(field, text, most); err != nil || isASCII(text) && strings.TrimSpace(text) == text {
		return err
	}
	if strings.TrimFunc(text, isBlank) != text {
		return fmt.Errorf("%s begins or ends with a blank", field)
	}
	if !norm.NFKC.IsNormalString(text) {
		return fmt.Errorf("%s holds a character that looks like another one: write it in the form NFKC of Unicode", field)
	}
	for _, r := range text {
		if unicode.In(r, unicode.Cf, unicode.Variation_Selector) {
			return fmt.Errorf("%s holds %U, which people cannot see", field, r)
		}
	}
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.In(r, unicode.L, unicode.M) }) {
		if scriptsOf(word) > 1 {
			return fmt.Errorf("%s mixes Latin, Greek or Cyrillic letters in one word, where they look alike", field)
		}
	}
	return nil
}

// scriptsOf counts which of the scripts whose letters look alike a word is written in.
func scriptsOf(word string) (n int) {
	for _, script := range []*unicode.RangeTable{unicode.Latin, unicode.Greek, unicode.Cyrillic} {
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.Is(script, r) }) {
			n++
		}
	}
	return n
}

// Fold returns a text in lower case, to compare identities in which case does not count. A letter that is not ASCII never
// becomes one that is: in lower case the Kelvin sign would be a k, and the Turkish İ an i.
func Fold(text string) string {
	return strings.Map(func(r rune) rune {
		if low := unicode.ToLower(r); r < utf8.RuneSelf || low >= utf8.RuneSelf {
			return low
		}
		return r
	}, text)
}

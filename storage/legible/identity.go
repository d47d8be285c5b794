package legible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// CheckIdentity is Require for a text that identifies somebody: of two texts that look alike, at most one is accepted.
// Beyond what Require asks, an identity
//
//   - has no blank at an edge,
//   - is in Unicode's composed form (NFKC): no Kelvin sign for a K, no full-width letters, no two ways to write an é,
//   - has no invisible character anywhere,
//   - does not mix Latin, Greek and Cyrillic letters in one word.
//
// It does not use the classes of PRECIS: a login system's name for a user is opaque and may hold blanks and symbols
// that PRECIS refuses. It uses PRECIS's rule on compatible characters, and UTS #39's on scripts.
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

// scriptsOf counts in how many of the look-alike scripts (Latin, Greek, Cyrillic) a word has letters.
func scriptsOf(word string) (n int) {
	for _, script := range []*unicode.RangeTable{unicode.Latin, unicode.Greek, unicode.Cyrillic} {
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.Is(script, r) }) {
			n++
		}
	}
	return n
}

// Fold returns a text in lower case, to compare identities without regard to case. A non-ASCII letter never becomes an
// ASCII one: by Unicode's rule the Kelvin sign would become a k, and the Turkish İ an i.
func Fold(text string) string {
	return strings.Map(func(r rune) rune {
		if low := unicode.ToLower(r); r < utf8.RuneSelf || low >= utf8.RuneSelf {
			return low
		}
		return r
	}, text)
}

// Package legible holds the rule for texts that people see: everything in a text is visible, on one line, in the order
// in which it is stored. It checks texts before they are stored ([Check], [CheckIdentity]), replaces bad characters in
// what a machine says about itself ([Clean]), and prints other people's texts so that they cannot be mistaken for
// something else ([Quote], [Escape]).
//
// Emoji, and names in any script, are legible: joiners and marks of direction are allowed where the script needs them.
//
// Sources: Unicode Standard Annex #9 (direction), #31 §2.3 and Technical Standard #39 (invisible characters, look-alikes),
// #51 (emoji); RFC 5892 §A (join controls).
package legible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Check returns what is wrong with a text that people will see, and nil when it is fit to be shown. field names the text in
// the error, which never repeats the text. most bounds its bytes.
func Check(field, text string, most int) error {
	if len(text) > most || !utf8.ValidString(text) {
		return fmt.Errorf("%s must be text of at most %d bytes", field, most)
	}
	if isASCII(text) && !strings.ContainsFunc(text, unicode.IsControl) {
		return nil
	}
	if r, ok := hidden(text); ok {
		return fmt.Errorf("%s holds %U, which people cannot see: a text has no line breaks, no control characters, "+
			"and no characters that are invisible or change the direction of reading", field, r)
	}
	return nil
}

// hidden returns the first character of a text that hides (see hides); ok is false when none does.
func hidden(text string) (r rune, ok bool) {
	for i, r := range text {
		if hides(text, i, r) {
			return r, true
		}
	}
	return 0, false
}

// Require is Check for a text that must be there: a text of blanks alone counts as none.
func Require(field, text string, most int) error {
	if strings.TrimFunc(text, isBlank) == "" {
		return fmt.Errorf("%s must be text of 1 to %d bytes, not all blank", field, most)
	}
	return Check(field, text, most)
}

// Clean makes a machine's text about itself fit to be shown, in at most most bytes: it replaces each character that
// Check refuses by the visible U+FFFD.
func Clean(text string, most int) string {
	if Check("", text, most) == nil {
		return text
	}
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	var clean strings.Builder
	for i, r := range text {
		if hides(text, i, r) {
			r = utf8.RuneError
		}
		if clean.Len()+utf8.RuneLen(r) > most {
			break
		}
		clean.WriteRune(r)
	}
	return Clean(clean.String(), most) // once more: a character may have been visible only because of one that is now replaced
}

// hides reports whether the character r at byte i of a text is invisible, or changes how others are shown, where no
// script needs it.
func hides(text string, i int, r rune) bool {
	if r < utf8.RuneSelf {
		return unicode.IsControl(r)
	}
	// Each invisible character has a place where it is needed. Anywhere else it hides.
	before, _ := utf8.DecodeLastRuneInString(text[:i])
	_, size := utf8.DecodeRuneInString(text[i:])
	after, _ := utf8.DecodeRuneInString(text[i+size:])
	switch {
	case !isUnseen(r):
		return false
	case r == zeroWidthJoiner && endsEmoji(before) && isPictograph(after):
		return false
	case r == zeroWidthJoiner, r == zeroWidthNonJoiner:
		return !unicode.In(lastLetter(text[:i]), joined...) && !unicode.In(after, joined...)
	case r == mongolianSeparator:
		return !unicode.Is(unicode.Mongolian, before)
	case r == zeroWidthSpace:
		return !unicode.In(before, unspaced...) || !unicode.In(after, unspaced...)
	case unicode.Is(marksOfDirection, r):
		return !strings.ContainsFunc(text, isRightToLeft)
	case unicode.Is(unicode.Variation_Selector, r):
		return !isVaried(before, r)
	case unicode.Is(tags, r):
		return !inFlag(text, i)
	}
	return true
}

// isUnseen reports whether r by itself is invisible.
func isUnseen(r rune) bool {
	if unicode.Is(unicode.Prepended_Concatenation_Mark, r) { // a format character, but visible
		return false
	}
	return r == brailleBlank || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Noncharacter_Code_Point)
}

// The characters that have a rule of their own.
const (
	zeroWidthSpace     = '\u200b'
	zeroWidthNonJoiner = '\u200c'
	zeroWidthJoiner    = '\u200d'
	mongolianSeparator = '\u180e'
	informationSource  = '\u2139' // a letter, and an emoji
	brailleBlank       = '\u2800'
	blackFlag          = '\U0001f3f4'
)

var (
	// joined are the scripts whose letters change their form with joiners and non-joiners.
	joined = []*unicode.RangeTable{
		unicode.Arabic, unicode.Syriac, unicode.Mongolian, unicode.Nko, unicode.Thaana,
		unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya, unicode.Tamil,
		unicode.Telugu, unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Khmer, unicode.Myanmar, unicode.Tibetan,
	}
	// unspaced are the scripts without blanks between words: a zero-width space says where a line may break.
	unspaced = []*unicode.RangeTable{unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar}
	// rightToLeft are the scripts in living use that are read from right to left.
	rightToLeft = []*unicode.RangeTable{
		unicode.Arabic, unicode.Hebrew, unicode.Syriac, unicode.Thaana, unicode.Nko, unicode.Adlam, unicode.Hanifi_Rohingya,
	}
	marksOfDirection = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x061c, Hi: 0x061c, Stride: 1}, {Lo: 0x200e, Hi: 0x200f, Stride: 1}}}
	tags             = &unicode.RangeTable{R32: []unicode.Range32{{Lo: 0xe0000, Hi: 0xe007f, Stride: 1}}}
)

// lastLetter returns the last character of a text that is not a combining mark.
func lastLetter(text string) rune {
	r, _ := utf8.DecodeLastRuneInString(strings.TrimRightFunc(text, unicode.IsMark))
	return r
}

func isRightToLeft(r rune) bool { return unicode.In(r, rightToLeft...) && unicode.IsLetter(r) }

// isPictograph reports whether r can begin an emoji.
func isPictograph(r rune) bool {
	return r != utf8.RuneError && (unicode.In(r, unicode.So, unicode.Sm) || isNewEmoji(r))
}

// endsEmoji reports whether r can end an emoji: a skin tone or a selector can, too.
func endsEmoji(r rune) bool {
	return isPictograph(r) || r == '\ufe0f' || '\U0001f3fb' <= r && r <= '\U0001f3ff'
}

// isNewEmoji reports whether r lies in Unicode's block for emoji, so that emoji newer than Go's tables count, too.
func isNewEmoji(r rune) bool { return '\U0001f000' <= r && r <= '\U0001faff' }

// isVaried reports whether a variation selector may follow r.
func isVaried(r, selector rune) bool {
	switch {
	case selector > '\U000e0000':
		return unicode.Is(unicode.Han, r)
	case '\u180b' <= selector && selector <= '\u180f':
		return unicode.Is(unicode.Mongolian, r)
	}
	return isPictograph(r) || r == informationSource ||
		unicode.In(r, unicode.Nd, unicode.Po, unicode.Pd, unicode.Han, unicode.Myanmar, unicode.Phags_Pa)
}

// flags are the emoji that are spelled with tags. Source: Unicode Technical Standard #51, emoji-sequences.txt.
var flags = []string{flag("gbeng"), flag("gbsct"), flag("gbwls")}

func flag(region string) string {
	return string(blackFlag) + strings.Map(func(r rune) rune { return r + 0xe0000 }, region+"\x7f")
}

// inFlag reports whether the tag at byte i of a text belongs to a flag.
func inFlag(text string, i int) bool {
	start := strings.LastIndex(text[:i], string(blackFlag))
	if start < 0 {
		return false
	}
	for _, f := range flags {
		if strings.HasPrefix(text[start:], f) && i < start+len(f) {
			return true
		}
	}
	return false
}

// isBlank reports whether r is shown as empty space.
func isBlank(r rune) bool { return unicode.IsSpace(r) || r == brailleBlank || r == zeroWidthSpace }

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

package recovery_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/storagetest/ground"
)

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// example is a whole code of the protocol.
const example = "7V3KQ9X2M4T8R6W5Y1ZJ0ABV"

func TestParseCode_KnowsTheCheckCharacter(t *testing.T) {
	for body, check := range map[string]byte{
		"0123456789ABCDEFGHJKMNP": 'V',
		strings.Repeat("Z", 23):   'Q',
		"7V3KQ9X2M4T8R6W5Y1ZJ0AB": 'V',
		strings.Repeat("0", 23):   '0',
	} {
		for i := range len(alphabet) {
			code, err := recovery.ParseCode(body + alphabet[i:i+1])
			switch right := alphabet[i] == check; {
			case right && (err != nil || string(code) != body+string(check)):
				t.Errorf("%s%c: %q, %v", body, check, code, err)
			case !right && !errors.Is(err, recovery.ErrTypo):
				t.Errorf("%s%c was taken, though it ends in %c", body, alphabet[i], check)
			}
		}
	}
}

func TestParseCode_ForgivesCaseSpacesDashesAndLookAlikes(t *testing.T) {
	for _, typed := range []string{
		example,
		strings.ToLower(example),
		"7V3K-Q9X2-M4T8-R6W5-Y1ZJ-0ABV",
		" 7v3k q9x2\tm4t8\nr6w5\r\ny1zj\u00a00abv \u3000",
		"7V3KQ9X2M4T8R6W5YIZJOABV",
		"7v3kq9x2m4t8r6w5ylzjoabv",
		"7V3KQ9X2M4T8R6W5YLZJ0ABV",
		"7V3KQ9X2\u00adM4T8R6W5\u200bY1ZJ0ABV",
		"\ufeff7V3KQ9X2\u2060M4T8\u200dR6W5\u202aY1ZJ0ABV\u202c",
		"\u201c7V3K.Q9X2_M4T8\u00b7R6W5\u2022Y1ZJ\u20260ABV\u201d",
		"'7V3K\u2019Q9X2\"M4T8`R6W5\u00abY1ZJ\u00bb0ABV'",
		"\uff17\uff36\uff13\uff2b\uff31\uff19\uff38\uff12\uff0d\uff4d\uff14\uff54\uff18R6W5Y\uff29ZJ\uff2fABV",
	} {
		if code, err := recovery.ParseCode(typed); err != nil || code != example {
			t.Errorf("%q: %q, %v", typed, code, err)
		}
	}
}

func TestParseCode_ForgivesEveryDashAndSpaceOfUnicode(t *testing.T) {
	for _, table := range []*unicode.RangeTable{unicode.Pd, unicode.Dash, unicode.White_Space} {
		for _, r := range runes(table) {
			if code, err := recovery.ParseCode(example[:8] + string(r) + example[8:]); err != nil || code != example {
				t.Errorf("%U is not forgiven: %v", r, err)
			}
		}
	}
}

func runes(table *unicode.RangeTable) (all []rune) {
	for _, r := range table.R16 {
		for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
			all = append(all, c)
		}
	}
	for _, r := range table.R32 {
		for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
			all = append(all, c)
		}
	}
	return all
}

func TestParseCode_RefusesWhatCanBeNoCode(t *testing.T) {
	for name, typed := range map[string]string{
		"nothing":                "",
		"dashes alone":           strings.Repeat("-", 24),
		"too short":              example[:23],
		"too long":               example + "0",
		"a U":                    "U" + example[1:],
		"a u":                    "u" + example[1:],
		"a U in the middle":      example[:12] + "U" + example[13:],
		"a letter with a hook":   "Ç" + example[1:],
		"a dotless i for a 1":    "7V3KQ9X2M4T8R6W5Y\u0131ZJ0ABV",
		"a long s":               "\u017f" + example[1:],
		"a Kelvin sign":          "7V3\u212aQ9X2M4T8R6W5Y1ZJ0ABV",
		"a NUL":                  example[:12] + "\x00" + example[12:],
		"bytes that are no text": example[:23] + "\xff",
		"a comma":                "7V3K,Q9X2M4T8R6W5Y1ZJ0ABV",
		"more than can be typed": example + strings.Repeat(" ", 300),
	} {
		if code, err := recovery.ParseCode(typed); !errors.Is(err, recovery.ErrTypo) || code != "" {
			t.Errorf("%s: %q, %v", name, code, err)
		}
	}
}

func TestParseCode_FindsEveryWrongCharacter(t *testing.T) {
	for i := range len(example) {
		for _, c := range alphabet {
			typed := example[:i] + string(c) + example[i+1:]
			if _, err := recovery.ParseCode(typed); (err == nil) != (typed == example) {
				t.Errorf("%s: %v", typed, err)
			}
		}
	}
}

func TestIssue_DrawsCodesThatDiffer(t *testing.T) {
	h := newHouse(t, ground.Options{})
	uid, first := h.newUser("ada")
	seen := map[recovery.Code]bool{first: true}
	characters := map[byte]int{}
	for range 400 {
		must(t, h.update(func(tx *storage.Tx) error {
			code, err := h.Issue(tx, uid)
			if parsed, bad := recovery.ParseCode(string(code)); bad != nil || parsed != code {
				t.Errorf("%q was issued and is no code: %v", code, bad)
			}
			if seen[code] {
				t.Errorf("%q was issued twice", code)
			}
			seen[code] = true
			for i := range 23 {
				characters[code[i]]++
			}
			return err
		}))
	}
	// 400 × 23 characters over 32: 287 each. A tenth of that is ten standard deviations away.
	for i := range len(alphabet) {
		if n := characters[alphabet[i]]; n < 120 || n > 520 {
			t.Errorf("%c was drawn %d times of %d", alphabet[i], n, 400*23)
		}
	}
}

func FuzzParseCode(f *testing.F) {
	f.Add(example)
	f.Add("7v3k-q9x2-m4t8-r6w5-yizj-oabv")
	f.Add("\xff\x00\u2212U")
	f.Fuzz(func(t *testing.T, typed string) {
		code, err := recovery.ParseCode(typed)
		if err != nil {
			if !errors.Is(err, recovery.ErrTypo) || code != "" {
				t.Fatalf("%q: %q, %v", typed, code, err)
			}
			return
		}
		if len(code) != 24 || strings.Trim(string(code), alphabet) != "" {
			t.Fatalf("%q gave %q", typed, code)
		}
		if again, err := recovery.ParseCode(string(code)); err != nil || again != code {
			t.Fatalf("%q gave %q, which gives %q, %v", typed, code, again, err)
		}
	})
}

func TestParseCode_TakesWhatForgivenessMakesOfAnyCode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var typed strings.Builder
		for _, c := range example {
			if rapid.Bool().Draw(t, "separated") {
				typed.WriteString(rapid.SampledFrom([]string{"-", " ", "\u2013", "\u2014", "\u2212", "\t"}).Draw(t, "separator"))
			}
			switch lower := rapid.Bool().Draw(t, "lower"); {
			case c == '1':
				typed.WriteString(rapid.SampledFrom([]string{"1", "I", "l", "L", "i"}).Draw(t, "one"))
			case c == '0':
				typed.WriteString(rapid.SampledFrom([]string{"0", "O", "o"}).Draw(t, "zero"))
			case lower:
				typed.WriteString(strings.ToLower(string(c)))
			default:
				typed.WriteRune(c)
			}
		}
		if code, err := recovery.ParseCode(typed.String()); err != nil || code != example {
			t.Fatalf("%q: %q, %v", typed.String(), code, err)
		}
	})
}

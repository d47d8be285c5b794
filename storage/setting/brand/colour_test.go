package brand

import (
	"regexp"
	"testing"

	"pgregory.net/rapid"
)

var assigned = regexp.MustCompile(`--([a-z-]+):(#[0-9a-f]{6})`)

// Whatever colour is taken, all that the pages make of it can be read, in the light and in the dark.
func TestStyle_OfAnyColourCanBeRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := colour{rapid.Byte().Draw(t, "r"), rapid.Byte().Draw(t, "g"), rapid.Byte().Draw(t, "b")}
		given := towards(c, black, white).String()
		if _, err := checkColour(given); err != nil {
			t.Fatalf("the colour that is offered is refused: %v", err)
		}
		found := assigned.FindAllStringSubmatch(Style(given), -1)
		if len(found) != 8 {
			t.Fatalf("%s", Style(given))
		}
		for i, card := range []string{"#ffffff", "#151e1c"} {
			has := map[string]colour{"card": must(card)}
			for _, one := range found[i*4 : i*4+4] {
				has[one[1]] = must(one[2])
			}
			for _, pair := range [][2]string{{"brand", "card"}, {"on-brand", "brand"}, {"brand-strong", "brand-tint"}, {"on-brand", "brand-strong"}} {
				if ratio := contrast(has[pair[0]], has[pair[1]]); ratio < leastContrast {
					t.Errorf("%s: %s on %s has %.2f:1 (%v)", given, pair[0], pair[1], ratio, has)
				}
			}
		}
	})
}

package brand

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The organisation's colour is that of links and of main buttons. On a light page it stands on white, and white stands on it: the
// contrast of the two is the same. For a dark page a lighter one is made of it.
const (
	leastContrast = 4.5
	darkCard      = "#151e1c" // what links stand on in the dark
	darkLabel     = "#05241e"
)

// checkColour accepts a colour that people can read on white, and white on it.
//
// Source: WCAG 2.2, success criterion 1.4.3.
func checkColour(s string) (string, error) {
	c, err := parse(s)
	if err != nil {
		return "", err
	}
	ratio := contrast(c, white)
	if ratio >= leastContrast {
		return c.String(), nil
	}
	return "", fmt.Errorf("%s has a contrast of %.1f:1 to white, too little to read; %s has %.1f:1", c, math.Floor(ratio*10)/10,
		towards(c, black, white), contrast(towards(c, black, white), white))
}

// colour is a colour in sRGB, 0 to 255 each.
type colour [3]uint8

var (
	white = colour{255, 255, 255}
	black = colour{}
)

func (c colour) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

// parse reads a colour as #rgb or #rrggbb.
func parse(s string) (c colour, err error) {
	digits, found := strings.CutPrefix(s, "#")
	if len(digits) == 3 {
		digits = string([]byte{digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]})
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	if !found || len(digits) != 6 || err != nil {
		return c, fmt.Errorf("%q is not a colour", s)
	}
	return colour{uint8(n >> 16), uint8(n >> 8 & 0xff), uint8(n & 0xff)}, nil
}

// contrast is the ratio of two colours' luminances, 1 to 21.
//
// Source: WCAG 2.2, "contrast ratio", "relative luminance".
func contrast(a, b colour) float64 {
	one := luminance(a)
	other := luminance(b)
	return (max(one, other) + 0.05) / (min(one, other) + 0.05)
}

func luminance(c colour) float64 {
	var linear [3]float64
	for i, v := range c {
		s := float64(v) / 255
		linear[i] = s / 12.92
		if s > 0.04045 {
			linear[i] = math.Pow((s+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}

// mix returns a colour of parts percent of to and the rest of c.
func mix(c, to colour, parts int) (m colour) {
	for i := range c {
		m[i] = uint8((int(c[i])*(100-parts) + int(to[i])*parts + 50) / 100)
	}
	return m
}

// towards mixes to into c until c can be read on paper.
func towards(c, to, paper colour) colour {
	for parts := range 101 {
		if m := mix(c, to, parts); contrast(m, paper) >= leastContrast {
			return m
		}
	}
	return to
}

// must parses a colour that is written in this package.
func must(s string) colour {
	c, _ := parse(s)
	return c
}

// Style is a style sheet that gives the pages a colour, as the policy brand.colour has it; "" for none. All pairs of colours in it can be
// read.
func Style(s string) string {
	c, err := parse(s)
	if err != nil {
		return ""
	}
	tint := mix(c, white, 86)
	strong := towards(mix(c, black, 30), black, tint)
	card := must(darkCard)
	light := towards(c, white, card)
	for contrast(light, must(darkLabel)) < leastContrast {
		light = mix(light, white, 10)
	}
	darkTint := mix(c, card, 75)
	lightStrong := towards(mix(light, white, 35), white, darkTint)
	return fmt.Sprintf(":root{--brand:%s;--brand-strong:%s;--on-brand:#ffffff;--brand-tint:%s}"+
		"@media(prefers-color-scheme:dark){:root{--brand:%s;--brand-strong:%s;--on-brand:%s;--brand-tint:%s}}",
		c, strong, tint, light, lightStrong, darkLabel, darkTint)
}

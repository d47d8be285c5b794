package webtest

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"

	"tutela/storage/storagetest/check"
)

// Shot is one of the pictures of a page that stand in the docs.
type Shot struct {
	Looks  string // the name by which a test looks at the page
	File   string // below docs/images
	Width  int    // of the window: 390 is a phone, 1280 a desk
	Scheme string // light or dark
}

// Shots are the pictures of pages in the docs, which make screenshots takes while the tests go through the pages.
var Shots = []Shot{
	{"enrollment-start.en", "page-enrollment-start-phone.png", 390, "light"},
	{"enrollment-scan.en", "page-enrollment-scan-phone.png", 390, "light"},
	{"enrollment-scan.en", "page-enrollment-scan.png", 1280, "light"},
	{"enrollment-code.en", "page-enrollment-code-phone.png", 390, "light"},
	{"enrollment-code.en", "page-enrollment-code.png", 1280, "light"},
	{"enrollment-connected.en", "page-enrollment-done-phone-dark.png", 390, "dark"},
	{"enrollment-gone.en", "page-enrollment-gone-phone.png", 390, "light"},
	{"challenge-asks.en", "page-challenge-phone.png", 390, "light"},
	{"challenge-asks.en", "page-challenge-phone-dark.png", 390, "dark"},
	{"challenge-asks.en", "page-challenge.png", 1280, "light"},
	{"challenge-asks.de", "page-challenge-phone-german.png", 390, "light"},
	{"challenge-denied.en", "page-challenge-denied-phone.png", 390, "light"},
	{"challenge-code-typo.en", "page-challenge-code-phone.png", 390, "light"},
	{"challenge-saves.en", "page-challenge-next-code-phone.png", 390, "light"},
	{"challenge-offers.en", "page-challenge-new-phone-phone.png", 390, "light"},
	{"challenge-lost.en", "page-challenge-lost-phone.png", 390, "light"},
	{"me.en", "page-own-phone.png", 390, "light"},
	{"me.en", "page-own.png", 1280, "light"},
	{"me.en", "page-own-dark.png", 1280, "dark"},
	{"me-prove.en", "page-own-prove-phone.png", 390, "light"},
	{"me-denied.en", "page-own-denied-phone.png", 390, "light"},
	{"signin", "page-dashboard-signin.png", 1280, "light"},
	{"overview", "page-dashboard-overview.png", 1280, "light"},
	{"overview", "page-dashboard-overview-dark.png", 1280, "dark"},
	{"overview", "page-dashboard-overview-phone.png", 390, "light"},
	{"admin-users", "page-dashboard-users.png", 1280, "light"},
	{"admin-user-mfa", "page-dashboard-user-mfa.png", 1280, "light"},
	{"admin-user-reset", "page-dashboard-reset.png", 1280, "light"},
	{"admin-user-reset", "page-dashboard-reset-phone.png", 390, "light"},
	{"admin-user-receipt", "page-dashboard-receipt.png", 1280, "light"},
	{"events", "page-dashboard-events.png", 1280, "light"},
	{"team", "page-dashboard-team.png", 1280, "light"},
	{"settings", "page-dashboard-settings.png", 1280, "light"},
}

// pictures takes the pictures of a page for the docs, where TUTELA_PICTURES names a folder, and reports whether it does. Such a run looks
// for nothing else.
func (c *Tab) pictures(name string) bool {
	c.t.Helper()
	folder := os.Getenv("TUTELA_PICTURES")
	if folder == "" {
		return false
	}
	for _, shot := range Shots {
		if shot.Looks != name {
			continue
		}
		c.Size(shot.Width, shot.Scheme)
		file := filepath.Join(folder, shot.File)
		c.Shoot(file)
		check.Must(c.t, shrink(file))
	}
	c.Size(1280, "light")
	return true
}

// shrink makes the file of a picture small: of at most 256 colours, those that most of its pixels have.
func shrink(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	taken, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		return err
	}
	var small bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&small, paletted(taken)); err != nil {
		return err
	}
	return os.WriteFile(file, small.Bytes(), 0o600)
}

// paletted returns a picture with as many colours as a byte can tell apart. What is rarer gets the nearest of them.
func paletted(taken image.Image) *image.Paletted {
	bounds := taken.Bounds()
	count := map[color.RGBA]int{}
	each := func(do func(x, y int, c color.RGBA)) {
		for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
			for x := bounds.Min.X; x < bounds.Max.X; x++ {
				c, _ := color.RGBAModel.Convert(taken.At(x, y)).(color.RGBA)
				do(x, y, c)
			}
		}
	}
	each(func(_, _ int, c color.RGBA) { count[c]++ })
	colours := make([]color.RGBA, 0, len(count))
	for c := range count {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(number(a), number(b)))
	})
	var palette color.Palette
	for _, c := range colours[:min(len(colours), 256)] {
		palette = append(palette, c)
	}
	at := map[color.RGBA]uint8{}
	for _, c := range colours {
		at[c] = uint8(palette.Index(c))
	}
	small := image.NewPaletted(bounds, palette)
	each(func(x, y int, c color.RGBA) { small.SetColorIndex(x, y, at[c]) })
	return small
}

// number orders colours, so that a picture that is taken again has the same bytes.
func number(c color.RGBA) int { return int(c.R)<<16 | int(c.G)<<8 | int(c.B) }

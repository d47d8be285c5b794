// Package brand keeps how an organisation presents itself to people: its name, logo and colour, and the telephone
// number of its help desk. They are policies, and every page shows them.
//
// No setting can make a page harder to read: a colour with too little contrast is refused, and the message suggests one
// that passes.
package brand

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"tutela/storage"
	"tutela/storage/legible"
	"tutela/storage/setting"
)

// maxName is how many characters the name may have: it stands on one line of a phone, and in the title of each page.
const maxName = 64

var (
	name = setting.Text("brand.name", "the organisation's name on every page of people", "at most 64 characters",
		func(s string) (string, error) { return s, legible.Require("the name", s, maxName) })
	logo = setting.Text("brand.logo", "the organisation's logo on every page of people", "an SVG or PNG of at most 32 KiB as a data: URL, or @FILE", checkLogo)
	hue  = setting.Text("brand.colour", "the colour of links and main buttons on every page of people", "a colour such as #0b6156 with a contrast of 4.5:1 to white", checkColour)
	desk = setting.Text("brand.helpdesk_phone", "the help desk's telephone number on every page of people", "a telephone number", checkPhone)
)

// Brand is how an organisation presents itself. What is not set is empty.
type Brand struct {
	Name   string
	Logo   Logo
	Colour string // "#" and six hex digits
	Phone  string // of the help desk, as people write it
}

// Logo is a picture. Content is nil when there is none.
type Logo struct {
	Kind    string // media type
	Content []byte
}

// Service reads the brand. Safe for concurrent use.
type Service struct{ store *storage.Store }

// New makes a service over a store.
func New(store *storage.Store) *Service { return &Service{store} }

// Get returns the brand as it is set.
func (s *Service) Get(ctx context.Context) (b Brand, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		var picture string
		var errs [4]error
		b.Name, errs[0] = name.Get(tx)
		picture, errs[1] = logo.Get(tx)
		b.Colour, errs[2] = hue.Get(tx)
		b.Phone, errs[3] = desk.Get(tx)
		b.Logo = pictureOf(picture)
		return errors.Join(errs[:]...)
	})
	return b, err
}

// pictureOf returns the picture of a data URL that checkLogo has accepted.
func pictureOf(dataURL string) Logo {
	kind, encoded, found := strings.Cut(strings.TrimPrefix(dataURL, "data:"), ";base64,")
	content, err := base64.StdEncoding.DecodeString(encoded)
	if !found || err != nil || len(content) == 0 {
		return Logo{}
	}
	return Logo{kind, content}
}

// Bounds of a telephone number.
const (
	fewestDigits = 3
	mostDigits   = 20
	maxPhone     = 40 // characters, with what stands between the digits
)

// checkPhone accepts digits and the signs that people write between them in telephone numbers.
func checkPhone(s string) (string, error) {
	digits := 0
	for i, r := range s {
		switch {
		case '0' <= r && r <= '9':
			digits++
		case r == '+' && i == 0, strings.ContainsRune(" -/().", r):
		default:
			return "", errors.New("it has characters other than digits, blanks, brackets and the signs + - . /")
		}
	}
	if digits < fewestDigits || digits > mostDigits || len(s) > maxPhone {
		return "", errors.New("it has too few or too many digits")
	}
	return s, nil
}

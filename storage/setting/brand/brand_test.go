package brand_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"image"
	"image/png"
	"strings"
	"testing"

	"tutela/storage"
	"tutela/storage/setting"
	"tutela/storage/setting/brand"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

func set(g *ground.Ground, t *testing.T, name, value string) error {
	t.Helper()
	return g.Store.Update(t.Context(), func(tx *storage.Tx) error { return setting.Set(tx, name, value) })
}

const mark = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path d="M4 4h24v24z"/></svg>`

func TestBrand_IsAsItWasSet(t *testing.T) {
	g := ground.Open(t, ground.Options{})
	service := brand.New(g.Store)
	none, err := service.Get(t.Context())
	check.Must(t, err)
	if none.Name != "" || none.Logo.Content != nil || none.Colour != "" || none.Phone != "" {
		t.Errorf("nothing is set, and the brand is %+v", none)
	}
	logo, err := brand.DataURL([]byte(mark))
	check.Must(t, err)
	check.Must(t, set(g, t, "brand.name", "Hafenlicht Bank"))
	check.Must(t, set(g, t, "brand.logo", logo))
	check.Must(t, set(g, t, "brand.colour", "#A11"))
	check.Must(t, set(g, t, "brand.helpdesk_phone", "+49 (40) 5550-120"))
	is, err := service.Get(t.Context())
	check.Must(t, err)
	if is.Name != "Hafenlicht Bank" || string(is.Logo.Content) != mark || is.Logo.Kind != "image/svg+xml" || is.Colour != "#aa1111" || is.Phone != "+49 (40) 5550-120" {
		t.Errorf("got %+v", is)
	}
	check.Must(t, set(g, t, "brand.logo", ""))
	if is, err = service.Get(t.Context()); err != nil || is.Logo.Content != nil {
		t.Errorf("the logo was taken away, and is %q, %v", is.Logo.Content, err)
	}
}

func TestColour_ThatCannotBeReadIsRefusedWithOneThatCan(t *testing.T) {
	g := ground.Open(t, ground.Options{})
	for given, says := range map[string][]string{
		"#ff8800": {"2.3:1", "#b35f00"},
		"#ffffff": {"1.0:1", "#757575"},
		"red":     {"not a colour"},
		"#12345":  {"not a colour"},
		"#gggggg": {"not a colour"},
	} {
		err := set(g, t, "brand.colour", given)
		if !errors.Is(err, setting.ErrValue) {
			t.Errorf("%s: %v", given, err)
			continue
		}
		for _, part := range says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v lacks %q", given, err, part)
			}
		}
		// The colour that is offered is taken.
		if _, after, found := strings.Cut(err.Error(), "; "); found {
			check.Must(t, set(g, t, "brand.colour", after[:7]))
		}
	}
}

func TestLogo_ThatRunsOrLoadsSomethingIsRefused(t *testing.T) {
	g := ground.Open(t, ground.Options{})
	svg := func(inside string) string {
		return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">` + inside + `</svg>`
	}
	for name, content := range map[string]string{
		"script":           svg(`<script>alert(1)</script>`),
		"a handler":        svg(`<path onload="alert(1)"/>`),
		"foreign":          svg(`<foreignObject><p/></foreignObject>`),
		"an image":         svg(`<image href="https://evil.example/x.png"/>`),
		"a reference":      svg(`<path xlink:href="https://evil.example"/>`),
		"entities":         `<!DOCTYPE svg [<!ENTITY a "b">]>` + svg(`&a;`),
		"another document": `<html></html>`,
		"nothing":          ``,
		"half a PNG":       "\x89PNG\r\n\x1a\n",
		"too much":         svg(strings.Repeat("<path/>", 8000)),
	} {
		kind := "image/svg+xml"
		if strings.HasPrefix(content, "\x89") {
			kind = "image/png"
		}
		if _, err := brand.DataURL([]byte(content)); err == nil {
			t.Errorf("%s is taken from a file", name)
		}
		url := "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString([]byte(content))
		if err := set(g, t, "brand.logo", url); !errors.Is(err, setting.ErrValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, url := range []string{"https://evil.example/x.svg", "data:text/html;base64,AAAA", "data:image/svg+xml,<svg/>", "x"} {
		if err := set(g, t, "brand.logo", url); !errors.Is(err, setting.ErrValue) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestLogo_MayBeAPNG(t *testing.T) {
	g := ground.Open(t, ground.Options{})
	for side, taken := range map[int]bool{64: true, 2000: false} {
		var picture bytes.Buffer
		check.Must(t, png.Encode(&picture, image.NewRGBA(image.Rect(0, 0, side, 1))))
		url, err := brand.DataURL(picture.Bytes())
		if err == nil {
			err = set(g, t, "brand.logo", url)
		}
		if (err == nil) != taken {
			t.Errorf("%d pixels: %v", side, err)
		}
	}
}

func TestPhone_HasDigitsAndNothingElse(t *testing.T) {
	g := ground.Open(t, ground.Options{})
	for _, wrong := range []string{"call us", "12", "+49 40 <b>", "1+2345", strings.Repeat("1", 21), "javascript:1234"} {
		if err := set(g, t, "brand.helpdesk_phone", wrong); !errors.Is(err, setting.ErrValue) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

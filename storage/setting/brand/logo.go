package brand

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"strings"
)

// Bounds of a logo: it is loaded with the first page, and shown 28 px high.
const (
	maxLogo  = 32 << 10 // bytes
	maxSide  = 1024     // pixels of a PNG
	svgKind  = "image/svg+xml"
	pngKind  = "image/png"
	dataHead = "data:"
)

// DataURL returns the content of a logo's file as the policy brand.logo takes it. It fails when the content is neither SVG nor PNG.
func DataURL(content []byte) (string, error) {
	kind := svgKind
	if bytes.HasPrefix(content, []byte("\x89PNG\r\n\x1a\n")) {
		kind = pngKind
	}
	if err := checkPicture(kind, content); err != nil {
		return "", err
	}
	return dataHead + kind + ";base64," + base64.StdEncoding.EncodeToString(content), nil
}

// checkLogo accepts a data URL of a small picture that loads nothing and runs nothing.
func checkLogo(s string) (string, error) {
	kind, encoded, found := strings.Cut(strings.TrimPrefix(s, dataHead), ";base64,")
	if !found || !strings.HasPrefix(s, dataHead) {
		return "", errors.New("it is not a data: URL (tutela policy set brand.logo @logo.svg makes one from a file)")
	}
	if base64.StdEncoding.DecodedLen(len(encoded)) > maxLogo+2 {
		return "", errTooLarge
	}
	content, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", errors.New("it is not written in base64")
	}
	return s, checkPicture(kind, content)
}

var errTooLarge = fmt.Errorf("it has more than %d KiB", maxLogo>>10)

func checkPicture(kind string, content []byte) error {
	if len(content) > maxLogo {
		return errTooLarge
	}
	switch kind {
	case pngKind:
		size, err := png.DecodeConfig(bytes.NewReader(content))
		if err != nil {
			return errors.New("it is no PNG that can be read")
		}
		if size.Width > maxSide || size.Height > maxSide {
			return fmt.Errorf("it has more than %d pixels a side", maxSide)
		}
		_, err = png.Decode(bytes.NewReader(content))
		return err
	case svgKind:
		return checkSVG(content)
	}
	return errors.New("it is neither SVG nor PNG")
}

// unwanted are the elements that can run code or load something. It is the third defence: pages show the logo as an
// image, in which browsers run nothing, and its Content-Security-Policy protects somebody who opens the logo itself.
var unwanted = map[string]bool{"script": true, "foreignobject": true, "iframe": true, "image": true, "use": true, "a": true, "animate": true, "set": true}

// checkSVG accepts an SVG that has no script, no handler and no reference to elsewhere.
func checkSVG(content []byte) error {
	decoder := xml.NewDecoder(bytes.NewReader(content))
	root := true
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			if root {
				return errors.New("it is neither SVG nor PNG")
			}
			return nil
		}
		if err != nil {
			return errors.New("it is neither PNG nor SVG that can be read")
		}
		if _, declares := token.(xml.Directive); declares {
			return errors.New("its SVG has a document type or entities: remove them")
		}
		element, is := token.(xml.StartElement)
		if !is {
			continue
		}
		if root && element.Name.Local != "svg" {
			return errors.New("it is neither SVG nor PNG")
		}
		root = false
		if err := checkElement(element); err != nil {
			return err
		}
	}
}

func checkElement(element xml.StartElement) error {
	if unwanted[strings.ToLower(element.Name.Local)] {
		return fmt.Errorf("its SVG has the element <%s>: remove it", element.Name.Local)
	}
	for _, a := range element.Attr {
		attribute := strings.ToLower(a.Name.Local)
		if strings.HasPrefix(attribute, "on") || attribute == "href" {
			return fmt.Errorf("its SVG has the attribute %s: remove it", a.Name.Local)
		}
	}
	return nil
}

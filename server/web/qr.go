package web

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"

	"github.com/boombuler/barcode/qr"
)

// quietZone is the white margin of a QR code, in modules.
//
// Source: ISO/IEC 18004 §5.3.8.
const quietZone = 4

// picture is a QR code as an SVG's path of black runs, on a square of Size modules with its quiet zone.
type picture struct {
	Size int
	Path string
}

// draw makes the QR code of a text. It fails for a text that is too long for any.
func draw(text string) (picture, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return picture{}, fmt.Errorf("draw the QR code: %w", err)
	}
	side := code.Bounds().Dx()
	black := func(x, y int) bool { return x < side && code.At(x, y) == color.Black }
	var path bytes.Buffer
	for y := range side {
		for x := 0; x < side; x++ {
			run := 0
			for black(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", x+quietZone, y+quietZone, run, run)
				x += run
			}
		}
	}
	return picture{Size: side + 2*quietZone, Path: path.String()}, nil
}

// link is a text of ours as the target of a link; html/template lets none pass whose scheme it does not know.
func link(text string) template.URL { return template.URL(text) } //nolint:gosec // made by us, of escaped parts

package page

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

// Picture is a QR code as an SVG path of black runs. Its square has Size modules a side, quiet zone included.
type Picture struct {
	Size int
	Path string
}

// widest is how many modules a phone 320 px wide can show with 3 px each, the least that cameras read.
const widest = 90

// Draw makes the QR code of a text. When the code would be too wide, it takes a lower level of error correction. It fails
// when the text is too long for any QR code.
func Draw(text string) (Picture, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil || code.Bounds().Dx()+2*quietZone > widest {
		code, err = qr.Encode(text, qr.L, qr.Auto)
	}
	if err != nil {
		return Picture{}, fmt.Errorf("draw the QR code: %w", err)
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
	return Picture{Size: side + 2*quietZone, Path: path.String()}, nil
}

// Link marks a text of ours as a link target. html/template would remove one whose scheme it does not know.
func Link(text string) template.URL { return template.URL(text) } //nolint:gosec // made by us, of escaped parts

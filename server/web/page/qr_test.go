package page

import (
	"fmt"
	"image/color"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/boombuler/barcode/qr"
	"pgregory.net/rapid"
)

var runIn = regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`)

func TestDraw_PaintsEveryModuleOfTheCodeInsideItsQuietZone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(1, 200, 600).Draw(t, "text")
		p, err := Draw(text)
		if err != nil {
			t.Fatal(err)
		}
		painted := map[string]bool{}
		for _, run := range runIn.FindAllStringSubmatch(p.Path, -1) {
			x, _ := strconv.Atoi(run[1])
			length, _ := strconv.Atoi(run[3])
			if run[3] != run[4] {
				t.Fatalf("the run %v is not closed", run)
			}
			for i := range length {
				painted[fmt.Sprintf("%d %s", x+i, run[2])] = true
			}
		}
		code, err := qr.Encode(text, qr.M, qr.Auto)
		if err != nil {
			t.Fatal(err)
		}
		for y := range p.Size {
			for x := range p.Size {
				inside := x >= quietZone && y >= quietZone && x < p.Size-quietZone && y < p.Size-quietZone
				want := inside && code.At(x-quietZone, y-quietZone) == color.Black
				if painted[fmt.Sprintf("%d %d", x, y)] != want {
					t.Fatalf("module %d, %d is wrong", x, y)
				}
			}
		}
	})
}

func TestDraw_RefusesATextThatNoCodeHolds(t *testing.T) {
	if _, err := Draw(strings.Repeat("x", 3000)); err == nil {
		t.Error("3000 characters are drawn")
	}
}

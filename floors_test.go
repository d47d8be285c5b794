package tutela_test

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"go/parser"
	"os"
	"slices"
	"strings"
	"testing"
)

// rooms are the packages that the picture of the floors shows, each with what it is for. Those that only tests stand on
// are left out.
var rooms = map[string]string{
	"storage":               "typed tables in serializable transactions",
	"storage/audit":         "the event log",
	"storage/bolt":          "the engine: one file, group commit",
	"storage/postgres":      "the engine for several servers: PostgreSQL",
	"storage/bolt/boltfile": "reads the pages of a bbolt file",
	"storage/legible":       "texts that people see",
	"storage/meter":         "what is counted of a server",
	"storage/keyring":       "master key, ring, seals, hashes",
	"storage/outbox":        "work to do after a commit",
	"storage/setting":       "policies",
	"storage/tally":         "figures by day",
	"recovery/user":         "who a user is; the MFA state",
	"recovery/webhook":      "telling other programs what happens",
	"recovery/signal":       "a transmitter of Shared Signals",
	"recovery/ways":         "who would get back in, and how",
	"recovery":              "codes, limits, kept replies, the reset and its receipt",
	"device/push":           "getting a message to a phone",
	"device/push/wire":      "HTTP to push services",
	"device/push/fcm":       "Firebase Cloud Messaging",
	"device/otp":            "one-time codes",
	"device/push/webpush":   "Web Push, and the guard of its endpoints",
	"device/push/apns":      "Apple's push service",
	"device/push/provider":  "push credentials that are set by API",
	"device":                "tickets, enrollments, proofs, notices",
	"device/passkey":        "passkeys: registered and checked",
	"device/login":          "logins and approvals",
	"device/own":            "a person's own page",
	"server/web/own":        "a person's own page, in a browser",
	"backup":                "backups and their generations",
	"backup/restore":        "how a reinstalled app comes back",
	"recovery/admin":        "what admins do to users, and who may",
	"server":                "the foundation of HTTP: limits, errors, waits, health",
	"server/access":         "clients, tokens, signing keys, who may",
	"server/appapi":         "what phones call",
	"server/loginapi":       "what login systems call",
	"server/managementapi":  "what admins' programs call",
	"server/metrics":        "what Prometheus is shown",
	"server/operator":       "what the command line calls",
	"server/web":            "what people see",
	"server/web/page":       "the kit of all pages: frame, languages, forms, waiting",
	"server/web/challenge":  "the pages on which a person proves that it is she",
	"server/web/enrollment": "the pages on which a phone is connected",
	"storage/setting/brand": "the organisation's name, logo and colour on pages",
	"device/phone":          "a simulated app, which shares no code with the rest",
	"cmd/tutela":            "configuration and wiring; one file a command",
}

// within are the packages that the picture shows in the room of another, lest it grow with each.
var within = map[string]string{"recovery/admin/signin": "recovery/admin", "server/web/dashboard": "server/web"}

// palette is the colours of one picture. Text has a contrast of 4.5:1 or more on what it stands on.
type palette struct{ paper, floor, room, edge, ink, muted string }

// pictures are the picture in the two themes in which GitHub shows a page.
var pictures = map[string]palette{
	"docs/images/floors-light.svg": {"#ffffff", "#eef3f1", "#ffffff", "#6b7b76", "#14201d", "#4a5955"},
	"docs/images/floors-dark.svg":  {"#0d1117", "#161f1d", "#22302c", "#80928c", "#e8f0ed", "#a8b8b2"},
}

func TestBook_PictureOfTheFloorsIsFresh(t *testing.T) {
	storeys := storeysOf(t)
	for name, colours := range pictures {
		fresh := drawFloors(storeys, colours)
		if *update {
			if err := os.WriteFile(name, fresh, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		drawn, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(drawn, fresh) {
			t.Errorf("%s does not show the tree as it is: run make book (%v)", name, err)
		}
	}
}

// room is a package in the picture.
type room struct {
	name, about string
	on          []string // what it imports, without what those import already
}

// storeysOf are the floors that have a room, from the ground up.
func storeysOf(t *testing.T) [][]room {
	t.Helper()
	imports := importsOfRooms(t)
	storeys := make([][]room, len(floors))
	for pkg := range imports {
		about, shown := rooms[pkg]
		if !shown {
			if !forTests(pkg) {
				t.Errorf("the picture has no words for %s: add them to rooms", pkg)
			}
			continue
		}
		if floor, ok := floorOf(pkg); ok {
			storeys[floor] = append(storeys[floor], room{pkg, about, withoutImplied(imports, pkg)})
		}
	}
	for pkg := range rooms {
		if imports[pkg] == nil {
			t.Errorf("there is no package %s", pkg)
		}
	}
	storeys = slices.DeleteFunc(storeys, func(s []room) bool { return len(s) == 0 })
	for _, storey := range storeys {
		slices.SortFunc(storey, func(a, b room) int { return strings.Compare(a.name, b.name) })
	}
	return storeys
}

// importsOfRooms are the packages that each imports, with those that share a room as one.
func importsOfRooms(t *testing.T) map[string]map[string]bool {
	t.Helper()
	rooms := map[string]map[string]bool{}
	for pkg, imported := range importsOfTree(t) {
		of := cmp.Or(within[pkg], pkg)
		if rooms[of] == nil {
			rooms[of] = map[string]bool{}
		}
		for name := range imported {
			if name = cmp.Or(within[name], name); name != of {
				rooms[of][name] = true
			}
		}
	}
	return rooms
}

// importsOfTree are the packages of this module that each of its packages imports.
func importsOfTree(t *testing.T) map[string]map[string]bool {
	t.Helper()
	imports := map[string]map[string]bool{}
	for _, f := range readTree(t, parser.ImportsOnly) {
		if imports[f.pkg] == nil {
			imports[f.pkg] = map[string]bool{}
		}
		for _, imported := range f.imports(t) {
			imports[f.pkg][imported] = true
		}
	}
	return imports
}

// withoutImplied are the imports of a package that none of its other imports brings along, sorted.
func withoutImplied(imports map[string]map[string]bool, pkg string) (direct []string) {
	implied := map[string]bool{}
	for imported := range imports[pkg] {
		addReached(imports, imported, implied)
	}
	for imported := range imports[pkg] {
		if !implied[imported] {
			direct = append(direct, imported)
		}
	}
	slices.Sort(direct)
	return direct
}

// addReached adds the packages that one imports, directly or not.
func addReached(imports map[string]map[string]bool, from string, reached map[string]bool) {
	for next := range imports[from] {
		if !reached[next] {
			reached[next] = true
			addReached(imports, next, reached)
		}
	}
}

// The measures of the picture, in pixels of a page that is 960 wide.
const (
	pictureWidth = 960
	margin       = 24
	gap          = 10
	roofHeight   = 56
	lineHeight   = 17
	nameHeight   = 20
	padding      = 12
	foot         = 8   // how far the letters of a line reach down
	letterWidth  = 6.3 // of the words, on average
)

// columns are where a room that is alone on its floor has its name, its words, and what it stands on.
var columns = [3]int{padding, 140, 470}

// drawFloors draws the floors: the ground floor lowest, a room a package, in it what it is for and what it stands on.
func drawFloors(storeys [][]room, c palette) []byte {
	var body bytes.Buffer
	y := margin + roofHeight
	for _, storey := range slices.Backward(storeys) {
		y += drawStorey(&body, storey, c, y) + 3
	}
	var picture bytes.Buffer
	fmt.Fprintf(&picture, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="floors-title">`+"\n", pictureWidth, y+margin)
	fmt.Fprintf(&picture, "<title id=\"floors-title\">The packages of tutela as the floors of a house: each imports only from lower floors</title>\n")
	fmt.Fprintf(&picture, `<style>text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:%s}`+
		`.name{font:600 12.5px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:%s}.on{font-style:italic}</style>`+"\n", c.muted, c.ink)
	fmt.Fprintf(&picture, `<rect width="%d" height="%d" rx="8" fill="%s"/>`+"\n", pictureWidth, y+margin, c.paper)
	fmt.Fprintf(&picture, `<path d="M%d %d L%d %d L%d %d Z" fill="%s" stroke="%s"/>`+"\n",
		margin, margin+roofHeight-4, pictureWidth/2, margin, pictureWidth-margin, margin+roofHeight-4, c.floor, c.edge)
	picture.Write(body.Bytes())
	picture.WriteString("</svg>\n")
	return picture.Bytes()
}

// drawStorey draws a floor whose upper edge is at y, and returns its height.
func drawStorey(to *bytes.Buffer, storey []room, c palette, y int) (height int) {
	alone := len(storey) == 1
	width := (pictureWidth - 2*margin - gap*(len(storey)+1)) / len(storey)
	texts := make([][]roomText, len(storey))
	tall := 0
	for i, r := range storey {
		if texts[i] = r.stacked(width); alone {
			texts[i] = r.inColumns(width)
		}
		last := texts[i][len(texts[i])-1]
		tall = max(tall, last.y+foot+padding)
	}
	fmt.Fprintf(to, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", margin, y, pictureWidth-2*margin, tall+2*gap, c.floor)
	for i := range storey {
		x := margin + gap + i*(width+gap)
		fmt.Fprintf(to, `<rect x="%d" y="%d" width="%d" height="%d" rx="6" fill="%s" stroke="%s"/>`+"\n", x, y+gap, width, tall, c.room, c.edge)
		for _, text := range texts[i] {
			fmt.Fprintf(to, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", text.class, x+text.x, y+gap+text.y+foot, escaped(text.text))
		}
	}
	return tall + 2*gap
}

// roomText is a line of text in a room. x and y count from the room's corner and its padding; y is the line's foot.
type roomText struct {
	x, y        int
	class, text string
}

// stacked sets the texts of a room below each other, broken to its width.
func (r room) stacked(width int) []roomText {
	letters := int(float64(width-2*padding) / letterWidth)
	texts := []roomText{{padding, padding, "name", r.name}}
	for _, part := range [2]roomText{{class: "about", text: r.about}, {class: "on", text: r.standsOn()}} {
		for _, line := range broken(part.text, letters) {
			y := padding + nameHeight + (len(texts)-1)*lineHeight
			texts = append(texts, roomText{padding, y, part.class, line})
		}
	}
	return texts
}

// inColumns sets the texts of a room beside each other. What it stands on comes last, and may need several lines.
func (r room) inColumns(width int) []roomText {
	texts := []roomText{{columns[0], padding, "name", r.name}, {columns[1], padding, "about", r.about}}
	letters := int(float64(width-columns[2]-padding) / letterWidth)
	for i, line := range broken(r.standsOn(), letters) {
		texts = append(texts, roomText{columns[2], padding + i*lineHeight, "on", line})
	}
	return texts
}

func (r room) standsOn() string {
	if len(r.on) == 0 {
		return ""
	}
	return "on " + strings.Join(r.on, ", ")
}

// broken breaks text into lines of at most so many letters. A longer word has a line of its own.
func broken(text string, letters int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > letters {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

func escaped(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a buffer takes everything
	return b.String()
}

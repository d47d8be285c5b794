package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/boombuler/barcode/qr"
	"golang.org/x/term"

	"tutela/server/operator"
)

// ticketCmd is "tutela ticket".
type ticketCmd struct {
	dataFlags
	User      string `arg:"" help:"The login system's id of the user; one not seen before is made."`
	Email     string `placeholder:"ADDRESS" help:"Email of a user not seen before."`
	Multiple  bool   `help:"Also for a user who is enrolled: another phone."`
	Replaces  string `placeholder:"PHONE" help:"Id of a phone that is lost (dev_…): when the new one enrols, it is retired, and its backup goes to the new one."`
	NewCode   bool   `name:"new-code" help:"The user has lost the recovery code: where the ticket enrols, a new one is shown."`
	PublicURL string `name:"public-url" env:"TUTELA_PUBLIC_URL" default:"http://localhost:8080" placeholder:"URL" help:"URL of the link, when no server runs that knows it."`
	Name      string `default:"tutela" env:"TUTELA_NAME" placeholder:"TEXT" help:"The organisation's name in the QR code, when no server runs that knows it."`
	JSON      bool   `name:"json" help:"Print JSON: url, and uri, the text of the QR code."`
}

// Help is the long help of "tutela ticket".
func (ticketCmd) Help() string {
	return `Prints a link that lets its holder enrol a phone for the user, once, within 5 days; on a terminal also the QR code that the
phone can scan at once.

The link is the better way for most apps: its page shows the recovery code, which an app that scans the code of the terminal drops
unless it was made for tutela. Then nobody has seen the code, and the next link shows another.

  tutela ticket maria
  tutela ticket maria --multiple                    a second phone
  tutela ticket maria --replaces dev_…              a new phone for a lost one; tutela device list maria shows the ids
  tutela ticket maria --multiple --new-code         the code is lost too
  tutela phone enroll "$(tutela ticket maria)"      the simulated phone takes the link`
}

// Run makes the ticket.
func (c *ticketCmd) Run(ctx context.Context) error {
	here := installation{publicURL: strings.Split(c.PublicURL, ",")[0], name: c.Name}
	return c.operate(ctx, here, func(s operator.Service) error {
		ticket, err := operator.MakeTicket.Do(ctx, s, operator.TicketRequest{
			UserID:   c.User,
			Email:    c.Email,
			Multiple: c.Multiple,
			Replaces: c.Replaces,
			NewCode:  c.NewCode,
		})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(ticket)
		}
		if term.IsTerminal(int(os.Stdout.Fd())) {
			width, _, err := term.GetSize(int(os.Stdout.Fd()))
			if err != nil {
				width = 0
			}
			fmt.Fprintf(os.Stderr, "\nLet %s open the link: its page shows the recovery code, too. Or scan this, with an app that shows codes itself.\n"+
				"Either works once, within 5 days.\n\n", plain(c.User))
			if err := drawQR(os.Stdout, ticket.URI, width); err != nil {
				return err
			}
			fmt.Println()
		}
		fmt.Println(ticket.URL)
		return nil
	})
}

// quietZone is how many light modules surround a QR code. Source: ISO/IEC 18004 §6.3.8.
const quietZone = 4

// Black on white, whatever the terminal's own colours are, and back.
const (
	blackOnWhite = "\x1b[38;5;16;48;5;231m"
	ownColours   = "\x1b[0m"
)

// drawQR draws a text as a QR code, two modules a character. A terminal that is too narrow (width in characters; 0: not
// known) gets a line that says so.
func drawQR(w io.Writer, text string, width int) error {
	code, err := qr.Encode(text, qr.L, qr.Unicode)
	if err != nil {
		return fmt.Errorf("make the QR code: %w", err)
	}
	size := code.Bounds().Dx()
	if width > 0 && width < size+2*quietZone {
		_, err := fmt.Fprintf(w, "(The QR code needs a terminal %d characters wide.)\n", size+2*quietZone)
		return err
	}
	dark := func(x, y int) bool {
		if x < 0 || y < 0 || x >= size || y >= size {
			return false
		}
		r, _, _, _ := code.At(x, y).RGBA()
		return r == 0
	}
	for y := -quietZone; y < size+quietZone; y += 2 {
		var line strings.Builder
		for x := -quietZone; x < size+quietZone; x++ {
			line.WriteString(halves[[2]bool{dark(x, y), dark(x, y+1)}])
		}
		if _, err := fmt.Fprintln(w, blackOnWhite+line.String()+ownColours); err != nil {
			return err
		}
	}
	return nil
}

// halves are the characters of an upper and a lower module, dark or not.
var halves = map[[2]bool]string{
	{false, false}: " ", {true, false}: "▀", {false, true}: "▄", {true, true}: "█",
}

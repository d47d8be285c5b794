package main

import (
	"context"
	"errors"
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
	Email     string `placeholder:"ADDRESS" help:"Email of a user not seen before; with --send-mail also where the link goes, by default to the user's address."`
	Multiple  bool   `help:"Also for a user who is enrolled: another phone."`
	Replaces  string `placeholder:"PHONE" help:"Id of a phone that is lost (dev_…): when the new one enrols, it is retired, and its backup goes to the new one."`
	NewCode   bool   `name:"new-code" help:"The user has lost the recovery code: where the ticket enrols, a new one is shown."`
	Factor    string `placeholder:"FACTOR" help:"What alone it enrols: push-notification, otp, webauthn-roaming (a security key) or webauthn-platform (a passkey of a phone or computer). By default whatever she likes."`
	SendMail  bool   `name:"send-mail" help:"Have the link mailed, by the webhooks that mail (tutela webhook add --mails). This server sends no mail itself: without such a webhook it is refused."`
	Locale    string `name:"email-locale" placeholder:"TAG" help:"Language of the mail with --send-mail, such as de or en-GB."`
	PublicURL string `name:"public-url" env:"TUTELA_PUBLIC_URL" default:"http://localhost:8080" placeholder:"URL" help:"URL of the link, when no server runs that knows it."`
	Name      string `default:"tutela" env:"TUTELA_NAME" placeholder:"TEXT" help:"The organisation's name in the QR code, when no server runs that knows it."`
	JSON      bool   `name:"json" help:"Print JSON: url, and, when an app can enrol with it, uri, the text of the QR code."`
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
  tutela ticket maria --factor webauthn-roaming     a security key, and nothing else
  tutela ticket maria --send-mail                   the link goes to the user's address too
  tutela phone enroll "$(tutela ticket maria)"      the simulated phone takes the link`
}

// Run makes the ticket.
func (c *ticketCmd) Run(ctx context.Context) error {
	here := installation{publicURL: strings.Split(c.PublicURL, ",")[0], name: c.Name}
	if !c.SendMail && c.Locale != "" {
		return errors.New("--email-locale is the language of the mail: name --send-mail too")
	}
	return c.operate(ctx, here, func(s operator.Service) error {
		ticket, err := operator.MakeTicket.Do(ctx, s, operator.TicketRequest{
			UserID:   c.User,
			Email:    c.Email,
			Factor:   c.Factor,
			Multiple: c.Multiple,
			Replaces: c.Replaces,
			NewCode:  c.NewCode,
			Mail:     c.SendMail,
			Locale:   c.Locale,
		})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(ticket)
		}
		return c.show(ticket)
	})
}

// show prints the link, and on a terminal what to do with it.
func (c *ticketCmd) show(ticket operator.Ticket) error {
	if term.IsTerminal(int(os.Stdout.Fd())) {
		if err := c.explain(ticket); err != nil {
			return err
		}
	}
	fmt.Println(ticket.URL)
	return nil
}

// explain says what to do with the link, and draws the QR code of one that an app can enrol with.
func (c *ticketCmd) explain(ticket operator.Ticket) error {
	if c.SendMail {
		fmt.Fprintf(os.Stderr, "\nA webhook that mails was given the link to send.\n")
	}
	if ticket.URI == "" {
		fmt.Fprintf(os.Stderr, "\nLet %s open the link. It works once, within 5 days.\n\n", plain(c.User))
		return nil
	}
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
	return nil
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

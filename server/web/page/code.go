package page

import (
	"html/template"
	"net/url"
	"strings"
	"time"
)

// Code is a recovery code that a page shows, for the templates "code", "code confirm" and "code sheet". The form of "code
// confirm" posts what the person typed as the end of the code as "end".
type Code struct {
	Frame
	Account string
	Code    string
	File    template.URL // the code as a file to download
	Home    string       // where the person uses the code
	Issued  time.Time
	Action  string  // of the form, from this page
	Fields  []Field // of the form, besides the end
	Wrong   bool    // the person has typed another end
}

// Field is a hidden field of a form.
type Field struct{ Name, Value string }

// Code returns a recovery code as pages show it. account is the person, as people write her. action is where the form goes, from
// the root of the server, without a slash before it.
func (c *Call) Code(account, code, action string, fields ...Field) Code {
	shown := Code{
		Frame:   c.frame,
		Account: account,
		Code:    code,
		Home:    c.kit.site.host,
		Issued:  c.kit.Now(),
		Action:  c.frame.Base + action,
		Fields:  fields,
	}
	text := c.T("code.file", shown.Organisation, account, strings.Join(Groups(code), "-"), shown.Day(shown.Issued))
	shown.File = Link("data:text/plain;charset=utf-8," + url.PathEscape(text))
	return shown
}

// QR is a QR code that a page shows, for the template "qr".
type QR struct {
	Picture
	Label string // for those who cannot see it: "QR code that …"
}

// NewQR draws a text. It fails when the text is too long for any QR code.
func NewQR(text, label string) (QR, error) {
	picture, err := Draw(text)
	return QR{picture, label}, err
}

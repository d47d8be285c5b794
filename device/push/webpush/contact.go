package webpush

import (
	"net/mail"
	"net/url"
	"strings"

	"tutela/storage"
)

// ErrContact reports an invalid contact.
var ErrContact = storage.NewError(storage.Invalid, "the contact for push services is not valid")

// CheckContact returns nil for a contact that push services take: mailto: with an address, or an https URL.
//
// Errors: ErrContact.
//
// Source: RFC 8292 §2.1.
func CheckContact(contact string) error {
	wrong := ErrContact.With("%q is no contact for push services, such as mailto:ops@example.com or https://example.com/contact", contact)
	if address, ok := strings.CutPrefix(contact, "mailto:"); ok {
		parsed, err := mail.ParseAddress(address)
		if err != nil || parsed.Address != address {
			return wrong
		}
		return nil
	}
	u, err := url.Parse(contact)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return wrong
	}
	return nil
}

// ContactOf returns the contact of an installation that names none: its public URL over https, else the postmaster of its host. Apple
// takes no contact on localhost, and sends nothing to an installation without https anyway.
func ContactOf(public string) string {
	u, err := url.Parse(public)
	if err != nil || u.Hostname() == "" {
		return "mailto:postmaster@localhost"
	}
	if u.Scheme == "https" {
		return "https://" + u.Host
	}
	host := u.Hostname()
	if strings.Contains(host, ":") { // IPv6. Source: RFC 5321 §4.1.3
		host = "[IPv6:" + host + "]"
	}
	return "mailto:postmaster@" + host
}

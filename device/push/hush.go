package push

import (
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// hushed is an error whose text names no phone: neither its token nor the path of its endpoint. errors.Is and errors.As find
// what it wraps.
type hushed struct {
	text string
	err  error
}

func (h *hushed) Error() string { return h.text }
func (h *hushed) Unwrap() error { return h.err }

// hush returns the error of a carrier as the log, events and /readyz may have it, whatever the carrier and its libraries put
// into it: *url.Error, for one, has the whole URL.
func hush(err error, to Address) error {
	if err == nil {
		return nil
	}
	private := secretsOf(to)
	var r *Refusal
	if errors.As(err, &r) {
		clean := *r
		if clean.Reason != private.removeFrom(clean.Reason) {
			clean.Reason = ""
		}
		return &clean
	}
	text := err.Error()
	clean := private.removeFrom(originsAlone(text[:min(len(text), maxErrorBytes)]))
	if clean == text {
		return err
	}
	return &hushed{clean, err}
}

// maxErrorBytes bounds the text of an error: a library may quote an answer in it.
const maxErrorBytes = 1024

// inURL splits a URL in a text: before the user, the user, the host, and what follows.
var inURL = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)([^\s/?#"'@]*@)?([^\s/?#"'@]*)([^\s"']*)`)

// originsAlone leaves of each URL in a text its scheme and host.
func originsAlone(text string) string { return inURL.ReplaceAllString(text, "$1$3") }

// secrets are the texts that lead to a phone.
type secrets []string

// secretsOf returns what of an address is secret, in each way in which an error may write it. Of a Web Push address it is not the
// origin: operators must know which service is meant.
func secretsOf(to Address) (list secrets) {
	plain := []string{to.Token}
	if s, err := to.Subscription(); err == nil {
		var keys subscriptionJSON
		keys.set(s)
		plain = []string{keys.Keys.P256DH, keys.Keys.Auth}
		if u, err := s.URL(); err == nil {
			plain = append(plain, u.Path, u.RequestURI(), u.Fragment)
		}
	}
	for _, text := range plain {
		for _, written := range []string{text, url.PathEscape(text), url.QueryEscape(text), strconv.Quote(text)} {
			if len(written) >= leastSecret {
				list = append(list, lower(written))
			}
		}
	}
	return list
}

const (
	leastSecret = 4 // bytes; a shorter token is nobody's, and would blot out words
	telling     = 8 // bytes in a row that a text and a secret share, from which the phone could be told
)

// removed stands for what was removed.
const removed = "[…]"

// removeFrom replaces what a text shares with a secret. Capital letters are as small ones: APNs' tokens are written both ways.
func (list secrets) removeFrom(text string) string {
	small := lower(text)
	hit := make([]bool, len(text))
	for _, secret := range list {
		n := min(telling, len(secret))
		for i := 0; i+n <= len(small); i++ {
			if !strings.Contains(secret, small[i:i+n]) {
				continue
			}
			for j := range n {
				hit[i+j] = true
			}
		}
	}
	var clean strings.Builder
	for i := range len(text) {
		switch {
		case !hit[i]:
			clean.WriteByte(text[i])
		case i == 0 || !hit[i-1]:
			clean.WriteString(removed)
		}
	}
	return clean.String()
}

// lower makes the letters of ASCII small, and keeps every byte where it is.
func lower(text string) string {
	small := []byte(text)
	for i, c := range small {
		if c >= 'A' && c <= 'Z' {
			small[i] = c + 'a' - 'A'
		}
	}
	return string(small)
}

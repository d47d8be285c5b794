package enrollment

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"tutela/server/web/page"
	"tutela/storage"
)

// A browser has one session for each ticket that it has started: a cookie that is named for the ticket. Each Start mints a
// new one, so that nobody can choose it in advance; what the browser has started moves to the new session.
const (
	sessionCookie     = "tutela_enrollment_" // and the name of the ticket
	sessionCharacters = 43                   // of 62: 256 bits
	sessionLife       = 24 * time.Hour
	sessionsKept      = 8 // in a browser: all cookies together must fit into a header
)

// nameOf returns the name of a ticket's session. It reveals nothing about the ticket.
func nameOf(ticket string) string {
	sum := sha256.Sum256([]byte(ticket))
	return sessionCookie + hex.EncodeToString(sum[:5])
}

// session is the browser's session for a ticket, or "" when it has none.
func session(c *page.Call, ticket string) string {
	if value := c.Kept(nameOf(ticket)); len(value) == sessionCharacters {
		return value
	}
	return ""
}

// newSession mints a session. giveSession gives it to the browser.
func newSession() string { return storage.NewID("", sessionCharacters) }

// giveSession gives the browser a session for a ticket. Beyond sessionsKept it removes the sessions that the browser names
// first, which are usually the oldest.
func giveSession(c *page.Call, ticket, session string) {
	mine := nameOf(ticket)
	var others []string
	for _, name := range c.KeptNames(sessionCookie) {
		if name != mine {
			others = append(others, name)
		}
	}
	for len(others) >= sessionsKept {
		c.Forget(others[0])
		others = others[1:]
	}
	c.Keep(mine, session, sessionLife)
}

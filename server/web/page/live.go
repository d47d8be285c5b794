package page

import (
	"context"
	"errors"
	"time"

	"tutela/server"
	"tutela/storage"
)

// A page that waits for something asks again and again whether it has happened, and the server holds each such call until
// then. Its script does that without being seen, and shows the parts that have changed: of all tabs of a browser four hold a
// call, since browsers open six connections to a host, and the others ask every five seconds; in the background none does.
// Without script the browser loads the page again by itself (the header Refresh, which readers' tools do not see as they
// would an element, and which a page with a running script does not get).
const (
	heldFor      = 25 * time.Second // most proxies allow more
	soon         = 1                // second
	later        = 5                // seconds
	scriptCookie = "tutela_script"  // set by page.js as it leaves a page: scripts run in this browser
)

// Live says that a page waits for something. Its template has one element with data-live, the address that is held, and
// data-again, the seconds until it is asked.
type Live struct {
	Address string // what to load again, from the root of the server, without a slash before it
	Again   int    // seconds until then: what Hold returned, or Soon
}

// Soon is how soon a page that waits asks for the first time, in seconds.
const Soon = soon

// Hold holds the call until wait returns, and returns how soon the page is to ask again, in seconds. The caller must look
// at the state again after it, and finds there whatever went wrong. key names who waits: of more than perKey calls of a key
// the oldest is told to ask later, as all are when too many calls wait at the server, or it shuts down.
//
// wait waits at most so long. It returns storage.ErrHeld as the domain does.
//
// Errors: storage.ErrHeld.
func (c *Call) Hold(key string, perKey int, wait func(ctx context.Context, most time.Duration) error) (again int, err error) {
	held, leave, ok := c.kit.server.Waits().Enter(c.UserContext(), key, perKey)
	defer leave()
	if !ok {
		return later, nil
	}
	err = wait(held, heldFor)
	switch {
	case errors.Is(err, storage.ErrHeld):
		return 0, err
	case err != nil, server.Cut(held):
		return later, nil
	}
	return soon, nil
}

// Later is how soon a page asks again that was not held, in seconds.
const Later = later

// runsScript reports whether scripts run in the browser, as the page before has said.
func (c *Call) runsScript() bool { return c.Cookies(scriptCookie) != "" }

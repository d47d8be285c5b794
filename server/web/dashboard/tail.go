package dashboard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"tutela/server/web/page"
	"tutela/storage"
	"tutela/storage/audit"
)

// A page that shows what happens is held until it would show something else: see page/live.go. Its address says what it shows, so nothing
// is kept of it here: it goes on at any server, and after a restart.
const (
	holdsPerSession = 4           // of a page
	eventsEvery     = time.Second // between two looks at the log
	overviewEvery   = 3 * time.Second
	marksBytes      = 64
)

// nobodys is what no commit wakes. Who watches the log would be woken by every commit, and is not to cost more the more happens.
var nobodys = storage.NewUID()

// hold holds a call of a page until changed says that the page would show something else, and looks every so often. It returns after how
// many seconds the page asks again. A call that does not ask to be held is not.
//
// Errors: storage.ErrHeld; those of changed.
func (p *pages) hold(c *Call, name string, every time.Duration, changed func(context.Context) (bool, error)) (again int, err error) {
	if c.Query("wait") == "" {
		return page.Soon, nil
	}
	// The session is looked at before each look, since the handler begins anew.
	return c.Hold(name+":"+c.Session.ID, holdsPerSession, func(ctx context.Context, most time.Duration) error {
		return p.Store.Await(ctx, nobodys, most, func(ctx context.Context, _ storage.Glance) (bool, time.Duration, error) {
			over, err := changed(ctx)
			return over, every, err
		})
	})
}

// awaitEvents holds the call until the list of events that fit is another than the caller has.
func (p *pages) awaitEvents(c *Call, f filter) (again int, err error) {
	mark := c.Query("mark")
	if !audit.IsMark(mark) {
		mark = ""
	}
	return p.hold(c, "events", eventsEvery, func(ctx context.Context) (bool, error) {
		q, one, err := p.query(ctx, f)
		if err != nil || one != nil {
			return false, err
		}
		q.Within = eventsRead
		if news, err := audit.HasNews(ctx, p.Store, q, audit.Mark(mark)); err != nil || !news {
			return false, err
		}
		list, _, err := p.find(ctx, f, "")
		return digestOf(list) != c.Query("shown"), err
	})
}

// digestOf names what a list of events shows.
func digestOf(list []audit.Entry) string {
	sum := sha256.New()
	for _, e := range list {
		_, _ = sum.Write([]byte(e.ID + "\n"))
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// Address is what a page that tails the log asks, from the root of the server.
func (e eventsPage) Address() string {
	return eventsPath + e.Filter.With("live", "1", "wait", "1", "mark", string(e.Mark), "shown", e.Shown)
}

package fcm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"

	"tutela/device/push/wire"
)

// token is an access token. Only worked changes.
type token struct {
	access  string
	expires time.Time // zero: it does not say
	made    time.Time
	renewed bool        // made because FCM did not accept the one before it
	worked  atomic.Bool // FCM has accepted it
}

// earlyRenewal is how long before its end an access token is not used any more.
const earlyRenewal = 10 * time.Second

func (t *token) usable(now time.Time) bool {
	return t != nil && (t.expires.IsZero() || now.Before(t.expires.Add(-earlyRenewal)))
}

// tokens holds the access token. All deliveries share it, and share the wait for a new one.
type tokens struct {
	config *jwt.Config
	by     http.RoundTripper

	mu      sync.Mutex
	current *token
	refused bool // FCM has not accepted the last one
	coming  *coming
}

// coming is a request for an access token that is under way. token, err and left are set before done is closed.
type coming struct {
	done  chan struct{}
	token *token
	err   error
	left  bool // the delivery that asked has ended, and says nothing of the token endpoint

	renewed bool // as in token
}

func newTokens(config *jwt.Config, by http.RoundTripper) *tokens {
	return &tokens{config: config, by: by}
}

// get returns an access token. It asks the token endpoint for one when there is none that can be used. Deliveries wait together for
// what the first of them asks, as long as that one waits itself: then the next asks anew.
//
// Errors: *push.Refusal, when the token endpoint gives none; those of the connection; that of ctx.
func (t *tokens) get(ctx context.Context) (*token, error) {
	for {
		usable, c, first := t.join()
		if usable != nil {
			return usable, nil
		}
		if first {
			t.fetch(ctx, c)
			return c.token, c.err
		}
		select {
		case <-c.done:
			if !c.left {
				return c.token, c.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// join returns the token that can be used, else the request that is under way, which its caller has to make when it is the first.
func (t *tokens) join() (usable *token, c *coming, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.usable(time.Now()) {
		return t.current, nil, false
	}
	first = t.coming == nil
	if first {
		t.coming = &coming{done: make(chan struct{}), renewed: t.refused}
	}
	return nil, t.coming, first
}

// renewalPause is the least time between two requests for an access token when FCM accepts none.
const renewalPause = time.Minute

// drop reports whether it is worth trying again with the token that get returns now: FCM did not accept used, which is then not
// used any more. A new token that FCM does not accept either is kept for a while: then it is not the token that is wrong.
func (t *tokens) drop(used *token) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != used {
		return true
	}
	if used.renewed && !used.worked.Load() && time.Since(used.made) < renewalPause {
		return false
	}
	t.current = nil
	t.refused = true
	return true
}

// fetchTime bounds a request to the token endpoint. It is shorter than an attempt of the outbox, so that those who wait for one that
// hangs learn it all at once, and the next attempt asks anew.
const fetchTime = 4 * time.Second

// fetch asks the token endpoint.
func (t *tokens) fetch(ctx context.Context, c *coming) {
	c.err = errors.New("the request for an access token has not ended")
	defer func() {
		c.left = c.err != nil && ctx.Err() != nil
		t.mu.Lock()
		defer t.mu.Unlock()
		t.coming = nil
		if c.err == nil {
			c.token.renewed = c.renewed
			t.current = c.token
			t.refused = false
		}
		close(c.done)
	}()
	c.token, c.err = t.ask(ctx)
}

func (t *tokens) ask(ctx context.Context) (*token, error) {
	made := time.Now()
	seen := &witness{by: t.by, ctx: ctx}
	client := &http.Client{Transport: seen, Timeout: fetchTime, CheckRedirect: followNone}
	fetched, err := t.config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, client)).Token()
	switch {
	case seen.err != nil:
		return nil, fmt.Errorf("get an access token from %s: %w", hostOf(t.config.TokenURL), seen.err)
	case err != nil && !seen.answer.OK():
		return nil, tokenRefusal(seen.answer, time.Now())
	case err != nil || fetched.AccessToken == "":
		return nil, errors.New("the token endpoint's answer holds no access token")
	}
	return &token{access: fetched.AccessToken, expires: fetched.Expiry, made: made}, nil
}

func followNone(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// witness is a transport for one request. It records what happened to it.
type witness struct {
	by     http.RoundTripper
	ctx    context.Context // of the delivery, which the library does not give its request
	answer wire.Answer
	err    error
}

// RoundTrip sends the request, and reads at most wire.MaxAnswerBytes of the answer.
func (w *witness) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	w.answer, w.err = wire.Fetch(w.by, req.WithContext(ctx))
	if w.err != nil {
		return nil, w.err
	}
	return w.answer.Response(req), nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

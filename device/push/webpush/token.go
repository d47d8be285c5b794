package webpush

import (
	"sync"
	"time"
)

const (
	// tokenLife is how long a signed header is used. webpush-go signs for 12 h from now, whatever its option VapidExpiration
	// says; RFC 8292 §2 allows 24 h.
	tokenLife = 6 * time.Hour

	// maxTokens bounds the cache: strangers choose the origins.
	maxTokens = 1024
)

// tokens keeps the signed Authorization header of each origin. Push services ask senders to use one for some hours: so
// they need not check a signature for each message.
//
// Source: RFC 8292 §2 and §6.
type tokens struct {
	now func() time.Time

	mu       sync.Mutex
	byOrigin map[string]token
}

type token struct {
	header string
	until  time.Time
}

func newTokens(now func() time.Time) *tokens { return &tokens{now: now, byOrigin: map[string]token{}} }

// use returns the header that is kept for an origin, else keeps and returns fresh.
func (t *tokens) use(origin, fresh string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if kept, ok := t.byOrigin[origin]; ok && now.Before(kept.until) {
		return kept.header
	}
	if len(t.byOrigin) >= maxTokens {
		for other := range t.byOrigin { // any one: whoever fills the cache costs the others a signature
			delete(t.byOrigin, other)
			break
		}
	}
	t.byOrigin[origin] = token{fresh, now.Add(tokenLife)}
	return fresh
}

// forget drops the header of an origin which does not take it: it may have been signed while the clock was wrong.
func (t *tokens) forget(origin string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byOrigin, origin)
}

package apns

import (
	"crypto/ecdsa"
	"errors"
	"sync"
	"time"

	"github.com/sideshow/apns2/token"
)

// provider makes the tokens by which APNs knows the key, and keeps the newest.
type provider struct {
	key    *ecdsa.PrivateKey
	keyID  string
	teamID string

	mu      sync.Mutex
	current *bearer
	renewed time.Time // the last time that APNs had called one expired, and it was replaced
}

// bearer is a provider token.
type bearer struct {
	text string
	made time.Time
}

func newProvider(key *ecdsa.PrivateKey, keyID, teamID string) *provider {
	return &provider{key: key, keyID: keyID, teamID: teamID}
}

// bearerLife is how long a token is used. APNs takes one for an hour.
const bearerLife = 50 * time.Minute

// get returns a token that can be used.
func (p *provider) get() (*bearer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current.usable(time.Now()) {
		return p.current, nil
	}
	signed := token.Token{AuthKey: p.key, KeyID: p.keyID, TeamID: p.teamID}
	if _, err := signed.Generate(); err != nil {
		return nil, errors.New("the provider token cannot be signed")
	}
	p.current = &bearer{signed.Bearer, time.Now()}
	return p.current, nil
}

// usable reports whether the token's age is in bounds by both clocks: the one that a suspended machine stops, and the one on
// the wall, which APNs compares the token with and which may have been set.
func (b *bearer) usable(now time.Time) bool {
	if b == nil {
		return false
	}
	wall := now.Round(0).Sub(b.made.Round(0))
	return now.Sub(b.made) < bearerLife && wall < bearerLife && wall > -time.Minute
}

// renewalPause is the least time between two tokens that replace one that APNs calls expired. It refuses providers that renew more
// often than every 20 minutes; and when a new token has expired too, this machine's clock is wrong.
const renewalPause = 20 * time.Minute

// renew reports whether it is worth trying again with the token that get returns now: APNs says that used has expired.
func (p *provider) renew(used *bearer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != used {
		return true
	}
	if !p.renewed.IsZero() && time.Since(p.renewed) < renewalPause {
		return false
	}
	p.renewed = time.Now()
	p.current = nil
	return true
}

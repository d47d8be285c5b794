package server

import (
	"hash/maphash"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"tutela/storage"
)

// ErrTooManyCalls refuses a call from an address that made too many without valid authorization.
var ErrTooManyCalls = storage.NewError(storage.Limited, "too many calls from this address")

// The memory that the limit takes is bounded: limitShards × limitPerShard addresses. Past it an old address is forgotten, which
// lets it start anew; who commands that many addresses gains little by it.
const (
	limitShards   = 64
	limitPerShard = 2048
	limitGlance   = 8 // addresses looked at when one must go
	limitWindow   = time.Minute
)

// AddressLimit bounds the calls without valid authorization by one address: so many a minute, refilled evenly. It is in
// memory, per server. Loopback is exempt, unless a proxy that nobody declared speaks through it. Safe for concurrent use.
//
// A call with valid authorization is never refused for others from its address, so a handler authenticates first and
// charges a failure. A call that needs no authorization is charged before anything else is done.
type AddressLimit struct {
	clock  storage.Clock
	max    int           // calls in a window; 0: no limit
	every  time.Duration // the time in which one call is refilled
	seed   maphash.Seed
	shards [limitShards]limitShard
}

// limitShard holds a part of the addresses: for each, the moment on the steady clock at which nothing of its calls is
// left. That one number is the whole state of a bucket (the generic cell rate algorithm).
type limitShard struct {
	mu      sync.Mutex // guards emptyAt
	emptyAt map[netip.Prefix]time.Duration
}

func newAddressLimit(perMinute int, clock storage.Clock) *AddressLimit {
	l := &AddressLimit{clock: clock, max: max(perMinute, 0), seed: maphash.MakeSeed()}
	if l.max > 0 {
		l.every = limitWindow / time.Duration(l.max)
	}
	for i := range l.shards {
		l.shards[i].emptyAt = map[netip.Prefix]time.Duration{}
	}
	return l
}

// Check refuses a call whose address has none left, and counts nothing. The error is [ErrTooManyCalls] with the time to
// wait; the call's answer gets the X-RateLimit header fields.
func (l *AddressLimit) Check(call *Call) error { return l.take(call, 0) }

// Charge counts a call against its address, and refuses it, as Check does, when none was left. A refused call is not
// counted: the address gets its rate, however much it asks.
func (l *AddressLimit) Charge(call *Call) error { return l.take(call, l.every) }

func (l *AddressLimit) take(call *Call, cost time.Duration) error {
	if l.max == 0 || call.exempt {
		return nil
	}
	bucket, now := bucketOf(call.Address), l.clock.Steady()
	shard := &l.shards[maphash.Comparable(l.seed, bucket)%limitShards]
	shard.mu.Lock()
	emptyAt := max(shard.emptyAt[bucket], now)
	wait := emptyAt + l.every - now - limitWindow
	if wait <= 0 && cost > 0 {
		shard.put(bucket, emptyAt+cost, now)
	}
	shard.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	call.SetHeader("X-RateLimit-Limit", strconv.Itoa(l.max))
	call.SetHeader("X-RateLimit-Remaining", "0")
	call.SetHeader("X-RateLimit-Reset", strconv.FormatInt(l.clock.Wall().Add(wait+time.Second-1).Unix(), 10))
	return ErrTooManyCalls.After(wait)
}

// put remembers a bucket. When the shard is full, it looks at a few others and drops those that have refilled, or else
// the first of them: a bounded effort, since a flood from many addresses comes through here.
func (s *limitShard) put(bucket netip.Prefix, emptyAt, now time.Duration) {
	if _, known := s.emptyAt[bucket]; !known && len(s.emptyAt) >= limitPerShard {
		looked := 0
		for other, at := range s.emptyAt {
			if at <= now || looked == 0 {
				delete(s.emptyAt, other)
			}
			if looked++; looked == limitGlance {
				break
			}
		}
	}
	s.emptyAt[bucket] = emptyAt
}

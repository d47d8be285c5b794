package server

import (
	"hash/maphash"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"tutela/storage"
)

// ErrTooManyCalls refuses a call from an address, or a network, that made too many without valid authorization.
var ErrTooManyCalls = storage.NewError(storage.Limited, "too many calls from this address")

// These bound the memory of the limit: limitShards × limitPerShard addresses, and as many networks. Beyond that the limit
// forgets an old address, which then starts anew; a caller with that many networks gains little by it.
const (
	limitShards   = 64
	limitPerShard = 2048
	limitGlance   = 8 // buckets looked at when one must go
	limitWindow   = time.Minute

	// networkFactor is how many addresses at their limit a network may have. A household or an office shares a network, but
	// one person may also have a whole /48.
	networkFactor = 8
)

// AddressLimit bounds the calls without valid authorization: so many a minute from one address, and eight times as many from
// its network, refilled evenly. Each server counts for itself, in memory. A caller on this machine is exempt, but no proxy is.
// Safe for concurrent use.
//
// A call with valid authorization must never be refused because of other calls from its address. So a handler authenticates
// first, and charges a failure. A call that needs no authorization is charged before anything else.
type AddressLimit struct {
	clock   storage.Clock
	address rate
	network rate
	seed    maphash.Seed
	shards  [limitShards]limitShard
}

// rate is how many calls a window has, refilled one by one.
type rate struct {
	max   int           // calls in a window; 0: no limit
	every time.Duration // the time to refill one call
}

func newRate(limit int) rate {
	if limit <= 0 {
		return rate{}
	}
	return rate{limit, limitWindow / time.Duration(limit)}
}

// limitShard holds a part of the networks, with their addresses: one call looks at one shard.
type limitShard struct {
	mu        sync.Mutex // guards what is below
	addresses buckets
	networks  buckets
}

// buckets holds, for each range, the moment on the steady clock when its bucket will be full again. That one number is the
// whole state of a bucket (the generic cell rate algorithm).
type buckets map[netip.Prefix]time.Duration

func newAddressLimit(perMinute int, clock storage.Clock) *AddressLimit {
	l := &AddressLimit{
		clock:   clock,
		address: newRate(perMinute),
		network: newRate(networkFactor * perMinute),
		seed:    maphash.MakeSeed(),
	}
	for i := range l.shards {
		l.shards[i].addresses = buckets{}
		l.shards[i].networks = buckets{}
	}
	return l
}

// Check refuses a call when its address or network has no calls left, and counts nothing. The error is [ErrTooManyCalls] with
// the time to wait; the call's answer gets the X-RateLimit header fields.
func (l *AddressLimit) Check(call *Call) error { return l.take(call, false) }

// Charge counts a call against its address and its network. When one of them has no calls left it refuses the call, as Check
// does, and does not count it: so an address keeps its rate, however often it asks.
func (l *AddressLimit) Charge(call *Call) error { return l.take(call, true) }

func (l *AddressLimit) take(call *Call, counts bool) error {
	if l.address.max == 0 || call.exempt {
		return nil
	}
	address := bucketOf(call.Address)
	network := networkOf(call.Address)
	now := l.clock.Steady()
	shard := &l.shards[maphash.Comparable(l.seed, network)%limitShards]
	shard.mu.Lock()
	wait := shard.addresses.wait(address, l.address, now)
	full := l.address
	if waitToo := shard.networks.wait(network, l.network, now); waitToo > wait {
		wait = waitToo
		full = l.network
	}
	if wait <= 0 && counts {
		shard.addresses.put(address, l.address, now)
		shard.networks.put(network, l.network, now)
	}
	shard.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	call.SetHeader("X-RateLimit-Limit", strconv.Itoa(full.max))
	call.SetHeader("X-RateLimit-Remaining", "0")
	call.SetHeader("X-RateLimit-Reset", strconv.FormatInt(l.clock.Wall().Add(wait+time.Second-1).Unix(), 10))
	return ErrTooManyCalls.After(wait)
}

// wait returns how long it takes until a bucket has a call again; at most 0 when it has one.
func (b buckets) wait(bucket netip.Prefix, r rate, now time.Duration) time.Duration {
	return max(b[bucket], now) + r.every - now - limitWindow
}

// put counts a call. When there are too many buckets, it looks at a few others and drops the full ones, or else the first. The
// effort is bounded, since a flood from many addresses comes through here.
func (b buckets) put(bucket netip.Prefix, r rate, now time.Duration) {
	emptyAt, known := b[bucket]
	if !known && len(b) >= limitPerShard {
		looked := 0
		for other, at := range b {
			if at <= now || looked == 0 {
				delete(b, other)
			}
			if looked++; looked == limitGlance {
				break
			}
		}
	}
	b[bucket] = max(emptyAt, now) + r.every
}

package login

import (
	"time"

	"tutela/storage"
)

// bucket counts the pushes that a user may get. Each push takes one out. The first comes back after half an hour, the next
// after one more hour, then after 2, 4, 8, 16 and 24 hours, and from then on every 24 hours. A success brings all back.
type bucket struct {
	Used     int       `json:"used"`               // pushes that have not come back; a denial costs one more
	Returned int       `json:"returned,omitempty"` // pushes that came back since the last success: each makes the next wait longer
	Since    time.Time `json:"since,omitzero"`     // when the wait for the next one began; zero while none is out
}

const (
	firstReturn   = 30 * time.Minute
	longestReturn = 24 * time.Hour
	deepest       = 5 // how far below empty a bucket may fall by denials
)

// returnAfter returns the wait for a push to come back when n have come back since the last success.
func returnAfter(n int) time.Duration {
	if n > 5 {
		return longestReturn
	}
	return firstReturn << n
}

// refill brings back the pushes whose wait is over.
func (b *bucket) refill(now time.Time) {
	for b.Used > 0 {
		next := b.Since.Add(returnAfter(b.Returned))
		if now.Before(next) {
			return
		}
		b.Used--
		b.Returned++
		b.Since = next
	}
	b.Since = time.Time{}
}

// cost takes one push out of a bucket that holds most pushes.
func (b *bucket) cost(now time.Time, most int) {
	b.refill(now)
	if b.Used == 0 {
		b.Since = now
	}
	b.Used = min(b.Used+1, most+deepest)
}

// giveBack puts a push back after the person has answered it with yes.
func (b *bucket) giveBack(now time.Time) {
	b.refill(now)
	b.Used = max(b.Used-1, 0)
	if b.Used == 0 {
		b.Since = time.Time{}
	}
}

// own is the bucket of a network from which the user has succeeded.
type own struct {
	bucket
	Success time.Time `json:"success"` // the last one
}

const (
	ownFor   = 30 * 24 * time.Hour // how long a network counts as the user's own after a success
	ownsKept = 16                  // networks of a user and client; the one with the oldest success is forgotten first
)

// bucketOf returns the bucket for a login from a network. A network from which the user has succeeded in the last 30 days has
// its own; all others share one. So a stranger who has her password uses up none of her own pushes.
func (b *budget) bucketOf(now time.Time, network string) *bucket {
	if b.owns(now, network) {
		return &b.Own[network].bucket
	}
	return &b.bucket
}

func (b *budget) owns(now time.Time, network string) bool {
	o := b.Own[network]
	return o != nil && now.Before(o.Success.Add(ownFor))
}

// placeOf returns the place under which a request is counted: its network, if that is the user's own, else Others.
func (b *budget) placeOf(now time.Time, network string) string {
	if b.owns(now, network) {
		return network
	}
	return Others
}

// succeed makes a network the user's own, with a full bucket. If she answered a push, that push goes back to its bucket.
func (b *budget) succeed(now time.Time, network string, pushed bool) {
	if b.bucketOf(now, network) == &b.bucket && pushed {
		b.giveBack(now)
	}
	if b.Own == nil {
		b.Own = make(map[string]*own, 1)
	}
	b.Own[network] = &own{Success: now}
	for len(b.Own) > ownsKept {
		oldest := network
		for other, o := range b.Own {
			if c := o.Success.Compare(b.Own[oldest].Success); c < 0 || c == 0 && other < oldest {
				oldest = other
			}
		}
		delete(b.Own, oldest)
	}
}

// fill brings back all pushes of a user and client.
func (b *budget) fill() {
	b.bucket = bucket{}
	for _, o := range b.Own {
		o.bucket = bucket{}
	}
}

// Refill brings back all pushes of a user. Callers use it when she has spent her recovery code.
func Refill(tx *storage.Tx, uid storage.UID) error { return eachBudget(tx, uid, (*budget).fill) }

// Unmute brings back all pushes of a user and ends her mutes. Callers use it when an admin has talked with her.
func Unmute(tx *storage.Tx, uid storage.UID) error {
	return eachBudget(tx, uid, func(b *budget) {
		b.fill()
		b.Muted = nil
		b.Next = time.Time{}
	})
}

// eachBudget changes the budgets of all clients that have asked a user.
func eachBudget(tx *storage.Tx, uid storage.UID, change func(b *budget)) error {
	rows, err := budgets.All(tx, uid)
	if err != nil {
		return err
	}
	for _, row := range rows {
		change(row.Record)
		if err := budgets.Put(tx, uid, row.Key, row.Record); err != nil {
			return err
		}
	}
	return nil
}

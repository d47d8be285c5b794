package login

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

const (
	mutedFor   = time.Hour        // how long a denial with the reason not_me or hack stops the pushes from that client and network
	mutedKept  = 64               // networks that are muted at a time; beyond that the mute that ends first is dropped
	letThrough = 10 * time.Minute // one muted push without an address goes through in this time: it may be the owner's
)

// budget bounds how often a client asks a user: a person who is asked again and again taps yes in the end. The embedded
// bucket is shared by all networks from which she has not succeeded.
//
// Source: NIST SP 800-63B-4 §3.1.3 (limit pushes since the last success); OWASP ASVS 6.6.4.
type budget struct {
	bucket
	Own   map[string]*own      `json:"own,omitempty"`   // by network
	Muted map[string]time.Time `json:"muted,omitempty"` // until when, by network
	Next  time.Time            `json:"next,omitzero"`   // when a muted push without an address goes through
}

var budgets = storage.Declare(storage.Spec[budget]{Name: "push_budget", Class: storage.MFA, Most: mostClients})

func budgetOf(tx *storage.Tx, uid storage.UID, client string) (*budget, error) {
	b, err := budgets.Get(tx, uid, client)
	if errors.Is(err, storage.ErrNotFound) {
		return &budget{}, nil
	}
	return b, err
}

// take uses one push, if one is left and the network is not muted. Otherwise why says why not.
func (b *budget) take(tx *storage.Tx, uid storage.UID, client, ip string) (ok bool, why audit.Word, err error) {
	most, err := pushBudget.Get(tx)
	if err != nil {
		return false, "", err
	}
	now := tx.Now()
	from := Network(ip)
	if b.muted(now, from) {
		return false, audit.WhyMuted, nil
	}
	bucket := b.bucketOf(now, from)
	bucket.refill(now)
	if bucket.Used >= most {
		return false, audit.WhyBudget, nil
	}
	if from == "" && now.Before(b.Muted[""]) {
		b.Next = now.Add(letThrough)
	}
	bucket.cost(now, most)
	return true, "", b.put(tx, uid, client)
}

func (b *budget) muted(now time.Time, from string) bool {
	if from == "" && !now.Before(b.Next) {
		return false
	}
	return now.Before(b.Muted[from])
}

// denied takes one more push and, when the person says that it was not her, mutes the network.
func denied(tx *storage.Tx, uid storage.UID, l *Login, notMe bool) error {
	b, err := budgetOf(tx, uid, l.Client)
	if err != nil {
		return err
	}
	most, err := pushBudget.Get(tx)
	if err != nil {
		return err
	}
	from := Network(l.IP)
	b.bucketOf(tx.Now(), from).cost(tx.Now(), most)
	if notMe {
		b.mute(tx.Now(), from)
		_, err = recovery.ForgetBrowsers(tx, uid)
	}
	return errors.Join(err, b.put(tx, uid, l.Client))
}

func (b *budget) mute(now time.Time, from string) {
	for other, until := range b.Muted {
		if !now.Before(until) {
			delete(b.Muted, other)
		}
	}
	if b.Muted == nil {
		b.Muted = make(map[string]time.Time, 1)
	}
	b.Muted[from] = now.Add(mutedFor)
	if from == "" {
		b.Next = now.Add(letThrough)
	}
	for len(b.Muted) > mutedKept {
		first := from
		for other, until := range b.Muted {
			if c := until.Compare(b.Muted[first]); c < 0 || c == 0 && other < first {
				first = other
			}
		}
		delete(b.Muted, first)
	}
}

// Network returns the network of an address: the /24 of an IPv4 address, the /48 of an IPv6 address; "" for no address.
func Network(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	bits := 48
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(addr, bits).Masked().String()
}

// succeeded refills buckets after a success: all of them after a right recovery code, else only the bucket of the login's
// network.
func succeeded(tx *storage.Tx, uid storage.UID, l *Login) error {
	if l.Method == ByRecoveryCode {
		return Refill(tx, uid)
	}
	b, err := budgetOf(tx, uid, l.Client)
	if err != nil {
		return err
	}
	b.succeed(tx.Now(), Network(l.IP), l.Delivery != Silent)
	return b.put(tx, uid, l.Client)
}

// NetworksOf returns the networks from which the user has succeeded in a login of any client within the last 30 days.
func NetworksOf(tx *storage.Tx, uid storage.UID) ([]string, error) {
	rows, err := budgets.All(tx, uid)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, row := range rows {
		for network, o := range row.Record.Own {
			if o != nil && tx.Now().Before(o.Success.Add(ownFor)) && !slices.Contains(list, network) {
				list = append(list, network)
			}
		}
	}
	return list, nil
}

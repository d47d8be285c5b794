package login

import (
	"errors"
	"net/netip"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
)

// mutedFor is how long a denial with the reason not_me or hack stops the pushes from that client and address.
const mutedFor = time.Hour

// budget counts how often a client has asked a user since the last success: a person who is asked again and again taps
// yes in the end.
//
// Source: NIST SP 800-63B-4 §3.1.3 (limit pushes since the last success); OWASP ASVS 6.6.4.
type budget struct {
	Used  int                  `json:"used"`            // pushes; a denial counts double
	Muted map[string]time.Time `json:"muted,omitempty"` // until when, by the network of the login's address
}

var budgets = storage.Declare(storage.Spec[budget]{Name: "push_budget", Class: storage.MFA})

func budgetOf(tx *storage.Tx, uid storage.UID, client string) (*budget, error) {
	b, err := budgets.Get(tx, uid, client)
	if errors.Is(err, storage.ErrNotFound) {
		return &budget{}, nil
	}
	return b, err
}

// take uses one push, when there is one left and the address is not muted. why says what stands against it.
func (b *budget) take(tx *storage.Tx, uid storage.UID, client, ip string) (ok bool, why audit.Word, err error) {
	most, err := pushBudget.Get(tx)
	if err != nil {
		return false, "", err
	}
	switch {
	case tx.Now().Before(b.Muted[network(ip)]):
		return false, audit.WhyMuted, nil
	case b.Used >= most:
		return false, audit.WhyBudget, nil
	}
	b.Used++
	return true, "", budgets.Put(tx, uid, client, b)
}

// denied counts a denial as a second push and, when the person says that it was not her, mutes the address.
func denied(tx *storage.Tx, uid storage.UID, l *Login, notMe bool) error {
	b, err := budgetOf(tx, uid, l.Client)
	if err != nil {
		return err
	}
	b.Used++
	if notMe {
		b.mute(tx.Now(), l.IP)
	}
	return budgets.Put(tx, uid, l.Client, b)
}

func (b *budget) mute(now time.Time, ip string) {
	for other, until := range b.Muted {
		if !now.Before(until) {
			delete(b.Muted, other)
		}
	}
	if b.Muted == nil {
		b.Muted = make(map[string]time.Time, 1)
	}
	b.Muted[network(ip)] = now.Add(mutedFor)
}

// network returns what the addresses of one place share. An IPv6 address counts by its /64: who holds one address of it
// holds them all.
func network(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}

// succeeded gives the client its budget back. Addresses that are muted stay so.
func succeeded(tx *storage.Tx, uid storage.UID, client string) error {
	b, err := budgets.Get(tx, uid, client)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(b.Muted) == 0 {
		return budgets.Delete(tx, uid, client)
	}
	b.Used = 0
	return budgets.Put(tx, uid, client, b)
}

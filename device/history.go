package device

import (
	"errors"
	"slices"
	"time"

	"tutela/device/push"
	"tutela/storage"
)

// history holds keyed hashes of the push addresses that an enrollment's app named last. The same address has the same
// hash for all users, so that an address at two users is found. An address that comes back after another one is a sign
// of a cloned phone.
type history struct {
	Addresses []formerlyNamed `json:"addresses"`
}

// formerlyNamed is a push address in an enrollment's history.
type formerlyNamed struct {
	Hash   string    `json:"hash"`
	First  time.Time `json:"first"`           // when it was named first, and last
	Last   time.Time `json:"last"`            //
	Proven time.Time `json:"proven,omitzero"` // when it was proven last; zero when it never was
}

// historyKept is how many addresses the history of an enrollment has.
const historyKept = 8

var histories = storage.Declare(storage.Spec[history]{
	Name:  "push_history",
	Class: storage.MFA,
	Most:  MostEnrollments + MostRetired,
})

var historyByHash = histories.Plain("hash", func(h *history) []string {
	hashes := make([]string, 0, len(h.Addresses))
	for _, a := range h.Addresses {
		hashes = append(hashes, a.Hash)
	}
	return hashes
})

const addressPurpose = "push-address"

// addressParts returns the parts of an address that are hashed.
func addressParts(to push.Address) [][]byte {
	return [][]byte{[]byte(to.Service.Provider()), []byte(to.Token)}
}

// noteAddress notes in the history of an enrollment that its app has named an address.
func (s *Service) noteAddress(tx *storage.Tx, uid storage.UID, id string, to push.Address, proven bool) error {
	if to.IsZero() {
		return nil
	}
	h, err := histories.Get(tx, uid, id)
	if errors.Is(err, storage.ErrNotFound) {
		h = &history{}
	} else if err != nil {
		return err
	}
	now := tx.Now()
	named := formerlyNamed{
		Hash:  s.ring.Hash(addressPurpose, addressParts(to)...),
		First: now,
		Last:  now,
	}
	at := slices.IndexFunc(h.Addresses, func(a formerlyNamed) bool {
		return s.ring.MatchesIn(tx, a.Hash, addressPurpose, addressParts(to)...)
	})
	if at >= 0 {
		named.First = h.Addresses[at].First
		named.Proven = h.Addresses[at].Proven
		h.Addresses = slices.Delete(h.Addresses, at, at+1)
	}
	if proven {
		named.Proven = now
	}
	h.Addresses = append(h.Addresses, named) // in the order in which they were named last
	h.Addresses = h.Addresses[max(len(h.Addresses)-historyKept, 0):]
	return histories.Put(tx, uid, id, h)
}

// holder is an enrollment whose app has named an address.
type holder struct {
	uid storage.UID
	id  string
}

// mostHolders bounds how many enrollments one answer of a push service is applied to.
const mostHolders = 64

// holders returns the enrollments whose apps have named an address lately: two accounts in one app have one address.
func (s *Service) holders(tx *storage.Tx, to push.Address) (all []holder, err error) {
	for _, hash := range s.ring.Hashes(addressPurpose, addressParts(to)...) {
		rows, err := historyByHash.Find(tx, hash, mostHolders-len(all))
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			all = append(all, holder{row.UID, row.Key})
		}
		if len(all) >= mostHolders {
			break
		}
	}
	return all, nil
}

package device

import (
	"errors"
	"time"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
)

// formerAddress is the push address of an enrollment's phone before its app named another one. It is kept until a notice of
// the change was sent there. Each former address gets its notice, so a thief with a device token cannot hide one change by
// making another.
type formerAddress struct {
	push.KeptAddress
	Expires time.Time `json:"expires"`
}

// formerKept bounds the former addresses of an enrollment that wait for their notice. The first ones stay: they are the owner's.
const formerKept = 4

// formerLife is how long the notice is worth delivering.
const formerLife = 24 * time.Hour

var formerAddresses = storage.Declare(storage.Spec[formerAddress]{
	Name:    "push_address",
	Class:   storage.MFA,
	Most:    (MostEnrollments + MostRetired) * formerKept,
	Expires: func(a *formerAddress) time.Time { return a.Expires },
	Sealed:  func(a *formerAddress) []storage.Field { return []storage.Field{{Name: "token", Value: &a.Token}} },
})

// tellBefore notifies the phone of a change of its enrollment, with a push to the address that it had before the change.
func tellBefore(tx *storage.Tx, uid storage.UID, before *Enrollment, word recovery.NoticeWord) error {
	told, err := recovery.WriteNotice(tx, uid, recovery.NoticePayload{Notice: word, Enrollment: before.ID})
	if err != nil {
		return err
	}
	waiting, err := formerAddresses.Prefixed(tx, uid, before.ID)
	if err != nil {
		return err
	}
	room := max(formerKept-len(waiting), 0)
	routes := before.Routes()
	for _, r := range routes[:min(room, len(routes))] {
		told.Address = before.ID + storage.NewID("", 8)
		a := &formerAddress{KeptAddress: r.To.Keep(), Expires: tx.Now().Add(formerLife)}
		err := errors.Join(
			formerAddresses.Put(tx, uid, told.Address, a),
			recovery.PushNotice(tx, uid, r.To.Through(), told))
		if err != nil {
			return err
		}
	}
	return nil
}

package device

import (
	"errors"
	"time"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
)

// formerAddress is where an enrollment's phone was reached before its app named another push address. It is kept until a
// notice of the change was sent to it. Each address that was in force gets one, so a thief with a device token cannot hide
// one change by making another.
type formerAddress struct {
	push.KeptAddress
	Expires time.Time `json:"expires"`
}

// formerKept bounds the former addresses of an enrollment that wait to be told. The first are the ones that count.
const formerKept = 8

// formerLife is as long as a notice is worth delivering.
const formerLife = 24 * time.Hour

var formerAddresses = storage.Declare(storage.Spec[formerAddress]{
	Name:    "push_address",
	Class:   storage.MFA,
	Expires: func(a *formerAddress) time.Time { return a.Expires },
	Sealed:  func(a *formerAddress) []storage.Field { return []storage.Field{{Name: "token", Value: &a.Token}} },
})

// tellOldAddress notifies the phone that its push address or identifier has changed, and pushes that to the previous address.
func tellOldAddress(tx *storage.Tx, uid storage.UID, before *Enrollment) error {
	notice := recovery.NoticePayload{Notice: recovery.NoticePushTokenChanged, Enrollment: before.ID}
	told, err := recovery.WriteNotice(tx, uid, notice)
	if err != nil {
		return err
	}
	to := before.PushAddress()
	if to.IsZero() {
		return nil
	}
	waiting, err := formerAddresses.Prefixed(tx, uid, before.ID)
	if err != nil || len(waiting) >= formerKept {
		return err
	}
	key := before.ID + storage.NewID("", 8)
	a := &formerAddress{KeptAddress: to.Keep(), Expires: tx.Now().Add(formerLife)}
	told.Address = key
	return errors.Join(
		formerAddresses.Put(tx, uid, key, a),
		recovery.PushNotice(tx, uid, to.Through(), told))
}

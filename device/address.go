package device

import (
	"errors"
	"time"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
)

// address is where an enrollment's phone was reached before its app named another push token, kept until it was told of
// the change. Whoever has stolen a device token cannot keep the owner from hearing of it by changing the push token once
// more: each address that was in force is told.
type address struct {
	push.KeptAddress
	Expires time.Time `json:"expires"`
}

// addressesKept bounds the addresses of an enrollment that wait to be told. The first are the ones that count.
const addressesKept = 8

// addressLife is as long as a notice is worth delivering.
const addressLife = 24 * time.Hour

var addresses = storage.Declare(storage.Spec[address]{
	Name: "push_address", Class: storage.MFA,
	Expires: func(a *address) time.Time { return a.Expires },
	Sealed:  func(a *address) []storage.Field { return []storage.Field{{Name: "token", Value: &a.Token}} },
})

// tellOldAddress has the phone told, where it was reached until now, that its push token or identifier has changed.
func tellOldAddress(tx *storage.Tx, uid storage.UID, before *Enrollment) error {
	to := before.PushAddress()
	if to.IsZero() {
		return nil
	}
	waiting, err := addresses.Prefixed(tx, uid, before.ID)
	if err != nil || len(waiting) >= addressesKept {
		return err
	}
	key := before.ID + storage.NewID("", 8)
	a := &address{KeptAddress: to.Keep(), Expires: tx.Now().Add(addressLife)}
	return errors.Join(
		addresses.Put(tx, uid, key, a),
		recovery.NotifyThrough(tx, uid, to.Through(), recovery.NoticePayload{Notice: recovery.NoticePushTokenChanged, Enrollment: before.ID, Address: key}))
}

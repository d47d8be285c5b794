package device

import (
	"errors"
	"time"

	"tutela/storage"
)

// CallKind is a kind of call that is limited per enrollment and hour. Calls by the device token alone have a count of their
// own, so a stolen token does not use up the calls of the key.
type CallKind string

// The kinds.
const (
	PatchByToken CallKind = "patch_by_token"
	PatchByKey   CallKind = "patch_by_key"
	AcceptBackup CallKind = "backup" // repeated and refused calls do not count
	MakeHandle   CallKind = "handle"
	TestedPush   CallKind = "test_push" // by an admin, not by the phone
)

// perHour bounds the calls of each kind in any hour.
var perHour = map[CallKind]int{
	PatchByToken: 6,
	PatchByKey:   60,
	AcceptBackup: 60,
	MakeHandle:   6,
	TestedPush:   10,
}

// callWindow is the time in which calls are counted.
const callWindow = time.Hour

// calls are the times of an enrollment's calls of a kind in the last hour, oldest first, in Unix milliseconds.
type calls struct {
	Times []int64 `json:"times"`
}

var callTable = storage.Declare(storage.Spec[calls]{
	Name:    "device_call",
	Class:   storage.MFA,
	Most:    (MostEnrollments + MostRetired) * len(perHour),
	Expires: func(c *calls) time.Time { return time.UnixMilli(c.Times[len(c.Times)-1]).Add(callWindow) },
})

// ErrTooOften reports that an enrollment has made as many calls of the kind as it may in an hour, with the time to wait.
var ErrTooOften = storage.NewError(storage.Limited, "this phone has made too many such calls in an hour; wait before the next")

// CountCall counts a call of an enrollment, in the transaction that carries the call out. A refused call writes nothing, so
// refused calls do not make the wait longer.
//
// Errors: ErrTooOften.
func CountCall(tx *storage.Tx, uid storage.UID, e *Enrollment, kind CallKind) error {
	key := e.ID + "/" + string(kind)
	c, err := callTable.Get(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		c = &calls{}
	} else if err != nil {
		return err
	}
	now := tx.Now().UnixMilli()
	begin := now - callWindow.Milliseconds()
	for len(c.Times) > 0 && c.Times[0] <= begin {
		c.Times = c.Times[1:]
	}
	if len(c.Times) >= perHour[kind] {
		return ErrTooOften.After(time.Duration(c.Times[0]-begin) * time.Millisecond)
	}
	c.Times = append(c.Times, now)
	return callTable.Put(tx, uid, key, c)
}

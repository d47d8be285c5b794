package recovery

import (
	"time"

	"tutela/storage"
)

// NoticeLife is how long the row of a notice is kept. A phone without a push service reads it.
const NoticeLife = 30 * 24 * time.Hour

// noticesKept bounds a user's rows of notices. Beyond it the oldest row of the most frequent word goes, so that a flood of one
// word displaces only its own.
const noticesKept = 200

// notice is what a user's phones were told. Its key is its time, so the rows lie in the order in which they came.
type notice struct {
	NoticePayload
	Expires time.Time `json:"expires"`
}

var notices = storage.Declare(storage.Spec[notice]{
	Name:    "notice",
	Class:   storage.MFA,
	Most:    noticesKept,
	Expires: func(n *notice) time.Time { return n.Expires },
})

// WriteNotice writes a notice for the phones that it is for, without a push, and wakes calls that wait for one. It returns the
// notice as written, with its time.
func WriteNotice(tx *storage.Tx, uid storage.UID, n NoticePayload) (NoticePayload, error) {
	last, err := makeRoom(tx, uid)
	if err != nil {
		return n, err
	}
	// A phone reads on from the time of the last notice that it knows, so no new one may lie at or before that time.
	n.At = tx.Now().UTC().Truncate(time.Millisecond)
	if !n.At.After(last) {
		n.At = last.Add(time.Millisecond)
	}
	life := n.Life
	if life == 0 {
		life = NoticeLife
	}
	tx.Wake(uid)
	row := &notice{NoticePayload: n, Expires: tx.Now().Add(life)}
	return n, notices.Put(tx, uid, storage.FormatInstant(n.At), row)
}

// LastNotice returns the time of the user's latest notice; zero when there is none.
func LastNotice(tx *storage.Tx, uid storage.UID) (time.Time, error) {
	last, _, err := survey(tx, uid)
	return last, err
}

// survey returns the time of the user's latest notice and the number of notices. It reads only keys.
func survey(tx *storage.Tx, uid storage.UID) (last time.Time, count int, err error) {
	var key string
	err = notices.Keys(tx, uid, "", func(k string) bool {
		key = k
		count++
		return true
	})
	if err != nil || key == "" {
		return last, count, err
	}
	last, err = time.Parse(storage.InstantLayout, key)
	return last, count, err
}

// makeRoom removes a row when the user has noticesKept, and returns the time of the latest notice.
func makeRoom(tx *storage.Tx, uid storage.UID) (last time.Time, err error) {
	last, count, err := survey(tx, uid)
	if err != nil || count < noticesKept {
		return last, err
	}
	rows, err := notices.All(tx, uid)
	if err != nil {
		return last, err
	}
	of := map[NoticeWord]int{}
	for _, row := range rows {
		of[row.Record.Notice]++
	}
	oldest := 0
	for i, row := range rows {
		if of[row.Record.Notice] > of[rows[oldest].Record.Notice] {
			oldest = i
		}
	}
	return last, notices.Delete(tx, uid, rows[oldest].Key)
}

// Notices returns what the user's phones were told after an instant, oldest first.
func Notices(tx *storage.Tx, uid storage.UID, since time.Time) ([]NoticePayload, error) {
	rows, err := notices.All(tx, uid)
	if err != nil {
		return nil, err
	}
	var told []NoticePayload
	for _, row := range rows {
		if row.Record.At.After(since) {
			told = append(told, row.Record.NoticePayload)
		}
	}
	return told, nil
}

package device

import (
	"time"

	"tutela/storage"
)

// Watch records for a restore whether the old phone still calls.
type Watch struct {
	Restore string    `json:"restore"`
	Until   time.Time `json:"until"`
	Called  time.Time `json:"called,omitzero"` // the first call or answer signed by the key before Until
}

// watchesKept bounds the watches of an enrollment; watchLife is how long one is remembered.
const (
	watchesKept = 64
	watchLife   = time.Hour
)

// WatchCalls records, for a restore, the first signed call or answer of the enrollment before until.
func WatchCalls(tx *storage.Tx, uid storage.UID, e *Enrollment, restore string, until time.Time) error {
	kept := make([]Watch, 0, len(e.Push.Watches)+1)
	for _, w := range e.Push.Watches {
		if tx.Now().Before(w.Until.Add(watchLife)) {
			kept = append(kept, w)
		}
	}
	if len(kept) >= watchesKept {
		kept = kept[1:] // for a watch that is gone, CalledDuring assumes that the phone called
	}
	kept = append(kept, Watch{Restore: restore, Until: until})
	e.Push.Watches = kept
	return Put(tx, uid, e)
}

// CalledDuring reports whether the enrollment's phone made a signed call or gave a signed answer during the restore's watch.
// It returns true when the watch is no longer kept: a flood of restores must not hide that the phone is there.
func (e *Enrollment) CalledDuring(restore string) bool {
	for _, w := range e.Push.Watches {
		if w.Restore == restore {
			return !w.Called.IsZero()
		}
	}
	return true
}

func (e *Enrollment) watched(now time.Time) bool {
	for _, w := range e.Push.Watches {
		if w.Called.IsZero() && now.Before(w.Until) {
			return true
		}
	}
	return false
}

func (e *Enrollment) noteCall(now time.Time) {
	for i := range e.Push.Watches {
		if w := &e.Push.Watches[i]; w.Called.IsZero() && now.Before(w.Until) {
			w.Called = now
		}
	}
}

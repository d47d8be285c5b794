package recovery

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"tutela/storage"
	"tutela/storage/setting"
)

// MaxRemembered is how long a browser is remembered at most, whatever the settings say.
const MaxRemembered = 30 * 24 * time.Hour

var (
	rememberOverall = setting.Duration("remember.overall",
		"how long after the login that a browser was remembered by it is asked again", MaxRemembered, time.Minute, MaxRemembered)
	rememberInactivity = setting.Duration("remember.inactivity",
		"how long a remembered browser that nobody uses is remembered", 3*24*time.Hour, time.Minute, MaxRemembered)
	rememberOffer = setting.OneOf("remember.offer", "whether a login page offers to remember the browser", "on", "off")
	rememberTick  = setting.OneOf("remember.ticked", "whether that offer is ticked before the person has looked at it", "off", "on")
)

// RememberSettings are the names of the settings of remembered browsers: how long they are remembered in all and unused, whether a
// page offers it, and whether the offer is ticked.
func RememberSettings() (overall, inactivity, offer, ticked string) {
	return rememberOverall.Name(), rememberInactivity.Name(), rememberOffer.Name(), rememberTick.Name()
}

// OfferToRemember returns whether a login page offers to remember the browser, and whether that offer is ticked to begin with.
func OfferToRemember(tx *storage.Tx) (offer, ticked bool, err error) {
	offered, err := rememberOffer.Get(tx)
	if err != nil {
		return false, false, err
	}
	tick, err := rememberTick.Get(tx)
	return offered == "on", offered == "on" && tick == "on", err
}

// mostBrowsers bounds a user's remembered browsers. Beyond it the one that was used longest ago is forgotten.
const mostBrowsers = 64

// Browser is a remembered browser: for a time the client does not ask its user for a second factor there. Any change of
// her factors or codes forgets all of them.
type Browser struct {
	Client string    `json:"client"`
	Hash   string    `json:"hash"`   // keyed, of the token that the browser keeps
	Method string    `json:"method"` // what she proved, as in amr
	Proved time.Time `json:"proved"` // when, in the store's time
	Used   time.Time `json:"used"`   // last
	Until  time.Time `json:"until"`  // at most
}

var browsers = storage.Declare(storage.Spec[Browser]{
	Name:    "remembered_browser",
	Class:   storage.MFA,
	Most:    mostBrowsers,
	Expires: func(b *Browser) time.Time { return b.Until },
})

// Remember stores a browser under a key. It replaces a browser under the same key.
func Remember(tx *storage.Tx, uid storage.UID, key string, b Browser) error {
	rows, err := browsers.All(tx, uid)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(row storage.Row[Browser]) bool { return row.Key == key })
	slices.SortFunc(rows, func(a, b storage.Row[Browser]) int {
		return cmp.Or(a.Record.Used.Compare(b.Record.Used), cmp.Compare(a.Key, b.Key))
	})
	for len(rows) >= mostBrowsers {
		err = errors.Join(err, browsers.Delete(tx, uid, rows[0].Key))
		rows = rows[1:]
	}
	b.Used = tx.Now()
	b.Until = b.Proved.Add(MaxRemembered)
	return errors.Join(err, browsers.Put(tx, uid, key, &b))
}

// RememberAgain is Remember for a repeat: it replaces the browser under a key, but stores nothing if that browser was
// forgotten since.
func RememberAgain(tx *storage.Tx, uid storage.UID, key string, b Browser) (done bool, err error) {
	there, err := browsers.Has(tx, uid, key)
	if err != nil || !there {
		return false, err
	}
	return true, Remember(tx, uid, key, b)
}

// Remembered returns the browser under a key, if it is still remembered, and notes that it was used.
//
// Errors: storage.ErrNotFound.
func Remembered(tx *storage.Tx, uid storage.UID, key string, matches func(b *Browser) bool) (*Browser, error) {
	b, err := browsers.Get(tx, uid, key)
	if err != nil {
		return nil, err
	}
	overall, err := rememberOverall.Get(tx)
	if err != nil {
		return nil, err
	}
	inactivity, err := rememberInactivity.Get(tx)
	if err != nil {
		return nil, err
	}
	if !matches(b) {
		return nil, storage.ErrNotFound
	}
	if !tx.Now().Before(b.Proved.Add(overall)) || !tx.Now().Before(b.Used.Add(inactivity)) {
		return nil, storage.ErrNotFound
	}
	b.Used = tx.Now()
	return b, browsers.Put(tx, uid, key, b)
}

// ForgetBrowsers forgets all remembered browsers of a user, and reports whether there were any.
func ForgetBrowsers(tx *storage.Tx, uid storage.UID) (had bool, err error) {
	rows, err := browsers.All(tx, uid)
	for _, row := range rows {
		err = errors.Join(err, browsers.Delete(tx, uid, row.Key))
	}
	return len(rows) > 0, err
}

// forgetBrowsers is ForgetBrowsers without the report.
func forgetBrowsers(tx *storage.Tx, uid storage.UID) error {
	_, err := ForgetBrowsers(tx, uid)
	return err
}

// CountBrowsers returns how many browsers of a user are remembered.
func CountBrowsers(tx *storage.Tx, uid storage.UID) (n int, err error) {
	rows, err := browsers.All(tx, uid)
	return len(rows), err
}

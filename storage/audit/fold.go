package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	json "github.com/go-json-experiment/json/v1"

	"tutela/storage"
)

// Folded is what an event says of the occurrences that it stands for.
type Folded struct {
	Count int       `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// fold counts occurrences until its window is over. It is then one event; until then it is none, and a purge of the
// user's class mfa takes it with all that it counted.
type fold struct {
	Event  Event     `json:"event"`  // without id and time; Folded is as of the last occurrence
	Detail Detail    `json:"detail"` // of the last occurrence; of a fold of the house there is none
	Until  time.Time `json:"until"`  // the end of the window
}

// The most folds that may be open at once for one type of event. What comes on top is counted in one fold more, which
// says nothing but the type.
const (
	maxUserFolds  = 32
	maxHouseFolds = 256
)

var (
	userFolds  = storage.Declare(storage.Spec[fold]{Name: "fold", Class: storage.MFA})
	houseFolds = storage.Declare(storage.Spec[fold]{Name: "fold_house", Class: storage.Settings})
	// foldKeys holds the key under which the house's folds are named: an address is in no row.
	foldKeys = storage.Declare(storage.Spec[[]byte]{
		Name:   "fold_key",
		Class:  storage.Settings,
		Raw:    true,
		Sealed: func(key *[]byte) []storage.Field { return []storage.Field{{Name: "key", Value: key}} },
	})
	// windows has an entry for each open fold: end of the window (19 digits, Unix nanoseconds) ‖ uid (32 hex digits) ‖
	// the fold's key. The value is empty.
	windows = storage.DeclareLog("fold")
)

// Fold counts an occurrence of e, which actor has brought about, instead of recording it. Occurrences are of the same fold
// when all that [Record] would put into the event is equal, and key is; key says what else tells them apart, such as an
// address, and is kept only as a hash. The first opens the fold. When window has passed since then, what was counted is
// recorded as one event, dated when that is done, whose Folded says how often and when it was: by the next occurrence, or
// by [RunFolds]. Its detail is that of the last occurrence, of class mfa.
//
// The number of folds that are open at once for a user, or the house, and a type is bounded. Past it an occurrence is
// counted in a fold of all others of its type, which has neither client nor facts nor detail.
//
// A purge of the user's class mfa takes the open folds with all that they have counted: they are no events yet.
func Fold(tx *storage.Tx, actor Actor, e Event, d Detail, key string, window time.Duration) error {
	e = actor.sign(e)
	d = actor.describe(d)
	if e.UID.IsZero() {
		d = Detail{}
	}
	secret, err := foldSecret(tx, e.UID)
	if err == nil {
		err = count(tx, foldName(secret, e, key), e, d, window)
	}
	if errors.Is(err, errNoRoom) || errors.Is(err, storage.ErrDamaged) {
		others := Event{Type: e.Type, UID: e.UID, Facts: Facts{FactFolded: FoldedOthers}}
		err = count(tx, othersName(e.Type), others, Detail{}, window)
	}
	if err != nil {
		return fmt.Errorf("fold %s: %w", e.Type, err)
	}
	return nil
}

// errNoRoom reports that no fold of its own can be opened.
var errNoRoom = errors.New("too many folds are open")

// count counts an occurrence in the fold of a name, and opens it when it is the first.
func count(tx *storage.Tx, name string, e Event, d Detail, window time.Duration) error {
	f, err := openFold(tx, e.UID, name)
	if err != nil {
		return err
	}
	now := tx.Now()
	if f == nil {
		if err := room(tx, e.UID, name); err != nil {
			return err
		}
		e.Folded.First = now
		f = &fold{Event: e, Until: now.Add(window)}
		if err := windows.Append(tx, e.UID, windowKey(e.UID, name, f.Until), nil); err != nil {
			return err
		}
	}
	f.Event.Folded.Count++
	f.Event.Folded.Last = now
	f.Detail = d
	return foldsOf(e.UID).Put(tx, e.UID, name, f)
}

func foldsOf(uid storage.UID) *storage.Table[fold] {
	if uid.IsZero() {
		return houseFolds
	}
	return userFolds
}

// openFold returns the open fold of a name. One whose window is over is recorded on the way; then, and when there is
// none, it returns nil.
func openFold(tx *storage.Tx, uid storage.UID, name string) (*fold, error) {
	f, err := foldsOf(uid).Get(tx, uid, name)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil || tx.Now().Before(f.Until) {
		return f, err
	}
	return nil, f.close(tx, uid, name)
}

// close records the fold as one event and removes it.
func (f *fold) close(tx *storage.Tx, uid storage.UID, name string) error {
	return errors.Join(
		windows.Delete(tx, uid, windowKey(uid, name, f.Until)),
		foldsOf(uid).Delete(tx, uid, name),
		record(tx, f.Event, f.Detail, details))
}

// foldName is the key of a fold: the type, then a keyed hash of all that must be equal.
func foldName(secret []byte, e Event, key string) string {
	same, _ := json.Marshal(e) // text, numbers and an instant within its range: it cannot fail
	sum := mac(secret, foldDomain, string(same)+"\x00"+key)
	return string(e.Type) + ":" + hex.EncodeToString(sum[:16])
}

func othersName(t Type) string { return string(t) + ":others" }

// foldSecret is the key under which folds are named: the user's log key, or one of the house. A damaged one of the house
// stays where it is; what would be counted under it is counted as others are.
func foldSecret(tx *storage.Tx, uid storage.UID) ([]byte, error) {
	if !uid.IsZero() {
		if key, err := keyOf(tx, uid); err != nil || key.bytes != nil {
			return key.bytes, err
		}
	}
	key, err := foldKeys.Get(tx, storage.House, "")
	switch {
	case err == nil:
		return *key, nil
	case !errors.Is(err, storage.ErrNotFound):
		return nil, err
	}
	made := newKey()
	if err := foldKeys.Add(tx, storage.House, "", &made); err != nil {
		return nil, err
	}
	return made, nil
}

// room returns errNoRoom when no more folds of the type of name may be opened. The fold of all others always may.
func room(tx *storage.Tx, uid storage.UID, name string) error {
	most := maxUserFolds
	if uid.IsZero() {
		most = maxHouseFolds
	}
	kind, _, _ := strings.Cut(name, ":")
	others := othersName(Type(kind))
	if name == others {
		return nil
	}
	open := 0
	err := foldsOf(uid).Keys(tx, uid, kind+":", func(key string) bool {
		if key != others {
			open++
		}
		return open < most
	})
	if err == nil && open >= most {
		return errNoRoom
	}
	return err
}

func windowKey(uid storage.UID, name string, until time.Time) string {
	return fmt.Sprintf("%019d%s%s", until.UnixNano(), uid, name)
}

// splitWindowKey takes the key of an entry of windows apart.
func splitWindowKey(key string) (uid storage.UID, name string, until time.Time, err error) {
	const (
		timeDigits = 19
		uidDigits  = 32
	)
	if len(key) <= timeDigits+uidDigits {
		return uid, "", until, errors.New("the entry of a fold has too short a key")
	}
	ns, err := strconv.ParseInt(key[:timeDigits], 10, 64)
	if err != nil {
		return uid, "", until, err
	}
	if _, err := hex.Decode(uid[:], []byte(key[timeDigits:timeDigits+uidDigits])); err != nil {
		return uid, "", until, err
	}
	return uid, key[timeDigits+uidDigits:], time.Unix(0, ns).UTC(), nil
}

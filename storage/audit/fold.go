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
	Event   Event     `json:"event"`             // without id and time; Folded is as of the last occurrence
	Detail  Detail    `json:"detail"`            // of the last occurrence; of a fold of the house there is none
	Until   time.Time `json:"until"`             // the end of the window
	Passing bool      `json:"passing,omitempty"` // it becomes no event
}

// The most folds that may be open at once for one type of event. What comes on top is counted in one fold more, which
// says nothing but the type.
const (
	maxUserFolds  = 32
	maxHouseFolds = 256
)

// foldedTypes is how many types of events about a user are folded at most.
const foldedTypes = 8

var (
	userFolds  = storage.Declare(storage.Spec[fold]{Name: "fold", Class: storage.MFA, Most: foldedTypes * (maxUserFolds + 1)})
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
	return gather(tx, e.Type, occurrence{
		event:  actor.sign(e),
		detail: actor.describe(d),
		window: window,
	}, key)
}

// FoldRepeats is Fold, but for the first occurrence: that is recorded at once, as [Record] does. Where nothing follows it in
// its window, nothing is recorded more.
func FoldRepeats(tx *storage.Tx, actor Actor, e Event, d Detail, key string, window time.Duration) error {
	return gather(tx, e.Type, occurrence{
		event:  actor.sign(e),
		detail: actor.describe(d),
		window: window,
		first:  func() error { return Record(tx, actor, e, d) },
	}, key)
}

// PassRepeats does the work of FoldRepeats for a uid that is nobody's, and leaves nothing: what it writes comes into no log,
// and is gone when window has passed.
func PassRepeats(tx *storage.Tx, actor Actor, e Event, d Detail, key string, window time.Duration) error {
	return gather(tx, e.Type, occurrence{
		event:   actor.sign(e),
		detail:  actor.describe(d),
		window:  window,
		first:   func() error { return write(tx, passing, actor.sign(e), actor.describe(d), details) },
		passing: true,
	}, key)
}

// occurrence is what is counted.
type occurrence struct {
	event   Event
	detail  Detail
	window  time.Duration
	first   func() error // records the first one of a window; nil: it is counted as the others are
	passing bool
}

// gather counts an occurrence in its fold, or in that of all others.
func gather(tx *storage.Tx, t Type, o occurrence, key string) error {
	if o.event.UID.IsZero() {
		o.detail = Detail{}
	}
	secret, err := foldSecret(tx, o.event.UID)
	if err == nil {
		err = o.count(tx, foldName(secret, o.event, key))
	}
	if errors.Is(err, errNoRoom) || errors.Is(err, storage.ErrDamaged) {
		o.event = Event{Type: t, UID: o.event.UID, Facts: Facts{FactFolded: FoldedOthers}}
		o.detail = Detail{}
		o.first = nil
		err = o.count(tx, othersName(t))
	}
	if err != nil {
		return fmt.Errorf("fold %s: %w", t, err)
	}
	return nil
}

// errNoRoom reports that no fold of its own can be opened.
var errNoRoom = errors.New("too many folds are open")

// count counts the occurrence in the fold of a name, and opens it when it is the first.
func (o occurrence) count(tx *storage.Tx, name string) error {
	uid := o.event.UID
	f, err := openFold(tx, uid, name)
	if err != nil {
		return err
	}
	now := tx.Now()
	if f == nil {
		if err := room(tx, uid, name); err != nil {
			return err
		}
		f = &fold{Event: o.event, Until: now.Add(o.window), Passing: o.passing}
		if err := windows.Append(tx, uid, windowKey(uid, name, f.Until), nil); err != nil {
			return err
		}
		if o.first != nil {
			return errors.Join(o.first(), foldsOf(uid).Put(tx, uid, name, f))
		}
	}
	if f.Event.Folded.Count == 0 {
		f.Event.Folded.First = now
	}
	if !f.Passing {
		tx.Count(eventsFolded, string(o.event.Type))
	}
	f.Event.Folded.Count++
	f.Event.Folded.Last = now
	f.Detail = o.detail
	return foldsOf(uid).Put(tx, uid, name, f)
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

// close records what the fold has counted as one event, and removes it.
func (f *fold) close(tx *storage.Tx, uid storage.UID, name string) error {
	err := errors.Join(
		windows.Delete(tx, uid, windowKey(uid, name, f.Until)),
		foldsOf(uid).Delete(tx, uid, name))
	switch {
	case err != nil:
		return err
	case f.Passing:
		return forgetPassing(tx, uid)
	case f.Event.Folded.Count == 0:
		return nil
	default:
		return record(tx, f.Event, f.Detail, details)
	}
}

// passing has in the place of events what [PassRepeats] writes.
var passing = storage.DeclareLog("event_passing")

// forgetPassing removes what PassRepeats has written for a uid.
func forgetPassing(tx *storage.Tx, uid storage.UID) error {
	var ids []string
	err := ofUser.Keys(tx, uid, "", func(id string) bool {
		ids = append(ids, id)
		return true
	})
	for _, id := range ids {
		err = errors.Join(err,
			passing.Delete(tx, uid, id),
			ofUser.Delete(tx, uid, id),
			details.Delete(tx, uid, id))
	}
	return errors.Join(err, counts.Delete(tx, uid, theCount))
}

// foldName is the key of a fold: the type, then a keyed hash of all that must be equal.
func foldName(secret []byte, e Event, key string) string {
	same, _ := json.Marshal(e) // text, numbers and an instant within its range: it cannot fail
	sum := mac(secret, foldDomain, string(same)+"\x00"+key)
	return string(e.Type) + ":" + hex.EncodeToString(sum[:16])
}

func othersName(t Type) string { return string(t) + ":others" }

// foldSecret is the key under which folds are named: the user's log key, or one of the house. Both are read, so that a uid
// which is nobody's costs as much. A damaged one of the house stays where it is; what would be counted under it is counted
// as others are.
func foldSecret(tx *storage.Tx, uid storage.UID) ([]byte, error) {
	house, errHouse := houseSecret(tx)
	if uid.IsZero() {
		return house, errHouse
	}
	if key, err := keyOf(tx, uid); err != nil || key.bytes != nil {
		return key.bytes, err
	}
	return house, errHouse
}

func houseSecret(tx *storage.Tx) ([]byte, error) {
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

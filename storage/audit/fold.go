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

// Folded counts the occurrences that an event stands for.
type Folded struct {
	Count int       `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// fold counts occurrences until its window is over, and then becomes one event. A purge of the user's class mfa before
// that removes it, with its count.
type fold struct {
	Event   Event     `json:"event"`             // without id and time; Folded is as of the last occurrence
	Detail  Detail    `json:"detail"`            // of the last occurrence; of a fold of the house there is none
	Until   time.Time `json:"until"`             // the end of the window
	Passing bool      `json:"passing,omitempty"` // it becomes no event
}

// The most folds that may be open at once for one type of event. Further occurrences are counted in one extra fold,
// which says only the type.
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

// Fold counts an occurrence of e, caused by actor, instead of recording it. Occurrences share a fold when the event
// that [Record] would write is equal, and key is. key names what else tells them apart, such as an address; only its
// hash is kept. The first occurrence opens the fold. Once window has passed, the next occurrence or [RunFolds] records
// one event, whose Folded says how often it happened and when. Its detail, of class mfa, is that of the last
// occurrence.
//
// A user, or the house, has a bounded number of open folds of one type. Beyond it, an occurrence is counted in one
// shared fold of its type, which has no client, facts or detail.
//
// A purge of the user's class mfa removes the open folds with their counts, since they are no events yet.
func Fold(tx *storage.Tx, actor Actor, e Event, d Detail, key string, window time.Duration) error {
	return gather(tx, e.Type, occurrence{
		event:  actor.sign(e),
		detail: actor.describe(d),
		window: window,
	}, key)
}

// FoldRepeats is Fold that records the first occurrence at once, as [Record] does, and counts only the following ones.
// If none follows in the window, it records nothing else.
func FoldRepeats(tx *storage.Tx, actor Actor, e Event, d Detail, key string, window time.Duration) error {
	return gather(tx, e.Type, occurrence{
		event:  actor.sign(e),
		detail: actor.describe(d),
		window: window,
		first:  func() error { return Record(tx, actor, e, d) },
	}, key)
}

// PassRepeats does the same work as FoldRepeats for a uid that is nobody's, so that the caller cannot tell by the time
// it takes. It leaves nothing: what it writes is in no log, and is removed when window has passed.
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
	first   func() error // records the first one of a window; nil: the first one is only counted, too
	passing bool
}

// gather counts an occurrence in its own fold, or in the shared one when no more folds may be opened.
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

// count counts the occurrence in the fold of the given name. The first occurrence opens that fold.
func (o occurrence) count(tx *storage.Tx, name string) error {
	uid := o.event.UID
	f, err := openFold(tx, uid, name)
	if err != nil {
		return err
	}
	// The first one of a window opens the fold; if it is recorded by itself, it is not counted.
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

// openFold returns the open fold of the given name, or nil. A fold whose window is over it records as an event, and
// returns nil.
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

// passing is the log that [PassRepeats] writes to instead of events.
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

// foldSecret is the key of the hash that names folds: the user's log key, or the house's. It reads both, so that a uid
// that is nobody's costs the same. A damaged key of the house stays where it is; occurrences are then counted in the
// shared fold.
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

// splitWindowKey splits the key of an entry of windows.
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

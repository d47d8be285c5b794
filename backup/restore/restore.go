// Package restore decides how a reinstalled app comes back, and carries it out: a new installation takes over from an old one
// with the user's recovery code.
//
// Four things always hold:
//
//   - At every call, until the restore is over, [Decide] finds the next step from facts that the same transaction has
//     gathered. No earlier decision counts.
//   - One transaction spends a right code, binds the new installation, retires the old one, moves the backup and closes the
//     other restores of that backup. So one backup never gives a user two installations, or none.
//   - A wrong code is counted before its answer leaves. Nothing else that is refused writes anything.
//   - A restore lies among the rows of the backup's user. For an unknown handle it lies under a uid that is a keyed hash of
//     the handle, where the same is read and written.
package restore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"tutela/backup"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/keyring"
	"tutela/storage/setting"
)

// How long a restore is open, and how long its row is kept for an admin to see.
const (
	life        = 15 * time.Minute
	keptAsked   = 24 * time.Hour
	keptDecided = 30 * 24 * time.Hour // of a restore that was done or vetoed
)

// Whether the old installation is asked, and for how long. Both are decided when a restore begins.
var (
	askPolicy = setting.OneOf("restore.veto", "when the old phone is asked before a restore takes a code", askAlive, askAlways, askNever)
	firstWait = setting.Duration("restore.first_wait", "how long a restore waits for an old phone that keeps silent",
		time.Minute, 5*time.Second, 10*time.Minute)
	longWait = setting.Duration("restore.wait", "how long a restore waits for an old phone that still calls",
		10*time.Minute, time.Minute, life-time.Minute)
)

// The values of restore.veto.
const (
	askAlive  = "alive" // it is asked if its key has signed something within aliveFor
	askAlways = "on"
	askNever  = "off"
)

const (
	aliveFor     = 30 * 24 * time.Hour
	suspendedFor = 24 * time.Hour // an admin's suspension within it makes the wait as long as a call does
)

// restore is one attempt of a new installation to take over from an old one.
type restore struct {
	ID       string `json:"id"`     // rst_ and who has it under a MAC
	Token    string `json:"token"`  // keyed hash of the restore token
	Backup   string `json:"backup"` // id of the backup; for an unknown handle a made-up one
	Handle   string `json:"handle"` // keyed hash of the handle, as the backup had it
	Moves    int    `json:"moves"`  // Backup.Moves at the start: another restore that succeeds raises it
	Old      string `json:"old"`    // id of the installation that it began against; zeros: none. Empty in rows of earlier releases
	NoHandle bool   `json:"no_handle,omitempty"`
	Disabled bool   `json:"disabled,omitempty"`
	Network  string `json:"network,omitempty"` // that the start came from

	// What the new installation says about itself; zeros for an unknown handle.
	Identifier   string           `json:"identifier"`
	Name         string           `json:"name"`
	Key          device.Key       `json:"key"`
	Push         push.KeptAddress `json:"push,omitzero"`
	Capabilities []string         `json:"capabilities,omitempty"`
	Platform     string           `json:"platform,omitempty"`

	Started    time.Time  `json:"started"`
	Expires    time.Time  `json:"expires"`
	Kept       time.Time  `json:"kept"` // the row is kept until then
	First      Decision   `json:"first"`
	Asked      bool       `json:"watched,omitempty"`   // the old installation was asked, and its calls are noticed
	FirstWait  time.Time  `json:"first_wait,omitzero"` // with Asked: until then a code waits for a silent one
	LongWait   time.Time  `json:"long_wait,omitzero"`  // with Asked: until then it waits for one that calls
	Allowed    time.Time  `json:"allowed,omitzero"`    // by the old installation
	Vetoed     time.Time  `json:"vetoed,omitzero"`
	Chosen     time.Time  `json:"chosen,omitzero"`
	Done       time.Time  `json:"done,omitzero"`
	Disputed   time.Time  `json:"disputed,omitzero"`    // by the phone that it has retired
	Enrollment string     `json:"enrollment,omitempty"` // the new installation's, when done
	Code       string     `json:"code,omitempty"`       // when done: the mark of the recovery code that it issued last
	Repeats    []repeated `json:"repeats,omitempty"`    // when done: the repeated answers of the last hour
}

// veto bars the restores of one backup; its key is the backup's id.
type veto struct {
	At time.Time `json:"at"`
	By []voice   `json:"by,omitempty"` // whose word it is, oldest first: of each phone the latest, voicesKept at most
}

const vetoLife = 24 * time.Hour

var (
	restores = storage.Declare(storage.Spec[restore]{
		Name:    "restore",
		Class:   storage.MFA,
		Most:    mostOpen + mostOver,
		Expires: func(r *restore) time.Time { return r.Kept },
		Sealed:  func(r *restore) []storage.Field { return []storage.Field{{Name: "push_token", Value: &r.Push.Token}} },
		Upgrade: readFlatAddress,
	})
	vetoes = storage.Declare(storage.Spec[veto]{
		Name:    "restore_veto",
		Class:   storage.MFA,
		Most:    backup.MostBackups,
		Expires: func(v *veto) time.Time { return v.At.Add(vetoLife) },
	})
)

// readFlatAddress reads the push address of a row of schema 1, which had it as two members of its own.
func readFlatAddress(r *restore, stored []byte) error {
	if r.Push.Service != "" || !bytes.Contains(stored, []byte(`"push_service":`)) {
		return nil
	}
	var flat struct {
		Service push.Service `json:"push_service"`
		Token   []byte       `json:"push_token"`
	}
	err := json.Unmarshal(stored, &flat)
	r.Push = push.KeptAddress{Service: flat.Service, Token: flat.Token}
	return err
}

// IDPrefix begins the id of every restore.
const IDPrefix = "rst_"

const (
	idPrefix        = IDPrefix
	tokenPurpose    = "restore-token"
	tokenCharacters = 43 // of 62: 256 bits
)

// Errors of restores. A wrong code gets recovery.ErrWrongCode, recovery.ErrTypo or recovery.ErrLimited; a key that an
// enrollment of the user has already gets device.ErrKeyInUse.
var (
	ErrNone     = storage.NewError(storage.NotFound, "there is no such restore, or it is over")
	ErrNotReady = storage.NewError(storage.Conflict, "this step of the restore does not allow it")
	ErrToken    = storage.NewError(storage.Denied, "the restore token is not valid")
	ErrProof    = storage.NewError(storage.Denied, "the restore proof is missing, not valid, or was used before")
)

// Service is the use cases of restores. Safe for concurrent use.
type Service struct {
	store    *storage.Store
	ring     *keyring.Ring
	recovery *recovery.Service
	devices  *device.Service
	logins   *login.Service
	backups  *backup.Service
}

// New makes the service.
func New(store *storage.Store, ring *keyring.Ring, codes *recovery.Service, devices *device.Service, logins *login.Service, backups *backup.Service) *Service {
	return &Service{
		store:    store,
		ring:     ring,
		recovery: codes,
		devices:  devices,
		logins:   logins,
		backups:  backups,
	}
}

// State is a restore as its caller sees it.
type State struct {
	ID        string
	Step      Step
	Reason    Reason
	Expires   time.Time
	WaitUntil time.Time // with OldDeviceAsked: an earlier code is not looked at; else zero
	Result    *Outcome  // when done, for a caller who proves to be the new installation
}

func (r *restore) state(f Facts) State {
	d := Decide(f)
	s := State{
		ID:      r.ID,
		Step:    d.Step,
		Reason:  d.Reason,
		Expires: r.Expires,
	}
	if d.Reason == OldDeviceAsked {
		s.WaitUntil = f.WaitUntil
	}
	return s
}

// row is a restore with its place in the store.
type row = storage.Row[restore]

func put(tx *storage.Tx, r row) error { return restores.Put(tx, r.UID, r.Key, r.Record) }

// find returns the restore with an id, for the holder of its token. It finds a finished restore as long as its row is kept.
//
// Errors: ErrNone; ErrToken.
func (s *Service) find(tx *storage.Tx, id, token string) (row, error) {
	f, err := s.byID(tx, id)
	if err != nil {
		return row{}, err
	}
	if !s.ring.MatchesIn(tx, f.Record.Token, tokenPurpose, f.UID[:], []byte(f.Key), []byte(token)) {
		return row{}, ErrToken
	}
	return f, nil
}

// CheckToken returns an error unless token belongs to a restore that is open or whose row is kept. A transaction that acts on
// the restore checks again.
//
// Errors: ErrNone; ErrToken.
func (s *Service) CheckToken(ctx context.Context, id, token string) error {
	return s.store.View(ctx, func(tx *storage.Tx) error {
		_, err := s.find(tx, id, token)
		return err
	})
}

// byID returns the restore with an id, open or done.
//
// Errors: ErrNone.
func (s *Service) byID(tx *storage.Tx, id string) (row, error) {
	uid, key, ok := s.ring.ParseID(idPrefix, id)
	if !ok {
		return row{}, ErrNone
	}
	r, err := restores.Get(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		return row{}, ErrNone
	}
	if err != nil {
		return row{}, err
	}
	if r.Done.IsZero() && !tx.Now().Before(r.Expires) {
		return row{}, ErrNone
	}
	return row{UID: uid, Key: key, Record: r}, nil
}

// scene holds the inputs of Decide that all restores of a backup share.
type scene struct {
	backup *backup.Backup     // nil: there is none
	old    *device.Enrollment // the installation that writes to the backup; nil: there is none
	was    device.Status      // status of old when it was read
	known  bool               // the handle belongs to a user
	facts  Facts
}

// scene reads what all restores of a backup depend on. It makes the same reads for a backup and a user that do not exist.
func (s *Service) scene(tx *storage.Tx, uid storage.UID, backupID string) (*scene, error) {
	var sc scene
	var err error
	if sc.backup, err = backup.Get(tx, uid, backupID); err != nil && !errors.Is(err, backup.ErrNone) {
		return nil, err
	}
	if sc.old, err = backup.Installation(tx, uid, backupID); err != nil {
		return nil, err
	}
	if sc.old != nil {
		sc.was = sc.old.Status
	}
	if err := sc.readUser(tx, uid); err != nil {
		return nil, err
	}
	sc.facts.Vetoed, err = vetoes.Has(tx, uid, backupID)
	return &sc, err
}

// readUser reads the facts about the user.
func (sc *scene) readUser(tx *storage.Tx, uid storage.UID) error {
	sc.facts.Now = tx.Now()
	u, err := user.Get(tx, uid)
	if err != nil && !errors.Is(err, user.ErrUnknown) {
		return err
	}
	sc.known = u != nil
	sc.facts.Blocked = u != nil && u.Blocked
	sc.facts.HasCode, err = recovery.HasCode(tx, uid)
	return err
}

// closed reports whether something else has decided who has the backup since the restore began: another restore of it
// has succeeded, or a ticket has replaced the old phone. A caller who still wants to take over must start again, so
// that the phone that has the backup now is asked and notified.
func (sc *scene) closed(r *restore) bool {
	if !r.Done.IsZero() || sc.backup == nil {
		return false
	}
	another := r.Old != "" && sc.old != nil && sc.old.ID != r.Old
	return another || sc.backup.Moves != r.Moves
}

// of returns the facts for one restore.
func (sc *scene) of(r *restore) Facts {
	f := sc.facts
	f.Done = !r.Done.IsZero()
	f.Chosen = !r.Chosen.IsZero()
	f.NoHandle = r.NoHandle
	f.Disabled = r.Disabled
	f.Found = sc.backup != nil && sc.backup.Finds(r.Handle, f.Now)
	// An allowance by a phone that an admin has suspended does not count any more; its vetoes do.
	f.Allowed = !r.Allowed.IsZero() && (sc.old == nil || sc.old.Status != device.Suspended)
	if r.Asked && sc.old != nil { // an installation that was retired since is not asked any more
		f.Asked = true
		f.WaitUntil = r.waitFor(sc.old, f.Now)
	}
	return f
}

// waitFor returns until when a code must wait for the old installation, which was asked.
func (r *restore) waitFor(old *device.Enrollment, now time.Time) time.Time {
	first := r.FirstWait
	long := r.LongWait
	if first.IsZero() { // the row is of an earlier release
		first = r.Started.Add(time.Minute)
		long = r.Started.Add(10 * time.Minute)
	}
	suspended := old.Status == device.Suspended && now.Before(old.Changed.Add(suspendedFor))
	if (suspended || old.CalledDuring(r.ID)) && long.After(first) {
		return long
	}
	return first
}

// look finds a restore and its scene, for the holder of its token.
//
// Errors: ErrNone, also when the restore was closed; ErrToken.
func (s *Service) look(tx *storage.Tx, id, token string) (row, *scene, error) {
	f, err := s.find(tx, id, token)
	if err != nil {
		return row{}, nil, err
	}
	sc, err := s.scene(tx, f.UID, f.Record.Backup)
	if err == nil && sc.closed(f.Record) {
		err = ErrNone
	}
	if err != nil {
		return row{}, nil, err
	}
	return f, sc, nil
}

package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"tutela/backup"
	"tutela/device"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// The limit on starts under one handle: past it each start must show a key of its own.
const (
	freeStarts  = 5
	startWindow = time.Hour
)

// starts are the latest starts under one handle, at most freeStarts of them; the key is the handle's.
type starts struct {
	Times []time.Time `json:"times"`
}

// namedKey says that a start named a key; the row's key is the handle's, and the keyed hash of the named one. It is
// remembered as long as a start counts: what must be new is a key in a flood of starts.
type namedKey struct {
	At time.Time `json:"at"`
}

var (
	startTable = storage.Declare(storage.Spec[starts]{
		Name:  "restore_start",
		Class: storage.MFA,
		Expires: func(s *starts) time.Time {
			return s.Times[len(s.Times)-1].Add(startWindow)
		},
	})
	namedKeys = storage.Declare(storage.Spec[namedKey]{
		Name:    "restore_key",
		Class:   storage.MFA,
		Expires: func(k *namedKey) time.Time { return k.At.Add(startWindow) },
	})
)

// StartRequest is what a new installation says that it has.
type StartRequest struct {
	Handle       string // the restore handle that the platform brought along; empty: none
	Disabled     bool   // automatic_restore is false: the phone says so, or the person chose a clean start
	Installation device.Installation
	Proof        string // compact JWS by the installation's key; asked for from the sixth start per handle and hour
}

// Started is the answer to a start.
type Started struct {
	State
	Token   string // for the calls about this restore; it is shown here once
	Flooded bool   // the start needed its proof; the caller counts it against the address that it came from
}

// Start begins a restore and decides what comes next. It notifies the old installation's phone of the first start
// of an hour. It refuses nobody for the handle alone.
//
// Errors: device.ErrInstallation; ErrProof, with which nothing is written and which the caller counts against the address
// as well.
func (s *Service) Start(ctx context.Context, req StartRequest, actor audit.Actor) (*Started, error) {
	if err := req.Installation.Validate(); err != nil {
		return nil, err
	}
	b := s.prepare(req)
	var started *Started
	err := s.store.Update(ctx, func(tx *storage.Tx) (err error) {
		started, err = s.start(tx, b, actor)
		return err
	})
	if err != nil {
		return nil, err
	}
	return started, nil
}

// beginning is a start with all that is known of it without a transaction.
type beginning struct {
	StartRequest
	proven   bool        // the proof is by the key that the start names, and of this handle
	stranger storage.UID // whose the restore is when the handle is nobody's
	backup   string      // the id that the backup then has
	random   storage.UID // of the restore's id
	token    string
}

func (s *Service) prepare(req StartRequest) *beginning {
	b := &beginning{
		StartRequest: req,
		stranger:     storage.NewUID(),
		backup:       backup.NewID(),
		random:       storage.NewUID(),
		token:        storage.NewID("rt_", tokenCharacters),
	}
	if req.Handle == "" {
		return b
	}
	b.stranger = s.ring.DerivedUID("restore", []byte(req.Handle))
	sum := sha256.Sum256([]byte(req.Handle))
	b.proven = proves(req.Installation.Key, req.Proof, "handle", hex.EncodeToString(sum[:]))
	return b
}

// proves reports whether a compact JWS is by the key, has value as a member, and has a time. That time is not compared with
// ours: a phone's clock is never trusted.
func proves(key device.Key, proof, member, value string) bool {
	if proof == "" {
		return false
	}
	payload, err := key.Verify(proof)
	if err != nil {
		return false
	}
	var members map[string]any
	if json.Unmarshal(payload, &members) != nil {
		return false
	}
	said, _ := members[member].(string)
	_, dated := members["iat"].(float64)
	return dated && strings.EqualFold(said, value)
}

// start does what Start promises.
func (s *Service) start(tx *storage.Tx, b *beginning, actor audit.Actor) (*Started, error) {
	f, err := s.newRestore(tx, b)
	if err != nil {
		return nil, err
	}
	var count startCount
	if b.Handle != "" {
		if count, err = s.count(tx, f.UID, b); err != nil {
			return nil, err
		}
	}
	if count.flooded || f.UID == b.stranger {
		f.Record.Kept = f.Record.Expires
	}
	sc, err := s.scene(tx, f.UID, f.Record.Backup)
	if err != nil {
		return nil, err
	}
	if sc.facts.VetoOn && sc.old != nil {
		f.Record.Watched = true
		if err := device.WatchCalls(tx, f.UID, sc.old, f.Record.ID, f.Record.Started.Add(firstWait)); err != nil {
			return nil, err
		}
	}
	state := f.Record.state(sc.of(f.Record))
	f.Record.First = Decision{state.Step, state.Reason}
	if err := restores.Insert(tx, f.UID, f.Key, f.Record); err != nil {
		return nil, err
	}
	tx.Wake(f.UID)
	if b.Handle != "" {
		err = tell(tx, f, sc, count.first, f.UID == b.stranger, actor)
	}
	return &Started{State: state, Token: b.token, Flooded: count.flooded}, err
}

// newRestore makes the restore's row: the backup's user's, or a stranger's of the same size without the phone's data.
func (s *Service) newRestore(tx *storage.Tx, b *beginning) (row, error) {
	r := &restore{
		Backup:   b.backup,
		NoHandle: b.Handle == "",
		Disabled: b.Disabled,
		Started:  tx.Now(),
		Expires:  tx.Now().Add(life),
		Kept:     tx.Now().Add(keptAsked),
	}
	uid := b.stranger
	var known *backup.Backup
	if b.Handle != "" {
		var err error
		if uid, known, r.Handle, err = s.backups.Find(tx, b.Handle, b.stranger); err != nil {
			return row{}, err
		}
	}
	if known != nil {
		r.Backup = known.ID
		r.Moves = known.Moves
		r.setInstallation(b.Installation)
	} else {
		r.setInstallation(blank(b.Installation))
	}
	var key string
	r.ID, key = s.ring.IDFor(idPrefix, uid, b.random)
	r.Token = s.ring.Hash(tokenPurpose, uid[:], []byte(key), []byte(b.token))
	return row{UID: uid, Key: key, Record: r}, nil
}

func (r *restore) setInstallation(in device.Installation) {
	r.Identifier = in.Identifier
	r.Name = in.Name
	r.Key = in.Key
	r.Capabilities = in.Capabilities
	r.Platform = in.Platform
	r.Push = in.Push.Keep()
}

// blank returns an installation that takes as many bytes in a row and says nothing about the phone.
func blank(in device.Installation) device.Installation {
	out := device.Installation{
		Identifier: zeros(in.Identifier),
		Name:       zeros(in.Name),
		Key:        in.Key,
		Platform:   zeros(in.Platform),
	}
	out.Key.N = zeros(in.Key.N)
	out.Key.E = zeros(in.Key.E)
	out.Key.X = zeros(in.Key.X)
	out.Key.Y = zeros(in.Key.Y)
	for _, c := range in.Capabilities {
		out.Capabilities = append(out.Capabilities, zeros(c))
	}
	out.Push = in.Push
	out.Push.Token = strings.Repeat("0", len(in.Push.Token)) // sealed as it is, not encoded
	return out
}

// zeros are as many as s takes in JSON.
func zeros(s string) string {
	encoded, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return strings.Repeat("0", len(encoded)-len(`""`))
}

// startCount says where a start stands among those of its handle.
type startCount struct {
	first   bool // of the hour
	flooded bool // it needed its proof
}

// count counts a start under its handle.
//
// Errors: ErrProof.
func (s *Service) count(tx *storage.Tx, uid storage.UID, b *beginning) (startCount, error) {
	handle := b.stranger.String() // the same for a handle that is known, and after a rotation of keys
	counted, err := startTable.Get(tx, uid, handle)
	if errors.Is(err, storage.ErrNotFound) {
		counted = &starts{}
		err = nil
	}
	if err != nil {
		return startCount{}, err
	}
	k := b.Installation.Key
	named := handle + s.ring.Hash("restore-key", []byte(k.Type), []byte(k.N), []byte(k.E), []byte(k.X), []byte(k.Y))
	before, err := namedKeys.Has(tx, uid, named)
	if err != nil {
		return startCount{}, err
	}
	recent := counted.since(tx.Now().Add(-startWindow))
	c := startCount{first: len(recent) == 0, flooded: len(recent) >= freeStarts}
	if c.flooded && (!b.proven || before) {
		return c, ErrProof
	}
	recent = append(recent, tx.Now())
	counted.Times = recent[max(0, len(recent)-freeStarts):]
	return c, errors.Join(
		startTable.Put(tx, uid, handle, counted),
		namedKeys.Put(tx, uid, named, &namedKey{At: tx.Now()}))
}

// since returns the times that lie after an instant.
func (s *starts) since(instant time.Time) []time.Time {
	var recent []time.Time
	for _, t := range s.Times {
		if t.After(instant) {
			recent = append(recent, t)
		}
	}
	return recent
}

// eventWindow is how long the starts of a handle that are alike are counted, after the first, and recorded as one.
const eventWindow = time.Hour

// tell records the start, unless the handle is nobody's: then it does the same work, and what it writes is gone with the
// restore. Of the first of an hour it notifies the old installation's phone, or all of the user's phones when that one cannot
// be asked. A handle that is nobody's has no phones, which the outbox finds later.
func tell(tx *storage.Tx, f row, sc *scene, first, nobodys bool, actor audit.Actor) error {
	facts := audit.Facts{audit.FactStep: audit.Word(f.Record.First.Step), audit.FactReason: audit.Word(f.Record.First.Reason)}
	// The phone's name lies in the restore: with it, the event of a stranger's would be of another size.
	event := audit.Event{Type: audit.RestoreStarted, UID: f.UID, Facts: facts}
	var err error
	if nobodys {
		err = audit.PassRepeats(tx, actor, event, audit.Detail{}, "", life)
	} else {
		err = audit.FoldRepeats(tx, actor, event, audit.Detail{}, "", eventWindow)
	}
	if !first {
		return err
	}
	notice := recovery.NoticePayload{Notice: recovery.NoticeRestoreStarted, Restore: f.Record.ID}
	if nobodys {
		notice.Life = life // the same row, which dies with the restore's
	}
	if sc.old != nil && sc.old.Status == device.Active {
		notice.Enrollment = sc.old.ID
	}
	return errors.Join(err, recovery.Notify(tx, f.UID, notice))
}

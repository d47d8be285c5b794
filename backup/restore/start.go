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
	"tutela/device/login"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// The limit on starts under one handle. Beyond it each start must prove a new key.
const (
	freeStarts  = 5
	startWindow = time.Hour
)

// toldStarts is how many starts of a handle in an hour are announced to the phones one by one. After that they get one
// notice that there are more.
const toldStarts = 6

// starts are the latest starts under one handle; the key is the handle's.
type starts struct {
	Times  []time.Time `json:"times"`           // at most freeStarts
	Told   []time.Time `json:"told,omitempty"`  // of those that the phones were told of, at most toldStarts
	Summed time.Time   `json:"summed,omitzero"` // when they were last told that there are more
}

// namedKey says that a start named a key. The row's key is the handle's key and the keyed hash of the named key. It is kept as
// long as a start counts, because in a flood of starts each must name a new key.
type namedKey struct {
	At   time.Time `json:"at"`
	Told time.Time `json:"told,omitzero"` // when the phones were last told about a start with it
}

var (
	startTable = storage.Declare(storage.Spec[starts]{
		Name:  "restore_start",
		Class: storage.MFA,
		Most:  mostHandles,
		Expires: func(s *starts) time.Time {
			return s.Times[len(s.Times)-1].Add(startWindow)
		},
	})
	namedKeys = storage.Declare(storage.Spec[namedKey]{
		Name:    "restore_key",
		Class:   storage.MFA,
		Most:    mostHandles * mostKeys,
		Expires: func(k *namedKey) time.Time { return k.At.Add(startWindow) },
	})
)

// StartRequest is what a new installation sends to start a restore.
type StartRequest struct {
	Handle       string // the restore handle that the platform brought along; empty: none
	Disabled     bool   // automatic_restore is false: the phone says so, or the person chose a clean start
	Installation device.Installation
	Proof        string // compact JWS by the installation's key; required from the sixth start per handle and hour
	Address      string // the IP address that the call came from
}

// Started is the answer to a start.
type Started struct {
	State
	Token   string // for the calls about this restore; nobody can read it again
	Flooded bool   // the start needed its proof; the caller counts it against the address of the call
}

// Start begins a restore and decides what comes next. It notifies all of the user's phones, unless they were told about the
// same key within the hour; beyond six an hour they are told once that there are more. It refuses nobody because of the
// handle.
//
// Errors: device.ErrInstallation; ErrProof, which writes nothing, and which the caller counts against the address too.
func (s *Service) Start(ctx context.Context, req StartRequest, actor audit.Actor) (*Started, error) {
	if err := req.Installation.Validate(); err != nil {
		return nil, err
	}
	b := s.prepare(req)
	if err := s.foresee(ctx, b); err != nil {
		return nil, err
	}
	var started *Started
	begin := func(tx *storage.Tx) (err error) {
		started, err = s.start(tx, b, actor)
		return err
	}
	err := s.store.Update(ctx, begin)
	if errors.Is(err, errUnverified) { // other starts came in between: now the proof is needed after all
		b.verify()
		err = s.store.Update(ctx, begin)
	}
	if err != nil {
		return nil, err
	}
	return started, nil
}

// errUnverified reports that the start needs its proof, which is not verified yet.
var errUnverified = errors.New("the start's proof is not verified")

// beginning is a start with everything that can be found out without a transaction.
type beginning struct {
	StartRequest
	verified bool        // the proof was looked at
	proven   bool        // the proof is by the key that the start names, and for this handle
	stranger storage.UID // the restore's uid when the handle is unknown
	backup   string      // the backup's id then
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
	if req.Handle != "" {
		b.stranger = s.ring.DerivedUID("restore", []byte(req.Handle))
	}
	return b
}

// verify checks the start's proof.
func (b *beginning) verify() {
	sum := sha256.Sum256([]byte(b.Handle))
	_, b.proven = proves(b.Installation.Key, b.Proof, "handle", hex.EncodeToString(sum[:]))
	b.verified = true
}

// foresee verifies the start's proof if the start will need one. The first starts of an hour need none, and checking a
// signature is a fifth of the work of a start. It runs outside of the transaction, so that nobody waits for it.
func (s *Service) foresee(ctx context.Context, b *beginning) error {
	if b.Handle == "" || b.Proof == "" {
		b.verified = true
		return nil
	}
	flooded := false
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		uid, _, _, err := s.backups.Find(tx, b.Handle, b.stranger)
		if err != nil {
			return err
		}
		counted, err := startsOf(tx, uid, b.handleKey())
		flooded = counted.flooded(tx.Now())
		return err
	})
	if flooded {
		b.verify()
	}
	return err
}

// handleKey returns the key under which the handle's starts are counted. It is the same whether the handle is known or not, and
// stays the same after a rotation of keys.
func (b *beginning) handleKey() string { return b.stranger.String() }

// startsOf returns what was counted under a handle; an empty count when there is none.
func startsOf(tx *storage.Tx, uid storage.UID, handle string) (*starts, error) {
	counted, err := startTable.Get(tx, uid, handle)
	if errors.Is(err, storage.ErrNotFound) {
		return &starts{}, nil
	}
	if err != nil {
		return &starts{}, err
	}
	return counted, nil
}

// flooded reports whether a start needs its proof.
func (s *starts) flooded(now time.Time) bool {
	return len(within(s.Times, now.Add(-startWindow))) >= freeStarts
}

// proves reports whether the key has signed a compact JWS whose member has value, and which has an iat. It returns iat in
// seconds, and does not compare it with our time, because it never trusts a phone's clock.
func proves(key device.Key, proof, member, value string) (iat float64, ok bool) {
	if proof == "" {
		return 0, false
	}
	payload, err := key.Verify(proof)
	if err != nil {
		return 0, false
	}
	var members map[string]any
	if json.Unmarshal(payload, &members) != nil {
		return 0, false
	}
	said, _ := members[member].(string)
	iat, dated := members["iat"].(float64)
	return iat, dated && strings.EqualFold(said, value)
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
	// Rows that anybody can cause are not kept for admins.
	if count.flooded || f.UID == b.stranger {
		f.Record.Kept = f.Record.Expires
	}
	// Decide what comes next, and whether the old installation is asked.
	sc, err := s.scene(tx, f.UID, f.Record.Backup)
	if err != nil {
		return nil, err
	}
	f.Record.Old = strings.Repeat("0", device.IDCharacters)
	if sc.old != nil {
		f.Record.Old = sc.old.ID
	}
	if err := ask(tx, f, sc); err != nil {
		return nil, err
	}
	state := f.Record.state(sc.of(f.Record))
	f.Record.First = Decision{state.Step, state.Reason}
	if err := errors.Join(makeRoom(tx, f.UID), restores.Insert(tx, f.UID, f.Key, f.Record)); err != nil {
		return nil, err
	}
	tx.Count(Begun, string(state.Step), string(state.Reason))
	tx.Wake(f.UID)
	if b.Handle != "" {
		err = tell(tx, f, count.tell, f.UID == b.stranger, actor)
	}
	return &Started{State: state, Token: b.token, Flooded: count.flooded}, err
}

// ask decides whether the old installation is asked, and for how long, and starts to watch its calls. A restore that will
// never accept a code asks nobody: so it does the same work as one with an unknown handle.
func ask(tx *storage.Tx, f row, sc *scene) error {
	policy, err := askPolicy.Get(tx)
	if err != nil {
		return err
	}
	first, err := firstWait.Get(tx)
	if err != nil {
		return err
	}
	long, err := longWait.Get(tx)
	if err != nil || f.Record.Disabled || sc.old == nil || !asks(policy, sc.old, tx.Now()) {
		return err
	}
	f.Record.Asked = true
	f.Record.FirstWait = f.Record.Started.Add(first)
	f.Record.LongWait = f.Record.Started.Add(long)
	return device.WatchCalls(tx, f.UID, sc.old, f.Record.ID, f.Record.FirstWait)
}

// asks reports whether, by policy, the old installation is asked. old is not retired.
func asks(policy string, old *device.Enrollment, now time.Time) bool {
	switch policy {
	case askAlways:
		return true
	case askNever:
		return false
	default:
		return old.SignedWithin(now, aliveFor)
	}
}

// newRestore makes the restore's row. It belongs to the backup's user; for an unknown handle it has the same size but none of
// the phone's data.
func (s *Service) newRestore(tx *storage.Tx, b *beginning) (row, error) {
	r := &restore{
		Backup:   b.backup,
		NoHandle: b.Handle == "",
		Disabled: b.Disabled,
		Started:  tx.Now(),
		Expires:  tx.Now().Add(life),
		Kept:     tx.Now().Add(keptAsked),
		Network:  login.Network(b.Address),
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
		r.Network = zeros(r.Network)
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

// blank returns an installation that takes as many bytes in a row as in, and says nothing about the phone.
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

// zeros returns as many zeros as s takes bytes in JSON.
func zeros(s string) string {
	encoded, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return strings.Repeat("0", len(encoded)-len(`""`))
}

// telling says what the phones are told about a start.
type telling int

const (
	tellNothing telling = iota // they were told about its key, or that there are more, within the hour
	tellStart
	tellMore // that there are more starts than are announced one by one
)

// startCount says where a start stands among those of its handle.
type startCount struct {
	tell    telling
	flooded bool // it needed its proof
}

// count counts a start under its handle. Beyond the limit the start must prove a key that was not named before.
//
// Errors: ErrProof; errUnverified.
func (s *Service) count(tx *storage.Tx, uid storage.UID, b *beginning) (startCount, error) {
	handle := b.handleKey()
	counted, err := startsOf(tx, uid, handle)
	if err != nil {
		return startCount{}, err
	}
	k := b.Installation.Key
	named := handle + s.ring.Hash("restore-key", []byte(k.Type), []byte(k.N), []byte(k.E), []byte(k.X), []byte(k.Y))
	key, err := namedKeys.Get(tx, uid, named)
	before := err == nil
	if errors.Is(err, storage.ErrNotFound) {
		key = &namedKey{}
		err = nil
	}
	if err != nil {
		return startCount{}, err
	}
	now := tx.Now()
	c := startCount{flooded: counted.flooded(now)}
	if c.flooded && !b.verified {
		return c, errUnverified
	}
	if c.flooded && (!b.proven || before) {
		return c, ErrProof
	}
	if len(counted.Times) == 0 {
		if err := forgetHandles(tx, uid); err != nil {
			return c, err
		}
	}
	c.tell = counted.decide(key, now)
	key.At = now
	counted.Times = append(within(counted.Times, now.Add(-startWindow)), now)
	counted.Times = counted.Times[max(0, len(counted.Times)-freeStarts):]
	if c.flooded {
		err = forgetKeys(tx, uid, handle)
	}
	return c, errors.Join(err,
		startTable.Put(tx, uid, handle, counted),
		namedKeys.Put(tx, uid, named, key))
}

// decide returns what the phones are told about a start with a key, and notes it. A key that comes every 59 minutes is still
// reported: what counts is when the phones were last told.
func (s *starts) decide(key *namedKey, now time.Time) telling {
	hourAgo := now.Add(-startWindow)
	if key.Told.After(hourAgo) {
		return tellNothing
	}
	s.Told = within(s.Told, hourAgo)
	if len(s.Told) < toldStarts {
		s.Told = append(s.Told, now)
		key.Told = now
		return tellStart
	}
	if s.Summed.After(hourAgo) {
		return tellNothing
	}
	s.Summed = now
	return tellMore
}

// within returns the times after an instant.
func within(times []time.Time, instant time.Time) []time.Time {
	var recent []time.Time
	for _, t := range times {
		if t.After(instant) {
			recent = append(recent, t)
		}
	}
	return recent
}

// eventWindow is how long, after the first, equal starts of a handle are counted and recorded as one event.
const eventWindow = time.Hour

// tell records the start and notifies the user's phones, as told says. For an unknown handle it does the same work: what it
// writes goes with the restore, and the outbox later finds that there are no phones.
func tell(tx *storage.Tx, f row, told telling, nobodys bool, actor audit.Actor) error {
	facts := audit.Facts{audit.FactStep: audit.Word(f.Record.First.Step), audit.FactReason: audit.Word(f.Record.First.Reason)}
	// The phone's name lies in the restore. In the event it would make that of an unknown handle another size.
	event := audit.Event{Type: audit.RestoreStarted, UID: f.UID, Facts: facts}
	var err error
	if nobodys {
		err = audit.PassRepeats(tx, actor, event, audit.Detail{}, "", life)
	} else {
		err = audit.FoldRepeats(tx, actor, event, audit.Detail{}, "", eventWindow)
	}
	notice := recovery.NoticePayload{Notice: recovery.NoticeRestoreStarted}
	if nobodys {
		notice.Life = life // the same row, which dies with the restore's
	}
	switch told {
	case tellNothing:
		return err
	case tellStart:
		notice.Restore = f.Record.ID
	}
	return errors.Join(err, recovery.Notify(tx, f.UID, notice))
}

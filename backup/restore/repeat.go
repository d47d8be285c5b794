package restore

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"time"

	"tutela/backup"
	"tutela/device"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// When a lost answer is no longer kept, the new installation can get a new one by proving its key, while the restore's
// row is kept.
const (
	proofFor     = 5 * time.Minute // how far its iat may be from our time
	repeatWindow = time.Hour
	mostRepeats  = 6 // in the window
)

// ErrOften reports that a lost answer was asked for too often, with the time to wait.
var ErrOften = storage.NewError(storage.Limited, "the answer was asked for too often; wait before you ask again")

// repeated is one repeat of the answer. Proof is the hash of the signed bytes: each proof works once, and is remembered
// for longer than it is fresh.
type repeated struct {
	At    time.Time `json:"at"`
	Proof string    `json:"proof"`
}

// proof is a Restore-Proof whose signature holds.
type proof struct {
	hash string    // of the signed bytes: another signature over the same bytes is the same proof
	at   time.Time // its iat
}

func proofOf(jws string, seconds float64) proof {
	signed := jws[:strings.LastIndexByte(jws, '.')]
	sum := sha256.Sum256([]byte(signed))
	whole, fraction := math.Modf(seconds)
	return proof{
		hash: base64.RawURLEncoding.EncodeToString(sum[:]),
		at:   time.Unix(int64(whole), int64(fraction*1e9)),
	}
}

// repeat makes a new answer for a finished restore, for a caller who has proven the new installation's key. The answer has a
// new device token and restore handle. It also has a fresh recovery code if the stored code is still the one that this
// restore issued, because then nobody has received that one.
//
// Errors: ErrNone, also when the new installation is retired; ErrToken; ErrNotReady, when that installation has made its first
// call or the user is blocked; device.ErrSuspended; device.ErrClockSkew; ErrProof; ErrOften.
func (s *Service) repeat(ctx context.Context, id, token string, p proof, actor audit.Actor) (*Outcome, error) {
	off := s.store.Wall().Sub(p.at)
	handle := backup.NewHandle()
	var outcome *Outcome
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		f, sc, err := s.look(tx, id, token)
		if err != nil {
			return err
		}
		if sc.facts.Blocked {
			return errBlockedReply
		}
		e, err := repeatable(tx, f)
		if err != nil {
			return err
		}
		if off > proofFor || off < -proofFor {
			return device.ErrClockSkew
		}
		if err := f.Record.countRepeat(p, tx.Now()); err != nil {
			return err
		}
		outcome, err = s.makeAnew(tx, f, e, handle, actor)
		return err
	})
	return outcome, err
}

// repeatable returns the new installation of a finished restore, if that has not made a call yet.
//
// Errors: ErrNone; ErrNotReady.
func repeatable(tx *storage.Tx, f row) (*device.Enrollment, error) {
	if f.Record.Done.IsZero() {
		return nil, ErrNotReady.With("the restore is not done")
	}
	e, err := device.Get(tx, f.UID, f.Record.Enrollment)
	switch {
	case errors.Is(err, device.ErrNoEnrollment) || err == nil && e.Status == device.Retired:
		return nil, ErrNone
	case err != nil:
		return nil, err
	case e.Push.Seen:
		return nil, ErrNotReady.With("the restore is done, and its phone has called since")
	default:
		return e, nil
	}
}

// countRepeat notes a repeat of the answer.
//
// Errors: ErrProof, for a proof that was used before; ErrOften.
func (r *restore) countRepeat(p proof, now time.Time) error {
	var recent []repeated
	for _, old := range r.Repeats {
		if old.Proof == p.hash {
			return ErrProof
		}
		if old.At.After(now.Add(-repeatWindow)) {
			recent = append(recent, old)
		}
	}
	if len(recent) >= mostRepeats {
		return ErrOften.After(recent[0].At.Add(repeatWindow).Sub(now))
	}
	recent = append(recent, repeated{At: now, Proof: p.hash})
	r.Repeats = recent
	return nil
}

// makeAnew makes the answer for the new installation e.
func (s *Service) makeAnew(tx *storage.Tx, f row, e *device.Enrollment, handle string, actor audit.Actor) (*Outcome, error) {
	enrolled, err := s.devices.Renew(tx, f.UID, e)
	if err != nil {
		return nil, err
	}
	// The backup may have been deleted meanwhile.
	b, latest, err := backup.Of(tx, f.UID, e)
	if errors.Is(err, backup.ErrNone) {
		err = ErrNone
	}
	if err != nil {
		return nil, err
	}
	event := audit.Event{Type: audit.RestoreRepeated, UID: f.UID}
	// If the code of this restore is still the user's, nobody has received it: replace it.
	stored, err := recovery.MarkOf(tx, f.UID)
	if err != nil {
		return nil, err
	}
	if stored != "" && stored == f.Record.Code {
		code, err := s.freshCode(tx, f, e)
		if err != nil {
			return nil, err
		}
		enrolled.RecoveryCode = string(code)
		event.Facts = audit.Facts{audit.FactCode: audit.CodeFresh}
	}
	return &Outcome{Enrolled: *enrolled, RestoreHandle: handle, Backup: *latest}, errors.Join(
		s.backups.Rehandle(tx, f.UID, b, handle),
		put(tx, f),
		audit.FoldRepeats(tx, actor, event, audit.Detail{Device: e.Name, Enrollment: e.ID, Backup: b.ID}, f.Key, repeatWindow))
}

// freshCode replaces the code that the restore issued.
func (s *Service) freshCode(tx *storage.Tx, f row, e *device.Enrollment) (recovery.Code, error) {
	code, err := s.recovery.Issue(tx, f.UID)
	if err != nil {
		return "", err
	}
	f.Record.Code, err = recovery.MarkOf(tx, f.UID)
	return code, errors.Join(err,
		device.CarryCode(tx, f.UID, e),
		recovery.Notify(tx, f.UID, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged}))
}

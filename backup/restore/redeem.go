package restore

import (
	"context"
	"encoding/json"
	"errors"

	"tutela/backup"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// Outcome is the answer to a new installation that has taken over: the answer to an enrolment, with the next recovery code.
type Outcome struct {
	device.Enrolled
	RestoreHandle string         `json:"restore_handle"` // a new one; the old one is dead
	Backup        backup.Version `json:"backup"`         // the latest, to be read with the new enrollment
}

// RestoreWithCode lets the new installation take over by the user's recovery code, in one transaction: it spends the
// code and issues the next one, retires the old installation, moves the backup and pending approvals to the new one,
// and closes every other open restore of the backup. A repeat with the same code gets the same answer until the new
// installation's first authenticated call, for at most 15 minutes.
//
// typed is the code as a person typed it; a typo costs no attempt.
//
// Errors: ErrNone; ErrToken; ErrNotReady; recovery.ErrLimited; recovery.ErrTypo; recovery.ErrWrongCode (counted);
// device.ErrKeyInUse and device.ErrInstallation, which spend nothing.
func (s *Service) RestoreWithCode(ctx context.Context, id, token, typed string, actor audit.Actor) (*Outcome, error) {
	code, typo := recovery.ParseCode(typed)
	handle := backup.NewHandle()
	var outcome *Outcome
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		f, sc, err := s.look(tx, id, token)
		if err != nil {
			return err
		}
		if !f.Record.Done.IsZero() {
			if sc.facts.Blocked {
				return errBlockedReply
			}
			outcome, err = s.again(tx, f, code, typo)
			return err
		}
		if err := takesCode(sc.of(f.Record)); err != nil {
			return err
		}
		if typo != nil {
			return typo
		}
		outcome, err = s.redeem(tx, f, sc, code, handle, actor)
		return err
	})
	if err != nil {
		return nil, err
	}
	return outcome, nil
}

// takesCode returns an error unless the restore accepts a code now.
//
// Errors: ErrNotReady, with the time to wait while the old installation is asked.
func takesCode(f Facts) error {
	switch d := Decide(f); {
	case d.Step != StepRecoveryCode:
		return ErrNotReady.With("the restore's step is %s: %s", d.Step, d.Reason)
	case d.Reason == OldDeviceAsked:
		early := ErrNotReady.With("the old phone is being asked: send the code again when wait_until has come; nothing was counted")
		return early.After(f.WaitUntil.Sub(f.Now))
	default:
		return nil
	}
}

// errBlockedReply answers a request for a kept reply while the user is blocked.
var errBlockedReply = ErrNotReady.With("the user is blocked")

// again returns the kept reply to the call that redeemed the same code.
//
// Errors: ErrNotReady.
func (s *Service) again(tx *storage.Tx, f row, code recovery.Code, typo error) (*Outcome, error) {
	kept, err := recovery.KeptReply(tx, f.UID, replyKey(f))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrNotReady.With("the restore is done, and its reply is no longer kept")
	}
	if err != nil {
		return nil, err
	}
	if typo != nil || !s.recovery.RepliesTo(tx, kept, f.UID, code) {
		return nil, ErrNotReady.With("the restore is done already")
	}
	return readOutcome(kept)
}

// replyKey returns the key of the reply that is kept for the restore.
func replyKey(f row) string { return "restore:" + f.Key }

func readOutcome(kept *recovery.Reply) (*Outcome, error) {
	var o Outcome
	return &o, json.Unmarshal(kept.Body, &o)
}

// redeem does what RestoreWithCode promises for a restore whose step asks for a code.
func (s *Service) redeem(tx *storage.Tx, f row, sc *scene, code recovery.Code, handle string, actor audit.Actor) (*Outcome, error) {
	next, err := s.recovery.Spend(tx, f.UID, recovery.RestoreChannel, code, actor)
	if err != nil {
		return nil, err
	}
	old := ""
	if sc.old != nil {
		old = sc.old.ID
	}
	binding := device.Binding{Restores: true, Retiring: old, Via: device.ViaRestore}
	e, enrolled, err := s.devices.Bind(tx, f.UID, f.Record.installation(), binding, actor)
	if err != nil {
		return nil, err
	}
	enrolled.RecoveryCode = string(next)
	if f.Record.Code, err = recovery.MarkOf(tx, f.UID); err != nil {
		return nil, err
	}
	latest, err := sc.backup.Latest(tx, f.UID)
	if err != nil {
		return nil, err
	}
	if err := s.takeOver(tx, f, sc, e, handle); err != nil {
		return nil, err
	}
	outcome := &Outcome{Enrolled: *enrolled, RestoreHandle: handle, Backup: *latest}
	body, err := json.Marshal(outcome)
	if err != nil {
		return nil, err
	}
	// Keep the reply last: the rotation and the retirement before erase all kept replies.
	kept := recovery.Reply{Enrollment: e.ID, Code: s.recovery.HashForReply(f.UID, code), Body: body}
	return outcome, errors.Join(
		device.CarryCode(tx, f.UID, e),
		login.Refill(tx, f.UID),
		recovery.KeepReply(tx, f.UID, replyKey(f), kept, recovery.ReplyLife),
		record(tx, f, sc, e, actor))
}

func (r *restore) installation() device.Installation {
	return device.Installation{
		Identifier:   r.Identifier,
		Name:         r.Name,
		Push:         r.Push.Open(),
		Key:          r.Key,
		Capabilities: r.Capabilities,
		Platform:     r.Platform,
	}
}

// takeOver replaces the old installation by e and ends the restore. It notifies the user's phones, and also the old one, which
// is no longer among them.
func (s *Service) takeOver(tx *storage.Tx, f row, sc *scene, e *device.Enrollment, handle string) error {
	if err := s.backups.Move(tx, f.UID, sc.backup, sc.old, e, handle); err != nil {
		return err
	}
	notice := recovery.NoticePayload{Notice: recovery.NoticeRestored, Restore: f.Record.ID, About: e.ID}
	if sc.old != nil {
		sc.old.SucceededBy(e.Via, e.ID, f.Record.ID)
		err := errors.Join(
			s.logins.AskInstead(tx, f.UID, sc.old.ID, e),
			device.Retire(tx, f.UID, sc.old, &notice))
		if err != nil {
			return err
		}
	}
	f.Record.Done = tx.Now()
	f.Record.Enrollment = e.ID
	f.Record.Kept = tx.Now().Add(keptDecided)
	f.Record.Push = push.KeptAddress{} // the new enrollment holds it now
	tx.Wake(f.UID)
	return errors.Join(put(tx, f), recovery.Notify(tx, f.UID, notice))
}

// record writes the events of a finished restore. It leaves out the phone's name, which lies in the restore.
func record(tx *storage.Tx, f row, sc *scene, e *device.Enrollment, actor audit.Actor) error {
	tx.Count(WentOn, WentDone)
	done := audit.Detail{Enrollment: e.ID, Backup: sc.backup.ID}
	err := audit.Record(tx, actor, audit.Event{Type: audit.RestoreDone, UID: f.UID}, done)
	if sc.old == nil {
		return err
	}
	// The old status says whether an admin had suspended the phone as lost; to retire it has changed the present one.
	event := audit.Event{Type: audit.DeviceMoved, UID: f.UID, Facts: audit.Facts{audit.FactWhy: audit.WhyRestored}}
	if sc.was == device.Suspended {
		event.Facts[audit.FactWas] = audit.Word(sc.was)
	}
	moved := audit.Detail{Enrollment: sc.old.ID, Successor: e.ID}
	return errors.Join(err, audit.Record(tx, actor, event, moved))
}

// State returns the state of a restore. proof is a compact JWS by the new installation's key, or empty. With it, State also
// returns the outcome of a finished restore: the kept reply, or, when that is gone and the installation has made no call yet, a
// new one for a fresh proof ([Service.repeat]).
//
// Errors: ErrNone; ErrToken; for a finished restore with a proof also ErrProof, and those of repeat.
func (s *Service) State(ctx context.Context, id, token, proof string, actor audit.Actor) (*State, error) {
	var state State
	var key device.Key
	var kept *recovery.Reply
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		f, sc, err := s.look(tx, id, token)
		if err != nil {
			return err
		}
		state = f.Record.state(sc.of(f.Record))
		key = f.Record.Key
		if state.Step != StepDone || proof == "" {
			return nil
		}
		if sc.facts.Blocked {
			return errBlockedReply
		}
		// Read here, and verify outside the transaction, so that nobody waits for a signature.
		kept, err = recovery.KeptReply(tx, f.UID, replyKey(f))
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if state.Step != StepDone || proof == "" {
		return &state, nil
	}
	seconds, ok := proves(key, proof, "restore", id)
	if !ok {
		return nil, ErrProof
	}
	if kept != nil {
		state.Result, err = readOutcome(kept)
	} else {
		state.Result, err = s.repeat(ctx, id, token, proofOf(proof, seconds), actor)
	}
	if err != nil {
		return nil, err
	}
	return &state, nil
}

// FirstTimeSetup ends a restore because the person has lost the code, or wants a clean start. It marks the restore for admins.
// It does not declare the code lost, because a thief who has only the handle can call it. The old installation does not
// change. Calling it again is no error.
//
// Errors: ErrNone; ErrToken; ErrNotReady, when the restore is done.
func (s *Service) FirstTimeSetup(ctx context.Context, id, token string, actor audit.Actor) (*State, error) {
	var state State
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		f, sc, err := s.look(tx, id, token)
		if err != nil {
			return err
		}
		if !f.Record.Done.IsZero() {
			return ErrNotReady.With("the restore is done already")
		}
		if f.Record.Chosen.IsZero() {
			err = giveUp(tx, f, sc, actor)
		}
		state = f.Record.state(sc.of(f.Record))
		return err
	})
	if err != nil {
		return nil, err
	}
	return &state, nil
}

// giveUp marks a restore as given up, and erases the phone's push address, which is not needed any more. For an unknown handle it
// does the same work, and the event goes with the restore.
func giveUp(tx *storage.Tx, f row, sc *scene, actor audit.Actor) error {
	tx.Count(WentOn, wentGivenUp)
	f.Record.Chosen = tx.Now()
	f.Record.Push = push.KeptAddress{}
	tx.Wake(f.UID)
	event := audit.Event{Type: audit.RestoreGivenUp, UID: f.UID}
	count := audit.PassRepeats
	if sc.known {
		count = audit.FoldRepeats
	}
	return errors.Join(put(tx, f), count(tx, actor, event, audit.Detail{Backup: f.Record.Backup}, "", eventWindow))
}

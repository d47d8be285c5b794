package device

import (
	"context"
	"encoding/json"
	"errors"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Enroll spends a ticket and binds an installation to the ticket's user. The first reply may be lost, so a repeat with
// the same ticket and key gets the same reply while that is kept.
//
// Errors: ErrInstallation; ErrTicket; ErrFactorOff; ErrKeyInUse; ErrTooMany.
func (s *Service) Enroll(ctx context.Context, ticket string, in Installation, actor audit.Actor) (*Enrolled, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	var enrolled *Enrolled
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		t, err := s.findTicket(tx, ticket)
		if err != nil {
			return err
		}
		if t.spent() {
			enrolled, err = s.enrolledBefore(tx, t, in.Key)
			return err
		}
		if err := s.takes(tx, t, FactorPush); err != nil {
			return err
		}
		enrolled, err = s.enroll(tx, t, in, actor)
		return err
	})
	return enrolled, err
}

// enroll enrols with a valid ticket, and tells the user's other phones. If the ticket replaces an enrollment, enroll retires
// that one and hands its backup to the new one.
func (s *Service) enroll(tx *storage.Tx, t *foundTicket, in Installation, actor audit.Actor) (*Enrolled, error) {
	before, err := All(tx, t.UID)
	if err != nil {
		return nil, err
	}
	e, enrolled, err := s.Bind(tx, t.UID, in, Binding{Reserved: t.reserved(), Retiring: t.root.Replaces, Via: t.via()}, actor)
	if err != nil {
		return nil, err
	}
	if t.root.Replaces != "" {
		if err := takePlace(tx, t.UID, t.root.Replaces, e, in, actor); err != nil {
			return nil, err
		}
	}
	return enrolled, s.complete(tx, t, enrolment{
		before: before,
		made:   e,
		reply:  enrolled,
		key:    in.Key,
	})
}

// enrolment describes an enrolment for complete: the enrollments before, the new one, and the reply for the caller.
type enrolment struct {
	before Set
	made   *Enrollment
	reply  *Enrolled
	key    Key    // the key that has spent the ticket; zero after a one-time code
	code   string // keyed hash of the one-time code that has spent the ticket; empty after a key
}

// complete does what all kinds of enrolment have in common: it notifies the user's other phones, issues the recovery
// code, spends the ticket and keeps the reply.
func (s *Service) complete(tx *storage.Tx, t *foundTicket, done enrolment) error {
	if err := tellOthers(tx, t, done.before, done.made); err != nil {
		return err
	}
	code, err := s.codeFor(tx, t, done.made)
	if err != nil {
		return err
	}
	done.reply.RecoveryCode = string(code)
	kept := *done.reply
	if done.code != "" {
		kept.RecoveryCode = "" // a repeat only shows six digits, which a million guesses find
	}
	body, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	reply := recovery.Reply{Enrollment: done.made.ID, Code: done.code, Body: body}
	return errors.Join(
		endAssociations(tx, t),
		succeedRemoved(tx, t, done.made),
		recovery.KeepReply(tx, t.UID, t.replyKey(), reply, recovery.ReplyLife),
		s.keepForPage(tx, t, done.reply.RecoveryCode),
		s.spend(tx, t, done.key, done.made.ID))
}

// via returns how an enrollment with the ticket is made.
func (t *foundTicket) via() Via {
	switch {
	case t.Record.Grant.Cause != "":
		return ViaEnrolmentToken
	case t.Record.Root != "":
		return ViaPage
	case t.Record.ofFlow():
		return ViaEnrolmentToken
	default:
		return ViaTicket
	}
}

// takePlace replaces the enrollment with an id by a new one. The backup moves to the new phone, which can restore it or
// write to it; an app that only shows codes can do neither, so the backup stays where its handle finds it. takePlace retires the
// old enrollment and tells its phone.
func takePlace(tx *storage.Tx, uid storage.UID, id string, e *Enrollment, in Installation, actor audit.Actor) error {
	old, err := replaceable(tx, uid, id)
	if err != nil {
		return err
	}
	backup := ""
	if e.Type == TypePush {
		backup = old.Push.BackupID
		e.Push.BackupID = backup
		old.Push.BackupID = ""
	}
	old.dropAddress(in.Push) // the new enrollment has this address now: no notice to it is needed
	why := audit.Facts{audit.FactWhy: audit.WhyTicket, audit.FactFactor: audit.Word(old.Type)}
	if e.Via == ViaEnrolmentToken {
		why[audit.FactWhy] = audit.WhyEnrolmentToken
	}
	gone := old.Detail()
	gone.Successor = e.ID
	old.SucceededBy(e.Via, e.ID, e.ID)
	err = errors.Join(
		Put(tx, uid, e),
		Retire(tx, uid, old, &recovery.NoticePayload{Notice: recovery.NoticeReplaced, Restore: e.ID, About: e.ID}),
		audit.Record(tx, actor, audit.Event{Type: audit.Unenroll, UID: uid, Facts: why}, gone))
	if backup == "" {
		return err
	}
	moved := audit.Detail{Enrollment: old.ID, Successor: e.ID, Backup: backup}
	return errors.Join(err, audit.Record(tx, actor, audit.Event{Type: audit.DeviceMoved, UID: uid, Facts: why}, moved))
}

// codeFor issues the recovery code that comes with an enrolment; it returns "" when the user keeps the code that she
// has. A user without a code gets one with any app. A code that may have been lost is replaced only where the new one
// will be shown: on the page that drew the QR code, or by an app that shows codes. A page of the browser client already
// has its code and will show it, so that code is always issued.
func (s *Service) codeFor(tx *storage.Tx, t *foundTicket, e *Enrollment) (recovery.Code, error) {
	holding, err := recovery.HoldingOf(tx, t.UID)
	if err != nil {
		return "", err
	}
	drawn, err := t.drawnCode()
	if err != nil {
		return "", err
	}
	shown := t.Record.Page != "" || e.Push.Can(ShowsCode)
	if drawn == "" && holding.Counts && (!shown || !holding.ByNobody()) {
		return "", nil
	}
	code, err := s.issue(tx, t, drawn)
	if err != nil {
		return "", err
	}
	if holding.Counts {
		err = recovery.Notify(tx, t.UID, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
	}
	return code, errors.Join(err, CarryCode(tx, t.UID, e))
}

// issue issues the drawn code, or, when none was drawn, a new one.
func (s *Service) issue(tx *storage.Tx, t *foundTicket, drawn recovery.Code) (recovery.Code, error) {
	if drawn == "" {
		return s.recovery.Issue(tx, t.UID)
	}
	err := s.recovery.IssueDrawn(tx, t.UID, drawn)
	if err == nil {
		t.Record.Mark, err = recovery.MarkOf(tx, t.UID)
	}
	return drawn, err
}

// CarryCode notes that the user's new recovery code goes to the app of an enrollment, if the app shows it.
func CarryCode(tx *storage.Tx, uid storage.UID, e *Enrollment) error {
	if !e.Push.Can(ShowsCode) {
		return nil
	}
	return recovery.Carried(tx, uid, e.ID)
}

// tellOthers notifies the user's earlier phones of the new one. If she had none, it removes everything else that could
// enrol a phone for her.
func tellOthers(tx *storage.Tx, t *foundTicket, before Set, e *Enrollment) error {
	var err error
	if len(before.Active()) == 0 {
		err = spendOthers(tx, t)
	}
	if len(before.Phones()) == 0 {
		return err // there is no other phone to notify
	}
	notice := recovery.NoticeDeviceAdded
	if e.Type.IsPasskey() {
		notice = recovery.NoticePasskeyAdded
	}
	return errors.Join(err, recovery.Notify(tx, t.UID, recovery.NoticePayload{Notice: notice, About: e.ID}))
}

// enrolledBefore returns the kept reply of a spent ticket, for the key that spent it.
func (s *Service) enrolledBefore(tx *storage.Tx, t *foundTicket, key Key) (*Enrolled, error) {
	if !t.spentBy(key) {
		return nil, ErrTicket
	}
	kept, err := keptFor(tx, t)
	if err != nil {
		return nil, err
	}
	var enrolled Enrolled
	return &enrolled, json.Unmarshal(kept.Body, &enrolled)
}

// keptFor returns the reply that is kept for whoever spent a ticket.
//
// Errors: ErrTicket, also while the user is blocked.
func keptFor(tx *storage.Tx, t *foundTicket) (*recovery.Reply, error) {
	u, err := user.Get(tx, t.UID)
	if err != nil {
		return nil, err
	}
	if u.Blocked {
		return nil, ErrTicket
	}
	kept, err := recovery.KeptReply(tx, t.UID, t.replyKey())
	if errors.Is(err, storage.ErrNotFound) {
		err = ErrTicket
	}
	return kept, err
}

// Package recovery keeps the way back for a person who has lost an authenticator: the saved recovery code, the limits on
// guessing it, the replies that are kept in case the first was lost, and the admin's reset with its receipt.
package recovery

import (
	"context"
	"errors"
	"time"

	"tutela/recovery/ways"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
)

// adminIssuedLife is how long a code that an admin has seen is valid.
const adminIssuedLife = 24 * time.Hour

// saved is a user's recovery code as it is stored. A user has at most one. The row of an expired code stays, and so does the
// user's MFA state: an admin must act again.
type saved struct {
	Hash        string    `json:"hash"` // keyed, with the uid: HMAC-SHA-256 over 115 random bits
	Issued      time.Time `json:"issued"`
	AdminIssued bool      `json:"admin_issued,omitempty"`
	Confirmed   bool      `json:"confirmed,omitempty"` // the person has shown that she has saved it
	Underway    bool      `json:"underway,omitempty"`  // nobody knows whether it has arrived; codes of earlier releases count as arrived
	Carrier     string    `json:"carrier,omitempty"`   // id of the enrollment whose app shows it; with its first call the code has arrived
	Lost        time.Time `json:"lost,omitzero"`       // when it was declared lost
	Removed     bool      `json:"removed,omitempty"`   // by an admin; Hash is empty then
}

func (s *saved) valid(now time.Time) bool {
	return s != nil && !s.Removed && (!s.AdminIssued || now.Before(s.Issued.Add(adminIssuedLife)))
}

var codes = storage.Declare(storage.Spec[saved]{
	Name:  "recovery_code",
	Class: storage.MFA,
	Most:  1,
	Changed: func(tx *storage.Tx, uid storage.UID, _ string, before, after *saved) error {
		is, until := after.standing()
		if was, wasUntil := before.standing(); was == is && wasUntil.Equal(until) {
			return nil
		}
		return ways.NoteCode(tx, uid, is, until)
	},
})

// standing returns how the code stands as a way back, and until when. A code that was declared lost still opens, but
// must not be counted on.
func (s *saved) standing() (is ways.Code, until time.Time) {
	switch {
	case s == nil, s.Removed:
		return ways.CodeNone, until
	case s.AdminIssued:
		until = s.Issued.Add(adminIssuedLife)
	}
	if s.Confirmed && s.Lost.IsZero() {
		return ways.CodeConfirmed, until
	}
	return ways.CodeUnconfirmed, until
}

// CodeStanding returns how the user's recovery code stands as a way back, and until when; zero is for ever.
func CodeStanding(tx *storage.Tx, uid storage.UID) (is ways.Code, until time.Time, err error) {
	s, err := codeOf(tx, uid)
	is, until = s.standing()
	return is, until, err
}

// theCode is the key of a user's only row in the table.
const theCode = ""

// ErrWrongCode reports a code that does not match. It does not say why.
var ErrWrongCode = storage.NewError(storage.Denied, "the recovery code is not right")

// Signer signs receipts: a compact JWS over payload.
type Signer func(ctx context.Context, payload []byte) (jws string, err error)

// Service is the use cases of recovery. Safe for concurrent use.
type Service struct {
	store *storage.Store
	ring  *keyring.Ring
	sign  Signer
}

// New makes the service. sign signs the receipts of resets.
func New(store *storage.Store, ring *keyring.Ring, sign Signer) *Service {
	return &Service{store: store, ring: ring, sign: sign}
}

// HasCode reports whether the user has a valid code. A code that an admin issued expires; all others do not.
func HasCode(tx *storage.Tx, uid storage.UID) (bool, error) {
	s, err := codeOf(tx, uid)
	return s.valid(tx.Now()), err
}

// MarkOf returns a mark of the user's present code, which no earlier or later code of hers has; "" when she has no valid one. A
// caller that issues a code and keeps its mark, in one transaction, can find out later whether the user still has that code.
func MarkOf(tx *storage.Tx, uid storage.UID) (string, error) {
	s, err := codeOf(tx, uid)
	if err != nil || !s.valid(tx.Now()) {
		return "", err
	}
	return s.Hash, nil
}

// CodeIssuedAt returns when the user's valid code was issued; the zero time when she has none.
func CodeIssuedAt(tx *storage.Tx, uid storage.UID) (time.Time, error) {
	s, err := codeOf(tx, uid)
	if err != nil || !s.valid(tx.Now()) {
		return time.Time{}, err
	}
	return s.Issued, nil
}

// Remove takes the user's code away, and tells her phones. Its row stays: a user who had a code is not new. For a user without a
// valid code it does nothing.
func Remove(tx *storage.Tx, uid storage.UID) error {
	s, err := codeOf(tx, uid)
	if err != nil || !s.valid(tx.Now()) {
		return err
	}
	return errors.Join(
		codes.Put(tx, uid, theCode, &saved{Issued: s.Issued, Removed: true}),
		ForgetReplies(tx, uid),
		Notify(tx, uid, NoticePayload{Notice: NoticeCodeRemoved}))
}

// CodeIssued reports whether a code was issued since the last reset, whatever has become of it.
func CodeIssued(tx *storage.Tx, uid storage.UID) (bool, error) {
	s, err := codeOf(tx, uid)
	return s != nil, err
}

// Issue gives the user a new code, which counts as not arrived yet. After the commit the old code opens nothing. Issue also
// erases the kept replies, since one may show an old code.
func (s *Service) Issue(tx *storage.Tx, uid storage.UID) (Code, error) {
	return s.issue(tx, uid, saved{Underway: true})
}

// DrawCode returns a code that is nobody's yet: it opens nothing until it is issued ([Service.IssueDrawn]).
func DrawCode() Code { return newCode() }

// IssueDrawn is Issue of a code that was drawn before, and told to the page that shows it.
func (s *Service) IssueDrawn(tx *storage.Tx, uid storage.UID, code Code) error {
	return s.issueCode(tx, uid, code, saved{Underway: true})
}

// IssueByAdmin gives the user a new code that an admin sees, and notifies her phones. The code is marked as seen by an admin,
// and is valid for 24 hours.
func (s *Service) IssueByAdmin(tx *storage.Tx, uid storage.UID) (Code, error) {
	code, err := s.issue(tx, uid, saved{AdminIssued: true})
	return code, errors.Join(err, Notify(tx, uid, NoticePayload{Notice: NoticeCodeChanged}))
}

func (s *Service) issue(tx *storage.Tx, uid storage.UID, row saved) (Code, error) {
	code := newCode()
	return code, s.issueCode(tx, uid, code, row)
}

func (s *Service) issueCode(tx *storage.Tx, uid storage.UID, code Code, row saved) error {
	row.Hash = s.ring.Hash(codePurpose, uid[:], []byte(code))
	row.Issued = tx.Now()
	return errors.Join(
		codes.Put(tx, uid, theCode, &row),
		ForgetReplies(tx, uid),
		forgetBrowsers(tx, uid),
	)
}

const codePurpose = "recovery-code"

// HashForReply returns the keyed hash of a code that a kept reply holds, to recognise the code that its call redeemed.
func (s *Service) HashForReply(uid storage.UID, code Code) string {
	return s.ring.Hash("answered-code", uid[:], []byte(code))
}

// RepliesTo reports whether a kept reply is to a call that redeemed this code.
func (s *Service) RepliesTo(tx *storage.Tx, r *Reply, uid storage.UID, code Code) bool {
	return s.ring.MatchesIn(tx, r.Code, "answered-code", uid[:], []byte(code))
}

// Spend uses the user's recovery code up and issues the next one.
//
// code is as ParseCode returned it, so a typo never comes here and costs no attempt. Spend compares the code before it checks any
// limit, so a right code always passes. A wrong code is Denied and counts on its channel. While the channel waits it is
// Limited, with the time to wait, and does not count. The caller must return both errors from the transaction as they are, so
// that the count is kept. Spend also notifies the user's phones. The next code counts as arrived when the answer to a grant
// brings it; at a restore it counts as arrived only after the app's first call.
//
// Errors: ErrLimited; ErrWrongCode (kept).
//
// Source: NIST SP 800-63B-4 §4.2 (saved recovery codes).
func (s *Service) Spend(tx *storage.Tx, uid storage.UID, ch Channel, code Code, actor audit.Actor) (next Code, err error) {
	if err := s.try(tx, uid, ch, code, actor); err != nil {
		return "", err
	}
	next, err = s.issue(tx, uid, saved{Underway: ch == RestoreChannel})
	e := audit.Event{Type: audit.RecoverySucceed, UID: uid, Facts: audit.Facts{audit.FactChannel: audit.Word(ch)}}
	return next, errors.Join(err,
		Notify(tx, uid, NoticePayload{Notice: NoticeCodeChanged}),
		audit.Record(tx, actor, e, audit.Detail{}))
}

// try compares a code with the user's. A right one opens every channel of the recovery code; a wrong one counts.
//
// Errors: ErrLimited; ErrWrongCode (kept).
func (s *Service) try(tx *storage.Tx, uid storage.UID, ch Channel, code Code, actor audit.Actor) error {
	row, err := codeOf(tx, uid)
	if err != nil {
		return err
	}
	hash := ""
	if row.valid(tx.Now()) {
		hash = row.Hash
	}
	// A user without a code costs the same hash.
	if s.ring.MatchesIn(tx, hash, codePurpose, uid[:], []byte(code)) {
		tx.Count(CodesTried, string(ch), CodeRight)
		return OpenCode(tx, uid)
	}
	guessed, err := fail(tx, uid, ch)
	if errors.Is(err, ErrLimited) {
		tx.CountTry(CodesTried, string(ch), codeLimited)
	}
	if err != nil {
		return err
	}
	tx.Count(CodesTried, string(ch), codeWrong)
	e := audit.Event{Type: audit.RecoveryFailed, UID: uid, Facts: audit.Facts{audit.FactChannel: audit.Word(ch)}}
	err = audit.Record(tx, actor, e, audit.Detail{})
	if guessed {
		e.Type = audit.RecoveryRateLimit
		err = errors.Join(err,
			Notify(tx, uid, NoticePayload{Notice: NoticeCodeGuessed}),
			audit.Record(tx, actor, e, audit.Detail{}))
	}
	if err != nil {
		return err
	}
	return storage.Kept(ErrWrongCode)
}

// Practise reports whether a code is the user's, without spending it. A typo is false and not counted; a wrong code counts
// on a channel of its own. A right code is marked as confirmed: the person has saved it.
//
// Errors: ErrLimited.
func (s *Service) Practise(tx *storage.Tx, uid storage.UID, typed string, actor audit.Actor) (bool, error) {
	code, err := ParseCode(typed)
	if errors.Is(err, ErrTypo) {
		return false, nil
	}
	err = s.try(tx, uid, PracticeChannel, code, actor)
	if errors.Is(err, ErrWrongCode) {
		return false, nil // no error, so that the transaction commits the count
	}
	if err != nil {
		return false, err
	}
	return true, Confirm(tx, uid)
}

// Confirm notes that the person has shown that she has saved her recovery code. It has arrived, too.
func Confirm(tx *storage.Tx, uid storage.UID) error {
	row, err := codeOf(tx, uid)
	if err != nil || row == nil || row.Confirmed {
		return err
	}
	row.Confirmed = true
	row.Underway = false
	row.Carrier = ""
	return codes.Put(tx, uid, theCode, row)
}

func codeOf(tx *storage.Tx, uid storage.UID) (*saved, error) {
	row, err := codes.Get(tx, uid, theCode)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	return row, err
}

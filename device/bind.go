package device

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"slices"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Reserved is the id and one-time-code secret of an enrollment to come. The zero value has them drawn.
type Reserved struct {
	ID     string
	Secret []byte
}

func (r Reserved) orNew() Reserved {
	if r.ID == "" {
		r.ID = storage.NewID("dev_", 16)
	}
	if len(r.Secret) == 0 {
		r.Secret = make([]byte, totpSecretBytes)
		_, _ = rand.Read(r.Secret)
	}
	return r
}

// Enrolled is what an app gets when it has enrolled or restored.
//
// Source: guardian-wire.md §1.5.
type Enrolled struct {
	ID           string `json:"id"`
	URL          string `json:"url"`
	Issuer       string `json:"issuer"`
	UserID       string `json:"user_id"`
	Token        string `json:"token"`
	RecoveryCode string `json:"recovery_code,omitempty"`
	TOTP         *TOTP  `json:"totp,omitempty"`
}

// TOTP is what an app needs to show one-time codes; the numbers are JSON numbers and the algorithm is lower-case, as
// the iOS SDK wants them.
type TOTP struct {
	Secret    string `json:"secret"` // base32
	Algorithm string `json:"algorithm"`
	Digits    int    `json:"digits"`
	Period    int    `json:"period"`
}

// The parameters of one-time codes, as every authenticator app takes them (RFC 6238).
const (
	totpAlgorithm   = "sha1"
	totpDigits      = 6
	totpPeriod      = 30
	totpSecretBytes = 20
)

func encodeSecret(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// Bind makes an enrollment of an installation for a user and returns it with what its app gets. It is for
// whoever has found, in the same transaction, that the installation may be bound; an active enrollment of the same
// phone (its identifier) is replaced. id and secret may be given, when a QR code has them already.
//
// Errors: ErrKeyInUse, for an active or suspended enrollment of the user other than retiring that has the key;
// ErrInstallation, when the presence policy refuses the app; ErrTooMany.
func (s *Service) Bind(tx *storage.Tx, uid storage.UID, in Installation, r Reserved, retiring string, actor audit.Actor) (*Enrollment, *Enrolled, error) {
	u, err := user.Get(tx, uid)
	if err != nil {
		return nil, nil, err
	}
	if err := mayAnswer(tx, in); err != nil {
		return nil, nil, err
	}
	if err := s.replace(tx, uid, in, retiring, actor); err != nil {
		return nil, nil, err
	}
	r = r.orNew()
	token := storage.NewID("dt_", 43) // 256 bits
	e := &Enrollment{
		ID:       r.ID,
		Type:     TypePush,
		Name:     in.Name,
		Status:   Active,
		Enrolled: tx.Now(),
		Changed:  tx.Now(),
		Push: PushBinding{
			Identifier:   in.Identifier,
			Key:          in.Key,
			Token:        s.ring.Hash(tokenPurpose, uid[:], []byte(r.ID), []byte(token)),
			Address:      in.Push.Keep(),
			Capabilities: in.Capabilities,
		},
		OTP: OneTimeCodes{Secret: r.Secret},
	}
	tx.Wake(uid)
	enrolled := &Enrolled{
		ID:     e.ID,
		URL:    s.bases.API(),
		Issuer: s.issuer,
		UserID: u.ID,
		Token:  token,
		TOTP: &TOTP{
			Secret:    encodeSecret(r.Secret),
			Algorithm: totpAlgorithm,
			Digits:    totpDigits,
			Period:    totpPeriod,
		},
	}
	return e, enrolled, errors.Join(
		enrollments.Insert(tx, uid, e.ID, e),
		audit.Record(tx, actor, audit.Event{Type: audit.EnrollComplete, UID: uid}, e.detail()))
}

const tokenPurpose = "device-token"

// maxEnrollments bounds the enrollments of a user that are not retired, of all types: they are read at every login.
const maxEnrollments = 50

// replace looks at the user's other installations: the same key is a conflict, the same phone is replaced. So is one that
// Left and has the key, which would else come back beside the new one.
func (s *Service) replace(tx *storage.Tx, uid storage.UID, in Installation, retiring string, actor audit.Actor) error {
	set, err := All(tx, uid)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(set.Kept(), func(e *Enrollment) bool { return e.ID == retiring })
	left := len(others)
	for _, other := range others.Installations() {
		sameKey := other.Push.Key.Same(in.Key)
		if sameKey && other.Status != Left {
			return ErrKeyInUse
		}
		if !sameKey && other.Push.Identifier != in.Identifier {
			continue
		}
		left--
		event := audit.Event{Type: audit.Unenroll, UID: uid, Facts: audit.Facts{audit.FactWhy: audit.WhyReplaced}}
		err := errors.Join(Retire(tx, uid, other, nil),
			audit.Record(tx, actor, event, other.detail()))
		if err != nil {
			return err
		}
	}
	if left >= maxEnrollments {
		return ErrTooMany
	}
	return nil
}

// Retire ends an enrollment of any type: what it authenticates by counts no longer and its secrets are erased, so are the
// user's kept replies, and who waits is woken. A notice, when it has one, tells its phone.
func Retire(tx *storage.Tx, uid storage.UID, e *Enrollment, notice *recovery.NoticePayload) error {
	e.Status = Retired
	e.Changed = tx.Now()
	e.Push.Watches = nil
	e.OTP = OneTimeCodes{}
	tx.Wake(uid)
	var told error
	if to := e.PushAddress(); !to.IsZero() && notice != nil {
		notice.Enrollment = e.ID
		told = recovery.NotifyThrough(tx, uid, to.Through(), *notice)
	} else {
		e.Push.Address = push.KeptAddress{} // else it is kept until the phone was told
	}
	return errors.Join(told, Put(tx, uid, e), recovery.ForgetReplies(tx, uid))
}

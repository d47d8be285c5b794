package device

import (
	"errors"
	"slices"
	"strings"

	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Binding says how an installation is bound.
type Binding struct {
	Reserved        // set when a QR code holds them already
	Restores bool   // it replaces only the enrollment Retiring, whatever identifier it names
	Retiring string // an enrollment's id; the caller retires it in the same transaction
	Via      Via    // how the enrollment is made
}

// Reserved is the id and one-time-code secret of a future enrollment. With the zero value Bind draws both.
type Reserved struct {
	ID     string
	Secret []byte
}

func (r Reserved) orNew() Reserved {
	if r.ID == "" {
		r.ID = storage.NewID(idPrefix, idDrawn)
	}
	if len(r.Secret) == 0 {
		r.Secret = otp.NewSecret()
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

// Bind makes an enrollment of an installation for a user. It returns the enrollment and the answer for its app. The caller
// has checked, in the same transaction, that the installation may be bound. Bind replaces an enrollment of the same phone (by
// its identifier), and tells that phone.
//
// Errors: ErrKeyInUse, when an active or suspended enrollment of the user, other than b.Retiring, has the key;
// ErrInstallation, when the presence policy refuses the app; ErrTooMany.
func (s *Service) Bind(tx *storage.Tx, uid storage.UID, in Installation, b Binding, actor audit.Actor) (*Enrollment, *Enrolled, error) {
	u, err := user.Get(tx, uid)
	if err != nil {
		return nil, nil, err
	}
	if err := mayAnswer(tx, in); err != nil {
		return nil, nil, err
	}
	r := b.orNew()
	if err := replace(tx, uid, in, b, r.ID, actor); err != nil {
		return nil, nil, err
	}
	last, err := recovery.LastNotice(tx, uid)
	if err != nil {
		return nil, nil, err
	}
	// The store keeps only a hash of the device token: nobody can read the token again.
	token := newToken()
	address := in.Push.Keep()
	address.Named = tx.Now()
	e := &Enrollment{
		ID:       r.ID,
		Type:     TypePush,
		Name:     in.Name,
		Status:   Active,
		Enrolled: tx.Now(),
		Changed:  tx.Now(),
		Via:      b.Via,
		Push: PushBinding{
			Identifier:   in.Identifier,
			Key:          in.Key,
			Token:        s.hashToken(uid, r.ID, token),
			Address:      address,
			Capabilities: in.Capabilities,
			NoticesAfter: last,
			Platform:     in.Platform,
		},
		OTP: OneTimeCodes{Secret: r.Secret},
	}
	tx.Count(Enrollments, string(b.Via))
	tx.Wake(uid) // a page may wait for its phone
	return e, s.enrolled(u, e.ID, token, r.Secret), errors.Join(
		enrollments.Insert(tx, uid, e.ID, e),
		s.noteAddress(tx, uid, e.ID, in.Push, true),
		audit.Record(tx, actor, audit.Event{Type: audit.EnrollComplete, UID: uid, Facts: audit.Facts{audit.FactFactor: audit.Word(e.Type)}}, e.Detail()))
}

// enrolled makes the answer for the app of an enrollment, without a recovery code.
func (s *Service) enrolled(u *user.User, id, token string, secret []byte) *Enrolled {
	return &Enrolled{
		ID:     id,
		URL:    s.bases.API(),
		Issuer: s.issuer,
		UserID: u.ID,
		Token:  token,
		TOTP:   newTOTP(secret),
	}
}

const tokenPurpose = "device-token"

func (s *Service) hashToken(uid storage.UID, id, token string) string {
	return s.ring.Hash(tokenPurpose, uid[:], []byte(id), []byte(token))
}

// maxEnrollments bounds a user's enrollments of all types that are not retired, because every login reads them.
const maxEnrollments = 50

// replace checks the user's other installations. An installation with the same key is a conflict; one on the same phone is
// replaced. An enrollment that Left and has the same key is replaced too, or else it could come back beside the new one.
// When there are too many, those that left longest ago make room: so a thief of tokens cannot fill the list.
//
// It also forgets the user's remembered browsers, since she now has another way to prove herself.
func replace(tx *storage.Tx, uid storage.UID, in Installation, b Binding, successor string, actor audit.Actor) error {
	if _, err := recovery.ForgetBrowsers(tx, uid); err != nil {
		return err
	}
	set, err := All(tx, uid)
	if err != nil {
		return err
	}
	// The enrollment that is to be retired does not count.
	others := slices.DeleteFunc(set.Kept(), func(e *Enrollment) bool { return e.ID == b.Retiring })
	count := len(others)
	for _, other := range others.Installations() {
		// A key belongs to one enrollment; one that left may still come back with it.
		sameKey := other.Push.Key.Same(in.Key)
		if sameKey && other.Status != Left {
			return ErrKeyInUse
		}
		samePhone := !b.Restores && namesOnePhone(in.Identifier) && other.Push.provenIdentifier() == in.Identifier
		if !sameKey && !samePhone {
			continue
		}
		// The same phone, or the same key, enrols again: the new enrollment replaces the old one.
		count--
		other.SucceededBy(b.Via, successor, successor)
		if err := retireReplaced(tx, uid, other, in, actor); err != nil {
			return err
		}
	}
	for _, other := range others.leftLongestAgo() {
		if count < maxEnrollments {
			break
		}
		count--
		if err := retireReplaced(tx, uid, other, in, actor); err != nil {
			return err
		}
	}
	if count >= maxEnrollments {
		return ErrTooMany
	}
	return nil
}

// retireReplaced retires an enrollment that a new installation replaces, and tells its phone.
func retireReplaced(tx *storage.Tx, uid storage.UID, old *Enrollment, in Installation, actor audit.Actor) error {
	old.dropAddress(in.Push) // the person who enrols sees it there
	event := audit.Event{Type: audit.Unenroll, UID: uid, Facts: audit.Facts{audit.FactWhy: audit.WhyReplaced, audit.FactFactor: audit.Word(old.Type)}}
	return errors.Join(Retire(tx, uid, old, &recovery.NoticePayload{Notice: recovery.NoticeReplaced, Restore: old.Succession.Cause}),
		audit.Record(tx, actor, event, old.Detail()))
}

// sharedIdentifiers are identifiers that many phones have: the id of a batch of faulty Android phones, and those of phones
// that hide theirs.
var sharedIdentifiers = []string{"9774d56d682e549c", "unknown", "null", "undefined", "02:00:00:00:00:00"}

// namesOnePhone reports whether an identifier belongs to one phone only. An identifier that many phones share does not, nor
// does one whose only letter or digit is 0.
func namesOnePhone(identifier string) bool {
	identifier = strings.ToLower(identifier)
	return strings.Trim(identifier, "0-:.{} ") != "" && !slices.Contains(sharedIdentifiers, identifier)
}

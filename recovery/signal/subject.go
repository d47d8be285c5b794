package signal

import (
	"context"
	"errors"
	"slices"
	"time"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// removal says that a stream is told nothing about a user.
type removal struct {
	At time.Time `json:"at"`
}

// removedSubjects are, among a user's rows and by stream, the streams that are told nothing about her. She is a subject of all
// others: whoever keeps accounts for an installation has to know of all of them.
var removedSubjects = storage.Declare(storage.Spec[removal]{
	Name:  "signal_removed",
	Class: storage.Account,
	Most:  maxStreams,
})

// AddSubject has a stream of the client that acts be told of a user again. A stream is told of everybody until it removes somebody.
//
// Errors: ErrRefused; ErrNone; ErrInvalid, for a subject that names no user; ErrSubject.
func (s *Service) AddSubject(ctx context.Context, actor audit.Actor, id string, subject Subject) error {
	return s.changeSubject(ctx, actor, id, subject, func(tx *storage.Tx, uid storage.UID) error {
		return removedSubjects.Delete(tx, uid, id)
	})
}

// RemoveSubject has a stream of the client that acts be told nothing more about a user.
//
// Errors: ErrRefused; ErrNone; ErrInvalid; ErrSubject.
func (s *Service) RemoveSubject(ctx context.Context, actor audit.Actor, id string, subject Subject) error {
	return s.changeSubject(ctx, actor, id, subject, func(tx *storage.Tx, uid storage.UID) error {
		return errors.Join(
			forgetStreams(tx, uid),
			removedSubjects.Put(tx, uid, id, &removal{At: tx.Now()}))
	})
}

func (s *Service) changeSubject(
	ctx context.Context, actor audit.Actor, id string, subject Subject, change func(*storage.Tx, storage.UID) error,
) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		if _, err := own(tx, actor, id, ScopeManage); err != nil {
			return err
		}
		userID, err := s.userOf(subject)
		if err != nil {
			return err
		}
		u, err := user.Find(tx, userID)
		if errors.Is(err, user.ErrUnknown) {
			return ErrSubject
		}
		if err != nil {
			return err
		}
		return errors.Join(change(tx, u.UID), audit.RecordCall(tx, actor, u.UID))
	})
}

// userOf returns the login system's id of a subject: as our SETs name it, or opaque.
//
// Errors: ErrInvalid; ErrSubject, for another issuer's.
func (s *Service) userOf(subject Subject) (string, error) {
	switch {
	case subject.Format == formatIssSub && subject.Sub != "":
		if subject.Issuer != s.Issuer {
			return "", ErrSubject.With("the iss of subjects is %s", s.Issuer)
		}
		return subject.Sub, nil
	case subject.Format == formatOpaque && subject.ID != "":
		return subject.ID, nil
	default:
		return "", ErrInvalid.With("a subject is {\"format\":\"iss_sub\",\"iss\",\"sub\"} or {\"format\":\"opaque\",\"id\"}")
	}
}

// forgetStreams removes what a user's rows say of streams that are no more.
func forgetStreams(tx *storage.Tx, uid storage.UID) error {
	list, err := all(tx)
	if err != nil {
		return err
	}
	var gone []string
	err = removedSubjects.Keys(tx, uid, "", func(id string) bool {
		if !slices.ContainsFunc(list, func(s *Stream) bool { return s.ID == id }) {
			gone = append(gone, id)
		}
		return true
	})
	for _, id := range gone {
		err = errors.Join(err, removedSubjects.Delete(tx, uid, id))
	}
	return err
}

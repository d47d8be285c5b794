package user

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"tutela/storage"
)

// listed is what a user is found and listed by, beside the members of the record. It lies in a row of its own, since the record
// is written at every login.
type listed struct {
	// Rest has for each word of the id, the email, the username and the name the rest of the text from there, folded and cut.
	Rest []string `json:"rest"`

	// Order has the user's place in the lists that the record's own members do not give.
	Order []string `json:"order,omitempty"`

	Counted bool `json:"counted,omitempty"` // in counts; an earlier release counted nobody
}

// population is how many users there are, of a share of the uids.
type population struct {
	Users int `json:"users"`
}

var (
	listedOf = storage.Declare(storage.Spec[listed]{Name: "user_words", Class: storage.Account, Most: 1})
	byWord   = listedOf.Plain("rest", func(l *listed) []string { return l.Rest })
	byOrder  = listedOf.Plain("order", func(l *listed) []string { return l.Order })
	// counts have a row for each share, so that users who are made at once are seldom counted in one row.
	counts = storage.Declare(storage.Spec[population]{Name: "user_count", Class: storage.Settings})
	// builtIndexes names the indexes that hold all users. Users of an earlier release are in none until they are built.
	builtIndexes = storage.Declare(storage.Spec[builtIndex]{Name: "user_index", Class: storage.Settings})
)

type builtIndex struct{}

const (
	maxWords     = 16
	maxWordBytes = 48 // of an entry
	lists        = "lists"
)

// The beginnings of the values of Order.
const (
	orderCreated = "c" // and when the user was made
	orderNoEmail = "e"
	orderNoName  = "n"
)

// placesOf returns the values of Order.
func placesOf(u *User) []string {
	places := []string{orderCreated + sortable(u.Created)}
	if u.Email == "" {
		places = append(places, orderNoEmail)
	}
	if u.Name == "" {
		places = append(places, orderNoName)
	}
	return places
}

// restsOf returns the user's words.
func restsOf(u *User) []string {
	var rest []string
	for _, text := range []string{u.ID, u.Email, u.Username, u.Name} {
		text = folded(text)
		for at := range wordStarts(text) {
			from := cutWord(text[at:])
			if !slices.Contains(rest, from) && len(rest) < maxWords {
				rest = append(rest, from)
			}
		}
	}
	return rest
}

// wordStarts yields where the words of a text begin: at each letter or digit that follows none.
func wordStarts(text string) func(func(int) bool) {
	return func(yield func(int) bool) {
		inside := false
		for at, r := range text {
			is := unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
			if is && !inside && !yield(at) {
				return
			}
			inside = is
		}
	}
}

// cutWord cuts a text to what an entry holds, between two characters.
func cutWord(text string) string {
	end := min(len(text), maxWordBytes)
	for end > 0 && end < len(text) && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// listNew lists and counts a user who is made.
func listNew(tx *storage.Tx, u *User) error {
	return errors.Join(count(tx, u.UID, 1), putListed(tx, u, true))
}

func putListed(tx *storage.Tx, u *User, counted bool) error {
	return listedOf.Put(tx, u.UID, record, &listed{
		Rest:    restsOf(u),
		Order:   placesOf(u),
		Counted: counted,
	})
}

// relist updates the list for a user who was changed; before is the user's earlier record.
func relist(tx *storage.Tx, before, u *User) error {
	if before.Email == u.Email && before.Username == u.Username && before.Name == u.Name {
		return nil
	}
	counted, err := isCounted(tx, u.UID)
	if err != nil {
		return err
	}
	return putListed(tx, u, counted)
}

// unlist removes a user who is about to be deleted from the counts.
func unlist(tx *storage.Tx, uid storage.UID) error {
	counted, err := isCounted(tx, uid)
	if err != nil || !counted {
		return err
	}
	return count(tx, uid, -1)
}

func isCounted(tx *storage.Tx, uid storage.UID) (bool, error) {
	l, err := listedOf.Get(tx, uid, record)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return l.Counted, nil
}

// shares is how many rows users are counted in. All are made with the first.
const shares = 16

// count adds to the number of users.
func count(tx *storage.Tx, uid storage.UID, more int) error {
	own := shareKey(int(uid[0]) % shares)
	counted, err := counts.Get(tx, storage.House, own)
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
		counted = &population{}
		for share := range shares {
			err = errors.Join(err, counts.Put(tx, storage.House, shareKey(share), &population{}))
		}
	}
	if err != nil {
		return err
	}
	counted.Users += more
	return counts.Put(tx, storage.House, own, counted)
}

func shareKey(share int) string { return fmt.Sprintf("%02d", share) }

// Count returns the number of users.
func Count(ctx context.Context, s *storage.Store) (n int, err error) {
	if err := BuildLists(ctx, s); err != nil {
		return 0, err
	}
	err = s.View(ctx, func(tx *storage.Tx) error {
		rows, err := counts.All(tx, storage.House)
		n = 0
		for _, row := range rows {
			n += row.Record.Users
		}
		return err
	})
	return n, err
}

// BuildLists lists and counts all users, once: those whom an earlier release has made are in no list. It may be interrupted,
// and goes on with the next call.
func BuildLists(ctx context.Context, s *storage.Store) error {
	built := false
	err := s.View(ctx, func(tx *storage.Tx) (err error) {
		built, err = builtIndexes.Has(tx, storage.House, lists)
		return err
	})
	if err != nil || built {
		return err
	}
	uids, err := UIDs(ctx, s)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(uids, buildBatch) {
		if err := buildLists(ctx, s, batch); err != nil {
			return err
		}
	}
	return s.Update(ctx, func(tx *storage.Tx) error {
		return builtIndexes.Put(tx, storage.House, lists, &builtIndex{})
	})
}

// buildBatch is how many users are looked at before those of them are listed who are not.
const buildBatch = 4096

func buildLists(ctx context.Context, s *storage.Store, uids []storage.UID) error {
	var missing []storage.UID
	for batch := range slices.Chunk(uids, readBatch) {
		var found []storage.UID
		err := s.View(ctx, func(tx *storage.Tx) error {
			found = found[:0]
			for _, uid := range batch {
				counted, err := isCounted(tx, uid)
				if err != nil {
					return err
				}
				if !counted {
					found = append(found, uid)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		missing = append(missing, found...)
	}
	return s.UpdateEach(ctx, len(missing), func(tx *storage.Tx, i int) error {
		u, err := Get(tx, missing[i])
		if errors.Is(err, ErrUnknown) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		counted, err := isCounted(tx, u.UID)
		if err != nil || counted {
			return err
		}
		return errors.Join(users.Put(tx, u.UID, record, u.row()), listNew(tx, u))
	})
}

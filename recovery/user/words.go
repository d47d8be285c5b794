package user

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"tutela/storage"
)

// words is what a user is found by from the beginning of a word on: for each word of the id, the email, the username and
// the name the rest of the text from there, folded and cut. They lie in a row of their own, since the user's record is
// written at every login.
type words struct {
	Rest []string `json:"rest"`
}

var (
	wordsOf = storage.Declare(storage.Spec[words]{Name: "user_words", Class: storage.Account, Most: 1})
	byWord  = wordsOf.Plain("rest", func(w *words) []string { return w.Rest })
	// builtIndexes names the indexes that hold all users. Users of an earlier release have no words until they are built.
	builtIndexes = storage.Declare(storage.Spec[builtIndex]{Name: "user_index", Class: storage.Settings})
)

type builtIndex struct{}

const (
	maxWords     = 16
	maxWordBytes = 48 // of an entry
	wordIndex    = "words"
)

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

// putWords writes the words of a user who was changed from before; nil for one who is new.
func putWords(tx *storage.Tx, before, u *User) error {
	if before != nil && before.Email == u.Email && before.Username == u.Username && before.Name == u.Name {
		return nil
	}
	return wordsOf.Put(tx, u.UID, record, &words{Rest: restsOf(u)})
}

// IndexWords writes the words of all users, once: those whom an earlier release has made have none. It may be
// interrupted, and goes on with the next call.
func IndexWords(ctx context.Context, s *storage.Store) error {
	built := false
	err := s.View(ctx, func(tx *storage.Tx) (err error) {
		built, err = builtIndexes.Has(tx, storage.House, wordIndex)
		return err
	})
	if err != nil || built {
		return err
	}
	var uids []storage.UID
	err = byID.Peek(ctx, s, "", func(_ string, uid storage.UID, _ string) bool {
		uids = append(uids, uid)
		return true
	})
	if err != nil {
		return err
	}
	err = s.UpdateEach(ctx, len(uids), func(tx *storage.Tx, i int) error {
		u, err := Get(tx, uids[i])
		if errors.Is(err, ErrUnknown) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		return putWords(tx, nil, u)
	})
	if err != nil {
		return err
	}
	return s.Update(ctx, func(tx *storage.Tx) error {
		return builtIndexes.Put(tx, storage.House, wordIndex, &builtIndex{})
	})
}

// holdsWord reports whether a word of the user begins with text.
func holdsWord(u *User, text string) bool {
	text = cutWord(folded(text))
	return slices.ContainsFunc(restsOf(u), func(rest string) bool { return strings.HasPrefix(rest, text) })
}

package user

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"tutela/storage"
	"tutela/storage/legible"
)

// Field is a member of the record by which users are found or sorted.
type Field string

// The fields. Case counts in an id alone.
const (
	ID        Field = "user_id"
	Email     Field = "email"
	Username  Field = "username"
	Name      Field = "name"
	Words     Field = "words"      // the beginning of any word of the id, the email, the username or the name; to search by
	Created   Field = "created_at" // to sort by
	LastLogin Field = "last_login" // to sort by
)

// Term is one condition of a search.
type Term struct {
	Field  Field
	Value  string
	Prefix bool // the field begins with Value; else it is Value
}

// probed is how many entries of an index a search goes through for one condition: of conditions that hold for more users
// each, it looks at the first so many of one.
const probed = 10_000

// searched are the indexes that answer a condition on a field.
var searched = map[Field]spanner{
	ID:       byID,
	Email:    byEmail,
	Username: byUsername,
	Name:     byName,
	Words:    byWord,
}

func (t Term) index() spanner { return searched[t.Field] }

// beginning reports whether the value need only begin the field.
func (t Term) beginning() bool { return t.Prefix || t.Field == Words }

// sought returns what an index may hold for the term's value. An id is indexed as it is: case counts in it.
func (t Term) sought() string {
	switch t.Field {
	case ID:
		return t.Value
	case Words:
		return cutWord(folded(t.Value))
	default:
		return folded(t.Value)
	}
}

// long reports whether the index holds less of a value than the term has, so that the record decides.
func (t Term) long() bool {
	return t.Field != ID && t.Field != Words && len(legible.Fold(t.Value)) >= indexedBytes
}

func (t Term) span() storage.Span {
	return storage.Span{Prefix: t.sought(), Exact: !t.beginning()}
}

// holds reports whether the term holds for a user, by what the index has of him and, of a long value, by the record.
func (t Term) holds(tx *storage.Tx, uid storage.UID) (bool, error) {
	values, err := t.index().Of(tx, uid, record)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	if err != nil || t.least(values) == "" {
		return false, err
	}
	if !t.long() {
		return true, nil
	}
	u, err := Get(tx, uid)
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	whole := map[Field]string{Email: u.Email, Username: u.Username, Name: u.Name}
	value := legible.Fold(whole[t.Field])
	wanted := legible.Fold(t.Value)
	return value == wanted || t.beginning() && strings.HasPrefix(value, wanted), nil
}

// least returns the first of a user's values that lies in the term's span, "" when none does.
func (t Term) least(values []string) (first string) {
	sought := t.sought()
	for _, value := range values {
		if value != sought && (!t.beginning() || !strings.HasPrefix(value, sought)) {
			continue
		}
		if first == "" || value < first {
			first = value
		}
	}
	return first
}

// candidates is what an index says of a term.
type candidates struct {
	term  Term
	uids  []storage.UID // in the index's order, each once
	whole bool          // there are no others
}

func (t Term) probe(ctx context.Context, s *storage.Store, most int) (found candidates, err error) {
	found = candidates{term: t, whole: true}
	seen := make(map[storage.UID]struct{}, 64)
	err = t.index().PeekSpan(ctx, s, t.span(), func(at storage.Place) bool {
		if _, twice := seen[at.UID]; twice {
			return true
		}
		if len(found.uids) == most {
			found.whole = false
			return false
		}
		seen[at.UID] = struct{}{}
		found.uids = append(found.uids, at.UID)
		return true
	})
	return found, err
}

// few is how many candidates are so few that no other condition need be looked up.
const few = 64

// leading returns the candidates of the condition that holds for the fewest.
func leading(ctx context.Context, s *storage.Store, terms []Term) (best candidates, err error) {
	for _, t := range widened(terms) {
		found, err := t.probe(ctx, s, probed)
		if err != nil {
			return best, err
		}
		if best.term == (Term{}) || found.whole && (!best.whole || len(found.uids) < len(best.uids)) {
			best = found
		}
		if best.whole && len(best.uids) <= few {
			break
		}
	}
	return best, nil
}

// widened returns conditions, those first that are likely to hold for the fewest users.
func widened(terms []Term) []Term {
	width := []Field{ID, Email, Username, Name, Words}
	terms = slices.Clone(terms)
	slices.SortStableFunc(terms, func(a, b Term) int {
		return cmp.Or(
			cmp.Compare(whether(a.beginning()), whether(b.beginning())),
			cmp.Compare(slices.Index(width, a.Field), slices.Index(width, b.Field)),
			cmp.Compare(len(b.Value), len(a.Value)))
	})
	return terms
}

func whether(b bool) int {
	if b {
		return 1
	}
	return 0
}

// matching returns at most most users for whom all terms hold, in no order that means anything.
func matching(ctx context.Context, s *storage.Store, terms []Term, most int) ([]storage.UID, error) {
	if len(terms) == 0 {
		return nil, nil
	}
	if len(terms) == 1 && !terms[0].long() {
		found, err := terms[0].probe(ctx, s, most)
		return found.uids, err
	}
	best, err := leading(ctx, s, terms)
	if err != nil {
		return nil, err
	}
	var uids []storage.UID
	for batch := range slices.Chunk(best.uids, readBatch) {
		held, err := holding(ctx, s, terms, batch)
		if err != nil {
			return nil, err
		}
		if uids = append(uids, held...); len(uids) >= most {
			return uids[:most], nil
		}
	}
	return uids, nil
}

// holding returns those of a batch for whom all terms hold, in its order.
func holding(ctx context.Context, s *storage.Store, terms []Term, batch []storage.UID) (held []storage.UID, err error) {
	err = s.View(ctx, func(tx *storage.Tx) error {
		held = held[:0]
		for _, uid := range batch {
			all := true
			for _, t := range terms {
				holds, err := t.holds(tx, uid)
				if err != nil {
					return err
				}
				if all = holds; !all {
					break
				}
			}
			if all {
				held = append(held, uid)
			}
		}
		return nil
	})
	return held, err
}

// Search returns users for whom all of the terms hold, in the order of their ids, at most most of them. Of terms that hold for
// more than 10 000 users each it looks at the first 10 000 of one. Without terms it finds nobody. It is no transaction.
func Search(ctx context.Context, s *storage.Store, terms []Term, most int) ([]User, error) {
	list, _, err := SearchSorted(ctx, s, terms, Order{By: ID}, Part{Take: most, Most: most})
	return list, err
}

// Part is a part of what a search finds.
type Part struct {
	Skip int
	Take int
	Most int // the search ends with so many
}

// SearchSorted is Search for a part of the users in an order, and returns how many were found.
func SearchSorted(ctx context.Context, s *storage.Store, terms []Term, o Order, part Part) (list []User, found int, err error) {
	if err := BuildLists(ctx, s); err != nil {
		return nil, 0, err
	}
	uids, err := matching(ctx, s, terms, part.Most)
	if err != nil {
		return nil, 0, err
	}
	if uids, err = arrange(ctx, s, uids, o); err != nil {
		return nil, 0, err
	}
	found = len(uids)
	uids = uids[min(part.Skip, found):]
	list, err = read(ctx, s, uids[:min(part.Take, len(uids))])
	return list, found, err
}

// arrange puts users into an order by what the indexes have of them.
func arrange(ctx context.Context, s *storage.Store, uids []storage.UID, o Order) ([]storage.UID, error) {
	type placed struct {
		uid   storage.UID
		value string
		part  int // of the order; those whom no part has come last
	}
	all := make([]placed, 0, len(uids))
	for batch := range slices.Chunk(uids, readBatch) {
		before := len(all)
		err := s.View(ctx, func(tx *storage.Tx) error {
			all = all[:before]
			for _, uid := range batch {
				at := placed{uid: uid, part: len(orders[o.By])}
				for i, part := range orders[o.By] {
					value, there, err := part.of(tx, uid)
					if err != nil {
						return err
					}
					if there {
						at = placed{uid, value, i}
						break
					}
				}
				all = append(all, at)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b placed) int {
		within := cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(string(a.uid[:]), string(b.uid[:])))
		if o.Down {
			within = -within
		}
		return cmp.Or(cmp.Compare(a.part, b.part), within)
	})
	sorted := make([]storage.UID, 0, len(all))
	for _, at := range all {
		sorted = append(sorted, at.uid)
	}
	return sorted, nil
}

// of returns a user's place in the stretch; there is false when he has none.
func (part stretch) of(tx *storage.Tx, uid storage.UID) (value string, there bool, err error) {
	values, err := part.index.Of(tx, uid, record)
	if errors.Is(err, storage.ErrNotFound) {
		return "", false, nil
	}
	for _, value := range values {
		if strings.HasPrefix(value, part.prefix) {
			return value, true, err
		}
	}
	return "", false, err
}

// Place is where a walk through all that a search finds goes on. Its zero value is the beginning.
type Place struct {
	Term  int         `json:"t"` // that the walk follows
	Value string      `json:"v"`
	UID   storage.UID `json:"u"`
}

// Walk returns the next users for whom all terms hold, in an order of the index's own, at most take of them, and where to go on;
// nil at the end. It may return fewer although it goes on: it looks at 10 000 users at most. Every user who is there
// throughout is met once. It is no transaction.
func Walk(ctx context.Context, s *storage.Store, terms []Term, from Place, take int) (list []User, next *Place, err error) {
	if err := BuildLists(ctx, s); err != nil {
		return nil, nil, err
	}
	if from == (Place{}) {
		best, err := leading(ctx, s, terms)
		if err != nil {
			return nil, nil, err
		}
		from.Term = slices.Index(terms, best.term)
	}
	w := walk{terms: terms, at: from, take: take}
	if from.Term < 0 || from.Term >= len(terms) {
		return nil, nil, nil
	}
	for looked := 0; looked < probed && len(w.found) <= take && !w.ended; looked += readBatch {
		if err := w.step(ctx, s); err != nil {
			return nil, nil, err
		}
	}
	if !w.ended || len(w.found) > take {
		next = &w.at
	}
	if len(w.found) > take {
		next = &w.found[take-1]
		w.found = w.found[:take]
	}
	uids := make([]storage.UID, 0, len(w.found))
	for _, at := range w.found {
		uids = append(uids, at.UID)
	}
	list, err = read(ctx, s, uids)
	return list, next, err
}

// walk is a walk through the index of one term.
type walk struct {
	terms []Term
	at    Place // of the last entry that was looked at
	take  int
	found []Place
	ended bool
}

// step looks at the next entries.
func (w *walk) step(ctx context.Context, s *storage.Store) error {
	lead := w.terms[w.at.Term]
	span := lead.span()
	if !w.at.UID.IsZero() {
		span.After = storage.Place{Value: w.at.Value, UID: w.at.UID}
	}
	var entries []storage.Place
	err := lead.index().PeekSpan(ctx, s, span, func(at storage.Place) bool {
		entries = append(entries, at)
		return len(entries) < readBatch
	})
	if err != nil {
		return err
	}
	w.ended = len(entries) < readBatch
	before := len(w.found)
	return s.View(ctx, func(tx *storage.Tx) error {
		w.found = w.found[:before]
		for _, entry := range entries {
			w.at = Place{w.at.Term, entry.Value, entry.UID}
			holds, err := w.meets(tx, lead, entry)
			if err != nil {
				return err
			}
			if holds {
				w.found = append(w.found, w.at)
			}
		}
		return nil
	})
}

// meets reports whether all terms hold for the user of an entry, and it is his first in the index: another would bring him
// twice.
func (w *walk) meets(tx *storage.Tx, lead Term, entry storage.Place) (bool, error) {
	values, err := lead.index().Of(tx, entry.UID, record)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	if err != nil || lead.least(values) != entry.Value {
		return false, err
	}
	for i, t := range w.terms {
		if i == w.at.Term && !t.long() {
			continue
		}
		if holds, err := t.holds(tx, entry.UID); err != nil || !holds {
			return false, err
		}
	}
	return true, nil
}

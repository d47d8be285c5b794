package user_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/storagetest"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

func newStore(t *testing.T) *storage.Store {
	t.Helper()
	return ground.Open(t, ground.Options{}).Store
}

func create(s *storage.Store, u user.User) (uid storage.UID, err error) {
	err = s.Update(context.Background(), func(tx *storage.Tx) error {
		made, err := user.Create(tx, u)
		if err == nil {
			uid = made.UID
		}
		return err
	})
	return uid, err
}

func idsOf(list []user.User) (ids []string) {
	for _, u := range list {
		ids = append(ids, u.ID)
	}
	return ids
}

func TestCreate_KeepsAnEmailToOneUserOfAConnection(t *testing.T) {
	s := newStore(t)
	for _, c := range []struct {
		u    user.User
		want error
	}{
		{user.User{ID: "a", Email: "x@example.com", Connection: "db"}, nil},
		{user.User{ID: "a"}, user.ErrExists},
		{user.User{ID: "b", Email: "X@EXAMPLE.com", Connection: "db"}, user.ErrExists},
		{user.User{ID: "b", Email: "x@example.com", Connection: "other"}, nil},
		{user.User{ID: "c", Email: "x@example.com"}, nil},
		{user.User{ID: "d", Email: "x@example.com"}, nil},
		// A letter that is not ASCII never counts as one that is.
		{user.User{ID: "e", Email: "m\u0130ke@example.com", Connection: "db"}, nil},
		{user.User{ID: "f", Email: "MIKE@example.com", Connection: "db"}, nil},
		{user.User{ID: "g", Email: "M\u0130KE@example.com", Connection: "db"}, user.ErrExists},
	} {
		if _, err := create(s, c.u); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.u, err, c.want)
		}
	}
}

func TestCreate_RefusesAProfileThatCannotBe(t *testing.T) {
	s := newStore(t)
	long := strings.Repeat("x", 301)
	for _, u := range []user.User{
		{Email: "x"}, {Email: "Ann <a@example.com>"}, {Email: "a@example.com\n"}, {Email: strings.Repeat("x", 250) + "@example.com"},
		{Name: long}, {Nickname: long}, {Username: long}, {GivenName: long}, {FamilyName: long}, {Connection: long},
		{Name: "\xff"}, {Name: "a\x00b"}, {Picture: strings.Repeat("x", 2049)},
	} {
		u.ID = "a"
		if _, err := create(s, u); !errors.Is(err, user.ErrProfile) {
			t.Errorf("%+v: %v", u, err)
		}
	}
	if n, err := user.Count(t.Context(), s); n != 0 || err != nil {
		t.Errorf("%d users, %v", n, err)
	}
}

func TestPage_WalksAllInTheOrderOfTheirIDs(t *testing.T) {
	s := newStore(t)
	var all []string
	for i := range 600 { // more than are read in one view
		id := fmt.Sprintf("u%03d", i)
		all = append(all, id)
		_, err := create(s, user.User{ID: id})
		must(t, err)
	}
	for _, c := range []struct {
		after string
		take  int
		want  []string
	}{
		{"", 1000, all}, {"", 3, all[:3]}, {"u597", 10, all[598:]}, {"u0", 1, all[:1]}, {"u599", 10, nil}, {"", 0, nil},
	} {
		page, err := user.Page(t.Context(), s, c.after, c.take)
		must(t, err)
		if got := idsOf(page); !slices.Equal(got, c.want) {
			t.Errorf("after %q, take %d: %v", c.after, c.take, got)
		}
	}
}

// Users who are deleted between the index and their records leave no gap that looks like the end of the list.
func TestPage_IsShortOnlyAtTheEnd(t *testing.T) {
	var engine storagetest.Meanwhile
	s := ground.Open(t, ground.Options{Wrap: func(e storage.Engine) storage.Engine {
		engine.Engine = e
		return &engine
	}}).Store
	var uids []storage.UID
	for i := range 20 {
		uid, err := create(s, user.User{ID: fmt.Sprintf("u%02d", i)})
		must(t, err)
		uids = append(uids, uid)
	}
	engine.After(func() {
		for _, uid := range uids[2:5] {
			must(t, s.Update(t.Context(), func(tx *storage.Tx) error { return user.Delete(tx, uid) }))
		}
	})
	page, err := user.Page(t.Context(), s, "u00", 6)
	must(t, err)
	want := []string{"u01", "u05", "u06", "u07", "u08", "u09"}
	if got := idsOf(page); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestCount_IsExact(t *testing.T) {
	s := newStore(t)
	wantCount := func(want int) {
		t.Helper()
		if n, err := user.Count(t.Context(), s); n != want || err != nil {
			t.Errorf("%d users, %v; there are %d", n, err, want)
		}
	}
	wantCount(0)
	var uids []storage.UID
	for i := range 300 { // more than the rows that they are counted in
		uid, err := create(s, user.User{ID: fmt.Sprintf("u%03d", i)})
		must(t, err)
		uids = append(uids, uid)
	}
	wantCount(300)
	_, err := create(s, user.User{ID: "u000"})
	if !errors.Is(err, user.ErrExists) {
		t.Error(err)
	}
	for _, uid := range uids[:7] {
		must(t, s.Update(t.Context(), func(tx *storage.Tx) error { return user.Delete(tx, uid) }))
		err := s.Update(t.Context(), func(tx *storage.Tx) error { return user.Delete(tx, uid) })
		if !errors.Is(err, user.ErrUnknown) {
			t.Errorf("once more: %v", err)
		}
	}
	must(t, s.Update(t.Context(), func(tx *storage.Tx) error {
		_, err := user.Change(tx, uids[8], func(u *user.User) error {
			u.Name = "Ada"
			return nil
		})
		return err
	}))
	wantCount(293)
}

func TestSorted_PutsThoseWithoutTheMemberLast(t *testing.T) {
	g := ground.Open(t, ground.Options{Clock: storage.NewFakeClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))})
	for i, u := range []user.User{
		{ID: "a", Name: "Zoe", Email: "b@example.com"},
		{ID: "b", Name: "ada", Email: "C@example.com"},
		{ID: "c"},
		{ID: "d", Name: "Bob", Email: "a@example.com"},
		{ID: "e", Name: "carl"},
	} {
		uid, err := create(g.Store, u)
		must(t, err)
		g.Clock.Advance(time.Second)
		if i%2 == 1 {
			continue
		}
		must(t, g.Store.Update(t.Context(), func(tx *storage.Tx) error {
			_, err := user.Change(tx, uid, func(u *user.User) error {
				u.LastLogin = tx.Now().Add(-time.Duration(i) * time.Hour)
				return nil
			})
			return err
		}))
	}
	for _, c := range []struct {
		by   user.Field
		up   string // the ids; those behind the bar have no such member, and come in an order of their own
		down string
	}{
		{user.ID, "abcde", "edcba"},
		{user.Email, "dab|ce", "bad|ce"},
		{user.Name, "bdea|c", "aedb|c"},
		{user.Created, "abcde", "edcba"},
		{user.LastLogin, "eca|bd", "ace|bd"},
	} {
		for down, want := range map[bool]string{false: c.up, true: c.down} {
			first, last, _ := strings.Cut(want, "|")
			list, err := user.Sorted(t.Context(), g.Store, user.Order{By: c.by, Down: down}, 0, 10)
			must(t, err)
			got := strings.Join(idsOf(list), "")
			if !strings.HasPrefix(got, first) || sortedText(got[len(first):]) != last {
				t.Errorf("by %s, down %t: %s, want %s", c.by, down, got, want)
			}
			for skip := range 6 {
				page, err := user.Sorted(t.Context(), g.Store, user.Order{By: c.by, Down: down}, skip, 2)
				must(t, err)
				if part := strings.Join(idsOf(page), ""); part != got[min(skip, 5):min(skip+2, 5)] {
					t.Errorf("by %s, down %t, skip %d: %s of %s", c.by, down, skip, part, got)
				}
			}
			// What a search finds is in the same order.
			found, n, err := user.SearchSorted(t.Context(), g.Store, everybody, user.Order{By: c.by, Down: down}, user.Part{Take: 10, Most: 10})
			must(t, err)
			if searched := strings.Join(idsOf(found), ""); searched != got || n != 5 {
				t.Errorf("searched by %s, down %t: %d, %s; listed: %s", c.by, down, n, searched, got)
			}
		}
	}
}

// everybody is a condition that holds for all.
var everybody = []user.Term{{Field: user.ID, Prefix: true}}

func sortedText(text string) string {
	letters := strings.Split(text, "")
	slices.Sort(letters)
	return strings.Join(letters, "")
}

func TestChange_KeepsTheIndexesInStep(t *testing.T) {
	s := newStore(t)
	uid, err := create(s, user.User{
		ID:       "a",
		Username: "old",
		Name:     "Old Name",
		Email:    "old@example.com",
	})
	must(t, err)
	must(t, s.Update(t.Context(), func(tx *storage.Tx) error {
		_, err := user.Change(tx, uid, func(u *user.User) error {
			u.Username = "new"
			u.Name = ""
			u.Email = "new@example.com"
			return nil
		})
		return err
	}))
	for term, want := range map[user.Term]int{
		{Field: user.Username, Value: "old"}: 0, {Field: user.Username, Value: "new"}: 1, {Field: user.Name, Value: "old", Prefix: true}: 0,
		{Field: user.Email, Value: "old@example.com"}: 0, {Field: user.Email, Value: "NEW@example.com"}: 1, {Field: user.Words, Value: "new"}: 1,
	} {
		if found, err := user.Search(t.Context(), s, []user.Term{term}, 10); len(found) != want || err != nil {
			t.Errorf("%+v: %v, %v", term, idsOf(found), err)
		}
	}
}

// The key by which events about a user can be proven is made with the user, and for one who is older when the user changes.
func TestChange_GivesAnOlderUserALogKeyAsCreateGivesANewOne(t *testing.T) {
	g := ground.Open(t, ground.Options{})
	uid, err := create(g.Store, user.User{ID: "a"})
	must(t, err)
	hasKey := func() bool {
		t.Helper()
		var rows []storage.Removed
		must(t, g.Store.View(t.Context(), func(tx *storage.Tx) (err error) {
			rows, err = storage.Purge(tx, uid, true, storage.Account)
			return err
		}))
		return slices.ContainsFunc(rows, func(r storage.Removed) bool { return r.Table == "log_key" })
	}
	if !hasKey() {
		t.Error("a new user has no log key")
	}
	must(t, g.Store.Engine().Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Delete([]byte("u" + string(uid[:]) + "log_key\x00"))
		return ws, nil
	}))
	must(t, g.Store.Update(t.Context(), func(tx *storage.Tx) error {
		_, err := user.Change(tx, uid, func(u *user.User) error { return nil })
		return err
	}))
	if !hasKey() {
		t.Error("a user who is older than log keys has none after a change")
	}
	_, err = create(g.Store, user.User{ID: "a"})
	if !errors.Is(err, user.ErrExists) {
		t.Errorf("got %v", err)
	}
}

func TestSearch_LooksAtNoMoreThanItMay(t *testing.T) {
	s := newStore(t)
	for i := range 20 {
		_, err := create(s, user.User{ID: fmt.Sprintf("u%02d", i), Name: "Smith"})
		must(t, err)
	}
	found, err := user.Search(t.Context(), s, []user.Term{{Field: user.Name, Value: "smith"}}, 7)
	must(t, err)
	if len(found) != 7 {
		t.Errorf("%d users", len(found))
	}
}

// A search by indexes finds what looking at every user would, and so does a walk, which meets each once.
func TestSearch_IsAsLookingAtEveryUser(t *testing.T) {
	s := newStore(t)
	word := rapid.StringMatching(`[aAbé]{0,3}( [ab]{1,2})?`)
	var all []user.User
	rapid.Check(t, func(rt *rapid.T) {
		u := user.User{
			ID:       fmt.Sprintf("%s%d", strings.ReplaceAll(word.Draw(rt, "id"), " ", "|"), len(all)),
			Name:     strings.TrimSpace(word.Draw(rt, "name")),
			Username: strings.TrimSpace(word.Draw(rt, "username")),
		}
		if _, err := create(s, u); err != nil {
			rt.Fatal(err)
		}
		all = append(all, u)
		terms := rapid.SliceOfN(rapid.Custom(drawTerm), 1, 3).Draw(rt, "terms")
		var want []string
		for _, u := range all {
			if !slices.ContainsFunc(terms, func(t user.Term) bool { return !meant(t, u) }) {
				want = append(want, u.ID)
			}
		}
		slices.Sort(want)
		found, err := user.Search(context.Background(), s, terms, 10_000)
		if err != nil {
			rt.Fatal(err)
		}
		if got := idsOf(found); !slices.Equal(got, want) {
			rt.Errorf("%+v: %v, want %v", terms, got, want)
		}
		walked := walkAll(rt, s, terms, rapid.IntRange(1, 4).Draw(rt, "take"))
		slices.Sort(walked)
		if !slices.Equal(walked, want) {
			rt.Errorf("%+v: walked %v, want %v", terms, walked, want)
		}
	})
}

func drawTerm(rt *rapid.T) user.Term {
	return user.Term{
		Field:  rapid.SampledFrom([]user.Field{user.ID, user.Name, user.Username, user.Words}).Draw(rt, "field"),
		Value:  rapid.StringMatching(`[aAbé]{1,2}`).Draw(rt, "value"),
		Prefix: rapid.Bool().Draw(rt, "prefix"),
	}
}

// walkAll returns the ids that a walk meets.
func walkAll(t interface{ Fatal(...any) }, s *storage.Store, terms []user.Term, take int) (ids []string) {
	var from user.Place
	for {
		list, next, err := user.Walk(context.Background(), s, terms, from, take)
		if err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, idsOf(list)...); next == nil {
			return ids
		}
		from = *next
	}
}

// meant says in the plainest words whether a term holds.
func meant(t user.Term, u user.User) bool {
	if t.Field == user.Words {
		for _, text := range []string{u.ID, u.Name, u.Username} {
			for at := range text {
				begins := at == 0 || strings.ContainsAny(text[at-1:at], " |")
				if begins && strings.HasPrefix(strings.ToLower(text[at:]), strings.ToLower(t.Value)) {
					return true
				}
			}
		}
		return false
	}
	value := map[user.Field]string{user.ID: u.ID, user.Name: u.Name, user.Username: u.Username}[t.Field]
	wanted := t.Value
	if t.Field != user.ID {
		value = strings.ToLower(value)
		wanted = strings.ToLower(wanted)
	}
	return value == wanted || t.Prefix && strings.HasPrefix(value, wanted)
}

// A value that is longer than an index entry is compared whole.
func TestSearch_ComparesWhatAnIndexHoldsOnlyTheBeginningOf(t *testing.T) {
	s := newStore(t)
	long := strings.Repeat("x", 200)
	for _, end := range []string{"a", "b"} {
		_, err := create(s, user.User{ID: end, Name: long + end})
		must(t, err)
	}
	for term, want := range map[user.Term][]string{
		{Field: user.Name, Value: long + "a"}:               {"a"},
		{Field: user.Name, Value: long + "b", Prefix: true}: {"b"},
		{Field: user.Name, Value: long, Prefix: true}:       {"a", "b"},
		{Field: user.Name, Value: long}:                     nil,
	} {
		found, err := user.Search(t.Context(), s, []user.Term{term}, 10)
		must(t, err)
		walked := walkAll(t, s, []user.Term{term}, 10)
		slices.Sort(walked)
		if got := idsOf(found); !slices.Equal(got, want) || !slices.Equal(walked, want) {
			t.Errorf("%.20s…, prefix %t: %v, walked %v, want %v", term.Value, term.Prefix, got, walked, want)
		}
	}
}

var must = check.Must

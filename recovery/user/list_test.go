package user_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tutela/recovery/user"
	"tutela/storage"
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
	if n, err := user.Count(t.Context(), s, 10); n != 0 || err != nil {
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
		after      string
		skip, take int
		want       []string
	}{
		{"", 0, 1000, all}, {"", 5, 3, all[5:8]}, {"u597", 0, 10, all[598:]}, {"u597", 1, 10, all[599:]}, {"u0", 0, 1, all[:1]},
		{"", 700, 3, nil}, {"", 0, 0, nil},
	} {
		page, err := user.Page(t.Context(), s, c.after, c.skip, c.take)
		must(t, err)
		if got := idsOf(page); !slices.Equal(got, c.want) {
			t.Errorf("after %q, skip %d, take %d: %v", c.after, c.skip, c.take, got)
		}
	}
	for most, want := range map[int]int{1000: 600, 600: 600, 7: 7} {
		if n, err := user.Count(t.Context(), s, most); n != want || err != nil {
			t.Errorf("counting to %d: %d, %v", most, n, err)
		}
	}
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
		{Field: user.Email, Value: "old@example.com"}: 0, {Field: user.Email, Value: "NEW@example.com"}: 1, {Value: "new"}: 1,
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

// A search by indexes finds what looking at every user would.
func TestSearch_IsAsLookingAtEveryUser(t *testing.T) {
	s := newStore(t)
	word := rapid.StringMatching(`[aAbé]{0,3}`)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		u := user.User{ID: fmt.Sprintf("%s%d", word.Draw(rt, "id"), n), Name: word.Draw(rt, "name"), Username: word.Draw(rt, "username")}
		if _, err := create(s, u); err != nil {
			rt.Fatal(err)
		}
		term := user.Term{
			Field: rapid.SampledFrom([]user.Field{user.ID, user.Name, user.Username, user.Any}).Draw(rt, "field"),
			Value: rapid.StringMatching(`[aAbé]{1,2}`).Draw(rt, "value"), Prefix: rapid.Bool().Draw(rt, "prefix"),
		}
		found, err := user.Search(context.Background(), s, []user.Term{term}, 10_000)
		if err != nil {
			rt.Fatal(err)
		}
		all, err := user.Page(context.Background(), s, "", 0, 10_000)
		if err != nil {
			rt.Fatal(err)
		}
		want := idsOf(slices.DeleteFunc(all, func(u user.User) bool { return !meant(term, u) }))
		if got := idsOf(found); !slices.Equal(got, want) {
			rt.Errorf("%+v: %v, want %v", term, got, want)
		}
	})
}

// meant says in the plainest words whether a term holds.
func meant(t user.Term, u user.User) bool {
	same := func(field user.Field, value string) bool {
		wanted := t.Value
		if field != user.ID {
			value = strings.ToLower(value)
			wanted = strings.ToLower(wanted)
		}
		return value == wanted || (t.Prefix || t.Field == user.Any) && strings.HasPrefix(value, wanted)
	}
	for field, value := range map[user.Field]string{user.ID: u.ID, user.Name: u.Name, user.Username: u.Username} {
		if (t.Field == user.Any || t.Field == field) && same(field, value) {
			return true
		}
	}
	return false
}

var must = check.Must

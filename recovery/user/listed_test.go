package user_test

import (
	"slices"
	"strings"
	"testing"

	"tutela/recovery/user"
	"tutela/storage"
)

// people are users as help desks look for them.
var people = []user.User{
	{ID: "auth0|5f1", Name: "María Keller-Östlund", Email: "maria.keller@example.com", Username: "mkeller"},
	{ID: "otto", Name: "Otto Mark", Email: "otto@hafenlicht.example"},
	{ID: "kim", Name: "Kim " + strings.Repeat("Long ", 50), Email: "kim@example.com"},
}

// byWords returns the ids of those for whom each word of text begins one of theirs.
func byWords(t *testing.T, s *storage.Store, text string) []string {
	t.Helper()
	var terms []user.Term
	for _, word := range strings.Fields(text) {
		terms = append(terms, user.Term{Field: user.Words, Value: word})
	}
	found, err := user.Search(t.Context(), s, terms, 100)
	must(t, err)
	return idsOf(found)
}

func TestSearch_FindsByTheBeginningOfAnyWord(t *testing.T) {
	s := newStore(t)
	for _, u := range people {
		_, err := create(s, u)
		must(t, err)
	}
	for text, want := range map[string][]string{
		"keller":          {"auth0|5f1"},
		"KELLER":          {"auth0|5f1"},
		"östl":            {"auth0|5f1"},
		"maria.kel":       {"auth0|5f1"},
		"5f1":             {"auth0|5f1"},
		"auth0|5":         {"auth0|5f1"},
		"mkel":            {"auth0|5f1"},
		"keller mar":      {"auth0|5f1"},
		"ma":              {"auth0|5f1", "otto"},
		"example.com":     {"auth0|5f1", "kim"},
		"long":            {"kim"},
		"otto hafenlicht": {"otto"},
		"eller":           nil,
		"otto keller":     nil,
		"nobody":          nil,
	} {
		if got := byWords(t, s, text); !slices.Equal(got, want) {
			t.Errorf("%q finds %v, wanted %v", text, got, want)
		}
	}
}

func TestSearch_ByWordsFollowsAChangeAndADeletion(t *testing.T) {
	s := newStore(t)
	uid, err := create(s, people[1])
	must(t, err)
	must(t, s.Update(t.Context(), func(tx *storage.Tx) error {
		_, err := user.Change(tx, uid, func(u *user.User) error {
			u.Name = "Otto Stern"
			return nil
		})
		return err
	}))
	if byWords(t, s, "mark") != nil || !slices.Equal(byWords(t, s, "stern"), []string{"otto"}) {
		t.Error("the old name is found, or the new one is not")
	}
	must(t, s.Update(t.Context(), func(tx *storage.Tx) error {
		return user.Delete(tx, uid)
	}))
	if got := byWords(t, s, "otto"); got != nil {
		t.Errorf("who was deleted is found: %v", got)
	}
}

func TestBuildLists_ListsAndCountsUsersOfAnEarlierRelease(t *testing.T) {
	s := newStore(t)
	for _, u := range people {
		uid, err := create(s, u)
		must(t, err)
		must(t, s.Update(t.Context(), func(tx *storage.Tx) error { return user.Unlist(tx, uid) }))
	}
	for range 2 {
		must(t, user.BuildLists(t.Context(), s))
		if got := byWords(t, s, "keller"); !slices.Equal(got, []string{"auth0|5f1"}) {
			t.Errorf("found %v", got)
		}
		if n, err := user.Count(t.Context(), s); n != len(people) || err != nil {
			t.Errorf("%d users, %v", n, err)
		}
		list, err := user.Sorted(t.Context(), s, user.Order{By: user.Created}, 0, 10)
		must(t, err)
		if len(list) != len(people) {
			t.Errorf("listed %v", idsOf(list))
		}
	}
}

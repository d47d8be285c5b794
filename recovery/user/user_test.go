package user_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/keyring"
	"tutela/storage/storagetest"
)

// house is a store over a real data file.
type house struct {
	*storage.Store
	t     *testing.T
	clock *storage.FakeClock
}

func onEveryEngine(t *testing.T, test func(h *house)) {
	for _, chaos := range []bool{false, true} {
		t.Run(fmt.Sprint("chaos ", chaos), func(t *testing.T) {
			ctx := context.Background()
			quiet := slog.New(slog.DiscardHandler)
			file, err := bolt.Open(ctx, filepath.Join(t.TempDir(), "tutela.db"), bolt.Options{Logger: quiet})
			must(t, err)
			var engine storage.Engine = file
			if chaos {
				engine = storagetest.Chaos(t, file)
			}
			h := &house{t: t, clock: storage.NewFakeClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))}
			h.Store, err = storage.Open(ctx, engine, storage.Options{Clock: h.clock, Logger: quiet})
			must(t, err)
			t.Cleanup(func() { must(t, h.Close()) })
			master := make([]byte, keyring.KeyBytes)
			_, _ = rand.Read(master)
			_, err = keyring.Open(ctx, h.Store, master)
			must(t, err)
			test(h)
		})
	}
}

func (h *house) update(fn func(tx *storage.Tx) error) error {
	return h.Update(context.Background(), fn)
}

func (h *house) create(u user.User) (uid storage.UID, err error) {
	err = h.update(func(tx *storage.Tx) (err error) {
		made, err := user.Create(tx, u)
		if err == nil {
			uid = made.UID
		}
		return err
	})
	return uid, err
}

// Each member at its bound, in characters that need the most bytes, makes index entries that every engine takes: the
// watching engine fails the test of a longer key.
func TestCreate_TakesEveryIndexedMemberAtItsBound(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		wide := strings.Repeat("ß", 150) // 300 bytes
		email := strings.Repeat("e", 60) + "@" + strings.Repeat("d", 189) + ".org"
		u := user.User{
			ID:         strings.Repeat("x", user.MaxIDBytes),
			Email:      email,
			Name:       wide,
			Username:   wide,
			Connection: wide,
		}
		uid, err := h.create(u)
		must(h.t, err)
		for field, value := range map[user.Field]string{user.Email: email, user.Name: wide, user.Username: wide} {
			found, err := user.Search(context.Background(), h.Store, []user.Term{{Field: field, Value: value}}, 10)
			must(h.t, err)
			if len(found) != 1 || found[0].UID != uid {
				h.t.Errorf("search by %v: %d users", field, len(found))
			}
		}
		u.ID = "another"
		if _, err := h.create(u); !errors.Is(err, user.ErrExists) {
			h.t.Errorf("a second user with the email: %v", err)
		}
	})
}

func TestCreate_MakesAUserThatIsFoundByEitherId(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for _, id := range []string{"a", "auth0|0123", "with space/and%2F", "ÄÖÜ", strings.Repeat("x", 255)} {
			uid, err := h.create(user.User{ID: id, Name: "Ada"})
			must(h.t, err)
			must(h.t, h.View(context.Background(), func(tx *storage.Tx) error {
				found, err := user.Find(tx, id)
				must(h.t, err)
				got, err := user.Get(tx, uid)
				if found.UID != uid || found.Name != "Ada" || got.UID != uid || got.ID != id || !got.Created.Equal(h.Now()) {
					h.t.Errorf("%q: %+v", id, got)
				}
				return err
			}))
			_, err = h.create(user.User{ID: id})
			if !errors.Is(err, user.ErrExists) {
				h.t.Errorf("%q once more: %v", id, err)
			}
		}
	})
}

func TestCreate_RefusesWhatCannotBe(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		long := strings.Repeat("x", 5000)
		for name, c := range map[string]struct {
			u    user.User
			want error
		}{
			"no id":                    {user.User{}, user.ErrID},
			"a long id":                {user.User{ID: strings.Repeat("x", 256)}, user.ErrID},
			"an id of no text":         {user.User{ID: "\xff"}, user.ErrID},
			"an id with a line break":  {user.User{ID: "a\nb"}, user.ErrID},
			"an id with a NUL":         {user.User{ID: "a\x00"}, user.ErrID},
			"a long name":              {user.User{ID: "a", Name: long}, user.ErrProfile},
			"a name of no text":        {user.User{ID: "a", Nickname: "\xff"}, user.ErrProfile},
			"a long picture":           {user.User{ID: "a", Picture: long}, user.ErrProfile},
			"an id with an edge blank": {user.User{ID: "zoe "}, user.ErrID},
			"an id with a twin":        {user.User{ID: "mi\u212ae"}, user.ErrID},
			"an email with a twin":     {user.User{ID: "a", Email: "mi\u212ae@example.com"}, user.ErrProfile},
			"a username with a twin":   {user.User{ID: "a", Username: "zoe\u00a0"}, user.ErrProfile},
			"a connection with one":    {user.User{ID: "a", Connection: "db "}, user.ErrProfile},
			"a name of two lines":      {user.User{ID: "a", Name: "Ada\nadmin"}, user.ErrProfile},
			"a nickname turned round":  {user.User{ID: "a", Nickname: "\u202eada"}, user.ErrProfile},
			"a name with hidden text":  {user.User{ID: "a", GivenName: "Ada\U000e0041"}, user.ErrProfile},
			"no email address":         {user.User{ID: "a", Email: "ada"}, user.ErrProfile},
			"a long email":             {user.User{ID: "a", Email: long + "@example.com"}, user.ErrProfile},
			"an email with a name":     {user.User{ID: "a", Email: "Ada <ada@example.com>"}, user.ErrProfile},
		} {
			if _, err := h.create(c.u); !errors.Is(err, c.want) {
				h.t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestEnsure_LeavesWhoIsThereAsHeIs(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		first, err := h.create(user.User{ID: "ada", Name: "Ada"})
		must(h.t, err)
		must(h.t, h.update(func(tx *storage.Tx) error {
			u, err := user.Ensure(tx, user.User{ID: "ada", Name: "somebody else"})
			if u.UID != first || u.Name != "Ada" {
				h.t.Errorf("%+v", u)
			}
			return err
		}))
	})
}

func TestChange_WritesAllButTheId(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, err := h.create(user.User{ID: "ada", Email: "old@example.com"})
		must(h.t, err)
		h.clock.Advance(time.Minute)
		must(h.t, h.update(func(tx *storage.Tx) error {
			u, err := user.Change(tx, uid, func(u *user.User) error {
				u.UID = storage.NewUID()
				u.ID = "eve"
				u.Email = "new@example.com"
				return nil
			})
			if u.UID != uid || u.ID != "ada" || u.Email != "new@example.com" || !u.Updated.Equal(tx.Now()) || u.Created.Equal(u.Updated) {
				h.t.Errorf("%+v", u)
			}
			return err
		}))
		// The indexes follow.
		for email, want := range map[string]int{"old@example.com": 0, "NEW@example.com": 1} {
			if list := h.byEmail(email); len(list) != want {
				h.t.Errorf("%s finds %v", email, list)
			}
		}
		refused := errors.New("refused")
		for name, c := range map[string]struct {
			uid  storage.UID
			err  error
			name string
			want error
		}{
			"nobody":      {storage.NewUID(), nil, "x", user.ErrUnknown},
			"a refusal":   {uid, refused, "x", refused},
			"a long name": {uid, nil, strings.Repeat("x", 1000), user.ErrProfile},
		} {
			err := h.update(func(tx *storage.Tx) error {
				_, err := user.Change(tx, c.uid, func(u *user.User) error {
					u.Name = c.name
					return c.err
				})
				return err
			})
			if !errors.Is(err, c.want) {
				h.t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// The uid is the row's key already, and stands in no other place of it.
func TestCreateAndChange_KeepTheUIDOutOfTheRow(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, err := h.create(user.User{ID: "ada"})
		must(h.t, err)
		must(h.t, h.update(func(tx *storage.Tx) error {
			_, err := user.Change(tx, uid, func(u *user.User) error {
				u.Name = "Ada"
				return nil
			})
			return err
		}))
		rows := 0
		must(h.t, h.Engine().Peek(context.Background(), storage.Range{}, func(key, value []byte) bool {
			if bytes.Contains(value, []byte(`"name":"Ada"`)) {
				rows++
				if bytes.Contains(value, []byte(uid.String())) || bytes.Contains(value, []byte(`"uid"`)) {
					h.t.Errorf("the row holds the uid: %s", value)
				}
			}
			return true
		}))
		if rows != 1 {
			h.t.Errorf("%d rows", rows)
		}
	})
}

func (h *house) byEmail(email string) []user.User {
	h.t.Helper()
	list, err := user.Search(context.Background(), h.Store, []user.Term{{Field: user.Email, Value: email}}, 100)
	must(h.t, err)
	return list
}

func TestMerge_MergesTheFirstLevelAlone(t *testing.T) {
	was := map[string]any{"a": 1, "b": map[string]any{"x": 1}, "c": 3}
	got := user.Merge(was, map[string]any{"b": map[string]any{"y": 2}, "c": nil, "d": 4, "e": nil})
	want := map[string]any{"a": 1, "b": map[string]any{"y": 2}, "d": 4}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(was) != 3 {
		t.Error("the metadata that was merged into has changed")
	}
	if got := user.Merge(nil, map[string]any{"a": 1}); got["a"] != 1 {
		t.Errorf("into none: %v", got)
	}
}

func TestParseRole_KnowsTheRoles(t *testing.T) {
	for text, want := range map[string]user.Role{
		"none": user.NoRole, "": user.NoRole, "viewer": user.Viewer, "helpdesk": user.Helpdesk, "admin": user.Admin, "owner": user.Owner,
	} {
		if got, err := user.ParseRole(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"Admin", "root", "owner "} {
		if _, err := user.ParseRole(text); !errors.Is(err, user.ErrRole) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

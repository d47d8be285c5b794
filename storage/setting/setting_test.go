package setting_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/setting"
	"tutela/storage/storagetest/check"
)

var (
	color = setting.OneOf("test.color", "which color", "red", "green")
	count = setting.Int("test.count", "how many", 3, 1, 10)
	wait  = setting.Duration("test.wait", "how long", 90*time.Minute, time.Second, 24*time.Hour)
)

func open(t *testing.T) *storage.Store {
	t.Helper()
	engine, err := bolt.Open(t.Context(), filepath.Join(t.TempDir(), "data"), bolt.Options{})
	must(t, err)
	s, err := storage.Open(t.Context(), engine, storage.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

var must = check.Must

func set(s *storage.Store, name, value string) error {
	return s.Update(context.Background(), func(tx *storage.Tx) error { return setting.Set(tx, name, value) })
}

// values are what the three settings have.
func values(t *testing.T, s *storage.Store) (c string, n int, d time.Duration) {
	t.Helper()
	must(t, s.View(t.Context(), func(tx *storage.Tx) error {
		var errs [3]error
		c, errs[0] = color.Get(tx)
		n, errs[1] = count.Get(tx)
		d, errs[2] = wait.Get(tx)
		return errors.Join(errs[:]...)
	}))
	return c, n, d
}

func TestSetting_HasItsDefaultUntilItIsSet(t *testing.T) {
	s := open(t)
	if c, n, d := values(t, s); c != "red" || n != 3 || d != 90*time.Minute {
		t.Errorf("got %s, %d, %s", c, n, d)
	}
	must(t, set(s, "test.color", "green"))
	must(t, set(s, "test.count", "10"))
	must(t, set(s, "test.wait", "1s"))
	if c, n, d := values(t, s); c != "green" || n != 10 || d != time.Second {
		t.Errorf("got %s, %d, %s", c, n, d)
	}
}

func TestSet_RefusesWhatIsOutOfBoundsAndKeepsWhatWas(t *testing.T) {
	s := open(t)
	must(t, set(s, "test.count", "5"))
	for _, c := range []struct{ name, value, says string }{
		{"test.color", "blue", "red, green"}, {"test.color", "", "red, green"}, {"test.color", "Red", "red, green"},
		{"test.count", "0", "1 to 10"}, {"test.count", "11", "1 to 10"}, {"test.count", "x", "1 to 10"},
		{"test.count", "1.5", "1 to 10"}, {"test.count", "99999999999999999999", "1 to 10"}, {"test.count", "", "1 to 10"},
		{"test.wait", "0s", "1s to 1d"}, {"test.wait", "25h", "1s to 1d"}, {"test.wait", "10", "1s to 1d"},
		{"test.wait", "-1s", "1s to 1d"}, {"test.wait", "2d", "1s to 1d"}, {"test.wait", "d", "1s to 1d"}, {"test.wait", "99999d", "not \"99999d\""}, {"test.wait", "", "1s to 1d"},
	} {
		err := set(s, c.name, c.value)
		if !errors.Is(err, setting.ErrValue) || storage.CodeOf(err) != storage.Invalid || !strings.Contains(err.Error(), c.says) ||
			!strings.Contains(err.Error(), c.name) {
			t.Errorf("%s %q: %v", c.name, c.value, err)
		}
	}
	if c, n, d := values(t, s); c != "red" || n != 5 || d != 90*time.Minute {
		t.Errorf("got %s, %d, %s", c, n, d)
	}
}

func TestSet_AtTheBoundsIsTaken(t *testing.T) {
	s := open(t)
	for name, all := range map[string][]string{"test.count": {"1", "10"}, "test.wait": {"1s", "24h", "1440m", "1d"}, "test.color": {"red", "green"}} {
		for _, value := range all {
			if err := set(s, name, value); err != nil {
				t.Errorf("%s %s: %v", name, value, err)
			}
		}
	}
}

func TestSet_OfAnUnknownNameIsUnknown(t *testing.T) {
	s := open(t)
	if err := set(s, "test.none", "1"); !errors.Is(err, setting.ErrUnknown) || !strings.Contains(err.Error(), `"test.none"`) {
		t.Errorf("got %v", err)
	}
	must(t, s.View(t.Context(), func(tx *storage.Tx) error {
		if _, err := setting.Get(tx, "test.none"); !errors.Is(err, setting.ErrUnknown) {
			t.Errorf("got %v", err)
		}
		return nil
	}))
}

func TestList_ShowsEverySettingByName(t *testing.T) {
	s := open(t)
	must(t, set(s, "test.wait", "2m"))
	must(t, s.View(t.Context(), func(tx *storage.Tx) error {
		all, err := setting.List(tx)
		must(t, err)
		want := []setting.Info{
			{Name: "test.color", Value: "red", Default: "red", Accepts: "red, green", About: "which color"},
			{Name: "test.count", Value: "3", Default: "3", Accepts: "1 to 10", About: "how many"},
			{Name: "test.wait", Value: "2m", Default: "1h30m", Accepts: "1s to 1d", About: "how long"},
		}
		if len(all) != len(want) {
			t.Fatalf("got %+v", all)
		}
		for i := range want {
			one, err := setting.Get(tx, want[i].Name)
			must(t, err)
			if all[i] != want[i] || one != want[i] {
				t.Errorf("got %+v and %+v, want %+v", all[i], one, want[i])
			}
		}
		return nil
	}))
}

// A value that an earlier version took, and this one does not, is none: nothing runs out of bounds, and nothing stops.
func TestSetting_WhoseStoredValueIsNoLongerTakenHasItsDefault(t *testing.T) {
	s := open(t)
	for name, value := range map[string]string{"test.color": "blue", "test.count": "1000", "test.wait": "soon"} {
		must(t, s.Update(t.Context(), func(tx *storage.Tx) error { return setting.PutUnchecked(tx, name, value) }))
	}
	if c, n, d := values(t, s); c != "red" || n != 3 || d != 90*time.Minute {
		t.Errorf("got %s, %d, %s", c, n, d)
	}
	must(t, s.View(t.Context(), func(tx *storage.Tx) error {
		info, err := setting.Get(tx, "test.count")
		if info.Value != "3" {
			t.Errorf("shown as %s", info.Value)
		}
		return err
	}))
}

func TestCheck_FindsWrongDeclarations(t *testing.T) {
	must(t, setting.Check())
	for name, declare := range map[string]func(){
		"twice":         func() { setting.Int("test.count", "", 1, 1, 1) },
		"out of bounds": func() { setting.Int("test.other", "", 0, 1, 1) },
		"too long":      func() { setting.Duration("test.other", "", time.Hour, 1, time.Minute) },
	} {
		if err := setting.Faults(declare); err == nil || !strings.Contains(err.Error(), "test.") {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, setting.Check())
}

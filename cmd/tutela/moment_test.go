package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/bolt"
)

// identity reads the identity of the installation.
func (c *commandLine) identity() storage.Identity {
	c.t.Helper()
	m, err := dataIn(c.data).openMoment(c.t.Context())
	must(c.t, err)
	return m.identity
}

// truncateData cuts the data file off.
func (c *commandLine) truncateData() {
	c.t.Helper()
	must(c.t, os.Truncate(filepath.Join(c.data, "tutela.db"), 8192))
}

// Each restore begins an epoch that nobody has seen, also when the same copy is put back twice.
func TestRestoreDB_BeginsANewEpochOfTheSameInstallation(t *testing.T) {
	c := newCommandLine(t)
	copied := filepath.Join(t.TempDir(), "copy.db")
	c.run("backup-db", copied)
	seen := map[storage.Epoch]bool{}
	first := c.identity()
	for number := first.Epoch.Number + 1; number <= 3; number++ {
		r := c.try("restore-db", copied)
		now := c.identity()
		if now.Installation != first.Installation || now.Epoch.Number != number || seen[now.Epoch] {
			t.Errorf("restored: %+v; it was %+v", now, first)
		}
		if says := "It is " + now.Installation + " in its new epoch " + now.Epoch.String() + "."; !strings.Contains(r.stderr, says) {
			t.Errorf("not said: %s\n%s", says, r.stderr)
		}
		seen[now.Epoch] = true
	}
	_, log := c.served(nil)
	if now := c.identity(); !strings.Contains(log, "installation="+now.Installation) || !strings.Contains(log, "epoch="+now.Epoch.String()) {
		t.Errorf("the server does not name %+v:\n%s", now, log)
	}
}

func TestRestoreDB_SaysHowOldTheCopyIsAndWhatItUndoes(t *testing.T) {
	c := newCommandLine(t)
	c.run("ticket", "before")
	copied := filepath.Join(t.TempDir(), "copy.db")
	c.run("backup-db", copied)
	c.run("ticket", "maria")
	c.run("ticket", "paul")
	r := c.try("restore-db", copied)
	age := regexp.MustCompile(`^The copy goes up to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, .* now\.\n`)
	undoes := regexp.MustCompile(`\nIt undoes what came after that: the data file in place goes up to .* UTC, with \d+ later events\.\nRestored `)
	if r.status != 0 || !age.MatchString(r.stderr) || !undoes.MatchString(r.stderr) {
		t.Errorf("status %d:\n%s", r.status, r.stderr)
	}
}

func TestTellOfCopy_SaysWhatIsUndoneOrThatItIsNotKnown(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	own := storage.Identity{Installation: "ins_own"}
	copied := moment{at: now.Add(-72 * time.Hour), identity: own}
	later := moment{at: now.Add(-time.Hour), identity: own}
	foreign := moment{at: later.at, identity: storage.Identity{Installation: "ins_other"}}
	for name, c := range map[string]struct {
		u    *undone
		says string
	}{
		"nothing in place":     {nil, ""},
		"many events":          {&undone{moment: later, events: 1204}, "goes up to 2026-11-30 11:00:00 UTC, with 1204 later events."},
		"one event":            {&undone{moment: later, events: 1}, "with 1 later event."},
		"no event":             {&undone{moment: later}, "with no later event."},
		"no later":             {&undone{moment: copied}, "It undoes nothing: the data file in place goes up to 2026-11-27 12:00:00 UTC."},
		"another installation": {&undone{moment: foreign}, "is of another installation, ins_other,"},
		"damaged":              {&undone{unread: errors.New("it is truncated")}, "What it undoes is not known: the data file in place cannot be read (it is truncated)."},
	} {
		t.Run(name, func(t *testing.T) {
			var said strings.Builder
			tellOfCopy(&said, now, copied, c.u)
			age, rest, _ := strings.Cut(said.String(), "\n")
			if age != "The copy goes up to 2026-11-27 12:00:00 UTC, 3 days before now." {
				t.Errorf("the age: %s", age)
			}
			if !strings.Contains(rest, c.says) || c.says == "" && rest != "" {
				t.Errorf("said %q; want %q", rest, c.says)
			}
		})
	}
}

// A copy that was made before stores had an identity gets that of the installation that it replaces.
func TestRestoreDB_TakesACopyWithoutIdentityForOneOfTheInstallationInPlace(t *testing.T) {
	c := newCommandLine(t)
	copied := filepath.Join(t.TempDir(), "copy.db")
	c.run("backup-db", copied)
	e, err := bolt.Open(t.Context(), copied, bolt.Options{})
	must(t, err)
	must(t, e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Delete([]byte("midentity"))
		return ws, nil
	}))
	must(t, e.Close())
	before := c.identity()
	r := c.try("restore-db", copied)
	if r.status != 0 || strings.Contains(r.stderr, "another installation") {
		t.Errorf("status %d:\n%s", r.status, r.stderr)
	}
	if now := c.identity(); now.Installation != before.Installation || now.Epoch.Number != before.Epoch.Number+1 {
		t.Errorf("restored: %+v; it was %+v", now, before)
	}
}

// A damaged file in place does not hinder a restore: the restore is what helps.
func TestRestoreDB_ReplacesADamagedFileAndSaysThatItCannotTellWhatIsUndone(t *testing.T) {
	c := newCommandLine(t)
	copied := filepath.Join(t.TempDir(), "copy.db")
	c.run("backup-db", copied)
	c.truncateData()
	r := c.try("restore-db", copied)
	if r.status != 0 || !strings.Contains(r.stderr, "What it undoes is not known: the data file in place cannot be read") {
		t.Errorf("status %d:\n%s", r.status, r.stderr)
	}
}

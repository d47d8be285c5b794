package audit_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// flood records so many events of a type about a user, many in a transaction, a second apart.
func flood(g *ground.Ground, uid storage.UID, t audit.Type, n int) {
	for n > 0 {
		some := min(n, 100)
		g.Update(func(tx *storage.Tx) error {
			for range some {
				actor := audit.ByUser().WithOrigin("192.0.2.1", "")
				if err := audit.Record(tx, actor, audit.Event{Type: t, UID: uid}, audit.Detail{}); err != nil {
					return err
				}
			}
			return nil
		})
		g.Clock.Advance(time.Second)
		n -= some
	}
}

// listed returns the events about a user, the oldest first.
func listed(t *testing.T, g *ground.Ground, uid storage.UID) []audit.Entry {
	t.Helper()
	list, _, err := audit.List(context.Background(), g.Store, audit.Query{UID: uid, Oldest: true}, false)
	must(t, err)
	return list
}

func TestRecord_FoldsTheOldestOfTheTypeThatHasMost(t *testing.T) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) {
		g := ground.Open(t, o)
		uid := storage.NewUID()
		g.Update(func(tx *storage.Tx) error { return audit.EnsureKey(tx, uid) })
		began := g.Store.Now()
		flood(g, uid, audit.EnrollComplete, 5)
		flood(g, uid, audit.AuthSucceed, audit.MostEvents+500)
		counted := 0
		enrolled := 0
		for _, e := range listed(t, g, uid) {
			switch {
			case e.Damage != "":
				t.Fatalf("%+v is damaged: %s", e.Event, e.Damage)
			case e.Type == audit.EnrollComplete && e.Detail.IP == "192.0.2.1":
				enrolled++
			case e.Folded.Count == 0:
				counted++
			case e.Facts[audit.FactFolded] != audit.FoldedOlder || e.Folded.First.Before(began) || e.Folded.Last.Before(e.Folded.First):
				t.Errorf("a fold is %+v", e.Event)
			default:
				counted += e.Folded.Count
			}
		}
		if enrolled != 5 || counted != audit.MostEvents+500 {
			t.Errorf("%d enrolments with their details and %d logins are told of", enrolled, counted)
		}
		pointers := len(g.Rows("event"))
		details := len(g.Rows("event_detail"))
		if pointers > audit.MostEvents || pointers < audit.MostEvents-100 || details > pointers {
			t.Errorf("%d events and %d details are kept", pointers, details)
		}
	})
}

func TestRecord_BoundsTheEventsOfAUserOfAnEarlierRelease(t *testing.T) {
	g := ground.Open(t, ground.Options{})
	uid := storage.NewUID()
	flood(g, uid, audit.AuthSucceed, audit.MostEvents-100)
	// As an earlier release has written them: no count, and no types in the pointers.
	must(t, g.Store.Engine().Update(t.Context(), func(r storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		return ws, r.Scan(storage.Range{}, func(key, value []byte) bool {
			switch table, _, _ := strings.Cut(string(key[min(17, len(key)):]), "\x00"); {
			case key[0] != 'u':
			case table == "event_count":
				ws.Delete(bytes.Clone(key))
			case table == "event":
				ws.Put(bytes.Clone(key), bytes.Clone(value[:10]))
			}
			return true
		})
	}))
	flood(g, uid, audit.AuthSucceed, 300)
	if n := len(g.Rows("event")); n > audit.MostEvents {
		t.Errorf("%d events are kept", n)
	}
	counted := 0
	for _, e := range listed(t, g, uid) {
		counted += max(1, e.Folded.Count)
	}
	if counted != audit.MostEvents+200 {
		t.Errorf("%d events are told of", counted)
	}
}

func TestTrim_LeavesNoCountOfEventsThatAreGone(t *testing.T) {
	g := ground.Open(t, ground.Options{})
	uid := storage.NewUID()
	flood(g, uid, audit.AuthSucceed, 30)
	g.Clock.Advance(time.Hour)
	n, err := audit.Trim(t.Context(), g.Store, g.Store.Now(), 100)
	must(t, err)
	if left := len(g.Rows("event_count")) + len(g.Rows("event")); n != 30 || left != 0 {
		t.Errorf("%d were removed, and %d rows are left", n, left)
	}
}

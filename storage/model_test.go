package storage_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tutela/storage"
)

// model is a table as it should look: rows by owner and key, those past their expiry among them until they are looked
// for.
type model struct {
	rows map[place]note
	now  time.Time
}

type place struct {
	uid storage.UID
	key string
}

func (m *model) live(n note) bool { return n.Until.IsZero() || m.now.Before(n.Until) }

// withID finds the row that holds a unique value.
func (m *model) withID(id string) (place, bool) {
	for p, n := range m.rows {
		if n.ID == id && m.live(n) {
			return p, true
		}
	}
	return place{}, false
}

// keys lists the live rows that pick wants, as keysOf does, by owner and key.
func (m *model) keys(pick func(place, note) bool) string {
	var places []place
	for p, n := range m.rows {
		if m.live(n) && pick(p, n) {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, func(a, b place) int { return strings.Compare(string(a.uid[:])+a.key, string(b.uid[:])+b.key) })
	var keys []string
	for _, p := range places {
		keys = append(keys, p.key)
	}
	return strings.Join(keys, " ")
}

// TestTable_AgreesWithAMapUnderRandomTransactions runs random transactions of random operations, some of which fail,
// beside a map, lets time pass, sweeps, purges and opens the file again; and sees each time that the index and expiry
// entries are in step with the rows.
func TestTable_AgreesWithAMapUnderRandomTransactions(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				dir, err := os.MkdirTemp(t.TempDir(), "")
				must(t, err)
				clock := storage.NewFakeClock(begin)
				wrap := e.wrap(t)
				m := &machine{rt: rt, house: open(t, filepath.Join(dir, "data"), clock, wrap), clock: clock}
				m.model = model{rows: map[place]note{}, now: begin}
				m.reopen = func() {
					must(t, m.house.Close())
					m.house = open(t, m.house.path, clock, wrap)
				}
				defer func() { _ = m.house.Close() }()
				rt.Repeat(map[string]func(*rapid.T){
					"transaction": m.transaction, "time passes": m.advance, "sweep": m.sweep, "purge": m.purge,
					"open again": func(*rapid.T) { m.reopen() },
					"":           func(*rapid.T) { m.house.inStep() },
				})
			})
		})
	}
}

type machine struct {
	rt     *rapid.T
	house  *house
	clock  *storage.FakeClock
	model  model
	reopen func()
}

// owners are few, so that rows meet.
var owners = []storage.UID{{1}, {1, 1}, {2}, {255}}

// step is one operation inside a transaction.
type step struct {
	what string
	at   place
	note note
}

func drawStep(rt *rapid.T) step {
	return step{
		what: rapid.SampledFrom([]string{"put", "put", "insert", "delete", "get", "list", "find", "tagged"}).Draw(rt, "what"),
		at: place{
			rapid.SampledFrom(owners).Draw(rt, "owner"),
			rapid.SampledFrom([]string{"", "a", "b", "b\x00", "ba"}).Draw(rt, "key"),
		},
		note: note{
			ID:     rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(rt, "id"),
			Tags:   rapid.SampledFrom([][]string{nil, {"x"}, {"x", "y"}, {"y", "y"}, {"x\x00"}}).Draw(rt, "tags"),
			Until:  rapid.SampledFrom([]time.Time{{}, begin.Add(10 * time.Second), begin.Add(20 * time.Second)}).Draw(rt, "until"),
			Secret: rapid.SampledFrom([][]byte{nil, []byte("s3cret")}).Draw(rt, "secret"),
		},
	}
}

// transaction runs some steps and commits, refuses, or refuses and keeps.
func (m *machine) transaction(rt *rapid.T) {
	steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 6).Draw(rt, "steps")
	owner := rapid.SampledFrom(owners).Draw(rt, "the one whose rows it writes")
	for i := range steps {
		if slices.Contains([]string{"put", "insert", "delete"}, steps[i].what) {
			steps[i].at.uid = owner
		}
	}
	end := rapid.SampledFrom([]error{nil, nil, storage.Kept(errRefused), errRefused}).Draw(rt, "end")
	var after model
	var wrong string
	err := m.house.Update(background, func(tx *storage.Tx) error {
		after = model{maps.Clone(m.model.rows), m.model.now}
		wrong = ""
		for _, s := range steps {
			if wrong = after.run(tx, s); wrong != "" {
				wrong = fmt.Sprintf("%s %v %+v: %s", s.what, s.at, s.note, wrong)
				return errRefused
			}
		}
		return end
	})
	if wrong != "" {
		rt.Fatal(wrong)
	}
	if (end == nil) != (err == nil) || end != nil && !errors.Is(err, errRefused) {
		rt.Fatalf("the transaction returned %v, its closure %v", err, end)
	}
	if !errors.Is(end, errRefused) || storage.IsKept(end) {
		m.model = after
	}
}

// run runs a step on the store and on the model, and says how they differ.
func (m *model) run(tx *storage.Tx, s step) (wrong string) {
	old, has := m.rows[s.at]
	has = has && m.live(old)
	holder, held := m.withID(s.note.ID)
	conflict := s.note.ID != "" && held && holder != s.at
	var err, want error
	switch s.what {
	case "put", "insert":
		n := s.note
		if s.what == "put" {
			err = notes.Put(tx, s.at.uid, s.at.key, &n)
		} else if err = notes.Insert(tx, s.at.uid, s.at.key, &n); has {
			want = storage.ErrExists
		}
		if want == nil && conflict {
			want = storage.ErrUnique
		}
		if want == nil {
			m.rows[s.at] = s.note
		}
	case "delete":
		err = notes.Delete(tx, s.at.uid, s.at.key)
		delete(m.rows, s.at)
	case "get":
		var got *note
		if got, err = notes.Get(tx, s.at.uid, s.at.key); !has {
			want = storage.ErrNotFound
		} else if err == nil && fmt.Sprint(*got) != fmt.Sprint(old) {
			return fmt.Sprintf("got %v, want %v", *got, old)
		}
		if found, hasErr := notes.Has(tx, s.at.uid, s.at.key); found != has || hasErr != nil {
			return fmt.Sprintf("has %v, %v", found, hasErr)
		}
	case "list":
		got := keysOf(notes.Prefixed(tx, s.at.uid, s.at.key))
		if want := m.keys(func(p place, _ note) bool {
			return p.uid == s.at.uid && strings.HasPrefix(p.key, s.at.key)
		}); got != want {
			return fmt.Sprintf("got %q, want %q", got, want)
		}
	case "find":
		var row storage.Row[note]
		if row, err = noteByID.Find(tx, s.note.ID); s.note.ID == "" || !held {
			want = storage.ErrNotFound
		} else if row.UID != holder.uid || row.Key != holder.key {
			return fmt.Sprintf("found %s %q", row.UID, row.Key)
		}
	case "tagged":
		got := keysOf(noteByTag.Find(tx, "x", 0))
		if want := m.keys(func(_ place, n note) bool { return slices.Contains(n.Tags, "x") }); got != want {
			return fmt.Sprintf("got %q, want %q", got, want)
		}
	}
	if !errors.Is(err, want) {
		return fmt.Sprintf("got error %v, want %v", err, want)
	}
	return ""
}

func (m *machine) advance(rt *rapid.T) {
	d := time.Duration(rapid.IntRange(1, 6).Draw(rt, "seconds")) * time.Second
	m.clock.Advance(d)
	m.model.now = m.model.now.Add(d)
}

// sweep removes what is past its expiry, and nothing else: what is left are the model's live rows.
func (m *machine) sweep(rt *rapid.T) {
	if _, err := m.house.Sweep(background); err != nil {
		rt.Fatal(err)
	}
	for p, n := range m.model.rows {
		if !m.model.live(n) {
			delete(m.model.rows, p)
		}
	}
	stored := 0
	for _, p := range m.house.content() {
		if uid, table, key, err := storage.SplitRowKey(p.key); err == nil && table == "note" {
			stored++
			if _, ok := m.model.rows[place{uid, key}]; !ok {
				rt.Fatalf("row %s %q is left after a sweep", uid, key)
			}
		}
	}
	if stored != len(m.model.rows) {
		rt.Fatalf("%d rows are left after a sweep, want %d", stored, len(m.model.rows))
	}
}

func (m *machine) purge(rt *rapid.T) {
	uid := rapid.SampledFrom(owners).Draw(rt, "owner")
	dry := rapid.Bool().Draw(rt, "dry")
	var removed []storage.Removed
	err := m.house.Update(background, func(tx *storage.Tx) (err error) {
		removed, err = storage.Purge(tx, uid, dry, storage.MFA)
		return err
	})
	if err != nil {
		rt.Fatal(err)
	}
	for p, n := range m.model.rows {
		if p.uid == uid && m.model.live(n) && !slices.Contains(removed, storage.Removed{Table: "note", Key: p.key}) {
			rt.Fatalf("purge passed over %q", p.key)
		}
		if p.uid == uid && !dry {
			delete(m.model.rows, p)
		}
	}
}

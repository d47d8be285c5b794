package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tutela/backup"
	"tutela/device"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// person is a user with two phones, as their backups should be.
type person struct {
	t       *testing.T
	h       *house
	keep    int
	phones  []*phone
	proofs  []device.Proof // one each will do: a transaction looks at it again
	writes  []*history     // to which each phone writes; nil: none
	deleted []*history     // the one that was deleted last first
	dead    []string       // handles that find nothing
}

// history is one backup with all that was ever put.
type history struct {
	put       []generation // oldest first
	handles   []timed      // newest first
	made      time.Time
	deleted   time.Time
	by        int // the phone that deleted it
	undeleted bool
}

type generation struct {
	manifest string
	body     []byte
	at       time.Time
}

// timed is a handle and when it ends; the zero time: it has no end.
type timed struct {
	handle string
	until  time.Time
}

// TestBackup_GenerationsAreAsTheModelSays lets two phones of a user put, repeat, rotate, delete, undelete and read at random,
// over weeks, and compares with a model of each.
func TestBackup_GenerationsAreAsTheModelSays(t *testing.T) {
	h := openHouse(t, ground.Options{Chaos: true})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		p := &person{
			t:      t,
			h:      h,
			keep:   rapid.IntRange(1, 4).Draw(rt, "keep"),
			writes: make([]*history, 2),
		}
		for range 2 {
			one := h.enroll(t, fmt.Sprintf("user-%d", n))
			p.phones = append(p.phones, one)
			p.proofs = append(p.proofs, one.Proof())
		}
		h.Set("backup.keep", fmt.Sprint(p.keep))
		step := func(do func(rt *rapid.T, i int)) func(*rapid.T) {
			return func(rt *rapid.T) {
				h.clock.Advance(time.Second) // so that no two things are of the same time
				do(rt, rapid.IntRange(0, 1).Draw(rt, "phone"))
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put":      step(p.put),
			"repeat":   step(p.repeat),
			"stale":    step(p.stale),
			"rotate":   step(p.rotate),
			"delete":   step(p.remove),
			"undelete": step(p.undelete),
			"wait": func(rt *rapid.T) {
				hours := rapid.SampledFrom([]int{0, 1, 13, 24, 50, 24 * 7, 24 * 31}).Draw(rt, "hours")
				h.clock.Advance(time.Duration(hours) * time.Hour)
			},
			"": func(rt *rapid.T) {
				for i := range p.phones {
					p.compare(rt, i)
				}
			},
		})
	})
}

func (b *history) latest() int64 {
	if b == nil {
		return 0
	}
	return int64(len(b.put))
}

func (b *history) parent() string {
	if b == nil {
		return ""
	}
	return b.put[len(b.put)-1].manifest
}

func (p *person) put(rt *rapid.T, i int) {
	b := p.writes[i]
	body := random(rapid.SampledFrom([]int{0, 1, 100, 1000, 64 << 10, 64<<10 + 1}).Draw(rt, "size"))
	req := p.phones[i].version(p.t, b.latest()+1, b.parent(), body, rapid.IntRange(0, 3).Draw(rt, "items"), nil)
	stored, err := p.h.backups.Put(context.Background(), p.proofs[i], req, audit.ByUser())
	if err != nil {
		rt.Fatal(err)
	}
	if (stored.Handle != "") != (b == nil) {
		rt.Fatalf("generation %d came with handle %q", stored.Generation, stored.Handle)
	}
	if b == nil {
		b = &history{made: p.h.store.Now(), handles: []timed{{handle: stored.Handle}}}
		p.writes[i] = b
	}
	b.undeleted = false
	b.put = append(b.put, generation{req.Manifest, body, p.h.store.Now().UTC()})
}

func (p *person) repeat(rt *rapid.T, i int) {
	b := p.writes[i]
	if b == nil {
		rt.Skip("nothing to repeat")
	}
	last := b.put[len(b.put)-1]
	req := backup.PutRequest{Manifest: last.manifest, Body: last.body}
	stored, err := p.h.backups.Put(context.Background(), p.proofs[i], req, audit.ByUser())
	if err != nil || stored.Generation != b.latest() {
		rt.Fatalf("repeat of generation %d: %+v, %v", b.latest(), stored, err)
	}
	if stored.Handle != "" && stored.Handle != b.handles[0].handle {
		rt.Fatal("a repeat showed a handle that is not the current one")
	}
}

func (p *person) stale(rt *rapid.T, i int) {
	b := p.writes[i]
	wrong := rapid.Int64Range(0, 20).Filter(func(g int64) bool { return g != b.latest() }).Draw(rt, "generation")
	req := p.phones[i].version(p.t, wrong+1, b.parent(), nil, 0, nil)
	_, err := p.h.backups.Put(context.Background(), p.proofs[i], req, audit.ByUser())
	var conflict *backup.Conflict
	if !errors.As(err, &conflict) || conflict.Generation != b.latest() || conflict.Manifest != b.parent() {
		rt.Fatalf("put after generation %d where %d is: %v", wrong, b.latest(), err)
	}
}

func (p *person) rotate(rt *rapid.T, i int) {
	b := p.writes[i]
	revoke := rapid.Bool().Draw(rt, "revoke")
	handle, err := p.h.backups.NewHandle(context.Background(), p.proofs[i], revoke, audit.ByUser())
	if (b == nil) != errors.Is(err, backup.ErrNone) || b != nil && err != nil {
		rt.Fatal(err)
	}
	if b == nil {
		return
	}
	b.handles[0].until = p.h.store.Now().Add(30 * 24 * time.Hour)
	b.handles = slices.Insert(b.handles, 0, timed{handle: handle})
	most := 4
	if revoke {
		most = 1
	}
	for len(b.handles) > most {
		p.dead = append(p.dead, b.handles[len(b.handles)-1].handle)
		b.handles = b.handles[:len(b.handles)-1]
	}
}

func (p *person) remove(rt *rapid.T, i int) {
	b := p.writes[i]
	err := p.h.backups.Delete(context.Background(), p.proofs[i], audit.ByUser())
	if (b == nil) != errors.Is(err, backup.ErrNone) || b != nil && err != nil {
		rt.Fatal(err)
	}
	if b == nil {
		return
	}
	p.forget()
	p.writes[i] = nil
	b.deleted = p.h.store.Now()
	b.by = i
	b.undeleted = false
	// Of five the one goes that lived shortest, but not the one that was just deleted.
	if len(p.deleted) == 4 {
		shortest := 0
		for n, other := range p.deleted {
			if other.deleted.Sub(other.made) <= p.deleted[shortest].deleted.Sub(p.deleted[shortest].made) {
				shortest = n
			}
		}
		p.deleted = slices.Delete(p.deleted, shortest, shortest+1)
	}
	p.deleted = slices.Insert(p.deleted, 0, b)
}

// forget drops what was deleted more than seven days ago.
func (p *person) forget() {
	p.deleted = slices.DeleteFunc(p.deleted, func(b *history) bool { return p.h.store.Now().Sub(b.deleted) >= 7*24*time.Hour })
}

func (p *person) undelete(rt *rapid.T, i int) {
	p.forget()
	mine := slices.IndexFunc(p.deleted, func(b *history) bool { return b.by == i })
	var want error
	switch {
	case p.writes[i] != nil && p.writes[i].undeleted:
	case p.writes[i] != nil:
		want = backup.ErrAnother
	case mine < 0:
		want = backup.ErrNone
	default:
		p.writes[i] = p.deleted[mine]
		p.writes[i].undeleted = true
		p.deleted = slices.Delete(p.deleted, mine, mine+1)
	}
	if err := p.h.backups.Undelete(context.Background(), p.proofs[i], audit.ByUser()); !errors.Is(err, want) {
		rt.Fatalf("undelete: %v, want %v", err, want)
	}
}

// kept returns the generations that the rule keeps, newest first: the newest, and of those before them the newest of a day and
// of a week, as they stood when the last was put.
func (b *history) kept(newest int) (numbers []int) {
	now := b.put[len(b.put)-1].at
	sameDay := func(a, b time.Time) bool { return a.Format(time.DateOnly) == b.Format(time.DateOnly) }
	monday := func(at time.Time) time.Time {
		for at.Weekday() != time.Monday {
			at = at.AddDate(0, 0, -1)
		}
		return at.Truncate(24 * time.Hour)
	}
	for i := len(b.put) - 1; i >= 0; i-- {
		ofDay := false
		ofWeek := false
		for back := range 7 {
			ofDay = ofDay || sameDay(b.put[i].at, now.AddDate(0, 0, -back))
		}
		for back := range 4 {
			ofWeek = ofWeek || monday(b.put[i].at).Equal(monday(now).AddDate(0, 0, -7*back))
		}
		for newer := i + 1; newer < len(b.put)-newest; newer++ {
			ofDay = ofDay && !sameDay(b.put[i].at, b.put[newer].at)
			ofWeek = ofWeek && !monday(b.put[i].at).Equal(monday(b.put[newer].at))
		}
		if i >= len(b.put)-newest || ofDay || ofWeek {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

func (p *person) compare(rt *rapid.T, i int) {
	for _, handle := range p.dead {
		if p.h.find(p.t, handle) != nil {
			rt.Fatal("a handle that was ended finds a backup")
		}
	}
	for _, b := range p.deleted {
		if p.h.find(p.t, b.handles[0].handle) != nil {
			rt.Fatal("a deleted backup is found")
		}
	}
	b := p.writes[i]
	list, err := p.h.backups.Generations(context.Background(), p.proofs[i])
	if b == nil {
		if !errors.Is(err, backup.ErrNone) {
			rt.Fatalf("there should be no backup: %v", err)
		}
		return
	}
	want := b.kept(p.keep)
	if err != nil || len(list) != len(want) {
		rt.Fatalf("%d generations, want %d: %v", len(list), len(want), err)
	}
	for n, v := range list {
		was := b.put[want[n]]
		_, body, err := p.h.backups.Generation(context.Background(), p.proofs[i], int64(want[n]+1))
		if err != nil || v.Manifest != was.manifest || !bytes.Equal(body, was.body) {
			rt.Fatalf("generation %d is another: %v", want[n]+1, err)
		}
	}
	for _, handle := range b.handles {
		found := p.h.find(p.t, handle.handle)
		if over := !handle.until.IsZero() && !p.h.store.Now().Before(handle.until); (found == nil) != over {
			rt.Fatalf("a handle finds %v, and is over: %v", found, over)
		}
	}
}

package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/bolt"
	"tutela/storage/keyring"
	"tutela/storage/storagetest"
	"tutela/storage/storagetest/ground"
)

// fold counts one occurrence, of which d is known.
func (h *house) fold(e audit.Event, d audit.Detail, key string) {
	h.t.Helper()
	must(h.t, h.Update(context.Background(), func(tx *storage.Tx) error {
		return audit.Fold(tx, from(d), e, d, key, time.Minute)
	}))
}

// closeFolds closes what is over, and returns how many entries were dealt with.
func (h *house) closeFolds() (closed int) {
	h.t.Helper()
	closed, _, err := audit.CloseFolds(context.Background(), h.Store)
	must(h.t, err)
	return closed
}

// folded returns the events as "n×count", newest first.
func (h *house) folded() (list []string) {
	h.t.Helper()
	for _, e := range h.all() {
		list = append(list, fmt.Sprintf("%s×%d", e.Facts["n"]+e.Facts[audit.FactFolded], e.Folded.Count))
	}
	return list
}

func (h *house) expectFolded(want ...string) {
	h.t.Helper()
	if got := h.folded(); !slices.Equal(got, want) {
		h.t.Errorf("recorded %v, want %v", got, want)
	}
}

func TestFold_CountsUntilItsWindowIsOverAndIsThenOneEvent(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := h.user()
		failed := audit.Event{
			Type:   audit.AuthFailed,
			UID:    uid,
			Client: "shop",
			Facts:  named("x"),
		}
		h.fold(failed, audit.Detail{IP: "192.0.2.1"}, "k")
		empty := len(h.content())
		h.clock.Advance(20 * time.Second)
		h.fold(failed, audit.Detail{IP: "192.0.2.2"}, "k")
		h.clock.Advance(30 * time.Second)
		h.fold(failed, audit.Detail{IP: "192.0.2.2", Text: "last"}, "k")
		h.clock.Advance(10*time.Second - 1)
		if n := h.closeFolds(); n != 0 || len(h.content()) != empty {
			t.Errorf("closed %d before the window is over; %d keys, were %d", n, len(h.content()), empty)
		}
		h.expectFolded()
		h.clock.Advance(1)
		if n := h.closeFolds(); n != 1 {
			t.Errorf("closed %d", n)
		}
		h.expectFolded("x×3")
		e := h.newest()
		if e.Damage != "" || e.V != 1 || e.Client != "shop" || e.UID != uid || e.Detail != (audit.Detail{IP: "192.0.2.2", Text: "last"}) {
			t.Errorf("recorded as %+v", e)
		}
		if !e.Folded.First.Equal(begin) || !e.Folded.Last.Equal(begin.Add(50*time.Second)) || !e.Time.Equal(begin.Add(time.Minute)) {
			t.Errorf("first %s, last %s, recorded %s", e.Folded.First, e.Folded.Last, e.Time)
		}
		if n := h.closeFolds(); n != 0 {
			t.Errorf("closed %d again", n)
		}
		for _, p := range h.content() {
			if bytes.Contains(p[0], []byte("fold\x00")) {
				t.Errorf("left: %q", p[0])
			}
		}
	})
}

func TestFold_TheNextOccurrenceClosesWhatIsOver(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		failed := audit.Event{Type: audit.ManagementFailed, Client: "shop", Facts: named("x")}
		h.fold(failed, audit.Detail{}, "k")
		h.fold(failed, audit.Detail{}, "k")
		h.clock.Advance(time.Minute)
		h.fold(failed, audit.Detail{}, "k")
		h.expectFolded("x×2")
		h.clock.Advance(time.Minute)
		h.closeFolds()
		h.expectFolded("x×1", "x×2")
	})
}

func TestFold_WhatDiffersIsCountedApart(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		base := audit.Event{
			Type:   audit.AuthFailed,
			UID:    uid,
			Client: "shop",
			Facts:  named("x"),
		}
		other := func(change func(*audit.Event)) audit.Event {
			e := base
			change(&e)
			return e
		}
		kinds := []audit.Event{
			base,
			other(func(e *audit.Event) { e.Type = audit.AuthRejected }),
			other(func(e *audit.Event) { e.Client = "bank" }),
			other(func(e *audit.Event) { e.Facts = named("y") }),
			other(func(e *audit.Event) { e.UID = storage.House }),
			other(func(e *audit.Event) { e.UID = storage.NewUID() }),
		}
		for range 2 {
			for _, e := range kinds {
				h.fold(e, planted, "k")
			}
			h.fold(base, planted, "another key")
			must(t, h.Update(t.Context(), func(tx *storage.Tx) error {
				return audit.Fold(tx, audit.ByOperator(0), base, audit.Detail{}, "k", time.Minute)
			}))
		}
		h.clock.Advance(time.Minute)
		h.closeFolds()
		if got := h.folded(); len(got) != len(kinds)+2 || slices.ContainsFunc(got, func(s string) bool { return !strings.HasSuffix(s, "×2") }) {
			t.Errorf("recorded %v", got)
		}
	})
}

func TestFold_TooManyAreCountedInOneOfAllOthers(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		for _, owner := range []struct {
			uid  storage.UID
			most int
		}{{storage.NewUID(), audit.MaxUserFolds}, {storage.House, audit.MaxHouseFolds}} {
			e := audit.Event{
				Type:   audit.AuthFailed,
				UID:    owner.uid,
				Client: "shop",
				Facts:  named("x"),
			}
			must(t, h.Update(t.Context(), func(tx *storage.Tx) error {
				for i := range owner.most + 20 {
					if err := audit.Fold(tx, from(planted), e, planted, fmt.Sprint(i), time.Minute); err != nil {
						return err
					}
				}
				return nil
			}))
			h.fold(e, planted, "0") // it has a fold already
			// Another type has room of its own.
			h.fold(audit.Event{Type: audit.AuthRejected, UID: owner.uid, Facts: named("z")}, planted, "")
			h.clock.Advance(time.Minute)
			for h.closeFolds() == audit.CloseBatch {
			}
			counts := map[string]int{}
			for _, e := range h.all() {
				if e.UID != owner.uid {
					continue
				}
				counts[fmt.Sprintf("%s%s×%d", e.Facts["n"], e.Facts[audit.FactFolded], e.Folded.Count)]++
				if e.Facts[audit.FactFolded] == audit.FoldedOthers && (e.Client != "" || e.Detail != (audit.Detail{}) || e.Type != audit.AuthFailed) {
					t.Errorf("the others are %+v", e)
				}
			}
			want := map[string]int{"x×1": owner.most - 1, "x×2": 1, "others×20": 1, "z×1": 1}
			if fmt.Sprint(counts) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", counts, want)
			}
		}
	})
}

func TestFold_AResetTakesOpenFoldsWithAllThatTheyHold(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		e := audit.Event{Type: audit.AuthFailed, UID: uid, Facts: named("x")}
		h.fold(e, planted, "before")
		h.purge(uid, storage.MFA)
		h.clock.Advance(30 * time.Second)
		h.fold(e, planted, "before")
		h.clock.Advance(30 * time.Second)
		h.closeFolds() // the window that was opened before the reset
		h.expectFolded()
		h.clock.Advance(30 * time.Second)
		h.closeFolds()
		h.expectFolded("x×1")
		h.purge(uid, storage.MFA)
		for _, p := range h.content() {
			if bytes.Contains(p[0], []byte("fold\x00")) || bytes.Contains(p[1], []byte(planted.IP)) {
				t.Errorf("left: %q: %q", p[0], p[1])
			}
		}
	})
}

func TestFold_HoldsNothingOfAPersonButInTheUsersRows(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		for _, who := range []storage.UID{uid, storage.House} {
			h.fold(audit.Event{Type: audit.AuthFailed, UID: who}, planted, planted.IP+" "+planted.Device)
		}
		scan := func() {
			t.Helper()
			for _, p := range h.content() {
				for _, s := range []string{planted.IP, planted.UserAgent, planted.Device, planted.Text} {
					if !bytes.Contains(append(bytes.Clone(p[0]), p[1]...), []byte(s)) {
						continue
					}
					mine := append([]byte{'u'}, uid[:]...)
					if table := bytes.TrimPrefix(p[0], mine); !bytes.HasPrefix(p[0], mine) ||
						!bytes.HasPrefix(table, []byte("fold\x00")) && !bytes.HasPrefix(table, []byte("event_detail\x00")) {
						t.Errorf("%q lies under %q", s, p[0])
					}
				}
			}
		}
		scan()
		h.clock.Advance(time.Minute)
		h.closeFolds()
		scan()
		h.purge(uid, storage.MFA)
		for _, p := range h.content() {
			if bytes.Contains(p[1], []byte(planted.IP)) {
				t.Errorf("left under %q", p[0])
			}
		}
	})
}

// Whatever happens in whatever order, every occurrence is in exactly one event, and no window is longer than it may be.
func TestFold_CountsEachOccurrenceOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uids := []storage.UID{storage.House, h.user(), storage.NewUID()}
		before := 0
		rapid.Check(t, func(rt *rapid.T) {
			counted := map[string]int{}
			for range rapid.IntRange(1, 30).Draw(rt, "steps") {
				switch rapid.IntRange(0, 4).Draw(rt, "step") {
				case 0:
					h.closeFolds()
				case 1:
					h.clock.Advance(time.Duration(rapid.IntRange(1, 70).Draw(rt, "seconds")) * time.Second)
				default:
					uid := rapid.SampledFrom(uids).Draw(rt, "uid")
					n := rapid.StringMatching(`[ab]`).Draw(rt, "n")
					h.fold(audit.Event{Type: audit.AuthFailed, UID: uid, Facts: named(n)}, audit.Detail{}, rapid.StringMatching(`[cd]`).Draw(rt, "key"))
					counted[uid.String()+n]++
				}
			}
			h.clock.Advance(time.Minute)
			h.closeFolds()
			all := h.all()
			for _, e := range all[:len(all)-before] {
				counted[e.UID.String()+string(e.Facts["n"])] -= e.Folded.Count
				if length := e.Folded.Last.Sub(e.Folded.First); length < 0 || length >= time.Minute || e.Time.Before(e.Folded.Last) {
					rt.Errorf("%+v", e)
				}
			}
			before = len(all)
			for what, n := range counted {
				if n != 0 {
					rt.Errorf("%s: %d are missing", what, n)
				}
			}
		})
	})
}

// twoServers are two stores over one engine, with the keys of one installation.
func twoServers(t *testing.T, engine storage.Engine, clock storage.Clock) (stores []*storage.Store) {
	t.Helper()
	master := bytes.Repeat([]byte{7}, keyring.KeyBytes)
	for range 2 {
		s, err := storage.Open(context.Background(), engine, storage.Options{Clock: clock, Logger: slog.New(slog.DiscardHandler)})
		must(t, err)
		_, err = keyring.Open(context.Background(), s, master)
		must(t, err)
		stores = append(stores, s)
	}
	return stores
}

// Two servers count and close the same folds while transactions fail: nothing is counted twice, nothing is lost.
func TestCloseFolds_ByTwoServersThatFailNowAndThenRecordsEachOnce(t *testing.T) {
	engine, err := bolt.Open(t.Context(), filepath.Join(t.TempDir(), "data"), bolt.Options{Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	clock := storage.NewFakeClock(begin)
	chaos := storagetest.Chaos(t, engine)
	servers := twoServers(t, chaos, clock)
	chaos.Refusing(3)
	defer func() { must(t, engine.Close()) }()

	const (
		callers = 4
		each    = 60
	)
	var counted sync.Map // key → occurrences that were committed
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := range each {
				key := fmt.Sprint(i % 3)
				err := servers[caller%2].Update(context.Background(), func(tx *storage.Tx) error {
					return audit.Fold(tx, audit.Actor{}, audit.Event{Type: audit.AuthFailed, Facts: named(key)}, audit.Detail{}, "", time.Minute)
				})
				if err == nil {
					n, _ := counted.LoadOrStore(fmt.Sprintf("%s/%d", key, caller), 0)
					counted.Store(fmt.Sprintf("%s/%d", key, caller), n.(int)+1)
				}
				if i%5 == 0 {
					clock.Advance(11 * time.Second)
				}
				_, _, _ = audit.CloseFolds(context.Background(), servers[(caller+1)%2]) // some are refused, and come again
			}
		})
	}
	all.Wait()
	chaos.Refusing(0)
	clock.Advance(time.Minute)
	_, _, err = audit.CloseFolds(t.Context(), servers[0])
	must(t, err)

	want := 0
	got := 0
	counted.Range(func(_, n any) bool {
		want += n.(int)
		return true
	})
	entries, _, err := audit.List(t.Context(), servers[1], audit.Query{}, false)
	must(t, err)
	for _, e := range entries {
		got += e.Folded.Count
	}
	if got != want || want < callers*each/2 {
		t.Errorf("the events stand for %d occurrences of %d", got, want)
	}
}

func TestCloseFolds_ClosesWhatWasOpenBeforeARestart(t *testing.T) {
	g := ground.Open(t, ground.Options{})
	must(t, g.Store.Update(t.Context(), func(tx *storage.Tx) error {
		return audit.Fold(tx, audit.Actor{}, audit.Event{Type: audit.AuthFailed}, audit.Detail{}, "", time.Minute)
	}))
	g.Reopen(time.Hour)
	closed, _, err := audit.CloseFolds(t.Context(), g.Store)
	must(t, err)
	entries, _, err := audit.List(t.Context(), g.Store, audit.Query{}, false)
	must(t, err)
	if closed != 1 || len(entries) != 1 || entries[0].Folded.Count != 1 {
		t.Errorf("closed %d: %+v", closed, entries)
	}
}

func TestCloseFolds_StepsPastADamagedFoldAndTellsOfItOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.fold(audit.Event{Type: audit.AuthFailed, UID: uid, Facts: named("bad")}, planted, "")
		k, _ := h.at('u', "fold", "")
		h.put(k, []byte("x"))
		// It is counted with all others meanwhile.
		h.fold(audit.Event{Type: audit.AuthFailed, UID: uid, Facts: named("bad")}, planted, "")
		h.fold(audit.Event{Type: audit.AuthFailed, UID: uid, Facts: named("good")}, planted, "")
		h.clock.Advance(time.Minute)
		_, _, err := audit.CloseFolds(t.Context(), h.Store)
		if !errors.Is(err, storage.ErrDamaged) || strings.Contains(err.Error(), planted.IP) {
			t.Errorf("got %v", err)
		}
		got := h.folded()
		slices.Sort(got)
		if !slices.Equal(got, []string{"good×1", "others×1"}) {
			t.Errorf("recorded %v", got)
		}
		if n := h.closeFolds(); n != 0 {
			t.Errorf("it is looked at again: %d", n)
		}
		h.fold(audit.Event{Type: audit.AuthFailed, UID: uid, Facts: named("bad")}, planted, "")
		h.clock.Advance(time.Minute)
		h.closeFolds()
		if got := h.folded()[0]; got != "bad×1" {
			t.Errorf("afterwards: %v", got)
		}
	})
}

// A fold that nobody adds to is recorded all the same, soon after its window is over.
func TestRunFolds_ClosesByItself(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		engine, err := bolt.Open(context.Background(), filepath.Join(folder, "data"), bolt.Options{Logger: slog.New(slog.DiscardHandler)})
		must(t, err)
		servers := twoServers(t, engine, storage.SystemClock())
		ctx, stop := context.WithCancel(context.Background())
		var group sync.WaitGroup
		for _, s := range servers {
			group.Go(func() { audit.RunFolds(ctx, s, slog.New(slog.DiscardHandler)) })
		}
		<-time.After(3 * time.Second)
		must(t, servers[0].Update(context.Background(), func(tx *storage.Tx) error {
			for i := range 3 * audit.CloseBatch / 2 { // more than are closed in one look
				uid := storage.UID{byte(i), byte(i >> 8), 1}
				if err := audit.Fold(tx, audit.Actor{}, audit.Event{Type: audit.AuthFailed, UID: uid}, audit.Detail{}, "", time.Minute); err != nil {
					return err
				}
			}
			return nil
		}))
		count := func() int {
			synctest.Wait()
			_, n, err := audit.List(context.Background(), servers[1], audit.Query{}, true)
			must(t, err)
			return n
		}
		<-time.After(59 * time.Second)
		if n := count(); n != 0 {
			t.Errorf("%d are recorded before their window is over", n)
		}
		<-time.After(12 * time.Second)
		if n := count(); n != 3*audit.CloseBatch/2 {
			t.Errorf("%d are recorded", n)
		}
		stop()
		group.Wait()
		must(t, engine.Close())
	})
}

func TestFoldRepeats_RecordsTheFirstAtOnceAndTheOthersAsOne(t *testing.T) {
	g := ground.Open(t, ground.Options{Chaos: true})
	e := audit.Event{Type: audit.ManagementFailed, Facts: audit.Facts{audit.FactStatus: "404"}}
	occur := func(times int) {
		t.Helper()
		for range times {
			g.Update(func(tx *storage.Tx) error {
				return audit.FoldRepeats(tx, audit.ByClient("cl_x", nil, storage.House), e, audit.Detail{}, "", time.Minute)
			})
		}
	}
	counts := func() (n []int) {
		t.Helper()
		_, _, err := audit.CloseFolds(t.Context(), g.Store)
		must(t, err)
		list, _, err := audit.List(t.Context(), g.Store, audit.Query{}, false)
		must(t, err)
		for _, one := range list {
			n = append(n, one.Folded.Count)
		}
		return n
	}
	occur(1)
	g.Clock.Advance(2 * time.Minute)
	if got := counts(); !slices.Equal(got, []int{0}) {
		t.Errorf("of one alone: %v", got)
	}
	occur(6)
	if got := counts(); !slices.Equal(got, []int{0, 0}) {
		t.Errorf("within the window: %v", got)
	}
	g.Clock.Advance(2 * time.Minute)
	if got := counts(); !slices.Equal(got, []int{5, 0, 0}) {
		t.Errorf("after it: %v", got)
	}
	// The next occurrence closes what was counted as well.
	occur(3)
	g.Clock.Advance(time.Minute)
	occur(1)
	if got := counts(); !slices.Equal(got, []int{0, 2, 0, 5, 0, 0}) {
		t.Errorf("the next one closes: %v", got)
	}
}

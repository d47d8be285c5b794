package storage

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// By how much the wall may differ from the last time written down, for a store that is opened to believe it.
//
// A wall that is ahead means that the server was stopped, or that the clock is wrong. Nothing tells which, so the bound
// lies between the two. Installations may stand still for a season or for months; after half a year an operator is
// there who can answer a question. A mistyped year, a dead clock battery and a time receiver in the wrong era are all
// beyond it. A wrong clock within the bound costs the rows that expire within it, and events only where they are kept
// for less than half a year.
//
// A wall that is behind is always a wrong clock. Up to a day it may be local time taken for UTC: then no time counts as
// passed, until the machine corrects its clock.
const (
	maxStepAhead = 183 * 24 * time.Hour
	maxStepBack  = 24 * time.Hour
	maxJump      = time.Minute // past it the wall has jumped while the store was open
)

func believable(step time.Duration) bool { return -maxStepBack <= step && step <= maxStepAhead }

// clockAnswer is the operators' last settlement, stored under the meta key "clock".
type clockAnswer struct {
	Settled  int  `json:"settled"`             // how often it was settled; a server with a lower number has an older answer
	KeepMark bool `json:"keep_mark,omitempty"` // a wall that is not believable is wrong: do not ask
}

// houseClock keeps the house's time: a base plus the steady clock's progress since. Safe for concurrent use.
type houseClock struct {
	source  Clock
	setting sync.Mutex // held while set is replaced
	set     atomic.Pointer[clockSet]
}

// clockSet is what the clock was last set to, and from what. It is immutable: the clock replaces it.
type clockSet struct {
	base   time.Time     // the house's time when it was set
	wall   time.Time     // the wall then
	start  time.Duration // the steady clock then
	mark   time.Time     // the last time written down before; zero: none was
	step   time.Duration // from mark to wall
	answer clockAnswer
	open   bool // the step is not believable, and nobody has settled it
	kept   bool // the step is not believable, and the operator has settled that the wall is wrong
}

// newHouseClock makes a clock set to the wall; it has read no mark yet.
func newHouseClock(source Clock) *houseClock {
	c := &houseClock{source: source}
	c.open(time.Time{}, clockAnswer{})
	return c
}

// open sets the clock by the last time written down. When the step from there to the wall is forward and believable, it
// sets the wall; else it sets the mark, as if no time had passed.
func (c *houseClock) open(mark time.Time, answer clockAnswer) {
	c.setting.Lock()
	defer c.setting.Unlock()
	c.set.Store(c.opened(mark, answer))
}

func (c *houseClock) opened(mark time.Time, answer clockAnswer) *clockSet {
	s := &clockSet{
		wall:   c.source.Wall(),
		start:  c.source.Steady(),
		mark:   mark,
		answer: answer,
	}
	s.base = s.wall
	if mark.IsZero() {
		return s
	}
	s.step = s.wall.Sub(mark)
	trusted := believable(s.step)
	if !trusted || s.step < 0 {
		s.base = mark
	}
	s.open = !trusted && !answer.KeepMark
	s.kept = !trusted && answer.KeepMark
	return s
}

// lookAgain sets the clock again if its wall was not believable and has been corrected since. It reports whether it
// did.
func (c *houseClock) lookAgain() bool {
	c.setting.Lock()
	defer c.setting.Unlock()
	was := c.set.Load()
	now := c.now()
	if !was.open && !was.kept || !believable(c.source.Wall().Sub(now)) {
		return false
	}
	c.set.Store(c.opened(now, was.answer))
	return true
}

// settle replaces what the clock is set to by what the operator has settled.
func (c *houseClock) settle(s clockSet) {
	c.setting.Lock()
	defer c.setting.Unlock()
	c.set.Store(&s)
}

func (c *houseClock) now() time.Time {
	s := c.set.Load()
	return s.base.Add(c.source.Steady() - s.start)
}

func (c *houseClock) wall() time.Time { return c.source.Wall() }

// ClockState compares the house's time with the machine's clock.
type ClockState struct {
	House time.Time     `json:"house"`     // the house's time
	Wall  time.Time     `json:"machine"`   // the machine's clock
	Mark  time.Time     `json:"mark"`      // the last time that was written down before the store was opened; zero: none was
	Step  time.Duration `json:"step_ns"`   // from Mark to the machine's clock when the store was opened
	Jump  time.Duration `json:"jump_ns"`   // by how much the machine's clock has been moved since, without the time that passed
	Open  bool          `json:"unsettled"` // the step is not believable, and nobody has settled which is wrong: nothing is removed by time
	Kept  bool          `json:"kept_mark"` // it is settled that the machine's clock is wrong, and it still is
}

// Jumped reports whether the machine's clock was moved while the store was open. It is false while Open or Kept say
// that the clock is wrong anyway.
func (c ClockState) Jumped() bool {
	return !c.Open && !c.Kept && (c.Jump > maxJump || c.Jump < -maxJump)
}

// ClockState returns the state of the clock.
func (s *Store) ClockState() ClockState {
	set := s.clock.set.Load()
	now := s.clock.now()
	wall := s.clock.wall()
	passed := now.Sub(set.base)
	return ClockState{
		House: now,
		Wall:  wall,
		Mark:  set.mark,
		Step:  set.step,
		Jump:  wall.Sub(set.wall) - passed,
		Open:  set.open,
		Kept:  set.kept,
	}
}

// MayRemove reports whether rows may be removed because their time is over. They may not while the clock may be wrong:
// what a wrong clock removes cannot be brought back. Every background job that removes by time asks first.
func (s *Store) MayRemove() bool {
	state := s.ClockState()
	return !state.Open && !state.Jumped()
}

// Settlement is an operator's decision about a clock that may be wrong.
type Settlement string

// The settlements.
const (
	// TrustWall says that the machine's clock is right: the last time written down was wrong, or the server was
	// stopped for long. The house's time is set to the machine's clock, and expires rows by it.
	TrustWall Settlement = "trust_wall"
	// KeepMark says that the machine's clock is wrong, and will be set right: the house's time goes on from the last
	// time written down, also over restarts, until the machine's clock is believable.
	KeepMark Settlement = "keep_mark"
)

// ErrClockAgrees reports that there is nothing to settle: the machine's clock and the house's time agree.
var ErrClockAgrees = NewError(Conflict, "the clock needs no settling: the machine's clock and the last time written down agree")

// SettleClock stores the operator's decision, runs also in the same transaction, and sets the clock accordingly. In
// that transaction Now is already the settled time. Other servers on the same store learn of it when they next write
// the time down; until then they write none.
//
// Errors: ErrClockAgrees; those of also; those of Update.
func (s *Store) SettleClock(ctx context.Context, how Settlement, also func(*Tx) error) error {
	var next clockSet
	err := s.Update(ctx, func(tx *Tx) error {
		stored, _, err := tx.clock()
		if err != nil {
			return err
		}
		if next, err = s.settled(how, stored); err != nil {
			return err
		}
		if how == TrustWall {
			tx.now = next.base
		}
		if last := s.stamped.Load(); last > tx.now.UnixNano() {
			s.stamped.CompareAndSwap(last, 0) // stamps of a time that has not come
		}
		return errors.Join(tx.putMeta("time", tx.now), tx.putMeta("clock", next.answer), also(tx))
	})
	if err != nil {
		return err
	}
	s.clock.settle(next)
	s.log.Warn("the clock was settled", "how", string(how), "house", s.Now(), "machine", s.Wall())
	return nil
}

// settled returns what a settlement sets the clock to.
func (s *Store) settled(how Settlement, stored clockAnswer) (clockSet, error) {
	state := s.ClockState()
	skew := state.Wall.Sub(state.House)
	doubted := state.Open || state.Kept
	next := *s.clock.set.Load()
	next.answer = clockAnswer{Settled: stored.Settled + 1}
	switch {
	case how == KeepMark && doubted:
		next.open = false
		next.kept = true
		next.answer.KeepMark = true
		return next, nil
	case how == TrustWall && (doubted || skew > maxJump || skew < -maxJump):
		next.open = false
		next.kept = false
		next.wall = s.clock.source.Wall()
		next.start = s.clock.source.Steady()
		next.base = next.wall
		next.mark = next.wall
		next.step = 0
		return next, nil
	}
	return clockSet{}, ErrClockAgrees
}

// openClock sets the clock by the last time written down, or by created (when the store was made) if that is later and
// nobody has settled the clock.
func (s *Store) openClock(ctx context.Context, created time.Time) error {
	var answer clockAnswer
	var mark time.Time
	err := s.View(ctx, func(tx *Tx) (err error) {
		answer, mark, err = tx.clock()
		return err
	})
	if err != nil {
		return err
	}
	if created.After(mark) && answer.Settled == 0 {
		mark = created
	}
	s.clock.open(mark, answer)
	s.tellOfClock()
	return nil
}

// tellOfClock logs a warning while the machine's clock is not believed.
func (s *Store) tellOfClock() {
	state := s.ClockState()
	switch {
	case state.Open:
		s.log.Warn("the machine's clock and the last time written down are too far apart: nothing is removed by time until tutela clock settles which is right",
			"machine", state.Wall, "written_down", state.Mark, "step", state.Step.Round(time.Second))
	case state.Kept:
		s.log.Warn("the machine's clock is wrong, as was settled: set it right", "machine", state.Wall, "house", state.House)
	}
}

// clock reads the stored settlement and the last time written down.
func (tx *Tx) clock() (answer clockAnswer, mark time.Time, err error) {
	if _, err := tx.getMeta("clock", &answer); err != nil {
		return answer, mark, err
	}
	_, err = tx.getMeta("time", &mark)
	return answer, mark, err
}

// markTime writes the house's time down, for the next time the store is opened. If another server has settled the clock
// meanwhile, it sets this server's clock the same way instead.
func (s *Store) markTime(ctx context.Context) error {
	var stale bool
	var answer clockAnswer
	var mark time.Time
	err := s.Update(ctx, func(tx *Tx) (err error) {
		answer, mark, err = tx.clock()
		if err != nil {
			return err
		}
		set := s.clock.set.Load()
		if stale = answer.Settled != set.answer.Settled; stale {
			return nil
		}
		if answer.KeepMark && !set.kept {
			// The wall was set right: the next one that is not believable is a question again.
			err = tx.putMeta("clock", clockAnswer{Settled: answer.Settled})
		}
		if err != nil || !tx.now.After(mark) {
			return err
		}
		return tx.putMeta("time", tx.now)
	})
	if err == nil && stale {
		s.clock.open(mark, answer)
	}
	return err
}

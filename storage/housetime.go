package storage

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// What a store that is opened believes of the wall, from the last time that it has written down.
//
// A wall ahead is a stop, or a wrong clock, and nothing tells which: so the bound lies between the two. Places close for
// a season and test installations lie for months; after half a year somebody is there who can answer a question. A year
// that was typed wrong, a dead clock battery and a receiver that is off by its own era are all past it. A wrong clock
// within it costs the rows that expire within it, and the events of the first half year only where they are kept for
// less.
//
// A wall behind is never a stop. Up to a day is what a clock in local time, taken for UTC, is wrong by: it counts as no
// time passed, and the machine's own correction ends it.
const (
	maxStepAhead = 183 * 24 * time.Hour
	maxStepBack  = 24 * time.Hour
	maxJump      = time.Minute // past it the wall has jumped while the store was open
)

func believable(step time.Duration) bool { return -maxStepBack <= step && step <= maxStepAhead }

// clockAnswer is what operators have settled, under the meta key "clock".
type clockAnswer struct {
	Settled  int  `json:"settled"`             // how often; a server that knows less has an older answer
	KeepMark bool `json:"keep_mark,omitempty"` // a wall that is not believable is wrong, and no question
}

// houseClock is the house's time: a base, moved on by the steady clock. Safe for concurrent use.
type houseClock struct {
	source  Clock
	setting sync.Mutex // held while set is replaced
	set     atomic.Pointer[clockSet]
}

// clockSet is what the clock was last set to, and by what. It never changes.
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

// newHouseClock makes a clock that knows no mark.
func newHouseClock(source Clock) *houseClock {
	c := &houseClock{source: source}
	c.open(time.Time{}, clockAnswer{})
	return c
}

// open sets the clock by the last time written down: to the wall when the step there is believable and forward, else to
// the mark, so that no time has passed.
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

// lookAgain sets a clock whose wall was not believable anew, when the wall has been set right meanwhile. It reports
// whether it did.
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

// settle sets the clock as the operator has settled: to wall, or on from where it is.
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

// ClockState is how the house's time stands to the machine's clock.
type ClockState struct {
	House time.Time     `json:"house"`     // the house's time
	Wall  time.Time     `json:"machine"`   // the machine's clock
	Mark  time.Time     `json:"mark"`      // the last time that was written down before the store was opened; zero: none was
	Step  time.Duration `json:"step_ns"`   // from Mark to the machine's clock when the store was opened
	Jump  time.Duration `json:"jump_ns"`   // by how much the machine's clock has moved since, beside the time that passed
	Open  bool          `json:"unsettled"` // the step is not believable, and nobody has settled which is wrong: nothing is removed by time
	Kept  bool          `json:"kept_mark"` // it is settled that the machine's clock is wrong, and it still is
}

// Jumped reports whether the machine's clock has moved while the store was open. As long as Open or Kept say that it is
// wrong anyway, it may.
func (c ClockState) Jumped() bool {
	return !c.Open && !c.Kept && (c.Jump > maxJump || c.Jump < -maxJump)
}

// ClockState returns how the clock stands.
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

// MayRemove reports whether what is past its time may be removed now. It may not while the clock may be wrong: what is
// removed by a wrong clock cannot be brought back. Whoever removes by time in the background asks first.
func (s *Store) MayRemove() bool {
	state := s.ClockState()
	return !state.Open && !state.Jumped()
}

// Settlement is what an operator says of a clock that may be wrong.
type Settlement string

// The settlements.
const (
	// TrustWall says that the machine's clock is right: the last time written down was wrong, or it was a long stop. The
	// house's time is set to it, and what is past its time by it is over.
	TrustWall Settlement = "trust_wall"
	// KeepMark says that the machine's clock is wrong, and will be set right: the house's time goes on from the last
	// time written down, also over restarts, until the machine's clock is believable.
	KeepMark Settlement = "keep_mark"
)

// ErrClockAgrees reports that there is nothing to settle: the machine's clock and the house's time agree.
var ErrClockAgrees = NewError(Conflict, "the clock needs no settling: the machine's clock and the last time written down agree")

// SettleClock writes down what the operator says of the clock, together with what also writes, and sets the clock so. In
// that transaction Now is the time as settled. Other servers on the same store learn of it when they next write the time
// down, and until then write none.
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

// settled is what the clock is set to by a settlement.
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

// openClock sets the clock by the last time written down; created is when the store was made, which is one too.
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

// tellOfClock says in the log that the machine's clock is not believed.
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

// clock returns what is written down about the clock.
func (tx *Tx) clock() (answer clockAnswer, mark time.Time, err error) {
	if _, err := tx.getMeta("clock", &answer); err != nil {
		return answer, mark, err
	}
	_, err = tx.getMeta("time", &mark)
	return answer, mark, err
}

// markTime writes the house's time down, for the next opening. When another server has settled the clock meanwhile, it
// sets this one so instead.
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

package outbox

import (
	"cmp"
	"context"
	"errors"
	"time"
)

const (
	skipAfter   = 64 // useless pointers of a line, before the scan jumps to the next line
	damagedOnce = 64 // damaged pointers that one look sets aside
)

// seen is the result of a look.
type seen struct {
	wait time.Duration // until something comes due, at most idleInterval
	due  bool          // something is due and not blocked: it was begun, is under way, or waits for room
	err  error
}

// look begins the entries that are due, as far as there is room. It reads a bounded number of pointers of each line.
func (s *Sender) look(ctx context.Context) seen {
	if s.work.Err() != nil {
		return seen{err: errStopped}
	}
	s.mu.Lock()
	s.hungry = false
	first := s.turn
	s.mu.Unlock()
	l := &look{
		s:    s,
		ctx:  ctx,
		now:  s.store.Now(),
		seen: seen{wait: idleInterval},
	}

	// Begin with the destination whose turn it is, and wrap around.
	l.scan(first, "")
	if first != "" && !l.full {
		l.scan("", first)
	}
	s.mu.Lock()
	s.hungry = s.hungry || l.hungry
	s.turn = l.turn
	s.mu.Unlock()
	if l.err == nil {
		l.err = s.setAsidePointers(ctx, l.damaged)
	}
	if l.err != nil && ctx.Err() == nil {
		s.log.Warn("look into the outbox", "err", l.err)
	}
	return l.seen
}

// errStopped reports a sender that was told to stop.
var errStopped = errors.New("the outbox's sender has been stopped")

// look is one pass over the lines.
type look struct {
	seen
	s   *Sender
	ctx context.Context
	now time.Time

	line    string // the destination whose line is being read
	read    int    // pointers of it
	useless bool   // the rest of the line need not be read: not due, or without room
	next    string // where the scan goes on, when it jumps
	full    bool   // nobody may have one more attempt
	hungry  bool   // an entry that is due waits for room
	turn    string // where the next look begins

	damaged []damagedPointer
}

// scan reads the lines from a key to another; an empty to is the end.
func (l *look) scan(from, to string) {
	for first := true; first || l.next != ""; first = false {
		if l.next != "" {
			from = l.next
		}
		l.next = ""
		l.line = "\x00" // no destination's name
		err := pointers.Peek(l.ctx, l.s.store, from, to, false, l.pointer)
		if err != nil {
			l.err = err
			return
		}
	}
}

// pointer handles one pointer. It returns false to end the scan there.
func (l *look) pointer(key string, value []byte) bool {
	destination, due, id, ok := splitKey(key)
	if !ok {
		l.note(key, errKey)
		return true
	}
	// A new line begins.
	if destination != l.line {
		l.line = destination
		l.read = 0
		l.useless = false
	}
	l.read++
	switch wait := due.Sub(l.now); {
	case l.useless:
	case wait > 0:
		l.sooner(wait)
		l.useless = true
	case l.s.has(id):
		l.due = true
	default:
		l.begin(key, value)
	}
	if l.full {
		return false
	}
	if l.useless && l.read >= skipAfter {
		l.next = afterLine(destination)
		return false
	}
	return true
}

// begin starts an attempt for a pointer that is due, if there is room.
func (l *look) begin(key string, value []byte) {
	p, err := parsePointer(key, value)
	if err != nil {
		l.note(key, err)
		return
	}
	v, wait := l.s.begin(p)
	switch v {
	case admitted:
		l.due = true
	case held:
		if wait > 0 { // else a probe is under way, and its end causes the next look
			l.sooner(wait)
		}
		l.useless = true
	case shareUsed:
		l.wantRoom()
	case crowded:
		l.wantRoom()
		l.turn = cmp.Or(l.turn, p.destination)
	case full:
		l.wantRoom()
		l.full = true
		l.turn = p.destination // it has no attempt at all, so it goes before destinations that were only crowded out
	}
}

// wantRoom notes that an entry that is due waits for another attempt to end.
func (l *look) wantRoom() {
	l.due = true
	l.hungry = true
	l.useless = true
}

// sooner shortens the wait.
func (l *look) sooner(wait time.Duration) { l.wait = min(l.wait, wait) }

// note remembers a pointer that cannot be read, up to damagedOnce; the next look finds the rest.
func (l *look) note(key string, why error) {
	if len(l.damaged) < damagedOnce {
		l.damaged = append(l.damaged, damagedPointer{key, why})
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/bolt"
	"tutela/storage/legible"
)

// moment says up to when a store holds data.
type moment struct {
	at       time.Time        // its newest event or, when that is later, the last time that it has written down
	event    string           // id of its newest event; "" when it has none
	identity storage.Identity // zero: a copy of before stores had one
}

func momentOf(ctx context.Context, s *storage.Store) (moment, error) {
	m := moment{at: s.ClockState().Mark, identity: s.Identity()}
	newest, at, err := audit.Newest(ctx, s)
	m.event = newest
	if at.After(m.at) {
		m.at = at
	}
	return m, err
}

// undone is what a restore undoes: what the data in place holds and the copy does not.
type undone struct {
	moment
	events int   // recorded after the newest one of the copy
	unread error // why the data in place cannot be read; then nothing else is known of it
}

// undoneBy looks into the data file in place and returns what a copy that replaces it would undo. It needs no master
// key, and leaves the file's records as they are.
//
// Errors: bolt.ErrInUse; ctx's. Any other error lies in the result, as unread.
func (f dataFlags) undoneBy(ctx context.Context, copied moment) (*undone, error) {
	var u undone
	engine, err := bolt.Open(ctx, f.file(), bolt.Options{Logger: logAt(slog.LevelError)})
	if err == nil {
		u, err = lookAfter(ctx, engine, copied)
		err = errors.Join(err, engine.Close())
	}
	switch {
	case errors.Is(err, bolt.ErrInUse) || ctx.Err() != nil:
		return nil, err
	case err != nil:
		u = undone{unread: err}
	}
	return &u, nil
}

// lookAfter reads what an engine holds beyond a copy that goes up to copied.
func lookAfter(ctx context.Context, engine storage.Engine, copied moment) (u undone, err error) {
	s, err := storage.Open(ctx, engine, storage.Options{Logger: logAt(slog.LevelError)})
	if err != nil {
		return u, err
	}
	if u.moment, err = momentOf(ctx, s); err != nil {
		return u, err
	}
	u.events, err = audit.CountAfter(ctx, s, copied.event)
	return u, err
}

// tellOfCopy prints how old a copy is and what it undoes. u is nil when the copy replaces nothing.
func tellOfCopy(w io.Writer, now time.Time, copied moment, u *undone) {
	say(w, "The copy goes up to %s, %s now.\n", secondsOf(copied.at), distance(copied.at.Sub(now)))
	switch {
	case u == nil:
	case u.unread != nil:
		say(w, "What it undoes is not known: the data file in place cannot be read (%s).\n", legible.Escape(u.unread.Error()))
	case copied.identity.Installation != "" && u.identity.Installation != copied.identity.Installation:
		say(w, "The data file in place is of another installation, %s, and goes up to %s.\n", plain(u.identity.Installation), secondsOf(u.at))
	case u.events == 0 && !u.at.After(copied.at):
		say(w, "It undoes nothing: the data file in place goes up to %s.\n", secondsOf(u.at))
	default:
		say(w, "It undoes what came after that: the data file in place goes up to %s, with %s.\n", secondsOf(u.at), laterEvents(u.events))
	}
}

// laterEvents formats a number of later events for people.
func laterEvents(n int) string {
	switch n {
	case 0:
		return "no later event"
	case 1:
		return "1 later event"
	}
	return fmt.Sprintf("%d later events", n)
}

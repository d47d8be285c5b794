package audit

import (
	"context"
	"fmt"
	"time"

	"tutela/storage"
)

// Mark is how far into the log a reader has seen everything: the id of an event before which none is added any more; "": none yet.
type Mark string

// MarkOf returns the mark of whoever reads the log from now on.
func MarkOf(ctx context.Context, s *storage.Store) (m Mark, err error) {
	to := ""
	at, err := s.Settled(ctx)
	if err == nil && !at.IsZero() {
		to = idAt(at)
	}
	if err == nil {
		err = events.Peek(ctx, s, "", to, true, func(key string, _ []byte) bool {
			m = Mark(key)
			return false
		})
	}
	if err != nil {
		return "", fmt.Errorf("mark the end of the log: %w", err)
	}
	return m, nil
}

// IsMark reports whether text could be a mark. Whoever sends one can choose it.
func IsMark(text string) bool { return text == "" || validID(text) }

// HasNews reports whether an event that the query wants was recorded after the mark. It looks at what is not settled yet too: such an
// event is news until a later mark has passed it. More events than the query's Within are news, whatever they are. The query's Since,
// After and Before are not heeded.
func HasNews(ctx context.Context, s *storage.Store, q Query, m Mark) (news bool, err error) {
	q.After = ""
	q.Before = ""
	q.Oldest = false
	q.Since = time.Time{}
	if m != "" {
		q.Since = timeOf(string(m)).Add(-stampSlack)
	}
	seen := 0
	see := func(e stored) bool {
		if e.key <= string(m) {
			return false
		}
		seen++
		news = q.matches(e.Event) || q.Within > 0 && seen > q.Within
		return !news
	}
	if q.UID.IsZero() {
		err = peekAll(ctx, s, q, see)
	} else {
		err = peekUser(ctx, s, q, see)
	}
	if err != nil {
		return false, fmt.Errorf("look for new events: %w", err)
	}
	return news, nil
}

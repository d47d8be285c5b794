package device

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
)

// A wave means that a push service reports many addresses as gone in a short time. More likely the service, or
// something on the way, is at fault. So beyond a bound its reports retire no address until it has become quiet.
const (
	waveWindow      = 10 * time.Minute
	waveRetirements = 20 // more than this many in the window, and
	waveShare       = 10 // more than one in this many sends
	waveStep        = time.Minute
)

// wave is the row of a service's wave. Its key is the service, as push.Address.Through names it.
type wave struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"` // its end, unless the service goes on
}

var waves = storage.Declare(storage.Spec[wave]{
	Name:    "push_wave",
	Class:   storage.Settings,
	Expires: func(w *wave) time.Time { return w.Until },
})

// mayRetire reports whether an address that the service reports as gone may be retired, or whether there is a wave. It
// is no transaction: when several servers ask at once, a few more addresses are retired.
func (s *Service) mayRetire(ctx context.Context, through string) (bool, error) {
	// While a wave runs nothing is retired. It is extended while the service goes on.
	now := s.store.Now()
	var running *wave
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		running, err = waves.Get(tx, storage.House, through)
		return ignoreMissing(err)
	})
	switch {
	case err != nil:
		return false, err
	case running != nil && (!s.traffic.tooMany(through, now) || running.Until.Sub(now) > waveWindow-waveStep):
		return false, nil
	case running != nil:
		return false, s.beginWave(ctx, through)
	}
	// Compare with what was retired in the window. Count again in the store when the count is too old.
	for {
		may, counted := s.traffic.retire(through, now)
		switch {
		case may:
			return true, nil
		case counted:
			return false, s.beginWave(ctx, through)
		}
		n, err := s.countLosses(ctx, through, now)
		if err != nil {
			return false, err
		}
		s.traffic.setRetired(through, now, n)
	}
}

// countLosses counts the addresses of a service that were retired in the window, by all servers over the store.
func (s *Service) countLosses(ctx context.Context, through string, now time.Time) (n int, err error) {
	err = lossesByTime.Peek(ctx, s.store, lossAt(through, now.Add(-waveWindow)), func(value string, _ storage.UID, _ string) bool {
		if !strings.HasPrefix(value, through+" ") {
			return false
		}
		n++
		return true
	})
	return n, err
}

// beginWave stores that a wave runs, and records an event if it has just begun.
func (s *Service) beginWave(ctx context.Context, through string) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		w, err := waves.Get(tx, storage.House, through)
		if errors.Is(err, storage.ErrNotFound) {
			w = &wave{Since: tx.Now()}
			event := audit.Event{Type: audit.PushWave, Facts: audit.Facts{audit.FactService: audit.Word(through)}}
			err = audit.Record(tx, audit.Actor{}, event, audit.Detail{})
		}
		if err != nil {
			return err
		}
		w.Until = tx.Now().Add(waveWindow)
		return waves.Put(tx, storage.House, through, w)
	})
}

func ignoreMissing(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

// traffic counts what this server has sent to each service in the window. It counts in memory, since a count in the
// store would be one row that every push writes. Retirements are counted in the store. Each of several servers knows
// only its own sends, and one that has just started knows none. So a wave is detected too early at times, but never too
// late. Safe for concurrent use. The zero value is ready.
type traffic struct {
	mu        sync.Mutex
	byService map[string]*minutes
}

// minutes counts sends to one service, by the minute.
type minutes struct {
	at   [waveWindow / waveStep]int64 // which minute the count is for, since 1970
	sent [waveWindow / waveStep]int
	gone [waveWindow / waveStep]int

	retired   int // in the window at countedAt, plus those of this server since
	countedAt time.Time
}

// recount is how long a count of the retirements in the store is used.
const recount = time.Second

// mostServices bounds the services that are counted: each host of Web Push is one.
const mostServices = 1024

// of returns the counts of a service. Its caller holds the lock.
func (t *traffic) of(through string) *minutes {
	if m := t.byService[through]; m != nil {
		return m
	}
	if t.byService == nil {
		t.byService = make(map[string]*minutes)
	}
	if len(t.byService) >= mostServices {
		for name := range t.byService { // forget any other: its wave may then be detected too early
			delete(t.byService, name)
			break
		}
	}
	m := &minutes{}
	t.byService[through] = m
	return m
}

// count counts a message that a service has taken, or for which it has said that the address is gone.
func (t *traffic) count(through string, now time.Time, gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.of(through)
	minute := now.Unix() / int64(waveStep/time.Second)
	i := int(minute % int64(len(m.at)))
	if m.at[i] != minute {
		m.at[i] = minute
		m.sent[i] = 0
		m.gone[i] = 0
	}
	m.sent[i]++
	if gone {
		m.gone[i]++
	}
}

// sums returns how many messages were sent in the window, and how many of them to addresses that are gone.
func (m *minutes) sums(now time.Time) (sent, gone int) {
	minute := now.Unix() / int64(waveStep/time.Second)
	for i, at := range m.at {
		if minute-at < int64(len(m.at)) {
			sent += m.sent[i]
			gone += m.gone[i]
		}
	}
	return sent, gone
}

// tooMany reports whether a service still reports too many addresses as gone.
func (t *traffic) tooMany(through string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	sent, gone := t.of(through).sums(now)
	return gone > waveRetirements && gone*waveShare > sent
}

// retire counts a retirement that is about to be written, and reports whether it may be. When counted is false, the
// count from the store is too old: the caller counts again and asks again.
func (t *traffic) retire(through string, now time.Time) (may, counted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.of(through)
	if !m.isCounted(now) {
		return false, false
	}
	sent, _ := m.sums(now)
	may = m.retired <= waveRetirements || m.retired*waveShare <= sent
	if may {
		m.retired++
	}
	return may, true
}

func (m *minutes) isCounted(now time.Time) bool {
	return !m.countedAt.IsZero() && now.Sub(m.countedAt) < recount
}

// setRetired notes how many were retired in the window, unless another has just done so.
func (t *traffic) setRetired(through string, now time.Time, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.of(through)
	if m.isCounted(now) {
		return
	}
	m.retired = n
	m.countedAt = now
}

package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"tutela/storage"
)

// channel is the NOTIFY channel on which servers name the users whose rows have changed.
const channel = "tutela_wake"

const (
	// mostUIDs is how many users a message names: PostgreSQL takes less than 8 000 bytes.
	mostUIDs = 240

	// lookPause is how often waiting callers look again while the link is down.
	lookPause = 250 * time.Millisecond

	// quietLink is how long the link may be silent before it is tested: when a firewall has dropped a connection,
	// it is just silent.
	quietLink = 20 * time.Second
)

// Wakes carries wakes between the servers over one database, by LISTEN and NOTIFY on connections of its own. Wakes
// inside this process arrive at once. While the link is down, everybody who waits looks again four times a second. It
// is a [storage.Wakes]. Safe for concurrent use.
type Wakes struct {
	storage.Wakes // of this process

	engine *Engine
	log    *slog.Logger
	stop   context.CancelFunc
	done   sync.WaitGroup
	kick   chan struct{} // holds one: pending is not empty

	mu      sync.Mutex
	pending map[storage.UID]bool // users to name to the other servers
	waited  map[storage.UID]int  // how many callers wait for each user
}

// Wakes begins to carry wakes. Close ends it, before the engine is closed.
func (e *Engine) Wakes() *Wakes {
	ctx, stop := context.WithCancel(context.Background())
	w := &Wakes{
		Wakes:   storage.NewWakes(),
		engine:  e,
		log:     e.options.Logger,
		stop:    stop,
		kick:    make(chan struct{}, 1),
		pending: make(map[storage.UID]bool),
		waited:  make(map[storage.UID]int),
	}
	w.done.Go(func() { w.listen(ctx) })
	w.done.Go(func() { w.tell(ctx) })
	return w
}

// Close ends the link.
func (w *Wakes) Close() {
	w.stop()
	w.done.Wait()
}

// Watch begins a watch.
func (w *Wakes) Watch(uid storage.UID) (woken <-chan struct{}, stop func()) {
	woken, stopHere := w.Wakes.Watch(uid)
	w.mu.Lock()
	w.waited[uid]++
	w.mu.Unlock()
	var once sync.Once
	return woken, func() {
		stopHere()
		once.Do(func() { w.forget(uid) })
	}
}

func (w *Wakes) forget(uid storage.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waited[uid]--; w.waited[uid] == 0 {
		delete(w.waited, uid)
	}
}

// Wake wakes everybody who watches uid, here and soon at the other servers.
func (w *Wakes) Wake(uid storage.UID) {
	w.Wakes.Wake(uid)
	w.mu.Lock()
	w.pending[uid] = true
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default: // a tell is due already, and will take this along
	}
}

// wakeAll wakes everybody who waits at this server, since wakes may have been lost.
func (w *Wakes) wakeAll() {
	w.mu.Lock()
	uids := make([]storage.UID, 0, len(w.waited))
	for uid := range w.waited {
		uids = append(uids, uid)
	}
	w.mu.Unlock()
	for _, uid := range uids {
		w.Wakes.Wake(uid)
	}
}

// tell sends all pending users in one round trip. If it fails, they stay pending until it succeeds. Other servers whose
// link is down, too, look by themselves meanwhile; the rest learn of it late rather than never.
func (w *Wakes) tell(ctx context.Context) {
	for attempt := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-w.kick:
		}
		names := w.take()
		if len(names) == 0 {
			continue
		}
		if err := w.notify(ctx, names); err != nil && ctx.Err() == nil {
			w.putBack(names)
			pause(ctx, 8+attempt)
			attempt++
			continue
		}
		attempt = 0
	}
}

// take returns the users that are pending.
func (w *Wakes) take() []storage.UID {
	w.mu.Lock()
	defer w.mu.Unlock()
	uids := make([]storage.UID, 0, len(w.pending))
	for uid := range w.pending {
		uids = append(uids, uid)
	}
	clear(w.pending)
	return uids
}

func (w *Wakes) putBack(uids []storage.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, uid := range uids {
		w.pending[uid] = true
	}
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// notify tells the other servers of users.
func (w *Wakes) notify(ctx context.Context, uids []storage.UID) error {
	bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	batch := new(pgx.Batch)
	for len(uids) > 0 {
		part := uids[:min(len(uids), mostUIDs)]
		uids = uids[len(part):]
		var names strings.Builder
		for _, uid := range part {
			names.WriteString(hex.EncodeToString(uid[:]))
		}
		batch.Queue(`select pg_notify('`+channel+`', $1)`, names.String())
	}
	return w.engine.pool.SendBatch(bounded, batch).Close()
}

// listen receives other servers' messages until ctx ends, and restores the link.
func (w *Wakes) listen(ctx context.Context) {
	for down := false; ctx.Err() == nil; {
		err := w.hear(ctx, func() {
			if down {
				w.log.Info("postgres: the link between the servers stands again")
				down = false
			}
			w.wakeAll() // messages sent while the link was down are lost
		})
		if err != nil && ctx.Err() == nil && !down {
			w.log.Warn("postgres: the link between the servers is down; whoever waits looks again every quarter of a second", "err", err)
			down = true
		}
		w.wakeAll()
		select {
		case <-ctx.Done():
		case <-time.After(lookPause):
		}
	}
}

// hear listens on a connection of its own. It calls stands when the link is up.
func (w *Wakes) hear(ctx context.Context, stands func()) error {
	bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(bounded, w.engine.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := w.engine.fence(bounded, conn); err != nil {
		return err // nobody tells anything there
	}
	if _, err := conn.Exec(bounded, `listen `+channel); err != nil {
		return err
	}
	stands()
	for {
		quiet, cancel := context.WithTimeout(ctx, quietLink)
		heard, err := conn.WaitForNotification(quiet)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			err = conn.Ping(ctx)
		}
		if err != nil {
			return err
		}
		if heard != nil {
			w.wake(heard.Payload)
		}
	}
}

// wake wakes the users that a message names. It ignores anything else, which another program may have sent.
func (w *Wakes) wake(names string) {
	raw, err := hex.DecodeString(names)
	if err != nil {
		return
	}
	for len(raw) >= len(storage.UID{}) {
		w.Wakes.Wake(storage.UID(raw[:len(storage.UID{})]))
		raw = raw[len(storage.UID{}):]
	}
}

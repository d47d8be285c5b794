package storage

import "sync"

// Wakes carries wakes from transactions that commit to watchers. A wake is only a hint to read the store again; it
// carries no data. The default works inside one process. Servers that share a store need a shared implementation:
// otherwise a caller that waits at one server learns of another server's commit only at the end of its wait. Safe for
// concurrent use.
//
// An implementation guarantees:
//
//   - A Wake that begins after a Watch of the same uid has returned reaches that watch, at every server, unless the
//     watch is stopped first. A broken link may lose wakes: when it is restored, every watch is woken.
//   - An extra wake costs one read and does no harm. Several wakes may be merged into one.
//   - Neither method calls the store, and neither waits for a watcher or for another server.
type Wakes interface {
	// Wake wakes everybody who watches uid. The store calls it after the commit, so that those who wake see the
	// commit.
	Wake(uid UID)

	// Watch returns a channel that holds one wake, and a function that ends the watch. It may be called more than
	// once.
	Watch(uid UID) (woken <-chan struct{}, stop func())
}

// NewWakes makes the default implementation: wakes inside this process, between the stores that share it.
func NewWakes() Wakes { return newWatchers() }

// watchers holds the watches of this process, by user.
type watchers struct {
	mu    sync.Mutex
	byUID map[UID]*watcher // the newest of each; no nils
}

// watcher is one watch. The watches of a user form a linked list: nearly every user has one at most, and a map would
// cost each waiting caller 370 bytes (BenchmarkLimits/waits).
type watcher struct {
	woken chan struct{} // holds one wake
	older *watcher      // of the same user
}

func newWatchers() *watchers {
	return &watchers{byUID: make(map[UID]*watcher)}
}

// Watch begins a watch.
func (w *watchers) Watch(uid UID) (<-chan struct{}, func()) {
	this := &watcher{woken: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	this.older = w.byUID[uid]
	w.byUID[uid] = this
	return this.woken, func() { w.forget(uid, this) }
}

// forget removes this from the watches of uid, if it is still there.
func (w *watchers) forget(uid UID, this *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	newest := w.byUID[uid]
	for at := &newest; *at != nil; at = &(*at).older {
		if *at == this {
			*at = this.older
			break
		}
	}
	if newest == nil {
		delete(w.byUID, uid)
	} else {
		w.byUID[uid] = newest
	}
}

// Wake leaves a wake with everybody who watches uid.
func (w *watchers) Wake(uid UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for this := w.byUID[uid]; this != nil; this = this.older {
		select {
		case this.woken <- struct{}{}:
		default: // it has a wake that it has not seen yet: one is enough
		}
	}
}

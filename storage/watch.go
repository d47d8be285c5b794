package storage

import "sync"

// Wakes carries wakes from whoever commits to whoever watches. A wake is a hint to look again, never the news. The
// default serves one process; servers that share a store need one that they share too, or those who wait at one learn
// only when their wait is over what another has committed. Safe for concurrent use.
//
// An implementation guarantees:
//
//   - A Wake that begins after a Watch of the same uid has returned reaches that watch, at every server, unless it is
//     stopped first. A link that breaks in between may have lost some: when it stands again every watch is woken.
//   - A wake too many costs a look and does no harm; so several may become one.
//   - Neither method calls the store, and neither waits for a watcher or for another server.
type Wakes interface {
	// Wake wakes everybody who watches uid. The store calls it after the commit, so that who looks then sees it.
	Wake(uid UID)

	// Watch returns a channel that holds one wake, and the function that ends the watch, which may be called again.
	Watch(uid UID) (woken <-chan struct{}, stop func())
}

// NewWakes makes the default: wakes inside this process, for the stores that are given it.
func NewWakes() Wakes { return newWatchers() }

// watchers are those who wait for something to happen to a user, in this process.
type watchers struct {
	mu    sync.Mutex
	byUID map[UID]*watcher // the newest of each; no nils
}

// watcher is one who waits. A list of them and no map for each user: nearly every user has one at most, and a map takes
// 370 bytes of what each waiting caller costs (BenchmarkLimits/waits).
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

// forget takes this out, once.
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

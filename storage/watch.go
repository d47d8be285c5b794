package storage

import "sync"

// watchers are those who wait for something to happen to a user. A wake is a hint to look again, never the news.
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

func (w *watchers) watch(uid UID) (<-chan struct{}, func()) {
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

func (w *watchers) wake(uid UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for this := w.byUID[uid]; this != nil; this = this.older {
		select {
		case this.woken <- struct{}{}:
		default: // it has a wake that it has not seen yet: one is enough
		}
	}
}

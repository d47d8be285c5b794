package storage

import "sync"

// watchers are those who wait for something to happen to a user. A wake is a hint to look again, never the news.
type watchers struct {
	mu    sync.Mutex
	byUID map[UID]map[chan struct{}]struct{}
}

func newWatchers() *watchers {
	return &watchers{byUID: make(map[UID]map[chan struct{}]struct{})}
}

func (w *watchers) watch(uid UID) (<-chan struct{}, func()) {
	woken := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byUID[uid] == nil {
		w.byUID[uid] = make(map[chan struct{}]struct{}, 1)
	}
	w.byUID[uid][woken] = struct{}{}
	return woken, func() { w.forget(uid, woken) }
}

func (w *watchers) forget(uid UID, woken chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.byUID[uid], woken)
	if len(w.byUID[uid]) == 0 {
		delete(w.byUID, uid)
	}
}

func (w *watchers) wake(uid UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for woken := range w.byUID[uid] {
		select {
		case woken <- struct{}{}:
		default: // it has a wake that it has not seen yet: one is enough
		}
	}
}

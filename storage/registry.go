package storage

import (
	"fmt"
	"sync"
)

// registry holds all declared tables, indexes and logs by name. Purge, sweep and reseal find tables of unknown type in
// it. It also collects wrong declarations, since a package-level variable cannot return an error.
type registry struct {
	mu     sync.RWMutex
	byName map[string]declared
	logs   map[string]bool
	faults []string
}

var tables = registry{byName: make(map[string]declared), logs: make(map[string]bool)}

// declared is a table of any type.
type declared interface {
	class() Class
	most() int
	sealed() bool
	lapsed(tx *Tx, uid UID, key string, r row)
	swept(tx *Tx, uid UID, key string) error
	purged(tx *Tx, uid UID, key string) error
	reseal(tx *Tx, uid UID, key string) error
	dumped(r row) ([]byte, error)
}

func (r *registry) add(name string, t declared) {
	r.mu.Lock()
	_, twice := r.byName[name]
	r.byName[name] = t
	r.mu.Unlock()
	if twice {
		r.fault("table %s is declared twice", name)
	}
}

func (r *registry) addLog(name string) {
	r.mu.Lock()
	twice := r.logs[name]
	r.logs[name] = true
	r.mu.Unlock()
	if twice {
		r.fault("log %s is declared twice", name)
	}
}

func (r *registry) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// check returns an error that lists the wrong declarations.
func (r *registry) check() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.faults) > 0 {
		return fmt.Errorf("wrong declarations: %q", r.faults)
	}
	return nil
}

func (r *registry) named(name string) (declared, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	t, ok := r.byName[name]
	if !ok {
		return nil, fmt.Errorf("the store has rows of a table %q, which this program does not know", name)
	}
	return t, nil
}

// Tables returns the class of every declared table by name.
func Tables() map[string]Class {
	tables.mu.RLock()
	defer tables.mu.RUnlock()
	classes := make(map[string]Class, len(tables.byName))
	for name, t := range tables.byName {
		classes[name] = t.class()
	}
	return classes
}

// Bounds returns, for each declared table of users, how many rows a user has at most.
func Bounds() map[string]int {
	tables.mu.RLock()
	defer tables.mu.RUnlock()
	bounds := make(map[string]int, len(tables.byName))
	for name, t := range tables.byName {
		if t.class() != Settings {
			bounds[name] = t.most()
		}
	}
	return bounds
}

// isName reports whether s can be the name of a table, an index or a log. Names hold lower-case letters, digits and
// underscores, so that the separators in keys stay unambiguous.
func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != ""
}

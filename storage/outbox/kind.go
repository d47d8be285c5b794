package outbox

import (
	"fmt"
	"sync"

	"tutela/storage"
)

// registry holds the names of all declared kinds.
type registry struct {
	mu    sync.Mutex
	names map[string]bool
}

var kinds = registry{names: make(map[string]bool)}

// declare enters a kind, and returns what is wrong with it.
func (r *registry) declare(name string, class storage.Class) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !isKindName(name) {
		return fmt.Errorf("%q is not a valid name for a kind of outbox entry", name)
	}
	if r.names[name] {
		return fmt.Errorf("the kind %s of outbox entry is declared twice", name)
	}
	r.names[name] = true
	switch class {
	case storage.MFA, storage.Account, storage.Evidence:
		return nil
	default:
		return fmt.Errorf("the kind %s of outbox entry has no class of user's rows, but %q", name, class)
	}
}

// isKindName reports whether a name consists of lower-case letters, digits and underscores, and begins with a letter.
// So it sorts after the keys of version 0.1, which begin with a digit, and the slash of a destination cannot be part of
// it.
func isKindName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z'
		inside := c >= '0' && c <= '9' || c == '_'
		if !letter && (i == 0 || !inside) {
			return false
		}
	}
	return name != "" && len(name) <= maxKindBytes
}

// maxKindBytes bounds the name of a kind.
const maxKindBytes = 32

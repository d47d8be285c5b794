// Package setting keeps what an operator can set: each setting is declared by the package that it rules, with its
// default and its bounds, and read inside a transaction.
package setting

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"tutela/storage"
)

type value struct {
	Value string `json:"value"`
}

var table = storage.Declare(storage.Spec[value]{Name: "setting", Class: storage.Settings})

// Errors of this package.
var (
	ErrUnknown = storage.NewError(storage.NotFound, "no such policy")
	ErrValue   = storage.NewError(storage.Invalid, "the policy does not take this value")
)

// Setting is one declared setting of type T. Safe for concurrent use.
type Setting[T any] struct {
	name     string
	fallback T
	parse    func(string) (T, error)
}

// Info describes a setting to people.
type Info struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Accepts string `json:"accepts"` // what it takes, in words
	About   string `json:"about"`   // what it rules, one sentence
}

// Shape says what a setting takes. The zero value is any text that the setting finds good.
type Shape struct {
	Words     []string // one of these
	Low, High string   // a number or a span of time from one to the other
}

type entry struct {
	Info
	shape Shape
	check func(string) error
	guard func(tx *storage.Tx, to string) error // nil: none
}

var declared = struct {
	sync.RWMutex
	byName map[string]entry
	faults []string
}{byName: make(map[string]entry)}

func declare[T any](info Info, shape Shape, parse func(string) (T, error)) *Setting[T] {
	declared.Lock()
	defer declared.Unlock()
	_, twice := declared.byName[info.Name]
	fallback, err := parse(info.Default)
	if twice || err != nil {
		declared.faults = append(declared.faults, info.Name)
	}
	declared.byName[info.Name] = entry{Info: info, shape: shape, check: func(s string) error {
		_, err := parse(s)
		return err
	}}
	return &Setting[T]{name: info.Name, fallback: fallback, parse: parse}
}

// Check returns what is wrong with the declarations: a name that is declared twice, a default out of bounds. A test
// that imports all of the program asks it.
func Check() error {
	declared.RLock()
	defer declared.RUnlock()
	if len(declared.faults) > 0 {
		return fmt.Errorf("wrong declarations of %q", declared.faults)
	}
	return nil
}

// OneOf declares a setting that is one of a few words; the first is the default.
func OneOf(name, about string, words ...string) *Setting[string] {
	accepts := strings.Join(words, ", ")
	return declare(Info{
		Name:    name,
		Default: words[0],
		Accepts: accepts,
		About:   about,
	}, Shape{Words: words}, func(s string) (string, error) {
		for _, word := range words {
			if s == word {
				return s, nil
			}
		}
		return "", ErrValue.With("%s is one of %s, not %q", name, accepts, s)
	})
}

// Int declares a whole number from low to high.
func Int(name, about string, fallback, low, high int) *Setting[int] {
	accepts := fmt.Sprintf("%d to %d", low, high)
	return declare(Info{
		Name:    name,
		Default: strconv.Itoa(fallback),
		Accepts: accepts,
		About:   about,
	}, Shape{Low: strconv.Itoa(low), High: strconv.Itoa(high)}, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return 0, ErrValue.With("%s is a whole number from %s, not %q", name, accepts, s)
		}
		return n, nil
	})
}

// Duration declares a span of time from low to high, written as Go does ("90s", "10m") or in days ("30d").
func Duration(name, about string, fallback, low, high time.Duration) *Setting[time.Duration] {
	accepts := fmt.Sprintf("%s to %s", short(low), short(high))
	such := "90s or 10m"
	if low >= day {
		such = "36h or 30d"
	}
	return declare(Info{
		Name:    name,
		Default: short(fallback),
		Accepts: accepts,
		About:   about,
	}, Shape{Low: short(low), High: short(high)}, func(s string) (time.Duration, error) {
		d, err := ParseSpan(s)
		if err != nil || d < low || d > high {
			return 0, ErrValue.With("%s is a time from %s, such as %s, not %q", name, accepts, such, s)
		}
		return d, nil
	})
}

// Text declares a text that check accepts and completes. Empty is the default. accepts says in words what it takes.
func Text(name, about, accepts string, check func(string) (string, error)) *Setting[string] {
	return declare(Info{
		Name:    name,
		Accepts: accepts,
		About:   about,
	}, Shape{}, func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		t, err := check(s)
		if err != nil {
			return "", ErrValue.With("%s is %s, or empty: %v", name, accepts, err)
		}
		return t, nil
	})
}

// Guard sets a check that may refuse a change of the setting. It runs in the transaction of the change, unless the
// change is forced. Call Guard where the setting is declared.
func (s *Setting[T]) Guard(check func(tx *storage.Tx, from, to T) error) *Setting[T] {
	declared.Lock()
	defer declared.Unlock()
	e := declared.byName[s.name]
	e.guard = func(tx *storage.Tx, to string) error {
		value, err := s.parse(to)
		if err != nil {
			return err
		}
		now, err := s.Get(tx)
		if err != nil {
			return err
		}
		return check(tx, now, value)
	}
	declared.byName[s.name] = e
	return s
}

const day = 24 * time.Hour

// ParseSpan reads a span of time as time.ParseDuration does, or a whole number of days: "30d".
func ParseSpan(s string) (time.Duration, error) {
	digits, inDays := strings.CutSuffix(s, "d")
	if !inDays {
		return time.ParseDuration(s)
	}
	days, err := strconv.ParseUint(digits, 10, 16) // 16 bits of days do not overflow a Duration
	return time.Duration(days) * day, err
}

// short writes a duration without its zero parts, and whole days as days: 10m, not 10m0s; 400d, not 9600h.
func short(d time.Duration) string {
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Name returns the name by which the setting is set.
func (s *Setting[T]) Name() string { return s.name }

// Get returns the setting's value, or its default when it was never set. It also returns the default when the stored
// value is not valid any more, because an earlier version had other bounds.
func (s *Setting[T]) Get(tx *storage.Tx) (T, error) {
	stored, err := table.Get(tx, storage.House, s.name)
	if storage.CodeOf(err) == storage.NotFound {
		return s.fallback, nil
	}
	if err != nil {
		return s.fallback, err
	}
	if value, err := s.parse(stored.Value); err == nil {
		return value, nil
	}
	return s.fallback, nil
}

// ShapeOf returns what a setting takes; the zero value for an unknown name.
func ShapeOf(name string) Shape {
	declared.RLock()
	defer declared.RUnlock()
	return declared.byName[name].shape
}

// List returns all settings by name.
func List(tx *storage.Tx) ([]Info, error) {
	declared.RLock()
	defer declared.RUnlock()
	infos := make([]Info, 0, len(declared.byName))
	for name := range declared.byName {
		info, err := get(tx, name)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	sort.Slice(infos, func(i, j int) bool { return infos[i].Name < infos[j].Name })
	return infos, nil
}

// Get returns one setting by name, or ErrUnknown.
func Get(tx *storage.Tx, name string) (Info, error) {
	declared.RLock()
	defer declared.RUnlock()
	return get(tx, name)
}

func get(tx *storage.Tx, name string) (Info, error) {
	e, ok := declared.byName[name]
	if !ok {
		return Info{}, ErrUnknown.With("there is no policy %q", name)
	}
	info := e.Info
	info.Value = info.Default
	stored, err := table.Get(tx, storage.House, name)
	if storage.CodeOf(err) == storage.NotFound {
		return info, nil
	}
	if err == nil && e.check(stored.Value) == nil {
		info.Value = stored.Value
	}
	return info, err
}

// Set sets a setting by name.
//
// Errors: ErrUnknown; ErrValue; those of its guard.
func Set(tx *storage.Tx, name, to string) error { return set(tx, name, to, false) }

// Force is Set without the guard.
//
// Errors: ErrUnknown; ErrValue.
func Force(tx *storage.Tx, name, to string) error { return set(tx, name, to, true) }

func set(tx *storage.Tx, name, to string, forced bool) error {
	declared.RLock()
	e, ok := declared.byName[name]
	declared.RUnlock()
	if !ok {
		return ErrUnknown.With("there is no policy %q", name)
	}
	if err := e.check(to); err != nil {
		return err
	}
	if e.guard != nil && !forced {
		if err := e.guard(tx, to); err != nil {
			return err
		}
	}
	return table.Put(tx, storage.House, name, &value{Value: to})
}

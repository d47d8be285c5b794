package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	json "github.com/go-json-experiment/json/v1"
)

// schemaVersion is the version of the layout that this program writes. A change of the layout adds a migration and
// raises it.
const schemaVersion = 2

// migration brings a store from version to-1 to version to.
type migration struct {
	to  int
	run func(*Tx) error
}

// migrations has one step to each version but the first.
var migrations = []migration{
	// Version 2 only keeps earlier programs out: they would read the new shape of some records as empty, and write
	// it back so. This program reads both shapes (Spec.Upgrade), so there is nothing to rewrite.
	{to: 2, run: func(*Tx) error { return nil }},
}

// schemaName is the meta key of the schema.
const schemaName = "schema"

// schema is stored under the meta key "schema".
type schema struct {
	Product string    `json:"product"`
	Version int       `json:"version"`
	Created time.Time `json:"created"`
}

const product = "tutela"

// prepare checks the schema, initialises or migrates the store, sets the clock, and reads the shards and the identity.
func (s *Store) prepare(ctx context.Context, o Options) error {
	if err := tables.check(); err != nil {
		return err
	}
	// Read the schema; an empty store becomes one of ours.
	s.clock = newHouseClock(o.Clock)
	found, err := s.readSchema(ctx)
	if err == nil && found.Version == 0 {
		if err = s.initialise(ctx, o.schema); err == nil {
			found, err = s.readSchema(ctx)
		}
	}
	if err != nil {
		return err
	}
	if found.Version > o.schema {
		return ErrForeign.With("the data was written by a newer tutela (schema %d; this one knows up to %d): use that version",
			found.Version, o.schema)
	}
	// The clock comes before the migrations, which write rows by it.
	if err := s.openClock(ctx, found.Created); err != nil {
		return err
	}
	for version := found.Version + 1; version <= o.schema; version++ {
		if err := s.migrate(ctx, o.migrations, version); err != nil {
			return fmt.Errorf("bring the data to schema %d: %w", version, err)
		}
	}
	if err := s.spread(ctx); err != nil {
		return err
	}
	return s.identify(ctx)
}

// initialise writes the schema into an empty store, unless another server has done so meanwhile.
func (s *Store) initialise(ctx context.Context, version int) error {
	return s.Update(ctx, func(tx *Tx) error {
		if has, err := tx.getMeta(schemaName, new(schema)); err != nil || has {
			return err
		}
		return tx.putMeta(schemaName, schema{Product: product, Version: version, Created: tx.now})
	})
}

// readSchema reads the schema: version 0 for an empty store.
func (s *Store) readSchema(ctx context.Context) (found schema, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		half, err := tx.getMeta(moveName, new(moveMark))
		if err != nil || half {
			return errOr(err, ErrHalfMoved)
		}
		has, err := tx.getMeta(schemaName, &found)
		if err != nil {
			return err
		}
		if !has {
			return tx.mustBeEmpty()
		}
		if found.Product != product || found.Version < 1 {
			return ErrForeign
		}
		return nil
	})
	return found, err
}

func (tx *Tx) mustBeEmpty() error {
	empty := true
	err := tx.scan(Range{}, func(_, _ []byte) bool {
		empty = false
		return false
	})
	if err == nil && !empty {
		return ErrForeign
	}
	return err
}

// migrate runs the step to a version, unless another server has run it meanwhile.
func (s *Store) migrate(ctx context.Context, steps []migration, version int) error {
	i := slices.IndexFunc(steps, func(m migration) bool { return m.to == version })
	if i < 0 {
		return errors.New("this program has no step to it")
	}
	return s.Update(ctx, func(tx *Tx) error {
		var at schema
		if _, err := tx.getMeta(schemaName, &at); err != nil || at.Version != version-1 {
			return err
		}
		at.Version = version
		return errors.Join(steps[i].run(tx), tx.putMeta(schemaName, at))
	})
}

func (tx *Tx) getMeta(name string, into any) (bool, error) {
	value, err := tx.get(metaKey(name))
	if err != nil || value == nil {
		return false, err
	}
	if err := json.Unmarshal(value, into); err != nil {
		return false, ErrForeign
	}
	return true, nil
}

func (tx *Tx) putMeta(name string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return tx.put(metaKey(name), b)
}

package storagetest

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"tutela/storage"
)

// seedVariable names the environment's variable that makes [Chaos] draw as it did in an earlier run.
const seedVariable = "TUTELA_CHAOS_SEED"

// Chaos wraps an engine so that closures with side effects fail their tests: it runs the closure of an Update one to
// three times. The earlier runs' results are thrown away, as by an engine that has to try again; some of them see an
// older state than the last. As any engine, it runs no closure whose context has ended. It watches what transactions do
// ([Watch]).
//
// What it draws depends on a seed, which a failed test prints, and on the order in which transactions come.
func Chaos(t testing.TB, engine storage.Engine) *ChaosEngine {
	seed, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("chaos engine: run again with %s=%d", seedVariable, seed)
		}
	})
	return &ChaosEngine{Engine: Watch(t, engine), draw: rand.New(rand.NewPCG(seed, 0))}
}

// ChaosEngine is what [Chaos] makes. The engine inside is for what only some engines offer.
type ChaosEngine struct {
	storage.Engine

	mu     sync.Mutex
	draw   *rand.Rand
	refuse int
}

// Refusing makes one Update in n, on average, return context.Canceled without running its closure, as when the
// caller went away before the engine came to it; 0: none.
func (c *ChaosEngine) Refusing(n int) *ChaosEngine {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = n
	return c
}

// plan is what becomes of one Update.
type plan struct {
	refused bool
	before  bool // a run on the state before the transaction
	within  bool // a run inside of the transaction
}

func (c *ChaosEngine) plan() plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	return plan{
		refused: c.refuse > 0 && c.draw.IntN(c.refuse) == 0,
		before:  c.draw.IntN(2) == 0,
		within:  c.draw.IntN(2) == 0,
	}
}

// Update runs fn up to three times; the last run counts.
func (c *ChaosEngine) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	p := c.plan()
	if p.refused {
		return context.Canceled
	}
	if p.before {
		// Its error, too, is thrown away; when the engine itself fails, the Update below says so.
		_ = c.Engine.View(ctx, func(r storage.Reader) error {
			_, err := fn(r)
			return err
		})
	}
	return c.Engine.Update(ctx, func(r storage.Reader) (*storage.WriteSet, error) {
		if p.within {
			_, _ = fn(r)
		}
		return fn(r)
	})
}

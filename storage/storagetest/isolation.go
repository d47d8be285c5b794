package storagetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"tutela/storage"
)

func testCounters(t *testing.T, e storage.Engine) {
	const (
		callers = 256
		each    = 4
	)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for range each {
				must(t, update(t.Context(), e, func(r storage.Reader, ws *storage.WriteSet) error {
					if err := addOne(r, ws, "all"); err != nil {
						return err
					}
					return addOne(r, ws, fmt.Sprintf("of %d", i%8))
				}))
			}
		})
	}
	all.Wait()
	equal(t, "the counter of all", count(t, e, "all"), callers*each)
	for i := range 8 {
		equal(t, "a counter of one in eight", count(t, e, fmt.Sprintf("of %d", i)), callers*each/8)
	}
}

// testWriteSkew has transactions that read two rows and write one of them: under snapshot isolation both of a pair
// would go off duty.
func testWriteSkew(t *testing.T, e storage.Engine) {
	for round := range 20 {
		a := fmt.Sprintf("%d/a", round)
		b := fmt.Sprintf("%d/b", round)
		must(t, write(t, e, a, "on", b, "on"))
		var all sync.WaitGroup
		for _, mine := range []string{a, b} {
			all.Go(func() {
				must(t, update(t.Context(), e, func(r storage.Reader, ws *storage.WriteSet) error {
					on, err := scan(r, storage.Prefix(fmt.Appendf(nil, "%d/", round)))
					if err == nil && on[0].value == "on" && on[1].value == "on" {
						ws.Put([]byte(mine), []byte("off"))
					}
					return err
				}))
			})
		}
		all.Wait()
		if read(t, e, a) == read(t, e, b) {
			t.Fatalf("round %d: both are %s", round, read(t, e, a))
		}
	}
}

// testPhantoms has transactions that count a range and insert into it if it is short.
func testPhantoms(t *testing.T, e storage.Engine) {
	const most = 5
	for round := range 10 {
		prefix := fmt.Appendf(nil, "%d/", round)
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				must(t, update(t.Context(), e, func(r storage.Reader, ws *storage.WriteSet) error {
					there, err := scan(r, storage.Prefix(prefix))
					if err == nil && len(there) < most {
						ws.Put(fmt.Appendf(prefix[:len(prefix):len(prefix)], "%d", i), nil)
					}
					return err
				}))
			})
		}
		all.Wait()
		equal(t, "rows of a range that holds at most five", len(content(t, e)), (round+1)*most)
	}
}

func testOnlyOne(t *testing.T, e storage.Engine) {
	must(t, write(t, e, "ticket", "whole"))
	var all sync.WaitGroup
	var spent atomic.Int32
	for range 64 {
		all.Go(func() {
			err := update(t.Context(), e, func(r storage.Reader, ws *storage.WriteSet) error {
				value, err := get(r, "ticket")
				if err == nil && value != "whole" {
					return errRefused
				}
				ws.Put([]byte("ticket"), []byte("spent"))
				return err
			})
			if err == nil {
				spent.Add(1)
			} else if !errors.Is(err, errRefused) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	equal(t, "callers that spent the ticket", spent.Load(), 1)
}

// register is an operation of Linearizable: set, read, or both in one transaction.
type register struct {
	key   string
	set   bool
	read  bool
	value string // to set
	was   string // that was read
}

func testLinearizable(t *testing.T, e storage.Engine) { Linearizable(t, 60, e) }

// Linearizable has eight clients set and read registers, each many times, and checks that the history is one that a single
// register could have had. The engines are over one store: the clients are spread over them.
func Linearizable(t *testing.T, each int, engines ...storage.Engine) {
	t.Helper()
	const clients = 8
	prefix := rand.Uint64() // what an earlier history has left is not seen
	histories := make([][]porcupine.Operation, clients)
	begun := time.Now()
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			draw := rand.New(rand.NewPCG(rand.Uint64(), uint64(client)))
			for n := range each {
				op := register{key: fmt.Sprintf("%x/%d", prefix, draw.IntN(3)), value: fmt.Sprintf("%d.%d", client, n)}
				kind := draw.IntN(3)
				op.set = kind < 2
				op.read = kind > 0
				call := time.Since(begun)
				must(t, operate(t.Context(), engines[client%len(engines)], &op, draw.IntN(2) == 0))
				histories[client] = append(histories[client], porcupine.Operation{
					ClientId: client,
					Input:    op,
					Output:   op,
					Call:     int64(call),
					Return:   int64(time.Since(begun)),
				})
			}
		})
	}
	all.Wait()
	var history []porcupine.Operation
	for _, h := range histories {
		history = append(history, h...)
	}
	if result := porcupine.CheckOperationsTimeout(registers, history, 30*time.Second); result == porcupine.Illegal {
		t.Error("the history is not linearizable")
	} else if result == porcupine.Unknown {
		t.Error("the history could not be checked in time")
	}
}

// operate sets, or reads in a View or in an Update.
func operate(ctx context.Context, e storage.Engine, op *register, view bool) error {
	look := func(r storage.Reader) (err error) {
		op.was, err = get(r, op.key)
		return err
	}
	if op.set {
		return update(ctx, e, func(r storage.Reader, ws *storage.WriteSet) error {
			ws.Put([]byte(op.key), []byte(op.value))
			if op.read {
				return look(r)
			}
			return nil
		})
	}
	if view {
		return e.View(ctx, look)
	}
	return update(ctx, e, func(r storage.Reader, _ *storage.WriteSet) error { return look(r) })
}

// registers is the model of Linearizable: each register by itself holds what was set last.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(register).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return missing },
	Step: func(state, _, output any) (bool, any) {
		op := output.(register)
		if op.read && op.was != state.(string) {
			return false, state
		}
		if op.set {
			return true, op.value
		}
		return true, state
	},
}

func testEndedContext(t *testing.T, e storage.Engine) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	err := update(ctx, e, func(storage.Reader, *storage.WriteSet) error {
		ran = true
		return nil
	})
	if !errors.Is(err, context.Canceled) || ran {
		t.Errorf("Update with an ended context: %v, ran: %t", err, ran)
	}
	err = e.View(ctx, func(storage.Reader) error {
		ran = true
		return nil
	})
	if !errors.Is(err, context.Canceled) || ran {
		t.Errorf("View with an ended context: %v, ran: %t", err, ran)
	}
	err = e.Peek(ctx, storage.Range{}, func(_, _ []byte) bool {
		ran = true
		return true
	})
	if !errors.Is(err, context.Canceled) || ran {
		t.Errorf("Peek with an ended context: %v, ran: %t", err, ran)
	}
}

// testContextWhileQueued cancels callers that may be queued behind a closure that takes its time.
func testContextWhileQueued(t *testing.T, e storage.Engine) {
	entered := make(chan struct{})
	leave := make(chan struct{})
	var once sync.Once
	var all sync.WaitGroup
	all.Go(func() {
		must(t, update(t.Context(), e, func(storage.Reader, *storage.WriteSet) error {
			once.Do(func() { close(entered) })
			<-leave
			return nil
		}))
	})
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	errs := make([]error, 32)
	var callers sync.WaitGroup
	for i := range errs {
		callers.Go(func() {
			errs[i] = update(ctx, e, func(_ storage.Reader, ws *storage.WriteSet) error {
				ws.Put([]byte{byte(i)}, nil)
				return nil
			})
		})
	}
	cancel()
	all.Go(callers.Wait)
	close(leave)
	all.Wait()
	for i, err := range errs {
		there := read(t, e, string([]byte{byte(i)})) != missing
		if there != (err == nil) {
			t.Errorf("caller %d: written: %t, error: %v", i, there, err)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("caller %d: %v", i, err)
		}
	}
}

func testContextAfterTaken(t *testing.T, e storage.Engine) {
	ctx, cancel := context.WithCancel(t.Context())
	err := update(ctx, e, func(_ storage.Reader, ws *storage.WriteSet) error {
		cancel()
		ws.Put([]byte("a"), []byte("1"))
		return nil
	})
	there := read(t, e, "a") == "1"
	if there != (err == nil) {
		t.Errorf("written: %t, but Update returned %v", there, err)
	}
}

func testViewSeesAcknowledged(t *testing.T, e storage.Engine) {
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			key := fmt.Sprint(i)
			for n := range 20 {
				must(t, write(t, e, key, fmt.Sprint(n)))
				equal(t, "value after its acknowledgement", read(t, e, key), fmt.Sprint(n))
			}
		})
	}
	all.Wait()
}

// testViewStable moves an amount between rows, and looks at the sum, twice in each View.
func testViewStable(t *testing.T, e storage.Engine) {
	const (
		rows  = 10
		views = 50
	)
	must(t, update(t.Context(), e, func(_ storage.Reader, ws *storage.WriteSet) error {
		for i := range rows {
			ws.Put([]byte{'0' + byte(i)}, []byte{100})
		}
		return nil
	}))
	done := make(chan struct{})
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				from := '0' + byte(rand.IntN(rows))
				to := '0' + byte(rand.IntN(rows))
				must(t, update(t.Context(), e, func(r storage.Reader, ws *storage.WriteSet) error {
					return move(r, ws, from, to)
				}))
			}
		})
	}
	for range views {
		must(t, e.View(t.Context(), func(r storage.Reader) error {
			first, err := scan(r, storage.Range{})
			if err != nil {
				return err
			}
			second, err := scan(r, storage.Range{})
			equal(t, "the second scan of a View", second, first)
			sum := 0
			for _, p := range first {
				sum += int(p.value[0])
			}
			equal(t, "the sum", sum, rows*100)
			return err
		}))
	}
	close(done)
	writers.Wait()
}

// move takes one from a row and gives it to another.
func move(r storage.Reader, ws *storage.WriteSet, from, to byte) error {
	a, err := r.Get([]byte{from})
	if err != nil {
		return err
	}
	b, err := r.Get([]byte{to})
	if err != nil || from == to || a[0] == 0 || b[0] == 255 {
		return err
	}
	ws.Put([]byte{from}, []byte{a[0] - 1})
	ws.Put([]byte{to}, []byte{b[0] + 1})
	return nil
}

func testViewError(t *testing.T, e storage.Engine) {
	if err := e.View(t.Context(), func(storage.Reader) error { return errRefused }); !errors.Is(err, errRefused) {
		t.Errorf("error of the closure came back as %v", err)
	}
}

package storagetest

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"tutela/storage"
)

// Watch wraps an engine so that a test fails when a transaction does what only some engines bear:
//
//   - it writes the rows of two users, which may lie on two machines one day;
//   - it writes a key of more than [storage.MaxKeyBytes];
//   - its closure calls the engine again, which waits for a second connection while it holds the first.
//
// What the engine offers beside ([storage.Copier], [storage.Compacter]) it offers still. [Chaos] watches too.
func Watch(t testing.TB, engine storage.Engine) storage.Engine {
	w := &watched{Engine: engine, t: t}
	copier, copies := engine.(storage.Copier)
	compacter, compacts := engine.(storage.Compacter)
	if !copies || !compacts {
		return w
	}
	return struct {
		*watched
		storage.Copier
		storage.Compacter
	}{w, copier, compacter}
}

type watched struct {
	storage.Engine
	t       testing.TB
	running atomic.Int32 // closures of Update that run
}

// Update runs fn as the engine inside does, and looks at what it wrote.
func (w *watched) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	w.wantNotNested("Update")
	return w.Engine.Update(ctx, func(r storage.Reader) (*storage.WriteSet, error) {
		ws, err := w.runClosure(r, fn)
		if err == nil && ws != nil {
			wantOneUser(w.t, ws)
			wantKeysFit(w.t, ws)
		}
		return ws, err
	})
}

// View runs fn as the engine inside does.
func (w *watched) View(ctx context.Context, fn func(storage.Reader) error) error {
	w.wantNotNested("View")
	return w.Engine.View(ctx, fn)
}

// Peek scans as the engine inside does.
func (w *watched) Peek(ctx context.Context, r storage.Range, fn func(key, value []byte) bool) error {
	w.wantNotNested("Peek")
	return w.Engine.Peek(ctx, r, fn)
}

// runClosure runs the closure of an Update. wantNotNested finds it on the stack by its name.
func (w *watched) runClosure(r storage.Reader, fn func(storage.Reader) (*storage.WriteSet, error)) (*storage.WriteSet, error) {
	w.running.Add(1)
	defer w.running.Add(-1)
	return fn(r)
}

// wantNotNested fails the test when the caller is inside of the closure of an Update, and names the caller.
func (w *watched) wantNotNested(call string) {
	if w.running.Load() == 0 {
		return
	}
	var pcs [128]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	var stack []string
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "storagetest.(*watched).runClosure") {
			w.t.Errorf("%s inside of the closure of an Update:\n\t%s", call, strings.Join(stack, "\n\t"))
			return
		}
		stack = append(stack, frame.Function)
		if !more {
			return
		}
	}
}

// wantKeysFit fails the test when a write set has a key that is too long for some engine.
func wantKeysFit(t testing.TB, ws *storage.WriteSet) {
	_ = ws.Each(func(key string, _ []byte) error {
		if len(key) > storage.MaxKeyBytes {
			t.Errorf("a transaction writes a key of %d bytes, which begins with %q", len(key), key[:64])
		}
		return nil
	})
}

// rowPrefixBytes are the space and the owner, with which the key of a row begins. See storage/key.go.
const rowPrefixBytes = 1 + len(storage.UID{})

// wantOneUser fails the test when a write set holds rows of two users. Rows of the house are nobody's.
func wantOneUser(t testing.TB, ws *storage.WriteSet) {
	var owner storage.UID
	_ = ws.Each(func(key string, _ []byte) error {
		const (
			rows     = 'u'
			setAside = 'q'
		)
		if len(key) < rowPrefixBytes || key[0] != rows && key[0] != setAside {
			return nil
		}
		uid := storage.UID([]byte(key[1:rowPrefixBytes]))
		switch {
		case uid.IsZero() || uid == owner:
		case owner.IsZero():
			owner = uid
		default:
			t.Errorf("a transaction writes rows of two users: %.80q", key)
		}
		return nil
	})
}

// Package operator is what the command line calls: over the admin socket when a server runs ([Client]), or in the
// command's own process when none does ([Local]). Both take the same calls: each is declared once, as a [Call].
//
// The operator is known by the user id of the operating system: the kernel says who is at the other end of the socket.
// Whoever may open the socket may do everything, so the folder that it lies in belongs to the operator alone before it
// exists.
package operator

import (
	"context"
	"io"

	"tutela/storage"
)

// Service makes the operator's calls. Each stands in the event log as done by the operator. Safe for concurrent use.
type Service interface {
	// CopyTo writes a consistent copy of the data file, without the master key, and returns its size in bytes.
	CopyTo(ctx context.Context, w io.Writer) (int64, error)

	// perform makes the call of a name: here runs it in this process; over the socket in goes out and out comes back.
	perform(ctx context.Context, name string, in, out any, here func(*Local) error) error
}

// Call is one call of the operator: I goes in, O comes out; both are JSON on the socket.
type Call[I, O any] struct {
	name string
	run  func(*Local, context.Context, I) (O, error)
}

// None goes in or comes out of a call where nothing does.
type None struct{}

// InputError wraps an error of a call that what went in can never do, whatever the store holds: a value that is no role,
// a time out of bounds.
type InputError struct{ Err error }

// Error is what is wrong, in the words of the caller.
func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the domain.
func (e *InputError) Unwrap() error { return e.Err }

// Do makes the call.
//
// Errors: those of the call, which over the socket keep their code and message, in an *InputError when they are Invalid;
// ErrNobodyServes; why the socket fails.
func (c Call[I, O]) Do(ctx context.Context, s Service, in I) (out O, err error) {
	err = s.perform(ctx, c.name, in, &out, func(l *Local) (err error) {
		out, err = c.run(l, ctx, in)
		return err
	})
	if storage.CodeOf(err) == storage.Invalid {
		err = &InputError{err}
	}
	return out, err
}

// calls are all that were declared, for the server.
var calls []mounter

// declare makes a call of a name and what runs it, and has the server answer it.
func declare[I, O any](name string, run func(*Local, context.Context, I) (O, error)) Call[I, O] {
	c := Call[I, O]{name, run}
	calls = append(calls, c)
	return c
}

// hello asks whether a server is there.
var hello = declare("hello", func(*Local, context.Context, None) (None, error) { return None{}, nil })

// Package operator holds the calls of the command line. They go over the admin socket when a server runs ([Client]), and
// run in the command's own process when none does ([Local]). Each call is declared once, as a [Call], and works both ways.
//
// An operator is known by his user id in the operating system: the kernel says who is at the other end of the socket. A user
// who can open the socket may do everything. So its folder belongs to the operator alone before the socket exists.
package operator

import (
	"context"
	"io"

	"tutela/storage"
)

// Service makes the operator's calls. The event log names the operator as the one who acts. Safe for concurrent use.
type Service interface {
	// CopyTo writes a consistent copy of the data file, without the master key, and returns its size in bytes.
	CopyTo(ctx context.Context, w io.Writer) (int64, error)

	// perform makes the call of a name. In this process it runs here; over the socket it sends in and fills out.
	perform(ctx context.Context, name string, in, out any, here func(*Local) error) error
}

// Call is one call of the operator. It takes an I and returns an O; both are JSON on the socket.
type Call[I, O any] struct {
	name string
	run  func(*Local, context.Context, I) (O, error)
}

// None is the input or output of a call that has none.
type None struct{}

// InputError wraps the error of a call whose input is wrong whatever the store holds, such as an unknown role or a time out
// of bounds.
type InputError struct{ Err error }

// Error returns the message of the domain's error.
func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the domain.
func (e *InputError) Unwrap() error { return e.Err }

// Do makes the call.
//
// Errors: those of the call, which over the socket keep their code and message; one with the code storage.Invalid comes in an
// *InputError; ErrNobodyServes; those of the socket.
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

// calls holds every declared call, for the server.
var calls []mounter

// declare makes a call from its name and the function that runs it, and adds it to the calls that the server answers.
func declare[I, O any](name string, run func(*Local, context.Context, I) (O, error)) Call[I, O] {
	c := Call[I, O]{name, run}
	calls = append(calls, c)
	return c
}

// hello asks whether a server is there.
var hello = declare("hello", func(*Local, context.Context, None) (None, error) { return None{}, nil })

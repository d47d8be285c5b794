package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tutela/storage"
)

// The error codes of PostgreSQL that decide how a transaction goes on. Source: PostgreSQL, appendix A.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	uniqueViolation      = "23505"
	duplicateTable       = "42P07"
	duplicateObject      = "42710" // the row type of a table that another is making
	readOnlyTransaction  = "25006"
	tooManyConnections   = "53300"
)

// errOldPrimary reports a former primary: another database server was promoted in its place and has been written to.
var errOldPrimary = errors.New("this database server is behind the one that was promoted in its place")

func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// isConflict reports whether the database rolled a transaction back because of concurrent ones: it may be run again at
// once.
func isConflict(err error) bool {
	code := codeOf(err)
	return code == serializationFailure || code == deadlockDetected
}

// isCollision reports whether another server was making the same table.
func isCollision(err error) bool {
	code := codeOf(err)
	return code == uniqueViolation || code == duplicateTable || code == duplicateObject || isConflict(err)
}

// isLost reports whether the connection cannot be used any more: it broke, the database server is stopping or is no
// longer the primary, or has too many connections. The transaction is not at fault.
func isLost(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err != nil && !errors.Is(err, context.Canceled)
	}
	return strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "57P") || e.Code == readOnlyTransaction || e.Code == tooManyConnections
}

// unavailable turns an error of the database into one of the store. It returns nil and errors of the store unchanged.
func unavailable(err error) error {
	if err == nil || storage.CodeOf(err) != "" {
		return err
	}
	if strings.HasPrefix(codeOf(err), "42") || strings.HasPrefix(codeOf(err), "22") { // our SQL is wrong, or the role may not
		return err
	}
	return &unavailableError{cause: err}
}

// unavailableError is [storage.ErrUnavailable] with what the database said, which is for the log.
type unavailableError struct{ cause error }

func (u *unavailableError) Error() string {
	return storage.ErrUnavailable.Error() + ": " + u.cause.Error()
}
func (u *unavailableError) Unwrap() []error { return []error{storage.ErrUnavailable, u.cause} }

const (
	firstPause   = time.Millisecond
	longestPause = 250 * time.Millisecond
)

// drop gives up a broken connection, so that the pool makes another: to a writable server, where there are several.
func drop(c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// pause waits before another attempt, for a random part of a time that doubles with each attempt, so that transactions
// that collided do not collide again. It returns false when ctx has ended.
func pause(ctx context.Context, attempt int) bool {
	most := min(firstPause<<min(attempt, 10), longestPause)
	timer := time.NewTimer(rand.N(most)) //nolint:gosec // it spreads attempts, and guards nothing
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

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

// The codes of PostgreSQL that decide what becomes of a transaction. Source: PostgreSQL, appendix A.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	uniqueViolation      = "23505"
	duplicateTable       = "42P07"
	duplicateObject      = "42710" // the row type of a table that another is making
	readOnlyTransaction  = "25006"
	tooManyConnections   = "53300"
)

// errOldPrimary is for a server that was a primary once, and is behind another that this server has written to.
var errOldPrimary = errors.New("this database server is behind the one that was promoted in its place")

func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// isConflict reports whether the database has undone a transaction since others were in its way: it may be run again at once.
func isConflict(err error) bool {
	code := codeOf(err)
	return code == serializationFailure || code == deadlockDetected
}

// isCollision reports whether another server was making the same table.
func isCollision(err error) bool {
	code := codeOf(err)
	return code == uniqueViolation || code == duplicateTable || code == duplicateObject || isConflict(err)
}

// isLost reports whether an error says that the connection is of no more use: it broke, the server is stopping or is no
// primary any more, or has no room for another. Nothing is wrong with the transaction.
func isLost(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err != nil && !errors.Is(err, context.Canceled)
	}
	return strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "57P") || e.Code == readOnlyTransaction || e.Code == tooManyConnections
}

// unavailable turns an error of the database into one of the store. What is the store's already, or nil, stays as it is.
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

// drop gives up a connection that is of no more use, so that the pool makes another: to a server that can be written, where
// there are several.
func drop(c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// pause waits before another attempt: anything up to a time that doubles with each, so that those who collided do not
// collide again. It reports whether ctx has not ended.
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

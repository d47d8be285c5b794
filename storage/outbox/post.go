package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"tutela/storage"
)

// Poster posts messages to URLs that strangers chose, through a [Guard]. Safe for concurrent use.
type Poster struct {
	guard  *Guard
	secure *http.Transport // https
	plain  *http.Transport // http, to addresses that are allowed
}

// NewPoster makes a poster. Its caller closes it.
func NewPoster(o GuardOptions) *Poster {
	g := NewGuard(o)
	return &Poster{guard: g, secure: g.Transport(false), plain: g.Transport(true)}
}

// Close closes the idle connections.
func (p *Poster) Close() {
	p.secure.CloseIdleConnections()
	p.plain.CloseIdleConnections()
}

// Why there was no answer, in words that anybody may read.
const (
	PostForbidden   = "forbidden"   // the address is not of the internet, and not allowed
	PostTimeout     = "timeout"     // no answer came in time
	PostUnreachable = "unreachable" // there was no connection, or it does not speak HTTP
)

// Answer is the result of posting a message. Of the receiver's answer it holds only the status and Retry-After.
type Answer struct {
	Status int           // 0: there was none
	Word   string        // why there was none: one of the Post words; "" with an Err that is our own trouble
	After  time.Duration // how long it asks to be left alone
	Err    error         // without an answer: never names the URL
	what   string
}

// maxAnswerBytes is how much of an answer's body is read and thrown away, so that the connection can be used again.
const maxAnswerBytes = 16 << 10

// Post posts a body. It follows no redirect. now is the wall's time, with which a Retry-After is compared.
func (p *Poster) Post(ctx context.Context, url string, header http.Header, body []byte, now time.Time) (a Answer) {
	a.what = p.guard.What
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		a.Err = fmt.Errorf("the %s's url cannot be called", a.what)
		return a
	}
	request.Header = header
	request.Header.Set("User-Agent", "tutela")
	transport := p.plain
	if request.URL.Scheme == "https" {
		transport = p.secure
	}
	answer, err := transport.RoundTrip(request) // which follows no redirect
	if err != nil {
		a.Err = p.guard.Told(err)
		a.Word = postWord(a.Err)
		return a
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswerBytes) // bounded: the body may never end, and the status is enough
	a.Status = answer.StatusCode
	a.After = AskedPause(answer.Header, now)
	return a
}

func postWord(err error) string {
	switch {
	case errors.Is(err, ErrForbidden):
		return PostForbidden
	case errors.Is(err, context.DeadlineExceeded):
		return PostTimeout
	default:
		return PostUnreachable
	}
}

// Taken reports whether the receiver has accepted the message.
func (a Answer) Taken() bool { return a.Status >= 200 && a.Status < 300 }

// Verdict turns the answer into the error for the outbox: nil when the message is done, an error to try this entry
// later, or one of Unreachable to try the whole destination later. before is how many attempts failed before.
func (a Answer) Verdict(before int) error {
	switch {
	case a.Taken():
		return nil
	case a.Status == 0 && a.Word == "": // our own trouble
		return a.Err
	case a.Status == 0:
		return UnreachableSaying(a.Word, a.Err)
	case a.Status < 400, a.Status == http.StatusRequestTimeout, a.Status == http.StatusTooManyRequests, a.Status >= 500:
		err := storage.NewError(storage.Unavailable, fmt.Sprintf("the %s answers %d", a.what, a.Status)).After(a.After)
		return UnreachableSaying(strconv.Itoa(a.Status), err)
	default:
		// The receiver refuses this message. It may accept it later, and may accept others now.
		return storage.NewError(storage.Unavailable, fmt.Sprintf("the %s answers %d", a.what, a.Status)).After(max(a.After, refusedPause(before)))
	}
}

// refusedPause is how long a refused message waits: 10 s, doubled each time up to an hour.
func refusedPause(before int) time.Duration {
	const (
		first   = 10 * time.Second
		longest = time.Hour
	)
	return min(first<<min(before, 10), longest)
}

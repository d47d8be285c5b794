package push

import (
	"fmt"
	"strings"
	"time"

	"tutela/storage"
)

// Verdict is what a push service means when it does not take a message.
type Verdict string

// The verdicts.
const (
	// Gone is a word about this very token: nobody uses it any more. It is the only verdict that retires an address.
	Gone Verdict = "gone"

	// Setup says that the service takes no message from this server as it is set up: wrong or expired credentials, a wrong
	// project or topic. The address is kept.
	Setup Verdict = "setup"

	// Mismatch says that this token does not fit this server's set-up: it is malformed, of another environment, or another
	// sender's. One such answer may be the app's fault; the same for many phones is the server's. The address is kept.
	Mismatch Verdict = "mismatch"

	// Unfit says that the service will never take this message, as one that is too large. Sending it again does not help.
	Unfit Verdict = "unfit"

	// Busy says that the service cannot take the message now, as with 429 and 503.
	Busy Verdict = "busy"
)

// Refusal is the answer of a push service that does not take a message.
type Refusal struct {
	Verdict Verdict
	Status  int           // of HTTP; 0 when there was none
	Reason  string        // the service's own word, such as UNREGISTERED, of at most 64 printable ASCII characters; "" when it gave none
	Since   time.Time     // with Gone: the token is gone at least since then; zero when the service does not say
	After   time.Duration // how long the service asks to be left alone; 0 when it does not say
}

// Errors of delivery. errors.Is finds ErrTokenGone under a Refusal with the verdict Gone.
var (
	ErrTokenGone  = storage.NewError(storage.NotFound, "the push token is gone")
	ErrRefused    = storage.NewError(storage.Unavailable, "the push service does not take the message")
	ErrNotCarried = storage.NewError(storage.Unavailable, "this server has no credentials for the push service")
)

// Error says what the service has answered. It names no token.
func (r *Refusal) Error() string {
	text := fmt.Sprintf("the push service refuses the message (%s)", r.Verdict)
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	if r.Status != 0 {
		text += fmt.Sprintf(", HTTP %d", r.Status)
	}
	return text
}

// Unwrap returns ErrTokenGone or ErrRefused, with the time that the service asks for.
func (r *Refusal) Unwrap() error {
	if r.Verdict == Gone {
		return ErrTokenGone
	}
	return ErrRefused.After(r.After)
}

// Word returns in one word what the service has answered, for events and for anybody to read: its own word, when it is one
// of letters, digits and underscores, else the status, such as http_403. The hosts of Web Push are anybody's, so of them it
// is always the status.
func (r *Refusal) Word(by Service) string {
	strange := func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_'
	}
	if by != WebPush && r.Reason != "" && len(r.Reason) <= maxReasonBytes && !strings.ContainsFunc(r.Reason, strange) {
		return r.Reason
	}
	if r.Status == 0 {
		return ""
	}
	return fmt.Sprintf("http_%d", r.Status)
}

// maxReasonBytes bounds a service's word in logs, events and figures.
const maxReasonBytes = 64

// Reason returns a word of a push service as a Refusal keeps it: what is no printable ASCII becomes a dot, and it is clipped.
func Reason(word string) string {
	clean := make([]byte, 0, maxReasonBytes)
	for _, r := range word {
		if len(clean) == maxReasonBytes {
			break
		}
		if r <= ' ' || r > '~' {
			r = '.'
		}
		clean = append(clean, byte(r))
	}
	return string(clean)
}

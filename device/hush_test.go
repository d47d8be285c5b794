package device_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage/audit"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/ground"
)

// heard is a log that a test reads. Safe for concurrent use.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// TestDeliver_NoLogEventOrDetailHasATokenOfAPhone has a carrier return, for one message after the other, errors with the whole URL
// and refusals that repeat the token. The breaker opens: the log and /readyz say why.
func TestDeliver_NoLogEventOrDetailHasATokenOfAPhone(t *testing.T) {
	h := newHouse(t, ground.Options{})
	failures := map[string]func(to push.Address) error{
		"unreachable": func(to push.Address) error {
			return &url.Error{Op: "Post", URL: "https://push.example.net/3/device/" + to.Token, Err: errors.New("connection reset")}
		},
		"setup": func(to push.Address) error { return &push.Refusal{Verdict: push.Setup, Status: 403, Reason: to.Token} },
		"busy":  func(to push.Address) error { return &push.Refusal{Verdict: push.Busy, Status: 503, Reason: to.Token} },
	}
	for name, fail := range failures {
		h.sent.Fail = fail
		log := &heard{}
		sender, err := outbox.NewSender(h.store, outbox.Options{
			Handlers: []outbox.Handler{recovery.Notice.Handler(h.DeliverNotice)},
			Log:      slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		must(t, err)
		var told strings.Builder
		tokens := map[string]bool{}
		for i := range 6 {
			id := fmt.Sprintf("%s %d", name, i)
			h.enroll(id, id)
			h.notify(id, recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
			must(t, sender.Drain(t.Context()))
			fmt.Fprintf(&told, "%+v\n", h.events(id, audit.SendPushFailure))
		}
		for _, d := range h.sent.Take() {
			tokens[d.To.Token] = true
		}
		trouble := sender.Trouble(t.Context())
		if len(tokens) == 0 || trouble == nil || !strings.Contains(log.String(), "a destination does not answer") {
			t.Fatalf("%s: %d phones, the outbox says %v, the log %s", name, len(tokens), trouble, log)
		}
		fmt.Fprintf(&told, "%v\n%s%+v", trouble, log, h.houseEvents(audit.PushSetup))
		for token := range tokens {
			if len(token) < 4 || strings.Contains(told.String(), token) {
				t.Errorf("%s: %s is in\n%s", name, token, told.String())
			}
		}
	}
}

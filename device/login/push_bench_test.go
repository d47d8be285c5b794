package login_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tutela/device/login"
	"tutela/device/push"
	"tutela/device/push/fcm"
	"tutela/device/push/pushtest"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/outbox"
	"tutela/storage/setting"
)

// pushCallers are the attempts at once: those of the sender for one destination, and of the raw sends beside it.
const pushCallers = 64

// The limits of pushes: of the raw sends a second, and in all.
const (
	minPushShare = 0.8
	minPushes    = 3800
)

// BenchmarkPush measures pushes from a committed outbox row to one that is marked done, to a stand-in of FCM on this machine, and
// beside them in the same run the same messages by the same carrier with nothing around it. The stand-in is in this process, and
// so in both.
//
// Reported: both a second, the one as a part of the other, and the CPU of this process for one of each.
func BenchmarkPush(b *testing.B) {
	stand := pushtest.StartFCM(b)
	carrier, err := fcm.New(fcm.Credentials{JSON: stand.Credentials(), Endpoint: stand.Endpoint()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(carrier.Close)
	counted := &countingCarrier{Carrier: carrier, done: make(chan struct{}), left: int64(b.N)}
	h := openBench(b, push.NewGateway(counted))
	rawSends(b, carrier, 500) // connections and the access token
	queueLogins(b, h, b.N)
	sender, err := outbox.NewSender(h.store, outbox.Options{
		Handlers: []outbox.Handler{h.logins.Handler(), recovery.Notice.Handler(h.devices.DeliverNotice)},
		Log:      slog.New(slog.DiscardHandler),
		Pace:     5 * time.Millisecond, // as the server has it
		Great:    push.Great,
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	used := ownCPU(b)
	b.ResetTimer()
	go sender.Run(ctx)
	<-counted.done
	if err := sender.Drain(ctx); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	n := float64(b.N)
	pushCPU := (ownCPU(b) - used).Seconds() * 1e3 / n
	pushes := n / b.Elapsed().Seconds()
	used = ownCPU(b)
	raw := rawSends(b, carrier, b.N)
	rawCPU := (ownCPU(b) - used).Seconds() * 1e3 / n
	b.ReportMetric(pushes, "pushes/s")
	b.ReportMetric(raw, "raw-sends/s")
	b.ReportMetric(pushes/raw, "of-raw")
	b.ReportMetric(pushCPU, "cpu-ms/push")
	b.ReportMetric(rawCPU, "cpu-ms/raw-send")
	verdict := "within"
	if pushes < minPushShare*raw || pushes < minPushes {
		verdict = "OVER"
	}
	b.Logf("%d pushes: %.0f/s, limits ≥ %d/s and ≥ %.1f × %.0f raw sends/s: %s", b.N, pushes, minPushes, minPushShare, raw, verdict)
}

// countingCarrier says when so many messages were taken.
type countingCarrier struct {
	push.Carrier
	done chan struct{}
	left int64
}

func (c *countingCarrier) Deliver(ctx context.Context, to push.Address, m push.Message) error {
	err := c.Carrier.Deliver(ctx, to, m)
	if err == nil && atomic.AddInt64(&c.left, -1) == 0 {
		close(c.done)
	}
	return err
}

// ownCPU is what this process has used.
func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// rawSends sends n messages by the carrier alone, and returns how many a second.
func rawSends(b *testing.B, carrier push.Carrier, n int) float64 {
	b.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	begun := time.Now()
	for range pushCallers {
		group.Go(func() {
			for next.Add(1) <= int64(n) {
				m := push.Message{
					TransactionToken: "eyJhbGciOiJIUzI1NiIsInR5cCI6InR4dGtuK2p3dCIsImtpZCI6IjEifQ.eyJ0eGlkIjoidHhuXzAxMjM0NTY3ODlhYmNkZWYiLCJleHAiOjE4MDAwMDAwMDB9.c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0",
					Enrollment:       "dev_0123456789abcdef",
					Challenge:        "0123456789abcdef0123456789abcdef0123456789a",
					Started:          "2026-03-01T12:00:00.000Z",
					Server:           benchPublic,
					Source:           &push.Source{},
					NumberMatching:   true,
					Life:             2 * time.Minute,
				}
				if err := carrier.Deliver(context.Background(), push.Address{Service: push.FCM, Token: "raw"}, m); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return float64(n) / time.Since(begun).Seconds()
}

// queueLogins begins n logins whose pushes wait in the outbox.
func queueLogins(b *testing.B, h *benchHouse, n int) {
	b.Helper()
	err := h.store.Update(b.Context(), func(tx *storage.Tx) error { return setting.Set(tx, "push.budget", "100") })
	if err != nil {
		b.Fatal(err)
	}
	users := n/login.PushesPerMinute + 1
	each(b, users, func(i int) error {
		h.enrollAt(b, fmt.Sprintf("user-%d", i), push.Address{Service: push.FCM, Token: fmt.Sprintf("token-%d", i)})
		return nil
	})
	each(b, n, func(i int) error {
		begun, err := h.logins.Begin(b.Context(), login.Request{
			Client: "bank",
			UserID: fmt.Sprintf("user-%d", i%users),
			Scope:  "openid",
			Life:   5 * time.Minute,
		})
		if err == nil && begun.Delivery != login.Push {
			err = fmt.Errorf("delivery is %s", begun.Delivery)
		}
		return err
	})
}

// each does something for 0 to n-1, many at once.
func each(b *testing.B, n int, do func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	for range pushCallers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !b.Failed(); i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

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

// The limits of pushes: of the raw sends a second, and in all; and the CPU by which a login by push may cost more than one
// by pull, of a raw send.
const (
	minPushShare = 0.8
	minPushes    = 3800
	maxMoreCPU   = 1.3
)

// BenchmarkPush measures pushes from a committed outbox row to one that is marked done, to a stand-in of FCM on this machine, and
// beside them in the same run the same messages by the same carrier with nothing around it. The stand-in is in this process, and
// so in both.
//
// Reported: both a second, the one as a part of the other, and the CPU of this process for one of each; and by how much more CPU a
// whole login takes by push than by pull. That is the push and the difference between asking with an entry of the outbox, and asking
// without one and the phone's read of its approvals: the rest of a login is the same. The HTTP request of that read is left out,
// which makes the login by push look dearer than it is.
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
	pullCPU := askByPull(b, h, b.N)
	askCPU := queueLogins(b, h, b.N)
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
	more := askCPU + pushCPU - pullCPU
	b.ReportMetric(more, "cpu-ms-over-pull/login")
	cpuVerdict := "within"
	if more > maxMoreCPU*rawCPU {
		cpuVerdict = "OVER"
	}
	b.Logf("CPU of a whole login by push: that by pull + %.3f ms (asked %.3f + pushed %.3f - asked and pulled %.3f), limit ≤ that by pull + %.1f × %.3f ms of a raw send = %.3f ms: %s",
		more, askCPU, pushCPU, pullCPU, maxMoreCPU, rawCPU, maxMoreCPU*rawCPU, cpuVerdict)
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

// askByPull begins n logins, each of a phone of its own without an address, has each phone read its one approval, and returns the
// CPU of one such login in milliseconds.
func askByPull(b *testing.B, h *benchHouse, n int) float64 {
	b.Helper()
	phones := make([]*benchPhone, n)
	each(b, n, func(i int) error {
		phones[i] = h.enroll(b, fmt.Sprintf("puller-%d", i))
		return nil
	})
	used := ownCPU(b)
	each(b, n, func(i int) error {
		p := phones[i]
		if _, err := h.logins.Begin(b.Context(), asking(p.user)); err != nil {
			return err
		}
		approvals, err := h.logins.Approvals(b.Context(), p.proof, nil, 0)
		if err == nil && len(approvals) != 1 {
			err = fmt.Errorf("the phone has %d approvals", len(approvals))
		}
		return err
	})
	return (ownCPU(b) - used).Seconds() * 1e3 / float64(n)
}

// asking is a login of a user.
func asking(user string) login.Request {
	return login.Request{
		Client: "bank",
		UserID: user,
		Scope:  "openid",
		Life:   5 * time.Minute,
	}
}

// queueLogins begins n logins whose pushes wait in the outbox, and returns the CPU of one in milliseconds.
func queueLogins(b *testing.B, h *benchHouse, n int) float64 {
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
	used := ownCPU(b)
	each(b, n, func(i int) error {
		begun, err := h.logins.Begin(b.Context(), asking(fmt.Sprintf("user-%d", i%users)))
		if err == nil && begun.Delivery != login.Push {
			err = fmt.Errorf("delivery is %s", begun.Delivery)
		}
		return err
	})
	return (ownCPU(b) - used).Seconds() * 1e3 / float64(n)
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

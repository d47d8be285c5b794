package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tutela/device/phone"
	"tutela/server/access"
)

// How many callers wait, and what they may cost.
const (
	waitersOfAKind  = 10_000 // and both kinds at once
	maxWaiterBytes  = 20 << 10
	maxWake         = 50 * time.Millisecond
	wakesOfAKind    = 1000
	wakesAtOnce     = 8
	spareFiles      = 768 // that a process opens beside the sockets of those who wait: a server keeps 512 of them for itself
	sourceOfLogins  = 2   // 127.2.x.y, of many networks, as those who wait are
	sourceOfPhones  = 3
	sourceOfPhones2 = 4 // a socket that was closed keeps its address for a minute
)

// benchWaits measures what a waiting caller costs, from a fresh start of the server: login systems that hold a token
// request, and phones that hold a pull. Each waits for a user of its own.
func (s *limitsBench) benchWaits(b *testing.B) {
	each := min(waitersOfAKind, (openFiles(b)-spareFiles)/2)
	logins := s.beginLogins(b, each)
	phones := s.usedPhones(b, each)
	s.http.CloseIdleConnections() // this process has no more files than the server

	// Login systems first, and phones beside them.
	s.restart(b)
	bare := s.quiet(b)
	systems := s.hold(b, sourceOfLogins, each, func(ctx context.Context, i int) error { return s.collecting(ctx, logins[i]) })
	s.addWaiters("a waiting login system", s.quiet(b), bare, each)
	pulls := s.hold(b, sourceOfPhones, each, func(ctx context.Context, i int) error { return pulling(ctx, phones[i]) })
	s.addWaiters("a waiting caller of both kinds", s.quiet(b), bare, 2*each)
	s.heap(b, "waits")
	s.addWakes(b, "wake of a login system", systems, func(i int) error {
		return logins[i].phone.Approve(b.Context(), logins[i].approval, logins[i].begun.Number)
	})
	s.addWakes(b, "wake of a phone", pulls, func(i int) error {
		_, err := s.ask(b.Context(), phones[i].user)
		return err
	})
	release(systems)
	release(pulls)

	// Phones alone: those that nothing was asked of.
	s.restart(b)
	bare = s.quiet(b)
	idle := phones[wakesOfAKind:]
	pulls = s.hold(b, sourceOfPhones2, len(idle), func(ctx context.Context, i int) error { return pulling(ctx, idle[i]) })
	s.addWaiters("a waiting phone", s.quiet(b), bare, len(idle))
	release(pulls)
}

// openFiles returns how many files the server may have open: as many as this process, which first asks for more.
func openFiles(b *testing.B) int {
	b.Helper()
	const wanted = 2*waitersOfAKind + spareFiles
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	if limit.Max < wanted {
		more := unix.Rlimit{Cur: wanted, Max: wanted}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &more) == nil {
			limit = more
		}
	}
	return int(min(limit.Max, wanted))
}

// pendingLogin is a login that somebody is about to wait for.
type pendingLogin struct {
	begun    begun
	phone    *benchPhone
	approval phone.Approval // of the first wakesOfAKind only
}

// beginLogins begins a login for each of n users.
func (s *limitsBench) beginLogins(b *testing.B, n int) []pendingLogin {
	b.Helper()
	phones := s.enrollMany(b, n)
	logins := make([]pendingLogin, n)
	eachOf(b, n, func(i int) error {
		l := pendingLogin{phone: phones[i]}
		err := s.form(b.Context(), s.bank, "/bc-authorize", &l.begun, "scope", "openid", "login_hint", phones[i].user, "requested_expiry", "300")
		if err == nil && i < wakesOfAKind {
			var pulled []phone.Approval
			if pulled, err = phones[i].Approvals(b.Context(), 0, nil); err == nil && len(pulled) != 1 {
				err = fmt.Errorf("%d approvals", len(pulled))
			}
			if err == nil {
				l.approval = pulled[0]
			}
		}
		logins[i] = l
		return err
	})
	return logins
}

// usedPhones makes phones that have made a call.
func (s *limitsBench) usedPhones(b *testing.B, n int) []*benchPhone {
	b.Helper()
	phones := s.enrollMany(b, n)
	eachOf(b, n, func(i int) error {
		_, err := phones[i].Approvals(b.Context(), 0, nil)
		return err
	})
	return phones
}

// collecting is the token request that a login system holds.
func (s *limitsBench) collecting(ctx context.Context, l pendingLogin) error {
	return s.form(ctx, s.bank, "/oauth/token", nil, "grant_type", access.GrantCIBA, "auth_req_id", l.begun.ID, "wait", "60")
}

// pulling is the pull that a phone holds.
func pulling(ctx context.Context, p *benchPhone) error {
	_, err := p.Approvals(ctx, 60*time.Second, nil)
	return err
}

// waiter is a caller whose answer is held.
type waiter struct {
	conn     net.Conn
	answered chan error // holds one: nil for a 200
	at       time.Time  // of the answer, when answered has one
}

// hold makes n callers wait, a hundred from each network of 127.source.x.0/24: a crowd from one address has a share of the
// connections alone. call makes the request that is held. hold takes the
// request from it, and sends it over a connection that costs this process little.
func (s *limitsBench) hold(b *testing.B, source byte, n int, call func(ctx context.Context, i int) error) []*waiter {
	b.Helper()
	public, err := url.Parse(s.public)
	if err != nil {
		b.Fatal(err)
	}
	waiters := make([]*waiter, n)
	eachOf(b, n, func(i int) error {
		taken := &recording{instead: true}
		if err := call(taken.with(b.Context()), i); err != nil {
			return err
		}
		req, err := taken.requests[0].to(b.Context(), s.public)
		if err != nil {
			return err
		}
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, source, byte(i/100), 1)}}
		conn, err := dialer.DialContext(b.Context(), "tcp", "127.0.0.1:"+public.Port())
		if err != nil {
			return err
		}
		waiters[i] = &waiter{conn: conn, answered: make(chan error, 1)}
		go waiters[i].read(req)
		return req.Write(conn)
	})
	return waiters
}

// read reads the answer.
func (w *waiter) read(req *http.Request) {
	var first [1]byte // until it comes, no buffer is held: there are 20 000 of these
	_, err := io.ReadFull(w.conn, first[:])
	if err == nil {
		err = readAnswer(io.MultiReader(bytes.NewReader(first[:]), w.conn), req)
	}
	w.at = time.Now()
	w.answered <- err
}

func readAnswer(r io.Reader, req *http.Request) error {
	resp, err := http.ReadResponse(bufio.NewReader(r), req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err == nil && (resp.StatusCode != http.StatusOK || len(body) <= len("[]")) {
		err = fmt.Errorf("%s %s", resp.Status, body)
	}
	return err
}

// release ends the waits, from the callers' side and at once.
func release(waiters []*waiter) {
	for _, w := range waiters {
		if tcp, ok := w.conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset: no address stays in use
		}
		_ = w.conn.Close()
	}
}

// addWakes wakes the first wakesOfAKind waiters, each by what it waits for, and adds to the table how long the
// answers took: from sending the call that wakes to having read the waiter's answer.
func (s *limitsBench) addWakes(b *testing.B, what string, waiters []*waiter, wake func(i int) error) {
	b.Helper()
	for i, w := range waiters {
		select {
		case err := <-w.answered:
			b.Fatalf("waiter %d of %d did not wait: %v", i, len(waiters), err)
		default:
		}
	}
	took := make([]time.Duration, min(wakesOfAKind, len(waiters)))
	var next atomic.Int64
	var group sync.WaitGroup
	for range wakesAtOnce {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(took) && !b.Failed(); i = int(next.Add(1)) - 1 {
				began := time.Now()
				if err := errors.Join(wake(i), <-waiters[i].answered); err != nil {
					b.Error(err)
				}
				took[i] = waiters[i].at.Sub(began)
			}
		})
	}
	group.Wait()
	if b.Failed() {
		b.FailNow()
	}
	slices.Sort(took)
	p50 := took[len(took)/2]
	p99 := took[len(took)*99/100]
	s.table.add(row{
		what:     what + ", p99",
		measured: fmt.Sprintf("%.1f ms", p99.Seconds()*1e3),
		limit:    fmt.Sprintf("< %d ms", maxWake.Milliseconds()),
		within:   p99 < maxWake,
		spread:   fmt.Sprintf("p50 %.1f ms", p50.Seconds()*1e3),
	})
}

// addWaiters adds to the table what each of n waiting callers costs in memory.
func (s *limitsBench) addWaiters(what string, held, bare memory, n int) {
	each := float64(held.private-bare.private) / float64(n) / 1024
	s.table.add(row{
		what:     fmt.Sprintf("%s, of %d", what, n),
		measured: fmt.Sprintf("%.1f KiB", each),
		limit:    fmt.Sprintf("≤ %d KiB", maxWaiterBytes>>10),
		within:   each*1024 <= maxWaiterBytes,
		spread:   fmt.Sprintf("%d MiB in all", held.resident>>20),
	})
}

// restart ends the server and starts it anew on the same data.
func (s *limitsBench) restart(b *testing.B) {
	b.Helper()
	s.kill(syscall.SIGTERM)
	s.start(b)
}

// quiet waits until the server is at rest, and returns how much memory it then holds.
func (s *liveServer) quiet(b *testing.B) memory {
	b.Helper()
	const (
		look = 250 * time.Millisecond
		rest = 5 * time.Millisecond // of CPU in that time, at most
	)
	for used := cpuOf(b, s.cmd.Process.Pid); ; {
		<-time.After(look) // a benchmark of another process has no event to wait for
		before := used
		if used = cpuOf(b, s.cmd.Process.Pid); used-before < rest {
			return memoryOf(b, s.cmd.Process.Pid)
		}
	}
}

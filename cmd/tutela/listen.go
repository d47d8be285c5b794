package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// loopbacks are the addresses of this machine that localhost stands for. Programs choose either: a server on one alone
// is away for some of them.
var loopbacks = []string{"127.0.0.1", "::1"}

// portTries is how often a free port is looked for that both loopback addresses have.
const portTries = 20

// The flags that say where to listen.
const (
	listenFlag = "--listen"
	opsFlag    = "--ops-listen"
)

// listen opens the address that a flag has. localhost is both loopback addresses with one port; one that this machine lacks, such as
// ::1 without IPv6, is left out.
//
// Errors: why none, or one of the two, cannot be opened, with the way out.
func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host != "localhost" {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		return l, listenError(flag, address, err)
	}
	for try := 1; ; try++ {
		l, err := listenOnLoopbacks(ctx, port)
		if port != "0" || try == portTries || !errors.Is(err, syscall.EADDRINUSE) {
			return l, listenError(flag, address, err)
		}
	}
}

// listenError says what stands in the way of listening on an address, and the way out; nil of nil.
func listenError(flag, address string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: something else listens there already: see what by ss -ltnp, or choose another port by %s", address, flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on %s: this user may not open that port: choose one from 1024 by %s, or give CAP_NET_BIND_SERVICE", address, flag)
	}
	return fmt.Errorf("listen on %s: %w", address, err)
}

// listenOnLoopbacks listens on a port of both loopback addresses; 0 takes a free one.
func listenOnLoopbacks(ctx context.Context, port string) (net.Listener, error) {
	all := &listeners{accepted: make(chan accepted), closed: make(chan struct{})}
	var lacks error
	for _, host := range loopbacks {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, port))
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
			lacks = err
			continue
		}
		if err != nil {
			return nil, errors.Join(err, all.Close())
		}
		all.each = append(all.each, l)
		_, port, _ = net.SplitHostPort(l.Addr().String())
	}
	if len(all.each) == 0 {
		return nil, lacks
	}
	return all, nil
}

// listeners are several listeners as one.
type listeners struct {
	each     []net.Listener
	accepted chan accepted
	begin    sync.Once
	end      sync.Once
	closed   chan struct{}
}

// accepted is what one of the listeners has returned.
type accepted struct {
	conn net.Conn
	err  error
}

// Accept returns the next connection of any of them. After Close it fails with net.ErrClosed.
func (l *listeners) Accept() (net.Conn, error) {
	l.begin.Do(func() {
		for _, one := range l.each {
			go l.acceptFrom(one)
		}
	})
	select {
	case a := <-l.accepted:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// acceptFrom hands on what one listener accepts, until all are closed. It waits for somebody to take a failure, so that
// one that lasts, such as a lack of descriptors, is not asked for without a pause.
func (l *listeners) acceptFrom(one net.Listener) {
	for {
		conn, err := one.Accept()
		select {
		case l.accepted <- accepted{conn, err}:
		case <-l.closed:
			if err == nil {
				_ = conn.Close()
			}
			return
		}
	}
}

// Addr is the address of the first.
func (l *listeners) Addr() net.Addr { return l.each[0].Addr() }

// Close closes all.
func (l *listeners) Close() (err error) {
	l.end.Do(func() {
		close(l.closed)
		for _, one := range l.each {
			err = errors.Join(err, one.Close())
		}
	})
	return err
}

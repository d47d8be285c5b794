package server_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/server"
)

// from connects from another address of this machine.
func (r *running) dialFrom(address string) net.Conn {
	r.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	c, err := dialer.DialContext(r.t.Context(), "tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// asked asks for a path on a connection, and returns the status of the answer.
func (r *running) asked(c net.Conn, path string) int {
	r.t.Helper()
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return read(r.t, resp).status
}

// ends waits until the server has closed a connection, on which nothing was said.
func (r *running) ends(c net.Conn) {
	r.t.Helper()
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		r.t.Fatalf("an answer to nothing: %v", err)
	}
}

// stays fails the test when a connection is closed. A request on another connection has made sure that it would be by now.
func (r *running) stays(c net.Conn) {
	r.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Errorf("a connection was closed: %v", err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		r.t.Fatal(err)
	}
}

// held serves GET /mfa/held, which answers when release is closed.
func held(entered chan<- struct{}, release <-chan struct{}) func(*server.Server) {
	return func(s *server.Server) {
		s.App().Get("/mfa/held", func(c *fiber.Ctx) error {
			entered <- struct{}{}
			<-release
			return c.SendStatus(http.StatusNoContent)
		})
	}
}

// A bound of 32 is crowded at 16, and gives an address two silent connections and a network four.
func crowdOf32(config server.Config) server.Config {
	config.Limits.Connections = 32
	config.Limits.IdleTime = time.Hour
	return config
}

func TestCrowd_NewcomerTakesThePlaceOfTheOldestSilentConnectionOfItsAddress(t *testing.T) {
	entered := make(chan struct{})
	release := make(chan struct{})
	r := start(t, crowdOf32(server.Config{}), held(entered, release))
	waiting := r.dialFrom("127.0.0.1") // the oldest of all, and not silent
	go func() { _, _ = io.WriteString(waiting, "GET /mfa/held HTTP/1.1\r\nHost: x\r\n\r\n") }()
	<-entered
	var silent []net.Conn
	for range 15 {
		silent = append(silent, r.dialFrom("127.0.0.1"))
	}
	for i := range 20 { // far beyond the bound
		silent = append(silent, r.dialFrom("127.0.0.1"))
		r.ends(silent[i])
	}
	other := r.dialFrom("127.0.9.1")
	if status := r.asked(other, "/healthz"); status != 200 {
		t.Errorf("another address: %d", status)
	}
	r.stays(silent[len(silent)-1])
	if status := r.asked(silent[len(silent)-1], "/healthz"); status != 200 {
		t.Errorf("the newest: %d", status)
	}
	close(release)
	resp, err := http.ReadResponse(bufio.NewReader(waiting), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, resp); got.status != 204 {
		t.Errorf("the held call: %d", got.status)
	}
	if !strings.Contains(r.log.String(), "half of the connections are in use") {
		t.Error("not logged")
	}
}

func TestCrowd_ANetworkHasAShareToo(t *testing.T) {
	r := start(t, crowdOf32(server.Config{}), nil)
	var silent []net.Conn
	for i := range 16 {
		silent = append(silent, r.dialFrom("127.0.0."+string(rune('1'+i%8))))
	}
	for i := range 8 { // of addresses that have one silent connection each at most
		r.dialFrom("127.0.0." + string(rune('1'+i)))
		r.ends(silent[i])
	}
	if status := r.asked(r.dialFrom("127.0.9.1"), "/healthz"); status != 200 {
		t.Errorf("another network: %d", status)
	}
}

func TestCrowd_ADeclaredProxyHasNoShare(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	r := start(t, crowdOf32(server.Config{TrustedProxies: trusted}), nil)
	var silent []net.Conn
	for range 30 {
		silent = append(silent, r.dialFrom("127.0.0.1"))
	}
	if status := r.asked(r.dialFrom("127.0.9.1"), "/healthz"); status != 200 {
		t.Errorf("another address: %d", status)
	}
	for _, c := range silent {
		r.stays(c)
	}
}

func TestCrowd_SilentConnectionsAreClosedSooner(t *testing.T) {
	t.Parallel() // it waits for the five seconds of a silent connection
	r := start(t, crowdOf32(server.Config{}), nil)
	first := r.dialFrom("127.0.0.1")
	before := r.dialFrom("127.0.7.1")
	if status := r.asked(before, "/healthz"); status != 200 {
		t.Errorf("before the crowd: status %d", status)
	}
	within := r.dialFrom("127.0.8.1")
	for range 20 { // past the share: the crowd is there when these have come
		r.dialFrom("127.0.0.1")
	}
	if status := r.asked(within, "/healthz"); status != 200 {
		t.Errorf("in the crowd: status %d", status)
	}
	r.ends(first)  // nothing was ever said on it
	r.ends(before) // their callers were answered, and said nothing since
	r.ends(within)
}

package webpush

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tutela/device/push"
	"tutela/device/push/pushtest"
	"tutela/storage/outbox"
)

// resolver is a name server of the test's own: each question for an IPv4 address is answered by the next of the answers,
// the last one for ever; without any, that there is no such name.
type resolver struct {
	conn  net.PacketConn
	asked atomic.Int32

	mu      sync.Mutex
	answers [][]string
}

func newResolver(t *testing.T, answers ...[]string) *resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &resolver{conn: conn, answers: answers}
	var serving sync.WaitGroup
	serving.Go(r.serve)
	t.Cleanup(func() {
		_ = conn.Close()
		serving.Wait()
	})
	return r
}

func (r *resolver) net() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", r.conn.LocalAddr().String())
	}}
}

func (r *resolver) serve() {
	query := make([]byte, 1500)
	for {
		n, from, err := r.conn.ReadFrom(query)
		if err != nil {
			return
		}
		_, _ = r.conn.WriteTo(r.reply(query[:n]), from)
	}
}

// reply answers one question. Source: RFC 1035 §4.1.
func (r *resolver) reply(query []byte) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	question := query[12 : end+5]
	kind := binary.BigEndian.Uint16(question[len(question)-4:])
	var addresses []string
	known := false
	r.mu.Lock()
	if len(r.answers) > 0 {
		known = true
		if kind == 1 { // A
			r.asked.Add(1)
			addresses = r.answers[0]
			if len(r.answers) > 1 {
				r.answers = r.answers[1:]
			}
		}
	}
	r.mu.Unlock()
	flags := uint16(0x8180)
	if !known {
		flags |= 3 // no such name
	}
	reply := append([]byte{}, query[:2]...)
	for _, field := range []uint16{flags, 1, uint16(len(addresses)), 0, 0} {
		reply = binary.BigEndian.AppendUint16(reply, field)
	}
	reply = append(reply, question...)
	for _, a := range addresses {
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4) // the name of the question, A, IN, to be kept for 0 s, 4 bytes
		reply = append(reply, netip.MustParseAddr(a).AsSlice()...)
	}
	return reply
}

// bystander is a program that trusts whoever reaches it. It counts its visitors.
func bystander(t *testing.T, address string) (url string, visits *atomic.Int32) {
	t.Helper()
	visits = &atomic.Int32{}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	_ = s.Listener.Close()
	s.Listener = l
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			visits.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, visits
}

// at is a browser's address with another host.
func at(t *testing.T, b *pushtest.Browser, host string) push.Address {
	t.Helper()
	moved := *b
	scheme, rest, _ := strings.Cut(b.Endpoint, "://")
	_, path, _ := strings.Cut(rest, "/")
	moved.Endpoint = scheme + "://" + host + "/" + path
	return moved.Address(t)
}

// onSecond is a push service on 127.0.0.2, which stands for one of the internet, with a carrier that may call it and
// nothing else, and resolves names by r.
func onSecond(t *testing.T, r *resolver) (*pushtest.WebPush, *Carrier, string) {
	t.Helper()
	keys := testKeys(t)
	service := pushtest.NewWebPushAt(t, keys.Public(), "127.0.0.2:0")
	o := guarded([]netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")})
	o.Resolver = r.net()
	c := newCarrier(keys, Options{Contact: testContact}, outbox.NewGuard(o), wall)
	t.Cleanup(c.Close)
	_, port, _ := net.SplitHostPort(service.Listener.Addr().String())
	return service, c, port
}

func TestGuard_LooksAtEachAddressOfANameAtEachAttempt(t *testing.T) {
	r := newResolver(t, []string{"127.0.0.2"}, []string{"127.0.0.1"})
	service, c, port := onSecond(t, r)
	service.URL = "http://rebound.test.:" + port
	_, visits := bystander(t, "127.0.0.1:"+port)
	to := service.Subscribe(t).Address(t)

	if err := c.Deliver(t.Context(), to, approval()); err != nil {
		t.Fatalf("to the first address: %v", err)
	}
	c.Close() // a connection that is open is not looked at again
	err := c.Deliver(t.Context(), to, approval())
	if !errors.Is(err, ErrForbidden) || visits.Load() != 0 {
		t.Errorf("the name has moved to this machine: %v, %d visits", err, visits.Load())
	}
	if r.asked.Load() < 2 {
		t.Errorf("the name was resolved %d times", r.asked.Load())
	}
}

func TestGuard_GoesOnToAnAddressThatMayBeCalled(t *testing.T) {
	r := newResolver(t, []string{"127.0.0.1", "127.0.0.2"})
	service, c, port := onSecond(t, r)
	service.URL = "http://two.test.:" + port
	_, visits := bystander(t, "127.0.0.1:"+port)
	if err := c.Deliver(t.Context(), service.Subscribe(t).Address(t), approval()); err != nil {
		t.Error(err)
	}
	if visits.Load() != 0 {
		t.Errorf("%d visits to an address that is refused", visits.Load())
	}
}

func TestGuard_TellsNothingOfTheURLOrOfAnAnswer(t *testing.T) {
	keys := testKeys(t)
	r := newResolver(t)
	service, c, port := onSecond(t, r)
	inner, err := net.Listen("tcp", "127.0.0.2:0") // no HTTP: its first words are a secret
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := inner.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("+OK secret banner\r\n\r\n"))
			_ = conn.Close()
		}
	})
	t.Cleanup(func() {
		_ = inner.Close()
		serving.Wait()
	})
	closedPort, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closedPort.Close()
	tls := pushtest.NewWebPushTLS(t, keys.Public()) // its certificate is nobody's
	b := service.Subscribe(t)
	secure := *b
	secure.Endpoint = strings.Replace(b.Endpoint, "http://", "https://", 1)
	onTLS := tls.Subscribe(t)
	for name, c2 := range map[string]struct {
		to   push.Address
		says string
	}{
		"no such name":   {at(t, b, "nowhere.test.:"+port), "is not found"},
		"refused":        {at(t, b, "127.0.0.1:"+port), "--push-allow 127.0.0.1/32"},
		"nobody there":   {at(t, b, closedPort.Addr().String()), "refuses the connection"},
		"no HTTP":        {at(t, b, inner.Addr().String()), "does not speak HTTP"},
		"no TLS":         {at(t, &secure, inner.Addr().String()), "does not speak HTTP"},
		"https at home":  {at(t, &secure, "127.0.0.1:"+port), "is loopback"},
		"a foreign cert": {onTLS.Address(t), "certificate that does not hold"},
	} {
		carrier := c
		if name == "a foreign cert" {
			carrier = New(keys, Options{Contact: testContact, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
		}
		err := carrier.Deliver(t.Context(), c2.to, approval())
		if err == nil || !strings.Contains(err.Error(), c2.says) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, secret := range []string{"push/", "secret", "nowhere", "rebound"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error holds %q: %v", name, secret, err)
			}
		}
	}
}

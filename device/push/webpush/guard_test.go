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
)

func none() ([]netip.Addr, error) { return nil, nil }

func TestGuard_ConnectsToTheInternetAlone(t *testing.T) {
	g := &guard{own: none}
	for _, open := range []string{
		"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1", "169.253.255.255",
		"172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "2a00:1450::5", "3ffe::1", "3fff:1000::1",
	} {
		if err := g.check(netip.MustParseAddr(open), false); err != nil {
			t.Errorf("%s is refused: %v", open, err)
		}
	}
	for what, list := range map[string][]string{
		"loopback":        {"127.0.0.1", "127.255.255.254", "::1"},
		"unspecified":     {"0.0.0.0", "0.1.2.3", "::"},
		"private":         {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"},
		"unique local":    {"fc00::1", "fd12:3456::1"},
		"link-local":      {"169.254.169.254", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1"},
		"a carrier's NAT": {"100.64.0.1", "100.127.255.255"},
		"multicast":       {"224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"},
		"broadcast":       {"255.255.255.255", "240.0.0.1"},
		"documentation":   {"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"},
		"special":         {"192.0.0.170", "198.18.0.1", "198.19.255.255", "192.88.99.1", "100::1", "5f00::1", "4000::1"},
		"IPv4-mapped":     {"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:1.1.1.1"},
		"IPv4-compatible": {"::127.0.0.1", "::1.1.1.1"},
		"6to4":            {"2002:7f00:1::1", "2002:a00:1::", "2002:101:101::1"},
		"Teredo":          {"2001::1", "2001:0:7f00:1::"},
		"ORCHID":          {"2001:10::1", "2001:20::1"},
		"NAT64":           {"64:ff9b::127.0.0.1", "64:ff9b::1.1.1.1", "64:ff9b:1::10.0.0.1", "64:ff9b:1:ffff::1"},
	} {
		for _, text := range list {
			a := netip.MustParseAddr(text)
			err := g.check(a, false)
			if !errors.Is(err, ErrForbidden) {
				t.Errorf("%s: %s is called: %v", what, text, err)
			}
		}
	}
}

func TestGuard_RefusesThisMachinesOwnAddresses(t *testing.T) {
	own := netip.MustParseAddr("9.9.9.9")
	g := &guard{own: func() ([]netip.Addr, error) { return []netip.Addr{own}, nil }}
	if err := g.check(own, false); !errors.Is(err, ErrForbidden) {
		t.Errorf("its own address: %v", err)
	}
	if err := g.check(own.Next(), false); err != nil {
		t.Errorf("its neighbour's: %v", err)
	}
	g.allow = []netip.Prefix{netip.PrefixFrom(own, 32)}
	if err := g.check(own, false); err != nil {
		t.Errorf("its own that is allowed: %v", err)
	}
	found, err := ownAddresses()
	if err != nil || len(found) == 0 {
		t.Errorf("this machine has %v, %v", found, err)
	}
}

func TestGuard_AllowsWhatTheOperatorAllowsAndPlainHTTPThereAlone(t *testing.T) {
	g := &guard{own: none, allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}}
	for _, c := range []struct {
		address string
		plain   bool
		ok      bool
	}{
		{"10.1.2.3", false, true}, {"10.1.2.3", true, true}, {"fd00::1", true, true},
		{"10.2.0.1", false, false}, {"fc00::1", false, false}, {"127.0.0.1", false, false}, {"::ffff:10.1.2.3", false, false},
		{"1.1.1.1", false, true}, {"1.1.1.1", true, false}, {"2606:4700::1111", true, false}, {"fd00::1%eth0", true, false},
	} {
		err := g.check(netip.MustParseAddr(c.address), c.plain)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrForbidden) {
			t.Errorf("%s, plain %t: %v", c.address, c.plain, err)
		}
	}
	err := g.check(netip.MustParseAddr("10.2.0.1"), false)
	if !strings.Contains(err.Error(), "10.2.0.1 is private: --push-allow 10.2.0.1/32 allows it") {
		t.Errorf("the operator is told %q", err)
	}
}

// FuzzGuard: what is called is an address of the internet, however it is written, and holds no other inside.
func FuzzGuard(f *testing.F) {
	for _, text := range []string{"127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2606:4700::1111", "1.1.1.1", "fe80::1"} {
		f.Add(netip.MustParseAddr(text).AsSlice(), uint16(443))
	}
	g := &guard{own: none}
	f.Fuzz(func(t *testing.T, raw []byte, port uint16) {
		a, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		network := "tcp6"
		if a.Is4() {
			network = "tcp4"
		}
		if g.control(false)(t.Context(), network, netip.AddrPortFrom(a, port).String(), nil) != nil {
			return
		}
		ip := net.IP(a.AsSlice())
		if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || a.Is4In6() || a.Is6() && raw[0]>>5 != 1 || a.Is6() && raw[0] == 0x20 && raw[1] == 2 {
			t.Errorf("%s is called", a)
		}
		if g.control(true)(t.Context(), network, netip.AddrPortFrom(a, port).String(), nil) == nil {
			t.Errorf("%s is called over plain http", a)
		}
	})
}

func TestGuard_RefusesWhatIsNoTCPAddress(t *testing.T) {
	g := &guard{own: none}
	for network, address := range map[string]string{"unix": "/run/docker.sock", "udp4": "1.1.1.1:53", "tcp4": "example.org:443", "tcp6": "", "": "1.1.1.1:443"} {
		if err := g.control(false)(t.Context(), network, address, nil); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s %s: %v", network, address, err)
		}
	}
}

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
	g := newGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")})
	g.resolver = r.net()
	c := newCarrier(keys, Options{Contact: testContact}, g, wall)
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

func TestTransport_TakesNoProxy(t *testing.T) {
	for _, plain := range []bool{false, true} {
		if newGuard(nil).transport(plain).Proxy != nil {
			t.Errorf("plain %t: there is a proxy", plain)
		}
	}
}

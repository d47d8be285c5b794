package outbox

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func none() ([]netip.Addr, error) { return nil, nil }

func TestGuard_ConnectsToTheInternetAlone(t *testing.T) {
	g := &Guard{own: none}
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
	g := &Guard{own: func() ([]netip.Addr, error) { return []netip.Addr{own}, nil }}
	if err := g.check(own, false); !errors.Is(err, ErrForbidden) {
		t.Errorf("its own address: %v", err)
	}
	if err := g.check(own.Next(), false); err != nil {
		t.Errorf("its neighbour's: %v", err)
	}
	g.Allow = []netip.Prefix{netip.PrefixFrom(own, 32)}
	if err := g.check(own, false); err != nil {
		t.Errorf("its own that is allowed: %v", err)
	}
	found, err := ownAddresses()
	if err != nil || len(found) == 0 {
		t.Errorf("this machine has %v, %v", found, err)
	}
}

func TestGuard_AllowsWhatTheOperatorAllowsAndPlainHTTPThereAlone(t *testing.T) {
	g := &Guard{own: none, GuardOptions: GuardOptions{What: "push endpoint", Flag: "--push-allow", Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}}}
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
	g := &Guard{own: none}
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
	g := &Guard{own: none}
	for network, address := range map[string]string{"unix": "/run/docker.sock", "udp4": "1.1.1.1:53", "tcp4": "example.org:443", "tcp6": "", "": "1.1.1.1:443"} {
		if err := g.control(false)(t.Context(), network, address, nil); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s %s: %v", network, address, err)
		}
	}
}

func TestTransport_TakesNoProxy(t *testing.T) {
	for _, plain := range []bool{false, true} {
		if NewGuard(GuardOptions{}).Transport(plain).Proxy != nil {
			t.Errorf("plain %t: there is a proxy", plain)
		}
	}
}

package server

import (
	"net/netip"
	"strings"
	"testing"
)

func prefixes(s ...string) proxies {
	p := make(proxies, 0, len(s))
	for _, prefix := range s {
		p = append(p, netip.MustParsePrefix(prefix))
	}
	return p
}

func TestCaller_IsTheRightmostHopThatIsNotTrusted(t *testing.T) {
	declared := prefixes("10.0.0.0/8", "2001:db8:1::/48")
	for name, c := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"no proxy": {"192.0.2.1", nil, "192.0.2.1"},
		"an undeclared proxy is believed nothing": {"192.0.2.1", []string{"198.51.100.7"}, "192.0.2.1"},
		"a declared proxy":                        {"10.0.0.1", []string{"198.51.100.7"}, "198.51.100.7"},
		"a declared proxy that says nothing":      {"10.0.0.1", nil, "10.0.0.1"},
		"what the caller made up":                 {"10.0.0.1", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		"a row of proxies":                        {"10.0.0.1", []string{"203.0.113.9, 198.51.100.7, 10.2.0.1,10.3.0.1"}, "198.51.100.7"},
		"in two fields":                           {"10.0.0.1", []string{"203.0.113.9, 198.51.100.7", "10.2.0.1"}, "198.51.100.7"},
		"only proxies":                            {"10.0.0.1", []string{"10.4.0.1, 10.2.0.1"}, "10.4.0.1"},
		"with a port":                             {"10.0.0.1", []string{"198.51.100.7:4711"}, "198.51.100.7"},
		"IPv6":                                    {"10.0.0.1", []string{"2001:db8::7"}, "2001:db8::7"},
		"IPv6 in brackets":                        {"10.0.0.1", []string{"[2001:db8::7]"}, "2001:db8::7"},
		"IPv6 with a port":                        {"10.0.0.1", []string{"[2001:db8::7]:443"}, "2001:db8::7"},
		"IPv6 with a zone":                        {"10.0.0.1", []string{"fe80::1%eth0"}, "fe80::1"},
		"a proxy by IPv6":                         {"2001:db8:1::1", []string{"198.51.100.7"}, "198.51.100.7"},
		"IPv4 in IPv6":                            {"10.0.0.1", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		"a proxy as IPv4 in IPv6":                 {"10.0.0.1", []string{"198.51.100.7, ::ffff:10.2.0.1"}, "198.51.100.7"},
		"a hop that is no address":                {"10.0.0.1", []string{"198.51.100.7, unknown, 10.2.0.1"}, "10.2.0.1"},
		"an empty field":                          {"10.0.0.1", []string{""}, "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			var forwarded [][]byte
			for _, field := range c.forwarded {
				forwarded = append(forwarded, []byte(field))
			}
			if got := declared.caller(netip.MustParseAddr(c.peer), forwarded); got != netip.MustParseAddr(c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestBucketOf_TakesASubscriberForOne(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":          "192.0.2.1/32",
		"2001:db8:1:2:3::4":  "2001:db8:1:2::/64",
		"2001:db8:1:2:ff::1": "2001:db8:1:2::/64",
		"::1":                "::/64",
	} {
		if got := bucketOf(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestNetworkOf_TakesASiteForOne(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":          "192.0.2.0/24",
		"2001:db8:1:ff:3::4": "2001:db8:1::/48",
	} {
		if got := networkOf(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// Whatever a caller writes, nobody but a declared proxy is believed, and what a declared proxy appended wins.
func FuzzCaller(f *testing.F) {
	f.Add("198.51.100.7", "203.0.113.9")
	f.Add("[::1]:80, 10.0.0.1", "unknown")
	f.Add(",,%,", "1.2.3.4:x")
	declared := prefixes("10.0.0.0/8", "::/96")
	f.Fuzz(func(t *testing.T, written, alsoWritten string) {
		fields := [][]byte{[]byte(written), []byte(alsoWritten)}
		stranger := netip.MustParseAddr("192.0.2.1")
		if got := declared.caller(stranger, fields); got != stranger {
			t.Errorf("a stranger passed as %s", got)
		}
		appended := [][]byte{fields[0], fields[1], []byte("198.51.100.7")}
		if got := declared.caller(netip.MustParseAddr("10.0.0.1"), appended); got.String() != "198.51.100.7" {
			t.Errorf("behind a proxy the caller passed as %s", got)
		}
		got := declared.caller(netip.MustParseAddr("10.0.0.1"), fields)
		if !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Errorf("caller %v", got)
		}
		bucketOf(got)
		if hop, ok := parseHop(written); ok && strings.TrimSpace(written) == "" {
			t.Errorf("nothing is an address: %s", hop)
		}
	})
}

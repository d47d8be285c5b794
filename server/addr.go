package server

import (
	"net/netip"
	"strings"
)

// proxies are the address ranges of the declared proxies: the server believes what they say about the caller.
type proxies []netip.Prefix

// trust reports whether addr is a declared proxy.
func (p proxies) trust(addr netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// caller returns the caller's address: the rightmost hop that is no declared proxy, or the leftmost when all are proxies.
// forwarded are the X-Forwarded-For fields in their order; each proxy has appended the address that called it. A caller can
// make up everything left of the first hop that is not trusted, or of a hop that is no address.
func (p proxies) caller(peer netip.Addr, forwarded [][]byte) netip.Addr {
	caller := peer
	for i := len(forwarded) - 1; i >= 0; i-- {
		hops := strings.Split(string(forwarded[i]), ",")
		for j := len(hops) - 1; j >= 0; j-- {
			if !p.trust(caller) {
				return caller
			}
			hop, ok := parseHop(hops[j])
			if !ok {
				return caller
			}
			caller = hop
		}
	}
	return caller
}

// parseHop reads one hop: an address, with or without a port, an IPv6 address with or without brackets.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), true
}

// bucketOf returns the range that counts as one caller: an IPv4 address, or the /64 of an IPv6 address, since one
// subscriber has a /64.
func bucketOf(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(addr, bits).Masked()
}

// networkOf returns the range that one customer of a provider can have: the /24 of an IPv4 address, or the /48 of an IPv6
// address.
//
// Source: RFC 6177 §2 (a site gets a /48 or less).
func networkOf(addr netip.Addr) netip.Prefix {
	bits := 24
	if addr.Is6() {
		bits = 48
	}
	return netip.PrefixFrom(addr, bits).Masked()
}

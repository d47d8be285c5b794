package outbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tutela/storage"
)

// ErrForbidden reports a URL that this server does not connect to, because only the operator's own programs should be
// reached at that address. The message names the IP address and never the rest of the URL.
var ErrForbidden = storage.NewError(storage.Denied, "this server does not connect there")

// GuardOptions say what may be called, and hold the words for messages of refusal.
type GuardOptions struct {
	What     string         // what is called, for messages: "push endpoint"
	Flag     string         // the flag of the command line that allows an address: "--push-allow"
	Allow    []netip.Prefix // what the operator allows; plain http is allowed there too
	Resolver *net.Resolver  // default: the machine's
}

// Guard connects to URLs that strangers chose: endpoints of Web Push, webhooks, streams of events (a defence against
// SSRF). Callers send by its transports' RoundTrip, which follows no redirect, and must bound what they read and for
// how long.
//
// It decides which addresses this server connects to. Without it a stranger could make the server call internal
// programs that trust every caller from inside. It checks the address at each attempt to connect, after the name was
// resolved, so that a name that resolves differently the next time gains nothing (DNS rebinding).
type Guard struct {
	GuardOptions
	own func() ([]netip.Addr, error) // the addresses of this machine
}

// NewGuard makes a guard. Safe for concurrent use.
func NewGuard(o GuardOptions) *Guard { return &Guard{GuardOptions: o, own: ownAddresses} }

// closed is a range without servers of the public internet.
type closed struct {
	netip.Prefix
	name string
}

// closedRanges are the ranges that are refused. Of IPv6 everything outside of 2000::/3 is refused as well: the unspecified
// and the loopback address, IPv4-mapped and IPv4-compatible ones, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), unique local,
// link-local, site-local and multicast.
//
// Sources: RFC 6890 and the IANA registries of special-purpose addresses; RFC 6052, RFC 8215 (NAT64), RFC 3056 (6to4),
// RFC 4380 (Teredo), RFC 9637 (documentation).
var closedRanges = []closed{
	{netip.MustParsePrefix("0.0.0.0/8"), "of this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "of a carrier's NAT"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "a 6to4 relay"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"}, // includes the broadcast address
	{netip.MustParsePrefix("2001::/23"), "reserved"},   // with Teredo (2001::/32)
	{netip.MustParsePrefix("2001:db8::/32"), "for documentation"},
	{netip.MustParsePrefix("2002::/16"), "6to4"},
	{netip.MustParsePrefix("3fff::/20"), "for documentation"},
}

var globalUnicast6 = netip.MustParsePrefix("2000::/3")

// whyClosed returns why an address is always refused, as the kind of its range; "" for a public address.
func whyClosed(a netip.Addr) string {
	for _, c := range closedRanges {
		if c.Contains(a) {
			return c.name
		}
	}
	if a.Is4() || globalUnicast6.Contains(a) {
		return ""
	}
	return "not of the internet"
}

// check returns nil when the server may connect to an address, over TLS or, if plain, without.
//
// Errors: ErrForbidden.
func (g *Guard) check(a netip.Addr, plain bool) error {
	if g.allows(a) {
		return nil
	}
	if plain {
		return ErrForbidden.With("a %s over plain http is called at an allowed address alone: %s %s allows this one", g.What, g.Flag, exactly(a))
	}
	if why := whyClosed(a); why != "" {
		return ErrForbidden.With("the %s's address %s is %s: %s %s allows it", g.What, a, why, g.Flag, exactly(a))
	}
	// A port that a firewall closes to the world is open to a call that comes from the machine itself.
	// When the machine does not tell its addresses (as without AF_NETLINK), only the other rules hold.
	own, err := g.own()
	if err == nil && slices.Contains(own, a.Unmap()) {
		return ErrForbidden.With("the %s's address %s is this machine's own: %s %s allows it", g.What, a, g.Flag, exactly(a))
	}
	return nil
}

// allows reports whether the operator allows the address. An address with a zone is never allowed, since no range can
// name it.
func (g *Guard) allows(a netip.Addr) bool {
	return slices.ContainsFunc(g.Allow, func(p netip.Prefix) bool { return p.Contains(a) })
}

// exactly returns the range that holds only this address.
func exactly(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a.WithZone(""), a.BitLen()) }

// control is called with each address before a socket connects to it.
func (g *Guard) control(plain bool) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, network, address string, _ syscall.RawConn) error {
		if network != "tcp4" && network != "tcp6" {
			return ErrForbidden.With("a %s is called over TCP, not %s", g.What, network)
		}
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return ErrForbidden.With("the %s's address cannot be read", g.What)
		}
		return g.check(at.Addr(), plain)
	}
}

// ownAddresses are the addresses of this machine's interfaces.
func ownAddresses() ([]netip.Addr, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("read this machine's addresses: %w", err)
	}
	var own []netip.Addr
	for _, f := range found {
		ip, ok := f.(*net.IPNet)
		if !ok {
			continue
		}
		if a, ok := netip.AddrFromSlice(ip.IP); ok {
			own = append(own, a.Unmap())
		}
	}
	return own, nil
}

// Bounds of a connection. The outbox gives an attempt 5 s in all.
const (
	dialTime       = 5 * time.Second
	idleTime       = time.Minute
	maxIdle        = 64
	maxIdlePerHost = 8
	maxHeaderBytes = 16 << 10
)

// Transport makes the guarded transport for https or, if plain, for http. It uses no proxy, which would connect in our
// place and without the guard.
func (g *Guard) Transport(plain bool) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTime, ControlContext: g.control(plain), Resolver: g.Resolver}
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true, // a custom dialer turns it off
		TLSHandshakeTimeout:    dialTime,
		ResponseHeaderTimeout:  2 * dialTime,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
	}
}

// Told returns an error that may be shown for a failed call. It holds neither the URL nor anything of an answer, which
// may come from a program that strangers must not hear.
func (g *Guard) Told(err error) error {
	var ours *storage.Error
	var name *net.DNSError
	var late net.Error
	switch {
	case errors.As(err, &ours): // net wraps our error in one that names the address
		return ours
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("call the %s: %w", g.What, context.DeadlineExceeded)
	case errors.As(err, &name):
		return fmt.Errorf("the host of the %s is not found", g.What)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("the %s refuses the connection", g.What)
	case errors.As(err, &late) && late.Timeout():
		return fmt.Errorf("the %s does not answer in time", g.What)
	case isCertificate(err):
		return fmt.Errorf("the %s shows a certificate that does not hold", g.What)
	default:
		return fmt.Errorf("the %s breaks the connection, or does not speak HTTP", g.What)
	}
}

// isCertificate reports whether a TLS handshake failed by the other side's certificate.
func isCertificate(err error) bool {
	var bad *tls.CertificateVerificationError
	return errors.As(err, &bad)
}

// longestAfter bounds the pause that a server may ask for.
const longestAfter = 24 * time.Hour

// AskedPause returns how long a server asks to be left alone, from 0 to a day. A Retry-After date is compared with the
// answer's own Date, if it has one, since the two clocks may differ.
func AskedPause(h http.Header, now time.Time) time.Duration {
	if sent, err := http.ParseTime(h.Get("Date")); err == nil {
		now = sent
	}
	return ParsePause(h.Get("Retry-After"), now)
}

// ParsePause reads the value of a header Retry-After: at least 0, at most a day.
//
// Source: RFC 9110 §10.2.3: seconds, or an HTTP date.
func ParsePause(value string, now time.Time) time.Duration {
	text := strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(text, 10, 63); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(longestAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), longestAfter)
}

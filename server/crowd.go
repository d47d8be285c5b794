package server

import (
	"container/list"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The file descriptors that connections leave free, for data files, admin.sock and push services.
const (
	minReserve = 32
	maxReserve = 512
)

// Once half of the allowed connections are open, one address and one network may each have only so large a share of them
// silent; and a silent connection is closed after this time.
const (
	addressShare = 16
	networkShare = 8
	crowdedIdle  = 5 * time.Second
)

// warnAgain is the least time between two warnings of a crowd: callers could make it come and go as often as they like.
const warnAgain = time.Minute

// connectionBound returns how many connections may be open at once: wanted, or fewer when the process's limit on file
// descriptors leaves no room for that many. Go's runtime has raised the soft limit to the hard one.
func connectionBound(wanted int) (bound, descriptors int, err error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, 0, fmt.Errorf("ask for the limit on file descriptors: %w", err)
	}
	descriptors = int(min(limit.Cur, 1<<30))
	reserve := min(max(descriptors/8, minReserve), maxReserve)
	return max(1, min(wanted, descriptors-reserve)), descriptors, nil
}

// crowd holds the open connections, and counts the silent ones of each address and network. A connection is silent while no
// handler runs on it. When the crowd is half full, a caller with more than his share of silent connections loses his
// oldest, so nobody can fill the rest by being silent. Safe for concurrent use.
type crowd struct {
	max     int
	proxies proxies // they speak for many, so no share binds them
	log     *slog.Logger

	mu        sync.Mutex // guards what is below, but for the counts of silent connections
	conns     map[*conn]struct{}
	full      bool // the last connection was turned away
	crowded   bool
	warned    time.Time
	addresses map[netip.Prefix]*group
	networks  map[netip.Prefix]*group
}

// group holds the connections of an address or a network.
type group struct {
	of     netip.Prefix
	silent atomic.Int64
	conns  list.List // of *conn, the oldest first; guarded by crowd.mu
}

// The states of a connection.
const (
	silent int32 = iota
	busy         // a handler runs, or its answer is on its way
	gone         // it no longer counts
)

// member is a connection's place in the crowd.
type member struct {
	state   atomic.Int32
	address *group // nil: it has no share
	network *group
	inOwn   *list.Element // in address
	inTheir *list.Element // in network
}

func newCrowd(limit int, trusted proxies, log *slog.Logger) *crowd {
	return &crowd{
		max:       limit,
		proxies:   trusted,
		log:       log,
		conns:     map[*conn]struct{}{},
		addresses: map[netip.Prefix]*group{},
		networks:  map[netip.Prefix]*group{},
	}
}

// join adds a connection. It returns the connection that must be closed to make room, and, when half of the bound is now
// reached, the idle ones whose time to stay is now short. ok is false when there is no room.
func (w *crowd) join(c *conn) (replaced *conn, hurried []*conn, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	address, network := w.groupsOf(c.raw.RemoteAddr())
	if w.crowded && address != nil {
		replaced = w.overShare(address, w.max/addressShare)
		if replaced == nil {
			replaced = w.overShare(network, w.max/networkShare)
		}
	}
	wasFull := w.full
	if w.full = len(w.conns) >= w.max; w.full {
		if !wasFull {
			w.log.Error("too many connections are open: new ones are turned away", "max", w.max)
		}
		w.tidy(address, network)
		return replaced, nil, false
	}
	w.conns[c] = struct{}{}
	if address != nil {
		c.address = address
		c.network = network
		c.inOwn = address.conns.PushBack(c)
		c.inTheir = network.conns.PushBack(c)
		address.silent.Add(1)
		network.silent.Add(1)
	}
	return replaced, w.grown(), true
}

// groupsOf returns the groups of a caller; nil for a caller without a share, such as a proxy.
func (w *crowd) groupsOf(remote net.Addr) (address, network *group) {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return nil, nil
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if w.proxies.trust(addr) {
		return nil, nil
	}
	return groupIn(w.addresses, bucketOf(addr)), groupIn(w.networks, networkOf(addr))
}

func groupIn(groups map[netip.Prefix]*group, of netip.Prefix) *group {
	g := groups[of]
	if g == nil {
		g = &group{of: of}
		groups[of] = g
	}
	return g
}

// overShare removes and returns the oldest silent connection of a group that has used up its share; nil when it has not.
func (w *crowd) overShare(g *group, share int) *conn {
	if g.silent.Load() < int64(max(1, share)) {
		return nil
	}
	for at := g.conns.Front(); at != nil; at = at.Next() {
		c, ok := at.Value.(*conn)
		if ok && c.state.CompareAndSwap(silent, gone) {
			c.address.silent.Add(-1)
			c.network.silent.Add(-1)
			w.drop(c)
			return c
		}
	}
	return nil
}

// grown notes that one more connection is open. When half of the bound is now reached it returns the idle connections.
func (w *crowd) grown() (hurried []*conn) {
	if w.crowded || len(w.conns) < max(2, w.max/2) {
		return nil
	}
	w.crowded = true
	for c := range w.conns {
		if c.idle.Load() {
			hurried = append(hurried, c)
		}
	}
	if now := time.Now(); now.Sub(w.warned) >= warnAgain {
		w.warned = now
		w.log.Warn("half of the connections are in use: silent ones are closed sooner, and each address has a share",
			"open", len(w.conns), "max", w.max)
	}
	return hurried
}

// leave removes a connection. Calling it again does nothing.
func (w *crowd) leave(c *conn) {
	if c.state.Swap(gone) == silent && c.address != nil {
		c.address.silent.Add(-1)
		c.network.silent.Add(-1)
	}
	w.mu.Lock()
	w.drop(c)
	w.mu.Unlock()
}

// drop removes a connection from all counts. Calling it again does nothing. The caller holds w.mu.
func (w *crowd) drop(c *conn) {
	if _, in := w.conns[c]; !in {
		return
	}
	delete(w.conns, c)
	if c.address != nil {
		c.address.conns.Remove(c.inOwn)
		c.network.conns.Remove(c.inTheir)
		w.tidy(c.address, c.network)
	}
	// A crowd ends below the number that begins it, so that one connection does not make it come and go.
	if len(w.conns) < w.max/2-w.max/8 {
		w.crowded = false
	}
}

// tidy forgets groups that have no connection.
func (w *crowd) tidy(address, network *group) {
	if address != nil && address.conns.Len() == 0 {
		delete(w.addresses, address.of)
	}
	if network != nil && network.conns.Len() == 0 {
		delete(w.networks, network.of)
	}
}

// isCrowded reports whether half of the connections are in use.
func (w *crowd) isCrowded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.crowded
}

// begin notes that a handler runs on the connection. It returns false when the connection was closed to make room for
// another one: nobody would hear the answer.
func (m *member) begin() bool {
	if !m.state.CompareAndSwap(silent, busy) {
		return m.state.Load() == busy // a request that came together with the one before
	}
	if m.address != nil {
		m.address.silent.Add(-1)
		m.network.silent.Add(-1)
	}
	return true
}

// rest notes that the connection waits for its caller again.
func (m *member) rest() {
	if m.state.CompareAndSwap(busy, silent) && m.address != nil {
		m.address.silent.Add(1)
		m.network.silent.Add(1)
	}
}

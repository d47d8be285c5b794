package server

import (
	"net/netip"
	"testing"
	"time"

	"tutela/storage"
)

func TestAddressLimit_RemembersABoundedNumberOfAddresses(t *testing.T) {
	l := newAddressLimit(600, storage.NewFakeClock(time.Unix(0, 0)))
	size := func() (n int) {
		for i := range l.shards {
			n += len(l.shards[i].emptyAt)
		}
		return n
	}
	charge := func(i int) {
		addr := netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		if err := l.Charge(&Call{Address: addr}); err != nil {
			t.Fatal(err)
		}
	}
	const bound = limitShards * limitPerShard
	for i := range 2 * bound {
		charge(i)
	}
	if n := size(); n > bound || n < bound*9/10 {
		t.Errorf("%d addresses are remembered", n)
	}
}

package server

import (
	"net/netip"
	"testing"
	"time"

	"tutela/storage"
)

func TestAddressLimit_RemembersABoundedNumberOfAddresses(t *testing.T) {
	l := newAddressLimit(600, storage.NewFakeClock(time.Unix(0, 0)))
	charge := func(i int) {
		addr := netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1})
		if err := l.Charge(&Call{Address: addr}); err != nil {
			t.Fatal(err)
		}
	}
	const bound = limitShards * limitPerShard
	for i := range 2 * bound {
		charge(i)
	}
	addresses := 0
	networks := 0
	for i := range l.shards {
		addresses += len(l.shards[i].addresses)
		networks += len(l.shards[i].networks)
	}
	for _, n := range []int{addresses, networks} {
		if n > bound || n < bound*9/10 {
			t.Errorf("%d are remembered", n)
		}
	}
}

package storage_test

import (
	"strings"
	"testing"

	"tutela/storage"
)

func TestIdentity_IsDrawnOnceAndStays(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		first := h.Identity()
		if !strings.HasPrefix(first.Installation, "ins_") || len(first.Installation) != 20 {
			t.Errorf("installation %q", first.Installation)
		}
		if first.Epoch.Number != 1 || first.Epoch.Random == [8]byte{} {
			t.Errorf("epoch %v", first.Epoch)
		}
	})
	h := newHouse(t)
	first := h.Identity()
	again := h.opened(0)
	equal(t, again.Identity(), first)
	equal(t, newHouse(t).Identity().Installation == first.Installation, false)
}

func TestIdentity_AnEarlierStoreGetsOneAtOpening(t *testing.T) {
	h := newHouse(t)
	must(t, h.Engine().Update(background, func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Delete([]byte("midentity"))
		return ws, nil
	}))
	h = h.opened(0)
	given := h.Identity()
	equal(t, given.Epoch.Number, 1)
	equal(t, h.opened(0).Identity(), given)
}

func TestNewEpoch_KeepsTheInstallationAndIsGreaterThanBoth(t *testing.T) {
	for name, c := range map[string]struct {
		replaced func(own storage.Identity) storage.Identity
		number   uint64
	}{
		"nothing known": {func(storage.Identity) storage.Identity { return storage.Identity{} }, 2},
		"a later state of itself": {func(own storage.Identity) storage.Identity {
			own.Epoch.Number = 7
			return own
		}, 8},
		"another installation": {func(storage.Identity) storage.Identity {
			return storage.Identity{Installation: "ins_another", Epoch: storage.Epoch{Number: 7}}
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			before := h.Identity()
			must(t, h.NewEpoch(background, c.replaced(before)))
			after := h.Identity()
			equal(t, after.Installation, before.Installation)
			equal(t, after.Epoch.Number, c.number)
			equal(t, after.Epoch.Random == before.Epoch.Random, false)
			equal(t, h.opened(0).Identity(), after)
		})
	}
}

func TestBeginEpoch_GivesDataWithoutIdentityThatOfTheStoreItReplaces(t *testing.T) {
	h := newHouse(t)
	replaced := storage.Identity{Installation: "ins_0123456789abcdef", Epoch: storage.Epoch{Number: 3}}
	must(t, h.Engine().Update(background, func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Delete([]byte("midentity"))
		return ws, nil
	}))
	must(t, h.NewEpoch(background, replaced))
	equal(t, h.Identity().Installation, replaced.Installation)
	equal(t, h.Identity().Epoch.Number, 4)
}

func TestEpoch_IsOneTextAndReadsItself(t *testing.T) {
	epoch := storage.Epoch{Number: 12, Random: [8]byte{0xab, 1, 2, 3, 4, 5, 6, 7}}
	text, err := epoch.MarshalText()
	must(t, err)
	equal(t, string(text), "12-ab01020304050607")
	var read storage.Epoch
	must(t, read.UnmarshalText(text))
	equal(t, read, epoch)
	for _, bad := range []string{"", "12", "-ab01020304050607", "12-ab", "x-ab01020304050607", "12-zz01020304050607"} {
		if read.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q was read as %v", bad, read)
		}
	}
}

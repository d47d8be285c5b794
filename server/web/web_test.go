package web

import (
	"testing"
	"time"

	"tutela/device/own"
	"tutela/server/servertest"
	"tutela/server/web/webtest"
	"tutela/storage"
	"tutela/storage/setting/brand"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house is the pages over a real store.
type house struct {
	*servertest.House
	t   testing.TB
	url string
}

func newHouse(t testing.TB, change ...func(*servertest.Options)) *house {
	t.Helper()
	o := servertest.Options{
		Ground: ground.Options{Chaos: true, Clock: storage.NewFakeClock(time.Now())},
		Mount: func(h *servertest.House) {
			Mount(h.Server, Services{
				Devices:  h.Devices,
				Passkeys: h.Passkeys,
				Brand:    brand.New(h.Store),
				Own:      own.New(h.Store, h.Ring, h.Codes, h.Devices, h.Logins, h.Restores),
				Now:      h.Store.Now,
			})
		},
	}
	for _, c := range change {
		c(&o)
	}
	h := servertest.Open(t, o)
	return &house{h, t, h.URL}
}

func (h *house) must(err error) {
	h.t.Helper()
	check.Must(h.t, err)
}

func (h *house) get(path string) webtest.Answer {
	h.t.Helper()
	return webtest.NewClient(h.t, h.url, nil).Get(path)
}

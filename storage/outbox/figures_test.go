package outbox_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/storage"
	"tutela/storage/outbox"
)

// figure is what a gauge of this server shows, by its words, where it is not zero.
func (h *house) figure(name string) map[string]float64 {
	h.t.Helper()
	list := map[string]float64{}
	for _, s := range h.store.Meter().Samples(context.Background()) {
		if s.Figure.Name == name && s.Value != 0 {
			list[strings.Join(s.Words, " ")] = s.Value
		}
	}
	return list
}

func TestFigures_WhatWaitsIsCountedByProviderAndTheOldestAgedAlsoAfterARetry(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var s service
		s.fail(outbox.Unreachable(errRefused))
		_, h.stop = h.start(h.store, outbox.Options{
			Handlers: []outbox.Handler{work.Handler(s.do)},
			Provider: func(where string) string {
				provider, _, _ := strings.Cut(where, "/")
				return strings.ToLower(provider)
			},
			Providers: []string{"fcm", "web"},
		})
		h.addTo("FCM", storage.NewUID(), "x")
		pass(40 * time.Second) // it is tried, and put off, again and again
		for range 9 {
			h.addTo("WEB/host-one", storage.NewUID(), "x")
			h.addTo("WEB/host-two", storage.NewUID(), "x")
		}
		h.update(func(tx *storage.Tx) error { return bill.Add(tx, storage.NewUID(), "x", tx.Now().Add(time.Hour)) })
		pass(time.Minute)
		want := map[string]float64{"work fcm": 1, "work web": 18, "other none": 1}
		if diff := cmp.Diff(want, h.figure("tutela_outbox_entries")); diff != "" {
			t.Error(diff)
		}
		oldest := h.figure("tutela_outbox_oldest_seconds")
		if oldest["work fcm"] < 99 || oldest["work fcm"] > 106 || oldest["work web"] < 59 || oldest["work web"] > 66 {
			t.Errorf("the oldest: %v", oldest)
		}
		breakers := map[string]float64{}
		for words, n := range h.figure("tutela_outbox_breakers") {
			breakers[words[:strings.LastIndex(words, " ")]] += n // a breaker is open or half open, as its pauses fall
		}
		if diff := cmp.Diff(map[string]float64{"work fcm": 1, "work web": 2}, breakers); diff != "" {
			t.Error(diff)
		}
	})
}

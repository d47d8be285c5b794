package storage_test

import (
	"errors"
	"slices"
	"testing"

	"tutela/storage"
)

// places returns the entries of a span of the tags.
func (h *house) places(span storage.Span) (list []storage.Place) {
	h.t.Helper()
	must(h.t, noteByTag.PeekSpan(h.t.Context(), h.Store, span, func(at storage.Place) bool {
		list = append(list, at)
		return true
	}))
	return list
}

func valuesOf(places []storage.Place) (values []string) {
	for _, at := range places {
		values = append(values, at.Value)
	}
	return values
}

func TestPeekSpan_GoesThroughAPartOfAnIndexBothWaysFromAnyEntry(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		for _, tag := range []string{"a", "ab", "ab", "ab\x00", "abc", "b", "\xff"} {
			h.put(storage.NewUID(), "k", note{ID: storage.NewID("", 8), Tags: []string{tag}})
		}
		for _, c := range []struct {
			span storage.Span
			want []string
		}{
			{storage.Span{}, []string{"a", "ab", "ab", "ab\x00", "abc", "b", "\xff"}},
			{storage.Span{Prefix: "ab"}, []string{"ab", "ab", "ab\x00", "abc"}},
			{storage.Span{Prefix: "ab", Exact: true}, []string{"ab", "ab"}},
			{storage.Span{Prefix: "\xff"}, []string{"\xff"}},
			{storage.Span{Prefix: "c"}, nil},
		} {
			for _, reverse := range []bool{false, true} {
				span := c.span
				span.Reverse = reverse
				all := h.places(span)
				want := slices.Clone(c.want)
				if reverse {
					slices.Reverse(want)
				}
				equal(t, valuesOf(all), want)
				for i, at := range all {
					span.After = at
					equal(t, valuesOf(h.places(span)), valuesOf(all[i+1:]))
				}
			}
		}
		// An entry outside of the span ends it, or begins it.
		equal(t, len(h.places(storage.Span{Prefix: "ab", After: storage.Place{Value: "b", UID: storage.NewUID(), Key: "k"}})), 0)
		equal(t, len(h.places(storage.Span{Prefix: "ab", Reverse: true, After: storage.Place{Value: "a", UID: storage.NewUID(), Key: "k"}})), 0)
	})
}

func TestOf_ReturnsTheValuesOfARowByAnIndex(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.put(uid, "k", note{ID: "1", Tags: []string{"a", "b\x00"}})
		h.view(func(tx *storage.Tx) error {
			tags, err := noteByTag.Of(tx, uid, "k")
			equal(t, tags, []string{"a", "b\x00"})
			ids, idErr := noteByID.Of(tx, uid, "k")
			equal(t, ids, []string{"1"})
			_, none := noteByTag.Of(tx, uid, "other")
			equal(t, errors.Is(none, storage.ErrNotFound), true)
			return errors.Join(err, idErr)
		})
	})
}

package audit_test

import (
	"testing"

	"tutela/storage"
	"tutela/storage/audit"
)

func TestHasNews_IsTrueForWhatFitsAndWasRecordedAfterTheMark(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		none, err := audit.MarkOf(t.Context(), h.Store)
		must(t, err)
		maria := storage.NewUID()
		has := func(q audit.Query, m audit.Mark) bool {
			t.Helper()
			news, err := audit.HasNews(t.Context(), h.Store, q, m)
			must(t, err)
			return news
		}
		if none != "" || has(audit.Query{}, none) {
			t.Errorf("an empty log has news after %q", none)
		}
		h.record(audit.Event{Type: audit.StartAuth, UID: maria}, audit.Detail{})
		first, err := audit.MarkOf(t.Context(), h.Store)
		must(t, err)
		if !has(audit.Query{}, none) || has(audit.Query{}, first) {
			t.Error("the first event is news after itself, or not news before")
		}
		h.record(audit.Event{Type: audit.Reset, UID: storage.NewUID()}, audit.Detail{})
		for what, c := range map[string]struct {
			q    audit.Query
			want bool
		}{
			"everything":     {audit.Query{}, true},
			"its type":       {audit.Query{Types: []audit.Type{audit.Reset}}, true},
			"another type":   {audit.Query{Types: []audit.Type{audit.KeyRotated}}, false},
			"another's":      {audit.Query{UID: maria}, false},
			"too many to be": {audit.Query{Types: []audit.Type{audit.KeyRotated}, Within: 1}, false},
		} {
			if got := has(c.q, first); got != c.want {
				t.Errorf("%s: %v", what, got)
			}
		}
		h.record(audit.Event{Type: audit.Reset, UID: storage.NewUID()}, audit.Detail{})
		if !has(audit.Query{Types: []audit.Type{audit.KeyRotated}, Within: 1}, first) {
			t.Error("more than was to be looked at is no news")
		}
	})
}

func TestIsMark_TakesNothingElse(t *testing.T) {
	for text, want := range map[string]bool{"": true, "x": false, "1772366400123456789000001": true, "17723664001234567890000012": false} {
		if audit.IsMark(text) != want {
			t.Errorf("%q", text)
		}
	}
}

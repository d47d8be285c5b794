package push_test

import (
	"slices"
	"testing"

	"tutela/device/push"
)

// TestMessage_FitLosesWhatItCanDoWithoutInOrder also shows that what an app needs to answer is never left out.
func TestMessage_FitLosesWhatItCanDoWithoutInOrder(t *testing.T) {
	for most, lost := range map[int][]string{
		99: nil,
		10: {"l"},
		9:  {"l", "s"},
		8:  {"l", "s", "bm"},
		7:  {"l", "s", "bm", "cn"},
		0:  {"l", "s", "bm", "cn"},
	} {
		fitted := whole().Fit(func(m push.Message) bool { return len(m.Object()) <= most }).Object()
		for key := range whole().Object() {
			if _, there := fitted[key]; there == slices.Contains(lost, key) {
				t.Errorf("at most %d keys: %q is there: %v", most, key, there)
			}
		}
	}
}

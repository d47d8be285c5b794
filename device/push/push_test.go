package push_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device/push"
	"tutela/storage"
)

func whole() push.Message {
	return push.Message{
		TransactionToken: "a.b.c",
		Enrollment:       "dev_0123456789abcdef",
		Challenge:        "nonce",
		Server:           "http://localhost:8080",
		Started:          storage.FormatInstant(time.Date(2026, 3, 1, 12, 0, 0, 5_999_999, time.UTC)),
		Source: &push.Source{
			Browser: push.Named{Name: "Firefox", Version: "128"}, System: push.Named{Name: "Linux"},
		},
		Location:       &push.Location{Name: "<Zürich> & co", Lat: 47.37, Long: 8.54},
		ConsentID:      "cns_1",
		NumberMatching: true,
		BindingMessage: "pay \"5\"",
		ClientName:     "Bank",
	}
}

// TestMessage_ObjectHasNestedObjects is what APNs carries, and what a pulling app gets.
func TestMessage_ObjectHasNestedObjects(t *testing.T) {
	const want = `{"txtkn":"a.b.c","dai":"dev_0123456789abcdef","c":"nonce","d":"2026-03-01T12:00:00.005Z","sh":"http://localhost:8080",
		"s":{"b":{"n":"Firefox","v":"128"},"os":{"n":"Linux"}},"l":{"n":"<Zürich> & co","lat":47.37,"long":8.54},
		"txlnkid":"cns_1","nm":true,"bm":"pay \"5\"","cn":"Bank"}`
	encoded, err := json.Marshal(whole().Object())
	if err != nil {
		t.Fatal(err)
	}
	var got, expected any
	for text, into := range map[string]*any{string(encoded): &got, want: &expected} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Error(diff)
	}
}

// TestMessage_StringsAreAllStrings is what FCM carries: Android reads s and l as JSON text.
func TestMessage_StringsAreAllStrings(t *testing.T) {
	flat, err := whole().Strings()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"txtkn": "a.b.c", "dai": "dev_0123456789abcdef", "c": "nonce", "d": "2026-03-01T12:00:00.005Z", "sh": "http://localhost:8080",
		"s":       `{"b":{"n":"Firefox","v":"128"},"os":{"n":"Linux"}}`,
		"l":       `{"n":"\u003cZürich\u003e \u0026 co","lat":47.37,"long":8.54}`,
		"txlnkid": "cns_1", "nm": "true", "bm": `pay "5"`, "cn": "Bank",
	}
	if diff := cmp.Diff(want, flat); diff != "" {
		t.Error(diff)
	}
}

func TestMessage_LeavesOutWhatIsEmpty(t *testing.T) {
	notice := push.Message{
		Enrollment: "dev_x",
		Server:     "https://x",
		Started:    "d",
		Notice:     "restored",
		Restore:    "rst_1",
	}
	want := map[string]any{"dai": "dev_x", "sh": "https://x", "d": "d", "notice": "restored", "rst": "rst_1"}
	if diff := cmp.Diff(want, notice.Object()); diff != "" {
		t.Error(diff)
	}
	if n := len(push.Message{}.Object()); n != 0 {
		t.Errorf("an empty message has %d keys", n)
	}
}

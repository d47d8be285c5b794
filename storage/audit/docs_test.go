package audit_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
)

// The example in docs/events.md is computed anew. When the form changes, the page is mended by what this test prints, and
// v is raised: what has been written is proven by the form in which it was written.
func TestEvents_TheExampleInTheDocs(t *testing.T) {
	key := ascending(0x00, 32)
	salt := [16]byte(ascending(0xa0, 16))
	detail, err := audit.EncodeDetail(audit.Detail{IP: "192.0.2.17", Device: "Pixel 9"}, salt)
	must(t, err)
	event, err := json.Marshal(audit.Event{
		V:      1,
		ID:     "1893553445000000000123456",
		Type:   audit.AuthSucceed,
		Time:   time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		UID:    storage.UID(ascending(0xc0, 16)),
		Client: "shop",
		Facts:  audit.Facts{audit.FactPresence: audit.PresenceNumber},
		Digest: audit.DigestOf(detail),
	})
	must(t, err)
	opening := audit.OpeningOf(key, "1893553445000000000123456")
	stored := audit.Seal(1, opening, event)
	if leaf := leafBy(key, "1893553445000000000123456", event); string(leaf) != string(stored[1:33]) {
		t.Fatal("the leaf is not what the page defines")
	}
	example := fmt.Sprintf("log key   %x\nsalt      %x\ndetail    %s\ndigest    %s\nevent     %s\nopening   %x\nleaf      %x\nstored    01 ‖ leaf ‖ %s…\n",
		key, salt, detail, audit.DigestOf(detail), event, opening, stored[1:33], hex.EncodeToString(stored[33:41]))

	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "events.md"))
	must(t, err)
	_, rest, found := strings.Cut(string(page), "<!-- example -->\n```\n")
	written, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("the page has no example")
	}
	if written != example {
		t.Errorf("the page has\n%s\nand it should be\n%s", written, example)
	}
}

// ascending is n bytes, each one more than the one before.
func ascending(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

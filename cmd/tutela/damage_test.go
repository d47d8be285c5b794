package main

import (
	"path/filepath"
	"strings"
	"testing"

	"tutela/storage"
	"tutela/storage/bolt"
)

// damageExpiry writes an expiry entry that names no row, which the sweeper sets aside.
func (c *commandLine) damageExpiry() {
	c.t.Helper()
	e, err := bolt.Open(c.t.Context(), filepath.Join(c.data, "tutela.db"), bolt.Options{})
	must(c.t, err)
	must(c.t, e.Update(c.t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Put([]byte("x\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01no row's key"), []byte("damaged"))
		return ws, nil
	}))
	must(c.t, e.Close())
}

// The server sets a record aside that it cannot read, stays ready and says so. The operator looks at the record and
// removes it.
func TestDamage_IsReportedShownAndDropped(t *testing.T) {
	c := newCommandLine(t)
	c.damageExpiry()
	s := c.serve()
	for !strings.Contains(c.run("damage", "list", "--json"), `"key"`) {
	}
	listed := c.run("damage", "list")
	if lines := strings.Split(strings.TrimSpace(listed), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[0], "SINCE") {
		t.Errorf("listed:\n%s", listed)
	}
	status, body := s.readyz(t)
	for !strings.Contains(body, "records that cannot be read: 1") && status == 200 {
		status, body = s.readyz(t) // its checks are a second old at most
	}
	if status != 200 || !strings.Contains(body, `"status":"ready"`) {
		t.Errorf("readyz: %d %s", status, body)
	}
	if r := c.try("damage", "drop", "--yes"); r.status != 0 || r.stderr != "Damaged records removed: 1.\n" {
		t.Errorf("drop: status %d\n%s", r.status, r.stderr)
	}
	if left := strings.TrimSpace(c.run("damage", "list", "--json")); left != "[]" {
		t.Errorf("left: %s", left)
	}
	if events := c.run("events"); !strings.Contains(events, "damage_dropped") {
		t.Errorf("no event says that it was dropped:\n%s", events)
	}
}

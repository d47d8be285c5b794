package main

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"tutela/storage"
	"tutela/storage/bolt"
)

// The next server sets a pointer aside that it cannot read, stays ready and says so. The operator looks at the pointer and
// removes it.
func TestOutbox_ShowsAndForgetsWhatCannotBeRead(t *testing.T) {
	c := newCommandLine(t)
	c.damageOutbox()
	s := c.serve()
	listed := ""
	for !strings.Contains(listed, "obx_") {
		listed = c.run("outbox", "list")
	}
	resp, err := http.Get(s.public + "/readyz")
	must(t, err)
	ready, err := io.ReadAll(resp.Body)
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(ready), "entries that cannot be read: 1") {
		t.Errorf("readyz: %d %s", resp.StatusCode, ready)
	}
	if bytes := c.run("outbox", "list", "--json"); !strings.Contains(bytes, "ZGFtYWdlZA==") {
		t.Errorf("the bytes are not shown: %s", bytes)
	}
	_, tail, _ := strings.Cut(listed, "obx_")
	id, _, _ := strings.Cut("obx_"+tail, " ")
	c.run("outbox", "forget", id)
	if left := strings.TrimSpace(c.run("outbox", "list", "--json")); left != "[]" {
		t.Errorf("left: %s", left)
	}
	c.try("outbox", "forget", "obx_nosuch").refused(`no entry lies aside with the id "obx_nosuch": see tutela outbox list`)
}

// damageOutbox writes a pointer that no version has written.
func (c *commandLine) damageOutbox() {
	c.t.Helper()
	e, err := bolt.Open(c.t.Context(), filepath.Join(c.data, "tutela.db"), bolt.Options{})
	must(c.t, err)
	must(c.t, e.Update(c.t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Put([]byte("loutbox\x00\x00work\x00x"), []byte("damaged"))
		return ws, nil
	}))
	must(c.t, e.Close())
}

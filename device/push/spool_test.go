package push_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tutela/device/push"
)

func newSpool(t *testing.T) (spool *push.Spool, dir string, log *bytes.Buffer) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data", "push")
	log = &bytes.Buffer{}
	return push.NewSpool(dir, slog.New(slog.NewTextHandler(log, nil))), dir, log
}

func files(t *testing.T, dir string) (contents []map[string]any) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil || !strings.HasSuffix(entry.Name(), ".json") {
			t.Fatalf("%s: %v", entry.Name(), err)
		}
		var object map[string]any
		if err := json.Unmarshal(content, &object); err != nil {
			t.Fatalf("%s: %v", entry.Name(), err)
		}
		contents = append(contents, object)
	}
	return contents
}

func TestSpool_WritesEachMessageAsItsServiceWouldCarryIt(t *testing.T) {
	spool, dir, log := newSpool(t)
	for _, service := range []push.Service{push.GCM, push.APNs} {
		if err := spool.Deliver(context.Background(), push.Address{Service: service, Token: "secret push token"}, whole()); err != nil {
			t.Fatal(err)
		}
	}
	all := files(t, dir)
	if len(all) != 2 {
		t.Fatalf("%d files of two messages", len(all))
	}
	if _, ok := all[0]["s"].(string); !ok || all[0]["service"] != "GCM" || all[0]["nm"] != "true" {
		t.Errorf("as FCM: %v", all[0])
	}
	if _, ok := all[1]["s"].(map[string]any); !ok || all[1]["service"] != "APNS" || all[1]["nm"] != true {
		t.Errorf("as APNs: %v", all[1])
	}
	for _, secret := range []string{"secret push token", "a.b.c", "nonce"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if strings.Count(log.String(), "\n") != 2 {
		t.Errorf("the log is %s", log)
	}
}

func TestSpool_FolderIsMadeByTheFirstMessageForItsOwnerAlone(t *testing.T) {
	spool, dir, _ := newSpool(t)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("it is there before the first message: %v", err)
	}
	if err := spool.Deliver(context.Background(), push.Address{Service: push.FCM}, whole()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestSpool_ManyAtOnceAreAFileEach(t *testing.T) {
	spool, dir, _ := newSpool(t)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if err := spool.Deliver(context.Background(), push.Address{Service: push.FCM}, whole()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	contents := files(t, dir)
	if len(contents) != 64 {
		t.Errorf("%d files of 64 messages", len(contents))
	}
	for _, object := range contents[1:] {
		if diff := cmp.Diff(contents[0], object); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSpool_TellsOfAFolderThatCannotBeWritten(t *testing.T) {
	spool, dir, _ := newSpool(t)
	if err := os.WriteFile(filepath.Dir(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := spool.Deliver(context.Background(), push.Address{Service: push.FCM}, whole()); err == nil {
		t.Error("no error")
	}
}

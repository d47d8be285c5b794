package boltfile

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"tutela/storage/storagetest/check"
)

const pageSize = 4096

var must = check.Must

// The format is bbolt's own affair, and no promise of its versions.
func TestVersion_IsTheOneInGoMod(t *testing.T) {
	mod, err := os.ReadFile("../../../go.mod")
	must(t, err)
	found := regexp.MustCompile(`go\.etcd\.io/bbolt (\S+)`).FindStringSubmatch(string(mod))
	if len(found) < 2 {
		t.Fatal("go.mod does not name bbolt")
	}
	if found[1] != Version {
		t.Errorf(`go.mod names bbolt %s; package boltfile knows the files of %s. Before Version is raised, compare both versions of
  internal/common/{meta,page,inode,bucket}.go  with meta.go, page.go and tree.go: sizes, flags, the version of the format
  internal/freelist/shared.go (Read, Write)    with walk.go: the list of free pages
  db.go (grow, growSize, mmapSize)             with GrowthBytes and State.least
  tx.go (Commit, rollback)                     with storage/bolt: what a commit that fails has written, and what it leaves in memory
and run: go test ./storage/bolt/... && go test ./storage/bolt/boltfile -fuzz FuzzWalk -fuzztime 5m`, found[1], Version)
	}
}

// makeFile makes a data file with rows of some hundred bytes.
func makeFile(t testing.TB, rows int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: pageSize, NoFreelistSync: true})
	must(t, err)
	db.NoGrowSync = true
	must(t, db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte(Bucket))
		for i := range rows {
			must(t, bucket.Put(fmt.Appendf(nil, "row%06d", i), make([]byte, 300)))
		}
		return err
	}))
	must(t, db.Close())
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}

// FuzzWalk has bbolt open and check whatever passes. Its inputs are large: -fuzzminimizetime 10x keeps go from
// spending its time on making them small.
func FuzzWalk(f *testing.F) {
	f.Add(makeFile(f, 2))
	f.Fuzz(func(t *testing.T, data []byte) {
		// The meta pages' checksums would stop nearly every input, and bbolt's check (nothing else of it) stops at
		// their headers: both are made right.
		for id := range uint64(2) {
			if page := data[min(id*pageSize, uint64(len(data))):]; len(page) >= pageSize {
				order.PutUint64(page, id)
				order.PutUint16(page[8:], metaFlag)
				order.PutUint64(page[pageHeaderSize+metaSize-8:], metaSum(page[pageHeaderSize:]))
			}
		}
		s, err := Newest(bytes.NewReader(data), int64(len(data)))
		if err == nil {
			_, err = s.Walk(context.Background())
		}
		if err == nil {
			checkByBbolt(t, data)
		}
	})
}

// checkByBbolt reports what bbolt's own check finds, but for pages that are lost: they only waste room.
func checkByBbolt(t *testing.T, data []byte) {
	path := filepath.Join(t.TempDir(), "db")
	must(t, os.WriteFile(path, data, 0o600))
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	must(t, db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			if !strings.Contains(err.Error(), "unreachable unfreed") {
				t.Error(err)
			}
		}
		return tx.Bucket([]byte(Bucket)).ForEach(func(_, _ []byte) error { return nil })
	}))
	must(t, db.Close())
}

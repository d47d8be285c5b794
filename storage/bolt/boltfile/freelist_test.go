package boltfile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// scattered makes a data file whose free pages lie between others, without a list of them.
func scattered(t testing.TB, rows, removed int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	must(t, os.WriteFile(path, makeFile(t, rows), 0o600))
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	must(t, err)
	db.AllocSize = GrowthBytes
	must(t, db.Update(func(tx *bbolt.Tx) error {
		for range removed {
			must(t, tx.Bucket([]byte(Bucket)).Delete(fmt.Appendf(nil, "row%06d", rand.IntN(rows))))
		}
		return nil
	}))
	must(t, db.Close())
	return path
}

func TestKeepFreelist_IsWhatBboltWouldFind(t *testing.T) {
	for _, test := range []struct{ rows, removed int }{{1, 0}, {300, 0}, {3000, 1000}, {3000, 20000}, {30000, 20000}} {
		path := scattered(t, test.rows, test.removed)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		s := newestOf(t, f)
		used, err := s.Walk(t.Context())
		must(t, err)
		must(t, s.KeepFreelist(f, used))

		again := newestOf(t, f)
		if again.Tx() != s.Tx() || !again.HasFreelist() {
			t.Errorf("the newest state is %+v; want %+v", again.meta, s.meta)
		}
		_, err = again.Walk(t.Context())
		must(t, err)
		must(t, f.Close())
		checkFree(t, path)
	}
}

func newestOf(t testing.TB, f *os.File) *State {
	t.Helper()
	info, err := f.Stat()
	must(t, err)
	s, err := Newest(f, info.Size())
	must(t, err)
	return s
}

// checkFree has bbolt check that each page is either in use or free, before and after it writes to the file.
func checkFree(t testing.TB, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	must(t, err)
	for range 2 {
		must(t, db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				t.Error(err)
			}
			return nil
		}))
		must(t, db.Update(func(tx *bbolt.Tx) error {
			for i := range 100 {
				must(t, tx.Bucket([]byte(Bucket)).Put(fmt.Appendf(nil, "new%06d", i), make([]byte, 300)))
			}
			return nil
		}))
	}
	must(t, db.Close())
}

// Until the meta page is written the state before is the newest, whatever became of the list.
func TestKeepFreelist_CutShortLeavesTheStateBefore(t *testing.T) {
	for _, removed := range []int{0, 1000} {
		path := scattered(t, 3000, removed)
		before, err := os.ReadFile(path)
		must(t, err)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		s := newestOf(t, f)
		was := s.Tx()
		used, err := s.Walk(t.Context())
		must(t, err)
		must(t, s.KeepFreelist(f, used))
		// The older meta page, which the new one was written over, as it was.
		at := int64(s.Tx()%2) * pageSize
		_, err = f.WriteAt(before[at:at+pageSize], at)
		must(t, err)
		cut := newestOf(t, f)
		if cut.Tx() != was || cut.HasFreelist() {
			t.Errorf("the newest state is %+v", cut.meta)
		}
		_, err = cut.Walk(t.Context())
		must(t, err)
		must(t, f.Close())
	}
}

func TestEncodeFreelist_HoldsMoreThanItsCountCanSay(t *testing.T) {
	for _, n := range []int{0, 1, manyFree - 1, manyFree, manyFree + 1, 200_000} {
		free := make([]uint64, n)
		for i := range free {
			free[i] = uint64(3 * (i + 10))
		}
		count := uint64((pageHeaderSize+8*(n+1))/pageSize + 1)
		const id = 2
		file := append(make([]byte, id*pageSize), encodeFreelist(id, free, count, pageSize)...)
		s := &State{meta: meta{pageSize: pageSize, freelist: id, high: 1 << 30}, file: bytes.NewReader(file)}
		w := &walker{State: s, ctx: t.Context()}
		got, err := w.freelistPage()
		must(t, err)
		if len(got) != n || n > 0 && (got[0] != free[0] || got[n-1] != free[n-1]) {
			t.Errorf("%d free pages: %d are read", n, len(got))
		}
	}
}

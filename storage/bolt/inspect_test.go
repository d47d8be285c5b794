package bolt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"tutela/storage"
	"tutela/storage/bolt/boltfile"
)

// sampleFile makes a data file with rows of all sizes, free pages in it, and a tree of three levels. It ends with its
// last page; the file at path has room behind it.
func sampleFile(t testing.TB) (path string, bytes []byte) {
	path = newPath(t)
	e := open(t, path, Options{})
	for i := range 8 {
		fill(t, e, strings.Repeat(string(rune('a'+i)), 30), 400)
	}
	must(t, e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		for i := range 400 {
			ws.Delete(fmt.Appendf(nil, "%s%06d", strings.Repeat("c", 30), i))
		}
		ws.Put([]byte(strings.Repeat("long", storage.MaxKeyBytes/4)), make([]byte, 64<<10))
		return ws, nil
	}))
	must(t, e.Close())
	bytes, err := os.ReadFile(path)
	must(t, err)
	return path, bytes[:newest(t, bytes).Pages()*pageSize]
}

// refused opens and inspects damaged data, which must leave the file as it is and tell why in one line; or neither
// refuses, and the file can be read and written.
func refused(t testing.TB, path string, data []byte) error {
	must(t, os.WriteFile(path, data, 0o600))
	before := sha256.Sum256(data)
	there := files(t, path)
	inspected := Inspect(path)
	e, err := Open(t.Context(), path, Options{Logger: slog.New(slog.DiscardHandler)})
	if (err == nil) != (inspected == nil) {
		t.Errorf("Inspect: %v, but Open: %v", inspected, err)
	}
	if err == nil {
		content(t, e)
		must(t, write(e, "another", "row"))
		must(t, e.Close())
		return nil
	}
	if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) {
		t.Errorf("not one line with the path: %q", err)
	}
	after, readErr := os.ReadFile(path)
	must(t, readErr)
	if sha256.Sum256(after) != before {
		t.Errorf("the refused file was changed (%v)", err)
	}
	if left := files(t, path); !slices.Equal(left, there) {
		t.Errorf("files after the refusal: %v", left)
	}
	return err
}

func TestOpen_TellsDamagedFromForeign(t *testing.T) {
	path, whole := sampleFile(t)
	edit := func(change func([]byte)) []byte {
		data := bytes.Clone(whole)
		change(data)
		return data
	}
	meta := int(newest(t, whole).Tx() % 2 * pageSize)
	room := make([]byte, boltfile.GrowthBytes) // what a commit that makes the tree longer had made before it
	for name, test := range map[string]struct {
		data []byte
		want error
		says string
	}{
		"empty":         {nil, ErrDamaged, "empty"},
		"one byte":      {[]byte{1}, storage.ErrForeign, "no head"},
		"text":          {[]byte(strings.Repeat("hello\n", 5000)), storage.ErrForeign, "no head"},
		"zeros":         {make([]byte, 1<<16), storage.ErrForeign, "no head"},
		"SQLite":        {append([]byte("SQLite format 3\x00"), make([]byte, 8192)...), storage.ErrForeign, "no head"},
		"only the head": {whole[:pageSize*2], ErrDamaged, "truncated"},
		"half of it":    {whole[:len(whole)/2], ErrDamaged, "truncated"},
		"both metas torn": {edit(func(b []byte) {
			b[40]++
			b[pageSize+40]++
		}), ErrDamaged, "both meta pages"},
		"one meta torn":       {append(edit(func(b []byte) { b[meta+40]++ }), room...), nil, ""},
		"the other meta torn": {edit(func(b []byte) { b[pageSize-meta+40]++ }), nil, ""},
		"tree zeroed":         {edit(func(b []byte) { clear(b[2*pageSize:]) }), ErrDamaged, "page "},
	} {
		t.Run(name, func(t *testing.T) {
			err := refused(t, path, test.data)
			if !errors.Is(err, test.want) || test.want != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("open: %v; want %v that says %q", err, test.want, test.says)
			}
		})
	}
}

func TestOpen_RefusesAFileCutWithinTheRoomBehindItsPages(t *testing.T) {
	path, pages := sampleFile(t)
	whole, err := os.ReadFile(path) // as it grew
	must(t, err)
	for _, size := range []int{len(pages) + 1, len(pages) + pageSize, len(whole) / 2, boltfile.GrowthBytes - 1} {
		if err := refused(t, path, whole[:size]); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "truncated") {
			t.Errorf("%d of %d bytes: %v", size, len(whole), err)
		}
	}
	for _, size := range []int{len(pages), len(whole)} {
		if err := refused(t, path, whole[:size]); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// newest is the state that bbolt would open in a data file.
func newest(t testing.TB, data []byte) *boltfile.State {
	t.Helper()
	s, err := boltfile.Newest(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpen_BboltFilesOfOthersAreForeign(t *testing.T) {
	for name, make := range map[string]func(*bbolt.Tx) error{
		"nothing in it": func(*bbolt.Tx) error { return nil },
		"another bucket": func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("etcd"))
			return err
		},
		"another bucket beside ours": func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("etcd"))
			_, err2 := tx.CreateBucket(bucketName)
			return errors.Join(err, err2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			db, err := bbolt.Open(path, 0o600, nil)
			must(t, err)
			must(t, db.Update(make))
			must(t, db.Close())
			data, err := os.ReadFile(path)
			must(t, err)
			if err := refused(t, path, data); !errors.Is(err, storage.ErrForeign) {
				t.Errorf("open: %v", err)
			}
		})
	}
}

func TestOpen_FileWithFreelistAndOtherPageSizeIsFine(t *testing.T) {
	for _, size := range []int{1024, 4096, 16384} {
		path := newPath(t)
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: size})
		must(t, err)
		for round := range 5 {
			must(t, db.Update(func(tx *bbolt.Tx) error {
				bucket, err := tx.CreateBucketIfNotExists(bucketName)
				for i := range 500 {
					must(t, bucket.Put(fmt.Appendf(nil, "%d/%d", round, i), make([]byte, 100)))
				}
				return err
			}))
		}
		must(t, db.Close())
		for _, spoil := range []bool{false, true} {
			data, err := os.ReadFile(path)
			must(t, err)
			if spoil {
				clear(data[:80]) // page 0: the size of a page must be found out
			}
			if err := refused(t, path, data); err != nil {
				t.Errorf("page size %d, one meta: %t: %v", size, spoil, err)
			}
			must(t, os.WriteFile(path, data, 0o600))
		}
	}
}

// TestOpen_SurvivesAnyCorruption is about the process, which no corruption may end, and the file, which no refusal may
// change. Whether a change is seen is another matter: free pages and values have no checksum.
func TestOpen_SurvivesAnyCorruption(t *testing.T) {
	if testing.Short() {
		t.Skip("damages a file in some hundred ways: run it without -short")
	}
	path, whole := sampleFile(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	pages := len(whole) / pageSize
	page := func(data []byte) []byte { return data[draw.IntN(pages)*pageSize:][:pageSize] }
	corruptions := map[string]func(data []byte) []byte{
		"truncated":     func(data []byte) []byte { return data[:draw.IntN(len(data))] },
		"cut at a page": func(data []byte) []byte { return data[:draw.IntN(pages)*pageSize] },
		"bits flipped": func(data []byte) []byte {
			for range 1 + draw.IntN(20) {
				data[draw.IntN(len(whole))] ^= 1 << draw.IntN(8)
			}
			return data
		},
		"heads changed": func(data []byte) []byte {
			for range 1 + draw.IntN(5) {
				data[draw.IntN(pages)*pageSize+draw.IntN(64)] = byte(draw.Uint32())
			}
			return data
		},
		"a page of noise": func(data []byte) []byte {
			p := page(data)
			for i := range p {
				p[i] = byte(draw.Uint32())
			}
			return data
		},
		"a page of zeros": func(data []byte) []byte {
			clear(page(data))
			return data
		},
		"a page elsewhere": func(data []byte) []byte {
			copy(page(data), page(data))
			return data
		},
		"half a page stale": func(data []byte) []byte {
			copy(page(data)[:512], page(data)[:512])
			return data
		},
		"a wild reference": func(data []byte) []byte {
			p := page(data)
			binary.NativeEndian.PutUint64(p[24:], draw.Uint64()>>draw.IntN(64))
			return data
		},
	}
	caught := map[string]int{}
	const rounds = 20
	for name, corrupt := range corruptions {
		for range rounds {
			if refused(t, path, corrupt(bytes.Clone(whole))) != nil {
				caught[name]++
			}
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	t.Logf("refused, of %d each: %v", rounds, caught)
	for _, name := range []string{"truncated", "cut at a page"} {
		if caught[name] < rounds {
			t.Errorf("%s: only %d of %d were refused", name, caught[name], rounds)
		}
	}
}

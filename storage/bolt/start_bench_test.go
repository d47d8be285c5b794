package bolt

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// benchMiB is the size of the data file of benchmarks whose figures hang on it: 64 MiB, or what TUTELA_BENCH_MIB says.
func benchMiB(b *testing.B) int64 {
	b.Helper()
	said := os.Getenv("TUTELA_BENCH_MIB")
	if said == "" {
		return 64
	}
	n, err := strconv.ParseInt(said, 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// bigFile makes a data file as a server with many users makes it: rows of users in random order, and events appended.
func bigFile(b *testing.B) (path string) {
	b.Helper()
	path = newPath(b)
	d, err := openOrCreate(b.Context(), path, Options{}.withDefaults())
	must(b, err)
	d.db.NoSync = true
	d.db.NoGrowSync = true
	for events, size := uint64(0), int64(0); size < benchMiB(b)<<20; {
		must(b, d.db.Update(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(bucketName)
			for range 10_000 {
				events++
				if err := putUser(bucket, events); err != nil {
					return err
				}
			}
			return nil
		}))
		size, err = fileSize(d)
		must(b, err)
	}
	must(b, d.db.Sync())
	must(b, d.close())
	return path
}

// putUser writes the rows of a new user, and an event.
func putUser(bucket *bbolt.Bucket, event uint64) error {
	uid := make([]byte, 16)
	rand.Read(uid)
	for table := range 5 {
		key := fmt.Appendf(append([]byte("u"), uid...), "table%d\x00key", table)
		if err := bucket.Put(key, make([]byte, 250)); err != nil {
			return err
		}
	}
	return bucket.Put(append(binary.BigEndian.AppendUint64([]byte("l"), event), uid...), make([]byte, 100))
}

// BenchmarkOpen measures how long a data file takes to be opened: after a clean stop; after a kill, when it is read
// through; and after a kill when nothing of it is in memory, as after a power cut. For a large one:
//
//	TUTELA_BENCH_MIB=1400 go test ./storage/bolt -run '^$' -bench Open -benchtime 5x
func BenchmarkOpen(b *testing.B) {
	path := bigFile(b)
	info, err := os.Stat(path)
	must(b, err)
	for _, stop := range []string{"clean", "killed", "cold"} {
		b.Run(stop, func(b *testing.B) {
			must(b, open(b, path, Options{}).Close())
			b.SetBytes(info.Size())
			for b.Loop() {
				b.StopTimer()
				if stop != "clean" {
					unmark(b, path)
				}
				if stop == "cold" {
					forget(b, path)
				}
				b.StartTimer()
				e, err := Open(b.Context(), path, Options{})
				b.StopTimer()
				must(b, err)
				must(b, e.Close())
				b.StartTimer()
			}
		})
	}
}

// unmark leaves the data file as one whose server was killed after a write.
func unmark(b *testing.B, path string) {
	b.Helper()
	e := open(b, path, Options{})
	must(b, write(e, "a", "1"))
	must(b, e.file.close())
	e.file = &data{stuck: true}
	must(b, e.Close())
}

// forget takes the file out of the page cache.
func forget(b *testing.B, path string) {
	b.Helper()
	f, err := os.Open(path)
	must(b, err)
	must(b, f.Sync())
	must(b, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	must(b, f.Close())
}

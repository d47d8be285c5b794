package admin_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"tutela/backup"
	"tutela/device/devicetest"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// resetLimit is how long the reset of the largest user may hold the writer, and with it everybody.
const resetLimit = 20 * time.Millisecond

// BenchmarkReset measures the reset of the largest user that the tables allow ([storage.Spec], Most): rows of every table up
// to its bound (of logins those of one client), with their index and expiry entries, and backups of the largest size that is set. held is the closure on the
// writer's goroutine alone; whole is the call from beginning to end, with the commit and its sync. Of each the shortest is
// printed, which is the one that the machine did least else beside, and of held the middle as well.
//
//	go test ./recovery/admin -run '^$' -bench Reset
func BenchmarkReset(b *testing.B) {
	for _, size := range []int{256 << 10, backup.MaxBlobBytes} {
		b.Run(fmt.Sprintf("backups of %d KiB", size>>10), func(b *testing.B) { benchReset(b, size) })
	}
}

func benchReset(b *testing.B, blob int) {
	watch := &stopwatch{}
	h := devicetest.Open(b, ground.Options{Wrap: func(e storage.Engine) storage.Engine {
		watch.Engine = e
		return watch
	}})
	var held, whole []time.Duration
	rows := 0
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		id := fmt.Sprintf("user-%d", n)
		rows = fill(b, h, id, blob)
		watch.held = 0
		begun := time.Now()
		b.StartTimer()
		_, err := h.Admins.Reset(b.Context(), id, recovery.ResetRequest{Reason: "test"}, audit.ByOperator(0))
		b.StopTimer()
		must(b, err)
		whole = append(whole, time.Since(begun))
		held = append(held, watch.held)
		b.StartTimer()
	}
	b.ReportMetric(float64(rows), "rows")
	slices.Sort(held)
	b.ReportMetric(milliseconds(held[0]), "held-ms")
	b.ReportMetric(milliseconds(held[len(held)/2]), "held-middle-ms")
	b.ReportMetric(milliseconds(slices.Min(whole)), "whole-ms")
	b.ReportMetric(milliseconds(resetLimit), "limit-ms")
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// stopwatch measures how long closures hold the writer.
type stopwatch struct {
	storage.Engine
	held time.Duration
}

func (s *stopwatch) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	return s.Engine.Update(ctx, func(r storage.Reader) (*storage.WriteSet, error) {
		begun := time.Now()
		defer func() { s.held += time.Since(begun) }()
		return fn(r)
	})
}

// shapes are what rows of some tables have beside a record of 300 bytes.
var shapes = map[string]struct {
	record, indexes int
	expires         bool
}{
	"answer":         {record: 1000, expires: true},
	"backup":         {record: 700, indexes: 4, expires: true},
	"backup_chunk":   {record: 64 << 10},
	"backup_handle":  {record: 150, expires: true},
	"backup_version": {record: 2000},
	"enrollment":     {record: 1500, indexes: 1},
	"event_detail":   {record: 180},
	"login":          {record: 800, expires: true},
	"notice":         {record: 300, expires: true},
	"push_address":   {record: 400, expires: true},
	"restore":        {record: 1000, expires: true},
	"restore_key":    {record: 60, expires: true},
	"ticket":         {record: 400, indexes: 1, expires: true},
}

// fill makes a user with as many rows of each table as it declares, below the domain, and returns how many a reset removes.
func fill(b *testing.B, h *devicetest.House, id string, blob int) (rows int) {
	b.Helper()
	var uid storage.UID
	h.Update(func(tx *storage.Tx) error {
		u, err := user.Create(tx, user.User{ID: id})
		if err == nil {
			uid = u.UID
		}
		return err
	})
	classes := storage.Tables()
	for table, most := range storage.Bounds() {
		switch {
		case table == "backup_chunk":
			most = most * blob / backup.MaxBlobBytes
		case table != "event" && classes[table] != storage.MFA:
			continue
		}
		if classes[table] == storage.MFA {
			rows += most
		}
		for ; most > 0; most -= 100 {
			written := storage.NewWriteSet()
			for range min(most, 100) {
				row(written, uid, table, h.Store.Now().Add(time.Hour))
			}
			must(b, h.Store.Engine().Update(b.Context(), func(storage.Reader) (*storage.WriteSet, error) { return written, nil }))
		}
	}
	return rows
}

// row writes one row as the storage does (storage/row.go), with what points at it.
func row(written *storage.WriteSet, uid storage.UID, table string, until time.Time) {
	shape, known := shapes[table]
	if !known {
		shape.record = 300
	}
	key := slices.Concat([]byte{'u'}, uid[:], []byte(table+"\x00"+storage.NewID("", 25)))
	value := binary.BigEndian.AppendUint64([]byte{1}, 0)
	if shape.expires {
		binary.BigEndian.PutUint64(value[1:], uint64(until.UnixNano()))
		written.Put(slices.Concat([]byte("x\x00"), value[1:9], key[1:]), []byte{})
	}
	value = binary.AppendUvarint(value, uint64(shape.indexes))
	for range shape.indexes {
		entry := []byte("i" + table + ".id\x00" + storage.NewID("", 22))
		written.Put(entry, key)
		value = append(binary.AppendUvarint(value, uint64(len(entry))), entry...)
	}
	written.Put(key, append(value, make([]byte, shape.record)...))
}

package postgres_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"tutela/storage"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

// BenchmarkPostgresWrites measures durable transactions per second of one row under a random key, through the engine and, beside
// it in the same run, by pgx alone with the same statements: what a transaction of storage can be at most.
func BenchmarkPostgresWrites(b *testing.B) {
	for _, callers := range []int{1, 24, 64} {
		b.Run(fmt.Sprintf("storage/callers=%d", callers), func(b *testing.B) {
			e := open(b, pgtest.Start(b, pgtest.Options{Durable: true}).Database(b))
			atOnce(b, callers, func() error {
				return e.Update(context.Background(), func(storage.Reader) (*storage.WriteSet, error) {
					ws := storage.NewWriteSet()
					ws.Put(randomKey(), make([]byte, 200))
					return ws, nil
				})
			})
		})
		b.Run(fmt.Sprintf("pgx/callers=%d", callers), func(b *testing.B) {
			url := pgtest.Start(b, pgtest.Options{Durable: true}).Database(b)
			check.Must(b, open(b, url).Healthy()) // makes the table
			pool := bare(b, url)
			atOnce(b, callers, func() error {
				batch := new(pgx.Batch)
				batch.Queue("bare_begin")
				batch.Queue("bare_put", [][]byte{randomKey()}, [][]byte{make([]byte, 200)}, rand.Int64())
				batch.Queue("bare_commit")
				return pool.SendBatch(context.Background(), batch).Close()
			})
		})
	}
}

// bare is a pool of as many connections as a server has, with the statements ready.
func bare(b *testing.B, url string) *pgxpool.Pool {
	b.Helper()
	config, err := pgxpool.ParseConfig(url)
	check.Must(b, err)
	config.MaxConns = 24
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		for name, sql := range map[string]string{
			"bare_begin":  `begin isolation level serializable`,
			"bare_put":    `insert into tutela_kv (k, v, w) select put.k, put.v, $3 from unnest($1::bytea[], $2::bytea[]) as put (k, v) on conflict (k) do update set v = excluded.v, w = excluded.w`,
			"bare_commit": `commit`,
		} {
			if _, err := c.Prepare(ctx, name, sql); err != nil {
				return err
			}
		}
		return nil
	}
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	check.Must(b, err)
	b.Cleanup(pool.Close)
	return pool
}

func randomKey() []byte {
	key := []byte("u")
	key = binary.BigEndian.AppendUint64(key, rand.Uint64())
	return append(binary.BigEndian.AppendUint64(key, rand.Uint64()), "bench\x00k"...)
}

// atOnce does something b.N times, by so many callers at once.
func atOnce(b *testing.B, callers int, do func() error) {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range callers {
		all.Go(func() {
			for next.Add(1) <= int64(b.N) && !b.Failed() {
				if err := do(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

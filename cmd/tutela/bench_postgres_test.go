package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"tutela/storage/storagetest/pgtest"
)

// BenchmarkPostgres measures whole use cases per second, by 64 callers: over a data file, and over PostgreSQL with one server and
// with two. The database, the servers and the load share the machine. Its database syncs what it commits, and has no standby.
//
// Reported: /s; and of a database, how many transactions of a hundred were run again because others were in their way (40001).
// storage/postgres has the figures of storage beside pgx alone.
func BenchmarkPostgres(b *testing.B) {
	for _, over := range []struct {
		name    string
		servers int // over a database; 0: one, over a data file
		others  int // rows of other users that are there already
	}{{"bolt", 0, 0}, {"one server", 1, 0}, {"one server, others", 1, 1_000_000}, {"two servers", 2, 0}, {"two servers, others", 2, 1_000_000}} {
		b.Run(over.name, func(b *testing.B) {
			fleet := startFleet(b, over.servers)
			fleet.crowd(b, over.others)
			b.Run("login", func(b *testing.B) { fleet.measure(b, (*limitsBench).prepareOneLoginEach) })
			b.Run("login again", func(b *testing.B) { fleet.measure(b, (*limitsBench).prepareLogins) })
			b.Run("code", func(b *testing.B) { fleet.measure(b, (*limitsBench).prepareCodes) })
			b.Run("reset", func(b *testing.B) { fleet.measure(b, (*limitsBench).prepareResets) })
			if over.servers == 1 && over.others == 0 {
				b.Run("user", fleet.weigh)
			}
		})
	}
}

// prepareOneLoginEach makes phones of as many users: nobody logs in twice, as in an hour of a large installation.
func (s *limitsBench) prepareOneLoginEach(b *testing.B, n int) func(context.Context, int) error {
	phones := s.enrollMany(b, n)
	return func(ctx context.Context, i int) error { return s.whole(ctx, phones[i]) }
}

// fleet is the servers over one store.
type fleet []*limitsBench

// usersApart keeps the names of the users of several servers apart.
const usersApart = 10_000_000

// startFleet starts servers over a database of their own, or one over a data file.
func startFleet(b *testing.B, overDatabase int) fleet {
	b.Helper()
	var environment []string
	if overDatabase > 0 {
		environment = []string{"TUTELA_STORE=" + pgtest.Start(b, pgtest.Options{Durable: true}).Database(b)}
	}
	var all fleet
	for i := range max(overDatabase, 1) {
		s := newLive(b)
		s.store = environment
		s.logLevel = "warn"
		s.environment = []string{"TUTELA_OPS_LISTEN=" + freeAddress(b), "TUTELA_ACCESS_LOG=off"}
		if i == 0 {
			s.open(b)
		} else {
			s.join(b, all[0].liveServer)
		}
		all = append(all, &limitsBench{loginBench: &loginBench{liveServer: s, enrolled: i * usersApart}, table: new(table)})
	}
	return all
}

// crowd writes rows of users who do nothing, each with one, so that those who do something lie apart as in a large installation.
func (f fleet) crowd(b *testing.B, rows int) {
	b.Helper()
	if rows == 0 {
		return
	}
	pgtest.Run(b, strings.TrimPrefix(f[0].store[0], "TUTELA_STORE="), fmt.Sprintf(`insert into tutela_kv
		select '\x75'::bytea || decode(md5(g::text), 'hex') || '\x66696c6c6572006b'::bytea, decode(repeat('00', 200), 'hex'), 0 from generate_series(1, %d) g`, rows))
}

// join starts a further server beside one that runs, over its database. It has a name of its own, so that what is addressed to one
// is asked of that one.
func (s *liveServer) join(tb testing.TB, other *liveServer) {
	tb.Helper()
	own := "http://" + freeAddress(tb)
	s.public = own
	s.environment = append(s.environment, "TUTELA_MASTER_KEY_FILE="+filepath.Join(other.data, "master.key"), "TUTELA_PUBLIC_URL="+other.public+","+own)
	must(tb, os.Mkdir(s.data, 0o700))
	s.restart(tb, own)
	tb.Cleanup(func() { s.kill(syscall.SIGTERM) })
	s.bank = other.bank
	s.admin = other.admin
	s.login(tb)
}

// measure does b.N of a use case, spread over the servers.
func (f fleet) measure(b *testing.B, prepare func(*limitsBench, *testing.B, int) func(context.Context, int) error) {
	do := make([]func(context.Context, int) error, len(f))
	for i, s := range f {
		do[i] = prepare(s, b, b.N/len(f)+1)
	}
	commits, conflicts := f.counted(b)
	var next atomic.Int64
	var group sync.WaitGroup
	b.ResetTimer()
	for range cpuCallers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < b.N && !b.Failed(); i = int(next.Add(1)) - 1 {
				if err := do[i%len(f)](b.Context(), i/len(f)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "/s")
	committed, undone := f.counted(b)
	if committed > commits {
		b.ReportMetric((undone-conflicts)*100/(committed-commits), "%again")
		b.ReportMetric((committed-commits)/float64(b.N), "commits/op")
	}
}

// weigh reports what b.N users with a phone and a code have in the database, before their first login.
func (f fleet) weigh(b *testing.B) {
	conn, err := pgx.Connect(b.Context(), strings.TrimPrefix(f[0].store[0], "TUTELA_STORE="))
	must(b, err)
	defer func() { must(b, conn.Close(b.Context())) }()
	var before, after, rowsBefore, rowsAfter float64
	const size = `select pg_total_relation_size('tutela_kv'), count(*) from tutela_kv`
	must(b, conn.QueryRow(b.Context(), size).Scan(&before, &rowsBefore))
	f[0].enrollMany(b, b.N)
	must(b, conn.QueryRow(b.Context(), size).Scan(&after, &rowsAfter))
	b.ReportMetric((after-before)/float64(b.N), "B/user")
	b.ReportMetric((rowsAfter-rowsBefore)/float64(b.N), "rows/user")
}

// counted is how many transactions the servers have committed to a database, and how many they have run again.
func (f fleet) counted(b *testing.B) (commits, conflicts float64) {
	b.Helper()
	for _, s := range f {
		_, address, _ := strings.Cut(s.environment[0], "=")
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
		must(b, err)
		resp, err := http.DefaultClient.Do(req)
		must(b, err)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.ParseFloat(value, 64)
			switch {
			case err != nil:
			case name == "tutela_database_commit_duration_seconds_count":
				commits += n
			case name == "tutela_database_conflicts_total":
				conflicts += n
			}
		}
		must(b, resp.Body.Close())
	}
	return commits, conflicts
}

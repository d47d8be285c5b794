package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/server/access"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

// freeAddress is a port of this machine that nobody has.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// twoServers starts two servers over one database, which has the master key of the first.
func twoServers(t *testing.T, store string) (a, b *liveServer) {
	t.Helper()
	a = newLive(t)
	b = newLive(t)
	a.public = "http://" + freeAddress(t)
	b.public = "http://" + freeAddress(t)
	own := b.public
	public := "TUTELA_PUBLIC_URL=" + a.public + "," + b.public
	a.store = []string{"TUTELA_STORE=" + store}
	b.store = a.store
	a.environment = []string{public}
	b.environment = []string{public, "TUTELA_MASTER_KEY_FILE=" + filepath.Join(a.data, "master.key")}
	a.open(t)
	must(t, os.Mkdir(b.data, 0o700))
	b.restart(t, own)
	t.Cleanup(func() { b.kill(syscall.SIGTERM) })
	b.bank = a.bank
	b.admin = a.admin
	b.login(t)
	return a, b
}

// restart starts a server whose own URL is not the first of the public ones.
func (s *liveServer) restart(t testing.TB, own string) {
	t.Helper()
	s.start(t)
	s.public = own
}

func TestTwoServers_WhatOneDoesTheOtherKnows(t *testing.T) {
	a, b := twoServers(t, pgtest.Database(t))
	p, _, err := b.enroll(t.Context(), "ada")
	must(t, err)
	// Asked at one, awaited there, answered at the other.
	asked, err := a.ask(t.Context(), "ada")
	must(t, err)
	collected := make(chan error, 1)
	go func() {
		collected <- a.form(t.Context(), a.bank, "/oauth/token", nil, "grant_type", access.GrantCIBA, "auth_req_id", asked.ID, "wait", "60")
	}()
	must(t, answerOne(t.Context(), p, asked.Number))
	must(t, <-collected)
	// A token of one opens the other, and what is set at one rules the other.
	own := b.token
	b.token = a.token
	must(t, b.manage(t.Context(), http.MethodGet, "/users/ada", nil, nil))
	b.token = own
	a.setPolicy(t, "approval.digits", "3")
	asked, err = b.ask(t.Context(), "ada")
	must(t, err)
	if len(asked.Number) != 3 {
		t.Errorf("the number is %q", asked.Number)
	}
	// One goes, the other goes on.
	a.kill(syscall.SIGKILL)
	must(t, answerOne(t.Context(), p, asked.Number))
	must(t, collectOne(t.Context(), b, asked))
}

func TestTwoServers_OneOfManyCallersGetsTheTicket(t *testing.T) {
	a, b := twoServers(t, pgtest.Database(t))
	var ticket struct {
		ID string `json:"ticket_id"`
	}
	must(t, a.manage(t.Context(), http.MethodPost, "/guardian/enrollments/ticket", map[string]string{"user_id": "ada"}, &ticket))
	var won atomic.Int64
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			p, err := phone.New(phone.Options{BaseURL: []*liveServer{a, b}[i%2].public, Name: fmt.Sprint("phone ", i), Identifier: fmt.Sprint("phone-", i)})
			if err == nil {
				_, err = p.Enroll(t.Context(), ticket.ID)
			}
			switch {
			case err == nil:
				won.Add(1)
			case phone.CodeOf(err) == "":
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d callers got the ticket", won.Load())
	}
}

func TestTwoServers_AnotherMasterKeyIsRefused(t *testing.T) {
	store := pgtest.Database(t)
	s := newLive(t)
	s.store = []string{"TUTELA_STORE=" + store}
	s.open(t)
	other := newLive(t)
	for _, c := range []struct{ key, want string }{
		{"", "is missing"},
		{"TUTELA_MASTER_KEY=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "is not the one that this data was written with"},
	} {
		refused := exec.CommandContext(t.Context(), other.binary, "serve", "--listen", "127.0.0.1:0", "--data", other.data)
		refused.Env = append(cleanEnvironment(), "TUTELA_STORE="+store, c.key)
		var said bytes.Buffer
		refused.Stderr = &said
		var ended *exec.ExitError
		if err := refused.Run(); !errors.As(err, &ended) || !strings.Contains(said.String(), c.want) || strings.Count(said.String(), "\n") != 1 {
			t.Errorf("%q: %v: %s", c.key, err, said.String())
		}
	}
}

// The primary dies under load, and the standby takes its place: what was acknowledged is there, and the server goes on by itself.
func TestFailover_TheServerGoesOnByItselfAndNothingAcknowledgedIsLost(t *testing.T) {
	skipWhenShort(t)
	failOverServer(t)
}

func failOverServer(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{Durable: true})
	standby := primary.Standby(t)
	s := newLive(t)
	s.store = []string{"TUTELA_STORE=" + primary.Either(standby)}
	s.logLevel = "error"
	s.open(t)
	l := newLedger(t, s)
	acknowledged := l.loadUntil(t, func() {
		<-time.After(2 * time.Second) // in the middle of the load, whenever that is
		primary.Crash(t)
	})
	standby.Promote(t)
	for status, body := s.readyz(t); status != http.StatusOK; status, body = s.readyz(t) {
		if t.Context().Err() != nil {
			t.Fatalf("the server is not ready again: %s", body)
		}
	}
	must(t, l.verify(t.Context()))
	if acknowledged == 0 {
		t.Fatal("nothing was acknowledged: that shows nothing")
	}
	t.Logf("%d acknowledged steps before the primary died, none lost", acknowledged)
}

// A server over a database is killed under load, and started again on the same: what it acknowledged is there.
func TestKill_OfAServerOverADatabaseLosesNothing(t *testing.T) {
	skipWhenShort(t)
	killOver(t, pgtest.Database(t), 2)
}

func TestSoakKill_OfAServerOverADatabaseLosesNothingInTwentyRounds(t *testing.T) {
	check.Soak(t)
	killOver(t, pgtest.Database(t), 20)
}

func killOver(t *testing.T, store string, rounds int) {
	t.Helper()
	s := newLive(t)
	s.store = []string{"TUTELA_STORE=" + store}
	s.open(t)
	l := newLedger(t, s)
	acknowledged := 0
	for round := range rounds {
		acknowledged += l.loadAndKill(t)
		s.start(t)
		if err := l.verify(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if acknowledged == 0 {
		t.Fatal("nothing was acknowledged: that shows nothing")
	}
	t.Logf("%d kills, %d acknowledged steps, none lost", rounds, acknowledged)
}

// The primary dies again and again, each time with a standby of its own.
func TestSoakFailover_TheServerGoesOnInTwentyRounds(t *testing.T) {
	check.Soak(t)
	for range 20 {
		t.Run("round", failOverServer)
	}
}

// The network between the server and its database is torn for longer than the server tries: callers are refused cleanly, and all goes
// on by itself when it is mended.
func TestPartition_CallersAreRefusedCleanlyAndAllGoesOnByItself(t *testing.T) {
	skipWhenShort(t)
	cluster := pgtest.Start(t, pgtest.Options{})
	proxy := cluster.Proxy(t)
	s := newLive(t)
	database := cluster.Database(t)
	s.store = []string{"TUTELA_STORE=" + proxy.Through(database)}
	s.logLevel = "error"
	s.open(t)
	l := newLedger(t, s)
	acknowledged := l.loadUntil(t, func() {
		for until := rowsIn(t, database) + 300; rowsIn(t, database) < until; runtime.Gosched() {
		}
		proxy.Pause()
	})
	for name, body := s.readyz(t); ; name, body = s.readyz(t) {
		if name == http.StatusServiceUnavailable && strings.Contains(body, `"store"`) {
			break
		}
		if t.Context().Err() != nil {
			t.Fatalf("the server is ready without a database: %s", body)
		}
	}
	refused, err := s.http.Post(s.public+"/oauth/token", "application/x-www-form-urlencoded", strings.NewReader("grant_type=client_credentials&client_id="+s.admin.ID+"&client_secret="+s.admin.Secret))
	must(t, err)
	must(t, refused.Body.Close())
	if refused.StatusCode != http.StatusServiceUnavailable || refused.Header.Get("Retry-After") == "" {
		t.Errorf("a caller was told %d, Retry-After %q", refused.StatusCode, refused.Header.Get("Retry-After"))
	}
	proxy.Resume()
	for status, body := s.readyz(t); status != http.StatusOK; status, body = s.readyz(t) {
		if t.Context().Err() != nil {
			t.Fatalf("the server is not ready again: %s", body)
		}
	}
	must(t, l.verify(t.Context()))
	if acknowledged == 0 {
		t.Fatal("nothing was acknowledged: that shows nothing")
	}
	if most := s.memory(t); most > 512<<20 {
		t.Errorf("the server had %d MiB in memory", most>>20)
	}
}

// memory is the most that the process had in memory. Source: proc_pid_status(5), VmHWM.
func (s *liveServer) memory(t *testing.T) (bytes int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscan(rest, &bytes)
	must(t, err)
	return bytes << 10
}

// A server that is older than the data refuses it in one line, and leaves it as it is.
func TestServe_RefusesADatabaseOfANewerServerInOneLine(t *testing.T) {
	store := pgtest.Database(t)
	s := newLive(t)
	s.store = []string{"TUTELA_STORE=" + store}
	s.open(t)
	s.kill(syscall.SIGTERM)
	pgtest.Run(t, store, `update tutela_kv set v = convert_to(replace(convert_from(v, 'UTF8'), '"version":', '"version":9'), 'UTF8') where k = 'mschema'`)
	older := exec.CommandContext(t.Context(), s.binary, "serve", "--listen", "127.0.0.1:0", "--data", s.data)
	older.Env = append(cleanEnvironment(), s.store...)
	var said bytes.Buffer
	older.Stderr = &said
	if err := older.Run(); err == nil || !strings.Contains(said.String(), "the data was written by a newer tutela (schema 9") || strings.Count(said.String(), "\n") != 1 {
		t.Errorf("%v: %s", err, said.String())
	}
}

// Several servers that begin at once begin one installation, with one signing key of each kind.
func TestSeveralServers_ThatBeginAtOnceMakeTheKeysOnce(t *testing.T) {
	store := pgtest.Database(t)
	const servers = 4
	houses := make([]*house, servers)
	options := houseOptions{
		dataFlags:  dataIn(filepath.Join(check.ShortFolder(t), "data")),
		Begin:      true,
		Init:       true,
		PublicURLs: []string{localServer},
		Issuer:     "tutela",
		Log:        slog.New(slog.DiscardHandler),
	}
	options.Store = store
	must(t, options.makeFolder())
	var all sync.WaitGroup
	for i := range houses {
		all.Go(func() {
			var err error
			if houses[i], err = openHouse(t.Context(), options); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	kinds := map[string]map[string]bool{}
	for _, h := range houses {
		if h == nil {
			continue
		}
		raw, err := h.access.JWKS(t.Context())
		must(t, err)
		var set struct {
			Keys []struct{ Kid, Alg string }
		}
		must(t, json.Unmarshal(raw, &set))
		for _, key := range set.Keys {
			if kinds[key.Alg] == nil {
				kinds[key.Alg] = map[string]bool{}
			}
			kinds[key.Alg][key.Kid] = true
		}
		must(t, h.Close())
	}
	for kind, keys := range kinds {
		if len(keys) != 1 {
			t.Errorf("%d keys of %s were made", len(keys), kind)
		}
	}
	if len(kinds) == 0 {
		t.Error("no key was made")
	}
}

package main

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/otp"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// crowdsVariable names the sizes of the installations that BenchmarkManagement measures, with commas between them.
const crowdsVariable = "TUTELA_USERS"

// smallCrowd is its value when nobody sets it. A million users take over ten minutes to make, and 7 GB.
const smallCrowd = "10000"

// BenchmarkManagement measures the reads, searches and lists of the Management API among so many users, by one caller over
// HTTP on loopback, with other users each time. Reported are milliseconds: the middle, and the 99th of a hundred.
//
//	TUTELA_USERS=10000,1000000 go test ./cmd/tutela -run '^$' -bench Management -benchtime 2000x -timeout 60m
func BenchmarkManagement(b *testing.B) {
	sizes := os.Getenv(crowdsVariable)
	if sizes == "" {
		sizes = smallCrowd
	}
	for size := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(size)
		must(b, err)
		b.Run(size+" users", func(b *testing.B) {
			s := startCrowded(b, n)
			for _, read := range managementReads {
				b.Run(read.name, func(b *testing.B) { s.measureRead(b, read, n) })
			}
		})
	}
}

// managementRead is a call that is measured.
type managementRead struct {
	name string
	path func(i int) string // of a call about the user with number i
}

// managementReads are the calls, the dearest of each kind among them.
var managementReads = []managementRead{
	{"user", func(i int) string { return "/users/" + escapedCrowdID(i) }},
	{"enrollments", func(i int) string { return "/users/" + escapedCrowdID(i) + "/enrollments" }},
	{"methods", func(i int) string { return "/users/" + escapedCrowdID(i) + "/authentication-methods" }},
	{"blocks", func(i int) string { return "/user-blocks/" + escapedCrowdID(i) }},
	{"logs of one", func(i int) string { return "/users/" + escapedCrowdID(i) + "/logs" }},
	{"export", func(i int) string { return "/users/" + escapedCrowdID(i) + "/export" }},
	{"by email", func(i int) string { return "/users-by-email?email=" + url.QueryEscape(crowdEmail(i)) }},
	{"search by email", searchFor(func(i int) string { return `email:"` + crowdEmail(i) + `"` })},
	{"search by a rare beginning", searchFor(func(i int) string { return "email:" + strings.Split(crowdEmail(i), "@")[0] + "*" })},
	{"search by a name of thousands", searchFor(func(i int) string { return `name:"` + crowdName(i) + `"` })},
	{"search by two terms", searchFor(func(i int) string { return `name:` + crowdName(i)[:3] + `* AND email:` + crowdEmail(i)[:4] + `*` })},
	{"search sorted", func(i int) string {
		return searchFor(func(i int) string { return "name:" + crowdName(i)[:2] + "*" })(i) + "&sort=last_login:-1"
	}},
	{"first page", func(int) string { return "/users?per_page=50&include_totals=true" }},
	{"last page", func(int) string { return "/users?per_page=50&page=19&include_totals=true" }},
	{"page by last login", func(i int) string { return fmt.Sprintf("/users?per_page=50&page=%d&sort=last_login:-1", i%20) }},
	{"page from a cursor", func(int) string { return "/users?take=50" }},
	{"recoverability", func(int) string { return "/recoverability" }},
	{"users at risk", func(int) string { return "/recoverability/users?risk=no_recovery_code&take=50" }},
	{"stats", func(int) string { return "/stats" }},
	{"logs", func(i int) string { return fmt.Sprintf("/logs?per_page=50&page=%d", i%20) }},
}

func searchFor(q func(i int) string) func(i int) string {
	return func(i int) string { return "/users?per_page=50&q=" + url.QueryEscape(q(i)) }
}

// startCrowded starts a server that has so many users.
func startCrowded(b *testing.B, users int) *liveServer {
	b.Helper()
	s := newLive(b)
	s.logLevel = "error"
	s.environment = []string{"TUTELA_ACCESS_LOG=off"}
	s.start(b)
	b.Cleanup(func() { s.kill(syscall.SIGTERM) })
	s.admin = s.addClient(b, "admin", "read:users read:authentication_methods read:recoverability read:stats read:logs update:users")
	s.kill(syscall.SIGTERM)
	began := time.Now()
	fillWithUsers(b, s, users)
	info, err := os.Stat(filepath.Join(s.data, "tutela.db"))
	must(b, err)
	b.Logf("%d users were made in %s: a data file of %d MB", users, time.Since(began).Round(time.Second), info.Size()/1e6)
	s.start(b)
	s.login(b)
	return s
}

// fillWithUsers makes users with an app of one-time codes each, as a program that imports them does, but without its HTTP.
func fillWithUsers(b *testing.B, s *liveServer, users int) {
	b.Helper()
	h, err := openHouse(b.Context(), houseOptions{
		dataFlags:  dataFlags{Data: folder{path: s.data}},
		PublicURLs: []string{s.public},
		Issuer:     "Example",
		Log:        slog.New(slog.DiscardHandler),
	})
	must(b, err)
	var next atomic.Int64
	var group sync.WaitGroup
	for range 64 { // the data file commits what comes at once together
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < users && !b.Failed(); i = int(next.Add(1)) - 1 {
				if err := h.makeOneOfMany(b, i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	must(b, h.Close())
	if b.Failed() {
		b.FailNow()
	}
}

// makeOneOfMany makes a user with an app of one-time codes, who has logged in.
func (h *house) makeOneOfMany(b *testing.B, i int) error {
	return h.store.Update(b.Context(), func(tx *storage.Tx) error {
		made, err := user.Create(tx, user.User{
			ID:         crowdID(i),
			Name:       crowdName(i),
			Email:      crowdEmail(i),
			Connection: "staff",
		})
		if err != nil {
			return err
		}
		actor := audit.ByOperator(0)
		if _, err := device.Import(tx, made.UID, device.Imported{Secret: otp.NewSecret()}, actor); err != nil {
			return err
		}
		_, err = user.Change(tx, made.UID, func(u *user.User) error {
			u.Logins = 1
			u.LastLogin = tx.Now().Add(-time.Duration(rand.IntN(100*24)) * time.Hour)
			return nil
		})
		if err != nil {
			return err
		}
		return audit.RecordCall(tx, actor, made.UID)
	})
}

// measureRead makes b.N calls, and reports how long they took.
func (s *liveServer) measureRead(b *testing.B, read managementRead, users int) {
	took := make([]time.Duration, b.N)
	bytes := 0
	b.ResetTimer()
	for n := range b.N {
		i := rand.IntN(users)
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.public+"/api/v2"+read.path(i), nil)
		must(b, err)
		req.Header.Set("Authorization", "Bearer "+s.token)
		began := time.Now()
		resp, err := s.http.Do(req)
		must(b, err)
		body, err := io.ReadAll(resp.Body)
		must(b, err)
		took[n] = time.Since(began)
		must(b, resp.Body.Close())
		if resp.StatusCode != http.StatusOK {
			b.Fatalf("%s: %d %s", req.URL, resp.StatusCode, body)
		}
		bytes += len(body)
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(float64(bytes)/float64(b.N), "B/answer")
}

// The names of a crowd: 200 beginnings and 500 ends, so that a million users have each whole name ten times.

func crowdID(i int) string { return fmt.Sprintf("staff|%07d", i) }

func escapedCrowdID(i int) string { return url.PathEscape(crowdID(i)) }

func crowdName(i int) string { return syllables(i%200) + " " + syllables(i/200%500) }

func crowdEmail(i int) string {
	return fmt.Sprintf("%s.%s.%d@example.org", strings.ToLower(syllables(i%200)), strings.ToLower(syllables(i/200%500)), i)
}

// syllables is a word of its own for each number below 5 625.
func syllables(n int) string {
	const consonants = "bdfgklmnprstvwz"
	const vowels = "aeiou"
	word := ""
	for range 2 {
		word += string(consonants[n%len(consonants)])
		n /= len(consonants)
		word += string(vowels[n%len(vowels)])
		n /= len(vowels)
	}
	return strings.ToUpper(word[:1]) + word[1:]
}

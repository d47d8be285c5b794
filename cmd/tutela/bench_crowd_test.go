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

	"github.com/descope/virtualwebauthn"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/otp"
	"tutela/recovery/admin/signin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

const (
	// crowdsVariable names the sizes of the installations that BenchmarkManagement and BenchmarkPages measure, with commas
	// between them.
	crowdsVariable = "TUTELA_USERS"
	// keptVariable names a folder where installations are kept from one run to the next, each below its size.
	keptVariable = "TUTELA_USERS_KEPT"
)

// smallCrowd is the size when nobody names one. A million users take eight minutes to make, and 8.5 GB.
const smallCrowd = "10000"

// crowd is a server with many users, an admin's program that may read, a login system with hosted pages, and an admin who is signed in.
type crowd struct {
	*liveServer
	users   int
	pages   credentials // of the login system
	session string      // the secret in the admin's cookie
}

// onEachCrowd measures a server of each size that is asked for.
func onEachCrowd(b *testing.B, measure func(b *testing.B, c *crowd)) {
	b.Helper()
	sizes := os.Getenv(crowdsVariable)
	if sizes == "" {
		sizes = smallCrowd
	}
	for size := range strings.SplitSeq(sizes, ",") {
		users, err := strconv.Atoi(size)
		must(b, err)
		b.Run(size+" users", func(b *testing.B) { measure(b, startCrowd(b, users)) })
	}
}

// startCrowd starts a server that has so many users.
func startCrowd(b *testing.B, users int) *crowd {
	b.Helper()
	c := &crowd{liveServer: newLive(b), users: users}
	if kept := os.Getenv(keptVariable); kept != "" {
		c.data = filepath.Join(kept, strconv.Itoa(users))
	}
	c.logLevel = "error"
	c.environment = []string{"TUTELA_ACCESS_LOG=off"}
	c.start(b)
	b.Cleanup(func() { c.kill(syscall.SIGTERM) })
	c.admin = c.addClient(b, "admin", "read:users read:authentication_methods read:recoverability read:stats read:logs update:users "+
		"create:guardian_enrollment_tickets")
	c.pages = c.addClient(b, "shop", "openid", "--redirect-uri", shopURL)
	c.kill(syscall.SIGTERM)

	c.prepare(b)
	info, err := os.Stat(filepath.Join(c.data, "tutela.db"))
	must(b, err)
	b.Logf("the data file has %d MB", info.Size()/1e6)
	c.start(b)
	c.login(b)
	return c
}

// prepare makes the users, unless the installation was kept with them, and signs an admin in.
func (c *crowd) prepare(b *testing.B) {
	b.Helper()
	h, err := openHouse(b.Context(), houseOptions{
		dataFlags:  dataFlags{Data: folder{path: c.data}},
		PublicURLs: []string{c.public},
		Issuer:     "Example",
		Log:        slog.New(slog.DiscardHandler),
	})
	must(b, err)
	filled := filepath.Join(c.data, "filled")
	if _, err := os.Stat(filled); err != nil {
		began := time.Now()
		h.makeMany(b, c.users)
		must(b, os.WriteFile(filled, nil, 0o600))
		b.Logf("%d users were made in %s", c.users, time.Since(began).Round(time.Second))
	}
	c.session = h.signInOwner(b, c.public)
	must(b, h.Close())
}

// makeMany makes users with an app of one-time codes each, as a program that imports them does, but without its HTTP.
func (h *house) makeMany(b *testing.B, users int) {
	b.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	for range 512 { // the data file commits what comes at once together
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < users && !b.Failed(); i = int(next.Add(1)) - 1 {
				if err := h.makeOneOfMany(b, i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
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
		if _, err := device.Import(tx, made.UID, device.Imported{Secret: crowdSecret(i)}, actor); err != nil {
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

// signInOwner makes an owner who is signed in, and returns the secret of the session.
func (h *house) signInOwner(b *testing.B, public string) string {
	b.Helper()
	invited, err := h.signin.Invite(b.Context(), signin.InviteRequest{
		User:    user.User{ID: "staff|owner"},
		Role:    user.Owner,
		Replace: true,
	}, audit.ByOperator(0))
	must(b, err)
	link, err := url.Parse(invited.URL)
	must(b, err)
	invite := link.Query().Get("invite")
	browser := signin.NewSecret()
	options, err := h.signin.SpendInvite(b.Context(), invite, browser)
	must(b, err)
	a := devicetest.NewAuthenticator(b)
	a.Party = virtualwebauthn.RelyingParty{ID: "localhost", Origin: public}
	secret, err := h.signin.AcceptInvite(b.Context(), signin.Made{
		Invite:   invite,
		Browser:  browser,
		Name:     "A laptop",
		Response: a.Create(options),
	}, audit.ByUser().WithOrigin("192.0.2.7", "Firefox 140"))
	must(b, err)
	return secret
}

// get makes a request.
func (c *crowd) get(b *testing.B, address string) *http.Request {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, address, nil)
	must(b, err)
	return r
}

// measure makes b.N calls, each about another user, and reports how long they took. What ask does is not counted.
func (c *crowd) measure(b *testing.B, ask func(i int) *http.Request) {
	b.Helper()
	took := make([]time.Duration, b.N)
	bytes := 0
	for n := range b.N {
		r := ask(rand.IntN(c.users))
		began := time.Now()
		resp, err := c.http.Do(r)
		must(b, err)
		body, err := io.ReadAll(resp.Body)
		must(b, err)
		took[n] = time.Since(began)
		must(b, resp.Body.Close())
		if resp.StatusCode != http.StatusOK {
			b.Fatalf("%s: %d %s", r.URL, resp.StatusCode, body)
		}
		bytes += len(body)
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op") // it would count what ask does
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

// crowdSecret is the secret of the one-time codes of a user.
func crowdSecret(i int) otp.Secret { return otp.Secret(fmt.Sprintf("%020d", i)) }

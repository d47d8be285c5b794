package admin_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// life is a user's whom a busy year befalls, with thieves of her platform backup, of her password and of a phone's key.
type life struct {
	*house
	wrong  recovery.Code
	phone  *devicetest.Phone // hers
	handle string            // of its backup
	latest string            // manifest of that
	number int64             // and generation
	strays int               // enrolments and starts so far, each by a phone of its own
	begun  map[string]int    // what was done, and not refused
}

// TestYear_LeavesNoMoreOfAUserThanTheTablesDeclare counts, after a year, what is there of her, table by table.
func TestYear_LeavesNoMoreOfAUserThanTheTablesDeclare(t *testing.T) {
	if testing.Short() {
		t.Skip("lives a year: run it without -short")
	}
	wrong, err := recovery.ParseCode("0123456789ABCDEFGHJKMNPV")
	must(t, err)
	l := &life{house: newHouse(t, ground.Options{}), wrong: wrong, begun: map[string]int{}}
	l.Set("restore.veto", "off")
	l.phone = l.Enroll("ada", "hers")
	for day := range 365 {
		l.day(day)
		l.Clock.Advance(20 * time.Hour)
		if day%60 == 59 {
			l.count()
		}
	}
	for _, what := range []string{"login", "approval", "denial", "wrong code", "restore", "ticket", "enrolment", "retirement", "backup", "deletion", "handle", "rename", "empty reset"} {
		if l.begun[what] == 0 {
			t.Errorf("the year had no %s: %v", what, l.begun)
		}
	}
	rows := l.count()
	for table, want := range map[string]int{"event": audit.MostEvents * 9 / 10, "enrollment": device.MostRetired, "backup": 1 + backup.MostOrphans} {
		if rows[table] < want {
			t.Errorf("the year did not reach the bound of %s: %d rows", table, rows[table])
		}
	}
	l.Reset("ada")
}

// tolerate counts what was done, and lets it be refused.
func (l *life) tolerate(what string, err error) {
	l.t.Helper()
	switch storage.CodeOf(err) {
	case "":
		if err != nil {
			l.t.Fatalf("%s: %v", what, err)
		}
		l.begun[what]++
	case storage.Limited, storage.Denied, storage.Conflict, storage.Exhausted, storage.NotFound:
	default:
		l.t.Fatalf("%s: %v", what, err)
	}
}

// day is four busy hours, and the rest of it.
func (l *life) day(n int) {
	ctx := l.t.Context()
	for hour := range 4 {
		l.Clock.Advance(time.Hour)
		l.login("bank", "198.51.100.7", true)
		for range 2 { // a thief of her password
			l.login(fmt.Sprintf("shop-%d", (n+hour)%100), "203.0.113.9", false)
		}
		for _, channel := range []recovery.Channel{recovery.LoginChannel, recovery.RestoreChannel} {
			err := l.spend(l.UID("ada"), channel, l.wrong)
			if errors.Is(err, recovery.ErrWrongCode) {
				err = nil
			}
			l.tolerate("wrong code", err)
		}
		l.start() // a thief of her platform backup
	}
	l.put()
	if n%3 == 0 {
		handle, err := l.Backups.NewHandle(ctx, l.phone.Proof(), n%2 == 0, devicetest.ByPhone)
		l.tolerate("handle", err)
		if err == nil {
			l.handle = handle
		}
	}
	if n%4 == 0 { // who has her phone's key
		l.tolerate("deletion", l.Backups.Delete(ctx, l.phone.Proof(), devicetest.ByPhone))
		l.latest = ""
		l.number = 0
	}
	proof, err := l.phone.CallByToken()
	if err == nil {
		address := push.Address{Service: push.GCM, Token: fmt.Sprintf("token %d", n)}
		_, err = l.Devices.Patch(ctx, proof, device.Change{Push: address}, devicetest.ByPhone)
	}
	l.tolerate("rename", err)
	for range 2 { // a program of the help desk's
		l.Ticket("ada")
		l.begun["ticket"]++
	}
	if n%2 == 0 {
		l.comeAndGo()
	}
	if n%5 == 0 {
		l.resetsNothing(n)
	}
}

// login is one that is asked for, and answered when it rings.
func (l *life) login(client, ip string, hers bool) {
	ctx := l.t.Context()
	begun, err := l.Logins.Begin(ctx, login.Request{
		Client: client,
		UserID: "ada",
		Scope:  "openid",
		IP:     ip,
		Life:   2 * time.Minute,
		Agent:  "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
	})
	l.tolerate("login", err)
	pending, listed := l.Logins.Approvals(ctx, l.phone.Proof(), nil, 0)
	if err != nil || listed != nil || len(pending) == 0 {
		return
	}
	m := pending[len(pending)-1]
	now := l.Clock.Wall().Unix()
	claims := map[string]any{
		"iss": l.phone.In.Identifier, "sub": m.Challenge, "aud": devicetest.PublicURL + "/appliance-mfa/api/resolve-transaction",
		"iat": now, "exp": now + 30, "auth0_guardian_method": "push", "auth0_guardian_accepted": hers, "tutela_number": begun.Number,
	}
	what := "approval"
	if !hers {
		what = "denial"
		claims["auth0_guardian_reason"] = "not_me"
	}
	l.tolerate(what, l.Logins.Answer(ctx, m.TransactionToken, l.phone.Sign(claims), devicetest.ByPhone))
}

// start starts a restore under her handle, by a key of its own.
func (l *life) start() {
	l.strays++
	p := l.NewPhone(fmt.Sprintf("stray %d", l.strays))
	_, err := l.Restores.Start(l.t.Context(), restore.StartRequest{
		Handle:       l.handle,
		Installation: p.In,
		Proof:        p.Sign(map[string]any{"handle": hexOf(l.handle), "iat": l.Clock.Wall().Unix()}),
		Address:      fmt.Sprintf("203.0.113.%d", l.strays%250),
	}, audit.ByUser().WithOrigin("203.0.113.9", ""))
	l.tolerate("restore", err)
}

func hexOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// put backs her phone up.
func (l *life) put() {
	body := strings.Repeat("x", 3000)
	l.number++
	claims := map[string]any{
		"iss": l.phone.Enrolled.ID, "generation": l.number, "parent": "", "digest": hexOf(body), "size": len(body), "items": 5,
		"provider": "server", "automatic_restore": true, "iat": l.Clock.Wall().Unix(),
	}
	before := l.number - 1
	req := backup.PutRequest{Body: []byte(body), Precondition: backup.Precondition{Match: &before}}
	if before == 0 {
		req.Precondition = backup.Precondition{None: true}
	} else {
		claims["parent"] = hexOf(l.latest)
	}
	req.Manifest = l.phone.Sign(claims)
	stored, err := l.Backups.Put(l.t.Context(), l.phone.Proof(), req, devicetest.ByPhone)
	must(l.t, err)
	l.begun["backup"]++
	l.latest = req.Manifest
	if stored.Handle != "" {
		l.handle = stored.Handle
	}
}

// comeAndGo enrols a phone, backs it up, and takes it off.
func (l *life) comeAndGo() {
	ctx := context.Background()
	l.strays++
	p := l.Enroll("ada", fmt.Sprintf("stray %d", l.strays))
	l.begun["enrolment"]++
	mine := *l
	mine.phone = p
	mine.latest = ""
	mine.number = 0
	mine.put()
	l.tolerate("retirement", l.Devices.Leave(ctx, p.Proof(), devicetest.ByPhone))
}

// resetsNothing resets a user who has nothing, which leaves a receipt each time.
func (l *life) resetsNothing(n int) {
	if n == 0 {
		l.newUser("bob")
	}
	l.Reset("bob")
	l.begun["empty reset"]++
}

// count sweeps, and fails the test when a user has more rows of a table than it declares.
func (l *life) count() map[string]int {
	l.t.Helper()
	for swept := 1; swept > 0; {
		var err error
		swept, err = l.Store.Sweep(l.t.Context())
		must(l.t, err)
	}
	_, _, err := audit.CloseFolds(l.t.Context(), l.Store)
	must(l.t, err)
	perUser := make(map[string]int)
	hers := make(map[string]int)
	ada := l.UID("ada")
	l.Scan(func(key, _ string) {
		if key[0] != 'u' || len(key) < 17 || key[1:17] == string(make([]byte, 16)) {
			return
		}
		table, _, _ := strings.Cut(key[17:], "\x00")
		perUser[key[1:17]+table]++
		if key[1:17] == string(ada[:]) {
			hers[table]++
		}
	})
	bounds := storage.Bounds()
	for of, rows := range perUser {
		if most := bounds[of[16:]]; rows > most {
			l.t.Errorf("%d rows of %s of one user; the table declares %d", rows, of[16:], most)
		}
	}
	return hers
}

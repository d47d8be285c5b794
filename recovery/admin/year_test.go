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
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// busyYear is a user's, with thieves of her platform backup, of her password and of a phone's key.
type busyYear struct {
	*house
	wrong  recovery.Code
	phone  *devicetest.Phone // hers
	code   string            // on paper
	handle string            // of its backup
	latest string            // manifest of that
	number int64             // and generation
	strays int               // enrolments and starts so far, each by a phone of its own
	begun  map[string]int    // what was done, and not refused
}

// TestYear_LeavesNoMoreOfAUserThanTheTablesDeclare counts, after a year, what is there of her, table by table.
func TestYear_LeavesNoMoreOfAUserThanTheTablesDeclare(t *testing.T) {
	check.WithoutRace(t)
	if testing.Short() {
		t.Skip("lives a year: run it without -short")
	}
	wrong, err := recovery.ParseCode("0123456789ABCDEFGHJKMNPV")
	must(t, err)
	y := &busyYear{house: newHouse(t, ground.Options{}), wrong: wrong, begun: map[string]int{}}
	y.Set("restore.veto", "off")
	y.phone = y.Enroll("ada", "hers")
	y.code = y.phone.Enrolled.RecoveryCode
	for day := range 365 {
		if day%3 == 0 {
			y.day(day / 3)
		} else {
			y.login("bank", "198.51.100.7", true)
		}
		if day%30 < 25 { // for the other days of each month the push service does not answer
			y.Drain(recovery.Notice.Handler(y.Devices.DeliverNotice), y.Logins.Handler())
			y.Sent.Take()
		}
		y.Clock.Advance(21 * time.Hour)
		if day%60 == 59 {
			y.count()
		}
	}
	for _, what := range []string{"login", "approval", "denial", "wrong code", "restore", "ticket", "enrolment", "retirement", "backup", "deletion", "handle", "rename", "empty reset", "new phone"} {
		if y.begun[what] == 0 {
			t.Errorf("the year had no %s: %v", what, y.begun)
		}
	}
	rows := y.count()
	for table, want := range map[string]int{"event": audit.MostEvents * 9 / 10, "enrollment": device.MostRetired, "backup": 1 + backup.MostOrphans} {
		if rows[table] < want {
			t.Errorf("the year did not reach the bound of %s: %d rows", table, rows[table])
		}
	}
	y.Reset("ada")
}

// tolerate counts what was done, and lets it be refused.
func (y *busyYear) tolerate(what string, err error) {
	y.t.Helper()
	switch storage.CodeOf(err) {
	case "":
		if err != nil {
			y.t.Fatalf("%s: %v", what, err)
		}
		y.begun[what]++
	case storage.Limited, storage.Denied, storage.Conflict, storage.Exhausted, storage.NotFound:
	default:
		y.t.Fatalf("%s: %v", what, err)
	}
}

// day is the n-th that is busy: three hours of it.
func (y *busyYear) day(n int) {
	ctx := y.t.Context()
	for hour := range 3 {
		y.Clock.Advance(time.Hour)
		y.login("bank", "198.51.100.7", true)
		for range 2 { // a thief of her password
			y.login(fmt.Sprintf("shop-%d", (n+hour)%100), "203.0.113.9", false)
		}
		for _, channel := range []recovery.Channel{recovery.LoginChannel, recovery.RestoreChannel} {
			err := y.spend(y.UID("ada"), channel, y.wrong)
			if errors.Is(err, recovery.ErrWrongCode) {
				err = nil
			}
			y.tolerate("wrong code", err)
		}
		y.start() // a thief of her platform backup
	}
	y.put()
	if n%3 == 0 {
		handle, err := y.Backups.NewHandle(ctx, y.phone.Proof(), n%2 == 0, devicetest.ByPhone)
		y.tolerate("handle", err)
		if err == nil {
			y.handle = handle
		}
	}
	if n%4 == 0 { // who has her phone's key
		y.tolerate("deletion", y.Backups.Delete(ctx, y.phone.Proof(), devicetest.ByPhone))
		y.latest = ""
		y.number = 0
	}
	proof, err := y.phone.CallByToken()
	if err == nil {
		address := push.Address{Service: push.GCM, Token: fmt.Sprintf("token %d", n)}
		_, err = y.Devices.Patch(ctx, proof, device.Change{Push: address}, devicetest.ByPhone)
	}
	y.tolerate("rename", err)
	for range 2 { // a program of the help desk's
		y.Ticket("ada")
		y.begun["ticket"]++
	}
	y.comeAndGo()
	if n%5 == 0 {
		y.resetsNothing(n)
	}
	if n%30 == 29 && y.number > 0 {
		y.moves()
	}
}

// login is one that is asked for, and answered when it rings.
func (y *busyYear) login(client, ip string, hers bool) {
	ctx := y.t.Context()
	begun, err := y.Logins.Begin(ctx, login.Request{
		Client: client,
		UserID: "ada",
		Scope:  "openid",
		IP:     ip,
		Life:   2 * time.Minute,
		Agent:  "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
	})
	y.tolerate("login", err)
	pending, listed := y.Logins.Approvals(ctx, y.phone.Proof(), nil, 0)
	if err != nil || listed != nil || len(pending) == 0 {
		return
	}
	m := pending[len(pending)-1]
	now := y.Clock.Wall().Unix()
	claims := map[string]any{
		"iss": y.phone.In.Identifier, "sub": m.Challenge, "aud": devicetest.PublicURL + "/appliance-mfa/api/resolve-transaction",
		"iat": now, "exp": now + 30, "auth0_guardian_method": "push", "auth0_guardian_accepted": hers, "tutela_number": begun.Number,
	}
	what := "approval"
	if !hers {
		what = "denial"
		claims["auth0_guardian_reason"] = "not_me"
	}
	y.tolerate(what, y.Logins.Answer(ctx, m.TransactionToken, y.phone.Sign(claims), devicetest.ByPhone))
}

// start starts a restore under her handle, by a key of its own.
func (y *busyYear) start() {
	y.strays++
	p := y.NewPhone(fmt.Sprintf("stray %d", y.strays))
	_, err := y.Restores.Start(y.t.Context(), restore.StartRequest{
		Handle:       y.handle,
		Installation: p.In,
		Proof:        p.Sign(map[string]any{"handle": hexOf(y.handle), "iat": y.Clock.Wall().Unix()}),
		Address:      fmt.Sprintf("203.0.113.%d", y.strays%250),
	}, audit.ByUser().WithOrigin("203.0.113.9", ""))
	y.tolerate("restore", err)
}

// moves restores her backup on a new phone.
func (y *busyYear) moves() {
	ctx := y.t.Context()
	y.strays++
	p := y.NewPhone(fmt.Sprintf("stray %d", y.strays))
	started, err := y.Restores.Start(ctx, restore.StartRequest{
		Handle:       y.handle,
		Installation: p.In,
		Proof:        p.Sign(map[string]any{"handle": hexOf(y.handle), "iat": y.Clock.Wall().Unix()}),
		Address:      "198.51.100.7",
	}, devicetest.ByPhone)
	must(y.t, err)
	restored, err := y.Restores.RestoreWithCode(ctx, started.ID, started.Token, y.code, devicetest.ByPhone)
	must(y.t, err)
	p.Enrolled = &restored.Enrolled
	y.phone = p
	y.code = restored.RecoveryCode
	y.handle = restored.RestoreHandle
	y.begun["new phone"]++
}

func hexOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// put backs her phone up.
func (y *busyYear) put() {
	body := strings.Repeat("x", 3000)
	y.number++
	claims := map[string]any{
		"iss": y.phone.Enrolled.ID, "generation": y.number, "parent": "", "digest": hexOf(body), "size": len(body), "items": 5,
		"provider": "server", "automatic_restore": true, "iat": y.Clock.Wall().Unix(),
	}
	before := y.number - 1
	req := backup.PutRequest{Body: []byte(body), Precondition: backup.Precondition{Match: &before}}
	if before == 0 {
		req.Precondition = backup.Precondition{None: true}
	} else {
		claims["parent"] = hexOf(y.latest)
	}
	req.Manifest = y.phone.Sign(claims)
	stored, err := y.Backups.Put(y.t.Context(), y.phone.Proof(), req, devicetest.ByPhone)
	must(y.t, err)
	y.begun["backup"]++
	y.latest = req.Manifest
	if stored.Handle != "" {
		y.handle = stored.Handle
	}
}

// comeAndGo enrols a phone, backs it up, and takes it off.
func (y *busyYear) comeAndGo() {
	ctx := context.Background()
	y.strays++
	p := y.Enroll("ada", fmt.Sprintf("stray %d", y.strays))
	y.begun["enrolment"]++
	mine := *y
	mine.phone = p
	mine.latest = ""
	mine.number = 0
	mine.put()
	y.tolerate("retirement", y.Devices.Leave(ctx, p.Proof(), devicetest.ByPhone))
}

// resetsNothing resets a user who has nothing, which leaves a receipt each time.
func (y *busyYear) resetsNothing(n int) {
	if n == 0 {
		y.newUser("bob")
	}
	y.Reset("bob")
	y.begun["empty reset"]++
}

// count sweeps, and fails the test when a user has more rows of a table than it declares.
func (y *busyYear) count() map[string]int {
	y.t.Helper()
	for swept := 1; swept > 0; {
		var err error
		swept, err = y.Store.Sweep(y.t.Context())
		must(y.t, err)
	}
	_, _, err := audit.CloseFolds(y.t.Context(), y.Store)
	must(y.t, err)
	perUser := make(map[string]int)
	hers := make(map[string]int)
	ada := y.UID("ada")
	y.Scan(func(key, _ string) {
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
			y.t.Errorf("%d rows of %s of one user; the table declares %d", rows, of[16:], most)
		}
	}
	return hers
}

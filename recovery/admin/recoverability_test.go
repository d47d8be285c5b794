package admin_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tutela/backup"
	"tutela/device"
	"tutela/device/devicetest"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/recovery/ways"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest"
	"tutela/storage/storagetest/ground"
)

// failer is a test, or a check of rapid.
type failer interface {
	Fatalf(format string, args ...any)
}

// fromScratch works out how a user would get back in from all that is written of her, by the words of the protocol's page.
func fromScratch(tx *storage.Tx, uid storage.UID) (s ways.Standing, err error) {
	state, err := device.State(tx, uid)
	if err != nil || state == user.New {
		return s, err
	}
	s.Known = true
	set, err := device.All(tx, uid)
	if err != nil {
		return s, err
	}
	phones := 0
	others := 0
	survivors := 0
	for _, e := range set {
		switch {
		case e.Status != device.Active:
		case e.Type == device.TypePush:
			phones++
		case e.Type == device.TypeRoaming, e.Type == device.TypePlatform && e.WebAuthn.BackedUp:
			survivors++
		default:
			others++
		}
	}
	valid, err := recovery.HasCode(tx, uid)
	if err != nil {
		return s, err
	}
	code, _, err := recovery.CodeStanding(tx, uid)
	if err != nil {
		return s, err
	}
	switch {
	case !valid:
		s.Risks = append(s.Risks, ways.NoCode)
	case code == ways.CodeConfirmed:
		s.Ways = append(s.Ways, ways.ByCode)
	default:
		s.Risks = append(s.Risks, ways.UnconfirmedCode)
	}
	if phones > 1 {
		s.Ways = append(s.Ways, ways.ByDevice)
	}
	if survivors > 0 {
		s.Ways = append(s.Ways, ways.ByPasskey)
	}
	days, err := backup.PutOn(tx, uid)
	if err != nil {
		return s, err
	}
	newest := slices.MaxFunc(append(slices.Collect(maps.Values(days)), time.Time{}), time.Time.Compare)
	switch {
	case phones == 0:
	case newest.IsZero():
		s.Risks = append(s.Risks, ways.NoBackup)
	case !tx.Now().Before(newest.Add(90 * day)):
		s.Risks = append(s.Risks, ways.StaleBackup)
	}
	if phones < 2 && survivors == 0 && phones+others > 0 {
		s.Risks = append(s.Risks, ways.OneDevice)
	}
	return s, nil
}

// compareStanding compares what is kept of a user with what is written of her.
func compareStanding(t failer, tx *storage.Tx, uid storage.UID) {
	want, err := fromScratch(tx, uid)
	if err != nil {
		t.Fatalf("from scratch: %v", err)
	}
	got, err := ways.Of(tx, uid)
	if err != nil {
		t.Fatalf("as it is kept: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("what is kept of her is another than what is written of her: %s", diff)
	}
}

// compareTotals compares the numbers that are kept with those from scratch, and the list of each risk, once the sweeper has been.
func (h *house) compareTotals(t failer) {
	for {
		n, err := h.Store.Sweep(context.Background())
		if err != nil {
			t.Fatalf("sweep: %v", err)
		}
		if n == 0 {
			break
		}
	}
	uids, err := user.UIDs(context.Background(), h.Store)
	if err != nil {
		t.Fatalf("the users: %v", err)
	}
	want := ways.Totals{Ways: map[ways.Way]int64{}, Risks: map[ways.Risk]int64{}}
	at := map[ways.Risk][]storage.UID{}
	for _, way := range ways.Ways {
		want.Ways[way] = 0
	}
	for _, risk := range ways.Risks {
		want.Risks[risk] = 0
	}
	var got ways.Totals
	err = h.Store.View(context.Background(), func(tx *storage.Tx) error {
		for _, uid := range uids {
			s, err := fromScratch(tx, uid)
			if err != nil {
				return err
			}
			count(&want, s)
			for _, risk := range s.Risks {
				at[risk] = append(at[risk], uid)
			}
		}
		got, err = ways.ReadTotals(tx)
		return err
	})
	if err != nil {
		t.Fatalf("from scratch: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the numbers are others than from scratch: %s", diff)
	}
	for _, risk := range ways.Risks {
		h.compareList(t, risk, at[risk])
	}
}

func count(t *ways.Totals, s ways.Standing) {
	if !s.Known {
		return
	}
	t.Users++
	if len(s.Ways) > 0 {
		t.Recoverable++
	}
	for _, way := range s.Ways {
		t.Ways[way]++
	}
	for _, risk := range s.Risks {
		t.Risks[risk]++
	}
}

// compareList pages through the users of a risk.
func (h *house) compareList(t failer, risk ways.Risk, want []storage.UID) {
	var got []storage.UID
	after := storage.UID{}
	for {
		page, err := ways.Page(context.Background(), h.Store, risk, after, 3)
		if err != nil {
			t.Fatalf("page: %v", err)
		}
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1]
	}
	slices.SortFunc(want, func(a, b storage.UID) int { return strings.Compare(a.String(), b.String()) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the users of %s: %s", risk, diff)
	}
}

// story is a user who does one thing after another.
type story struct {
	h  *house
	id string
}

func (s story) uid() storage.UID { return s.h.UID(s.id) }

// passkey registers a passkey.
func (s story) passkey(typ device.Type, change func(a *devicetest.Authenticator)) *devicetest.Authenticator {
	a := devicetest.NewAuthenticator(s.h.t)
	if change != nil {
		change(a)
	}
	uid := s.uid()
	var options []byte
	s.h.Update(func(tx *storage.Tx) (err error) {
		options, err = s.h.Passkeys.BeginRegistration(tx, uid, "a", typ)
		return err
	})
	made, err := s.h.Passkeys.VerifyRegistration(ctx, uid, "a", a.Create(options))
	must(s.h.t, err)
	s.h.Update(func(tx *storage.Tx) error {
		if err := s.h.Passkeys.Registered(tx, made); err != nil {
			return err
		}
		_, err := s.h.Devices.BindPasskey(tx, uid, typ, "", made.Passkey, device.Binding{Via: device.ViaTicket}, audit.ByUser())
		return err
	})
	return a
}

// uses answers a login with a passkey.
func (s story) uses(a *devicetest.Authenticator) error {
	uid := s.uid()
	var options []byte
	err := s.h.Store.Update(ctx, func(tx *storage.Tx) error {
		set, err := device.All(tx, uid)
		if err != nil {
			return err
		}
		options, err = s.h.Passkeys.Begin(tx, uid, "a", set)
		return err
	})
	if err != nil {
		return err
	}
	verified, err := s.h.Passkeys.Verify(ctx, uid, "a", a.Get(options))
	if err != nil {
		return err
	}
	return s.h.Store.Update(ctx, func(tx *storage.Tx) error {
		_, err := s.h.Passkeys.Accept(tx, verified, audit.ByUser())
		return err
	})
}

// practises shows that she has her code.
func (s story) practises(code string) {
	uid := s.uid()
	s.h.Update(func(tx *storage.Tx) error {
		_, err := s.h.Codes.Practise(tx, uid, code, audit.ByUser())
		return err
	})
}

func TestRecoverability_OfEachStory(t *testing.T) {
	for name, c := range map[string]struct {
		live  func(s story)
		ways  []ways.Way
		risks []ways.Risk
	}{
		"a phone, and a code that nobody has confirmed": {
			func(s story) { s.h.Enroll(s.id, "a") },
			nil, []ways.Risk{ways.UnconfirmedCode, ways.NoBackup, ways.OneDevice},
		},
		"a code that she has practised": {
			func(s story) { s.practises(s.h.Enroll(s.id, "a").Enrolled.RecoveryCode) },
			[]ways.Way{ways.ByCode}, []ways.Risk{ways.NoBackup, ways.OneDevice},
		},
		"a code that was declared lost": {
			func(s story) {
				p := s.h.Enroll(s.id, "a")
				s.practises(p.Enrolled.RecoveryCode)
				must(s.h.t, s.h.Devices.LoseCode(ctx, p.Proof(), audit.ByUser()))
			},
			nil, []ways.Risk{ways.UnconfirmedCode, ways.NoBackup, ways.OneDevice},
		},
		"a code that an admin made, a day later": {
			func(s story) {
				s.h.Enroll(s.id, "a")
				_, err := s.h.Admins.Regenerate(ctx, s.id, devicetest.Admin)
				must(s.h.t, err)
				s.h.Clock.Advance(24 * time.Hour)
			},
			nil, []ways.Risk{ways.NoCode, ways.NoBackup, ways.OneDevice},
		},
		"two phones": {
			func(s story) {
				s.h.Enroll(s.id, "a")
				s.h.Enroll(s.id, "b")
			},
			[]ways.Way{ways.ByDevice}, []ways.Risk{ways.UnconfirmedCode, ways.NoBackup},
		},
		"two phones, of which one is suspended": {
			func(s story) {
				s.h.Enroll(s.id, "a")
				must(s.h.t, s.h.Admins.Suspend(ctx, s.h.Enroll(s.id, "b").Enrolled.ID, devicetest.Admin))
			},
			nil, []ways.Risk{ways.UnconfirmedCode, ways.NoBackup, ways.OneDevice},
		},
		"a phone and the passkey of one computer": {
			func(s story) {
				s.h.Enroll(s.id, "a")
				s.passkey(device.TypePlatform, nil)
			},
			nil, []ways.Risk{ways.UnconfirmedCode, ways.NoBackup, ways.OneDevice},
		},
		"a phone and a security key": {
			func(s story) {
				s.h.Enroll(s.id, "a")
				s.passkey(device.TypeRoaming, nil)
			},
			[]ways.Way{ways.ByPasskey}, []ways.Risk{ways.UnconfirmedCode, ways.NoBackup},
		},
		"a passkey that came to be copied": {
			func(s story) {
				s.h.Enroll(s.id, "a")
				a := s.passkey(device.TypePlatform, nil)
				a.Options.BackupEligible = true
				a.Options.BackupState = true
				must(s.h.t, s.uses(a))
			},
			[]ways.Way{ways.ByPasskey}, []ways.Risk{ways.UnconfirmedCode, ways.NoBackup},
		},
		"a passkey that is copied no more": {
			func(s story) {
				s.h.Enroll(s.id, "a")
				a := s.passkey(device.TypePlatform, func(a *devicetest.Authenticator) {
					a.Options.BackupEligible = true
					a.Options.BackupState = true
				})
				a.Options.BackupState = false
				must(s.h.t, s.uses(a))
			},
			nil, []ways.Risk{ways.UnconfirmedCode, ways.NoBackup, ways.OneDevice},
		},
		"a backup": {
			func(s story) { s.h.backsUp(s.h.Enroll(s.id, "a")) },
			nil, []ways.Risk{ways.UnconfirmedCode, ways.OneDevice},
		},
		"a backup of long ago": {
			func(s story) {
				s.h.backsUp(s.h.Enroll(s.id, "a"))
				s.h.Clock.Advance(90 * day)
			},
			nil, []ways.Risk{ways.UnconfirmedCode, ways.StaleBackup, ways.OneDevice},
		},
		"a deleted backup": {
			func(s story) {
				p := s.h.Enroll(s.id, "a")
				s.h.backsUp(p)
				must(s.h.t, s.h.Backups.Delete(ctx, p.Proof(), audit.ByUser()))
			},
			nil, []ways.Risk{ways.UnconfirmedCode, ways.NoBackup, ways.OneDevice},
		},
		"a code alone": {
			func(s story) {
				_, err := s.h.Admins.Regenerate(ctx, s.id, devicetest.Admin)
				must(s.h.t, err)
			},
			nil, []ways.Risk{ways.UnconfirmedCode},
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				_, err := h.Admins.AddUser(ctx, user.User{ID: "ada"}, devicetest.Admin)
				must(h.t, err)
				c.live(story{h, "ada"})
				uid := h.UID("ada")
				h.View(func(tx *storage.Tx) error {
					got, err := ways.Of(tx, uid)
					if diff := cmp.Diff(ways.Standing{Known: true, Ways: c.ways, Risks: c.risks}, got); diff != "" {
						h.t.Error(diff)
					}
					return err
				})
				h.compareTotals(h.t)
				h.Reset("ada")
				h.compareTotals(h.t)
			})
		})
	}
}

// backsUp puts a backup of a phone.
func (h *house) backsUp(p *devicetest.Phone) {
	h.t.Helper()
	must(h.t, h.put(p))
}

// put puts the next generation of a phone's backup.
func (h *house) put(p *devicetest.Phone) error {
	proof, err := p.Call()
	if err != nil {
		return err
	}
	generation := 1
	parent := ""
	req := backup.PutRequest{Body: []byte("ciphertext"), Precondition: backup.Precondition{None: true}}
	h.View(func(tx *storage.Tx) error {
		_, latest, err := backup.Of(tx, proof.UID, p.Enrollment())
		if errors.Is(err, backup.ErrNone) {
			return nil
		}
		if err != nil {
			return err
		}
		generation = int(latest.Generation) + 1
		parent = hexOf(latest.Manifest)
		req.Precondition = backup.Precondition{Match: &latest.Generation}
		return nil
	})
	req.Manifest = p.Sign(map[string]any{
		"iss": p.Enrolled.ID, "generation": generation, "parent": parent, "digest": hexOf("ciphertext"), "size": 10, "items": 5,
		"provider": "server", "automatic_restore": true, "iat": h.Clock.Wall().Unix(),
	})
	_, err = h.Backups.Put(ctx, proof, req, devicetest.ByPhone)
	return err
}

func TestRecoverability_NumbersAreThoseFromScratch(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		n := 0
		rapid.Check(h.t, func(r *rapid.T) {
			n++
			h.crowd(r, n).live(r)
		})
	})
}

// crowd is some users with authenticators.
type crowd struct {
	h     *house
	ids   []string
	held  map[string][]*devicetest.Phone
	keys  map[string][]*devicetest.Authenticator
	codes map[string]string
	n     int
}

func (h *house) crowd(r *rapid.T, n int) *crowd {
	c := &crowd{
		h:     h,
		held:  map[string][]*devicetest.Phone{},
		keys:  map[string][]*devicetest.Authenticator{},
		codes: map[string]string{},
	}
	for i := range rapid.IntRange(1, 4).Draw(r, "users") {
		id := fmt.Sprintf("crowd %d user %d", n, i)
		_, err := h.Admins.AddUser(ctx, user.User{ID: id}, devicetest.Admin)
		fails(r, "a user", err, nil)
		c.ids = append(c.ids, id)
	}
	return c
}

func (c *crowd) pick(r *rapid.T) story {
	return story{c.h, rapid.SampledFrom(c.ids).Draw(r, "user")}
}

func (c *crowd) phone(r *rapid.T) (story, *devicetest.Phone) {
	s := c.pick(r)
	if len(c.held[s.id]) == 0 {
		r.Skip("no phone")
	}
	return s, rapid.SampledFrom(c.held[s.id]).Draw(r, "phone")
}

func (c *crowd) live(r *rapid.T) {
	r.Repeat(map[string]func(*rapid.T){
		"": func(r *rapid.T) {
			c.h.View(func(tx *storage.Tx) error {
				for _, id := range c.ids {
					u, err := user.Find(tx, id)
					if errors.Is(err, user.ErrUnknown) {
						continue
					}
					compareStanding(r, tx, u.UID)
				}
				return nil
			})
		},
		"enrols": func(r *rapid.T) {
			s := c.pick(r)
			if len(c.held[s.id]) > 4 {
				r.Skip("phones enough")
			}
			c.n++
			p := c.h.Enroll(s.id, fmt.Sprint(s.id, " phone ", c.n))
			c.held[s.id] = append(c.held[s.id], p)
			if p.Enrolled.RecoveryCode != "" {
				c.codes[s.id] = p.Enrolled.RecoveryCode
			}
		},
		"adds a passkey": func(r *rapid.T) {
			s := c.pick(r)
			if len(c.keys[s.id]) > 4 {
				r.Skip("passkeys enough")
			}
			typ := rapid.SampledFrom([]device.Type{device.TypeRoaming, device.TypePlatform}).Draw(r, "type")
			c.h.Update(func(tx *storage.Tx) error {
				_, err := user.Ensure(tx, user.User{ID: s.id})
				return err
			})
			c.keys[s.id] = append(c.keys[s.id], s.passkey(typ, nil))
		},
		"uses a passkey": func(r *rapid.T) {
			s := c.pick(r)
			if len(c.keys[s.id]) == 0 {
				r.Skip("no passkey")
			}
			a := rapid.SampledFrom(c.keys[s.id]).Draw(r, "passkey")
			a.Options.BackupEligible = a.Options.BackupEligible || rapid.Bool().Draw(r, "eligible")
			a.Options.BackupState = a.Options.BackupEligible && rapid.Bool().Draw(r, "backed up")
			_ = s.uses(a) // it may be out of use
		},
		"practises": func(r *rapid.T) {
			s := c.pick(r)
			if c.codes[s.id] == "" {
				r.Skip("no code")
			}
			s.practises(c.codes[s.id])
		},
		"spends the code": func(r *rapid.T) {
			s := c.pick(r)
			if c.codes[s.id] == "" {
				r.Skip("no code")
			}
			uid := s.uid()
			_ = c.h.Store.Update(ctx, func(tx *storage.Tx) error {
				next, err := c.h.Codes.Spend(tx, uid, recovery.LoginChannel, recovery.Code(c.codes[s.id]), audit.ByUser())
				if err == nil {
					c.codes[s.id] = string(next)
				}
				return err
			})
		},
		"gets a code": func(r *rapid.T) {
			s := c.pick(r)
			code, err := c.h.Admins.Regenerate(ctx, s.id, devicetest.Admin)
			if err == nil {
				c.codes[s.id] = string(code)
			}
		},
		"loses the code": func(r *rapid.T) {
			_, p := c.phone(r)
			if proof, err := p.Call(); err == nil {
				_ = c.h.Devices.LoseCode(ctx, proof, audit.ByUser())
			}
		},
		"backs up": func(r *rapid.T) {
			_, p := c.phone(r)
			_ = c.h.put(p)
		},
		"deletes the backup": func(r *rapid.T) {
			_, p := c.phone(r)
			if proof, err := p.Call(); err == nil {
				_ = c.h.Backups.Delete(ctx, proof, audit.ByUser())
			}
		},
		"undeletes it": func(r *rapid.T) {
			_, p := c.phone(r)
			if proof, err := p.Call(); err == nil {
				_ = c.h.Backups.Undelete(ctx, proof, audit.ByUser())
			}
		},
		"leaves": func(r *rapid.T) {
			_, p := c.phone(r)
			if proof, err := p.CallByToken(); err == nil {
				_ = c.h.Devices.Leave(ctx, proof, audit.ByUser())
			}
		},
		"is suspended": func(r *rapid.T) { c.any(r, func(id string) { _ = c.h.Admins.Suspend(ctx, id, devicetest.Admin) }) },
		"is resumed":   func(r *rapid.T) { c.any(r, func(id string) { _ = c.h.Admins.Resume(ctx, id, devicetest.Admin) }) },
		"is removed": func(r *rapid.T) {
			c.any(r, func(id string) { _ = c.h.Admins.RemoveEnrollment(ctx, id, devicetest.Admin) })
		},
		"is reset": func(r *rapid.T) {
			s := c.pick(r)
			_, _ = c.h.Admins.Reset(ctx, s.id, recovery.ResetRequest{Reason: "lost", DryRun: rapid.Bool().Draw(r, "dry")}, devicetest.Admin)
		},
		"is deleted": func(r *rapid.T) {
			s := c.pick(r)
			fails(r, "a deletion", c.h.Admins.Delete(ctx, s.id, devicetest.Admin), nil)
			delete(c.codes, s.id)
			_, err := c.h.Admins.AddUser(ctx, user.User{ID: s.id}, devicetest.Admin)
			fails(r, "the user again", err, nil)
		},
		"time passes": func(r *rapid.T) {
			c.h.Clock.Advance(time.Duration(rapid.SampledFrom([]int{1, 23, 7 * 24, 60 * 24}).Draw(r, "hours")) * time.Hour)
		},
	})
	c.h.compareTotals(r)
}

// any does something to one of a user's enrollments, whatever its type.
func (c *crowd) any(r *rapid.T, do func(id string)) {
	uid := c.pick(r).uid()
	var ids []string
	c.h.View(func(tx *storage.Tx) error {
		set, err := device.All(tx, uid)
		for _, e := range set {
			ids = append(ids, e.ID)
		}
		return err
	})
	if len(ids) == 0 {
		r.Skip("no enrollment")
	}
	do(rapid.SampledFrom(ids).Draw(r, "enrollment"))
}

func TestCountEveryone_CountsUsersOfAnEarlierRelease(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for _, id := range []string{"ada", "bob", "eve"} {
			_, err := h.Admins.AddUser(ctx, user.User{ID: id}, devicetest.Admin)
			must(h.t, err)
		}
		h.backsUp(h.Enroll("ada", "a"))
		h.Enroll("bob", "b").Proof()
		story{h, "bob"}.passkey(device.TypeRoaming, nil)
		h.forgetWays()
		_, err := h.Admins.Recoverability(ctx)
		expect(h.t, "before they are counted", err, admin.ErrCounting)
		_, err = h.Admins.UsersAtRisk(ctx, ways.NoCode, storage.UID{}, 10)
		expect(h.t, "the list before they are counted", err, admin.ErrCounting)

		// What changes before everybody is counted is neither lost nor counted twice.
		h.Enroll("bob", "another")
		must(h.t, h.Admins.CountEveryone(ctx))
		h.compareTotals(h.t)
		must(h.t, h.Admins.CountEveryone(ctx))
		h.compareTotals(h.t)
		h.Restart(0)
		totals, err := h.Admins.Recoverability(ctx)
		must(h.t, err)
		if totals.Users != 2 || totals.Recoverable != 1 {
			h.t.Errorf("%+v", totals)
		}
		if _, compacts := h.Store.Engine().(storage.Compacter); compacts {
			_, err = h.Codes.Compact(ctx)
			must(h.t, err)
		}
		h.compareTotals(h.t)
	})
}

func TestCountEveryone_StepsPastUsersWithADamagedRow(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for _, id := range []string{"ada", "bob", "eve"} {
			h.Enroll(id, "a").Proof()
		}
		h.forgetWays()
		h.Enroll("eve", "another") // so there is a row of hers again
		h.damage("ada", "enrollment")
		h.damage("eve", "recoverability")
		must(h.t, h.Admins.CountEveryone(ctx))
		totals, err := h.Admins.Recoverability(ctx)
		must(h.t, err)
		if totals.Users != 2 { // bob, and eve with her other phone
			h.t.Errorf("%+v", totals)
		}
	})
}

// damage has nobody read what a table holds of a user.
func (h *house) damage(id, table string) {
	h.t.Helper()
	uid := h.UID(id)
	prefix := "u" + string(uid[:]) + table + "\x00"
	var keys []string
	h.Scan(func(key, _ string) {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	})
	if len(keys) == 0 {
		h.t.Fatalf("no %s of %s", table, id)
	}
	must(h.t, h.Store.Engine().Update(ctx, func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		for _, key := range keys {
			ws.Put([]byte(key), []byte("damaged"))
		}
		return ws, nil
	}))
}

// forgetWays takes all that is kept of recoverability out of the store, as an earlier release has it.
func (h *house) forgetWays() {
	h.t.Helper()
	var keys [][]byte
	h.Scan(func(key, _ string) {
		if strings.Contains(key, "recoverability") {
			keys = append(keys, []byte(key))
		}
	})
	for _, key := range keys { // of one user at a time
		must(h.t, h.Store.Engine().Update(ctx, func(storage.Reader) (*storage.WriteSet, error) {
			ws := storage.NewWriteSet()
			ws.Delete(key)
			return ws, nil
		}))
	}
}

func TestRecoverability_ANewInstallationIsCountedAtOnce(t *testing.T) {
	h := newHouse(t, ground.Options{})
	must(t, h.Admins.CountEveryone(ctx))
	totals, err := h.Admins.Recoverability(ctx)
	must(t, err)
	if totals.Users != 0 {
		t.Errorf("%+v", totals)
	}
	_, err = ways.ParseRisk("boredom")
	expect(t, "no risk", err, ways.ErrRisk)
}

// A user who is deleted between the index and her record leaves no gap that looks like the end of the list.
func TestUsersAtRisk_AreFewerOnlyAtTheEnd(t *testing.T) {
	var engine storagetest.Meanwhile
	h := newHouse(t, ground.Options{Wrap: func(e storage.Engine) storage.Engine {
		engine.Engine = e
		return &engine
	}})
	for i := range 8 {
		h.Enroll(fmt.Sprintf("u%d", i), "phone")
	}
	must(t, h.Admins.CountEveryone(ctx))
	all, err := h.Admins.UsersAtRisk(ctx, ways.NoBackup, storage.UID{}, 10)
	must(t, err)
	engine.After(func() {
		for _, u := range all[1:3] {
			must(t, h.Admins.Delete(ctx, u.ID, devicetest.Admin))
		}
	})
	page, err := h.Admins.UsersAtRisk(ctx, ways.NoBackup, storage.UID{}, 4)
	must(t, err)
	var got []string
	for _, u := range page {
		got = append(got, u.ID)
	}
	if want := []string{all[0].ID, all[3].ID, all[4].ID, all[5].ID}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

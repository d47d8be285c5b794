package login_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

const wrongCode = "0123456789ABCDEFGHJKMNPV"

func (h *house) redeem(token, code string) (login.CodeOutcome, error) {
	return h.RedeemCode(context.Background(), h.by("bank", token), code)
}

func TestRedeemCode_LetsInAndReplacesTheCode(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		code := h.enroll("ada", "a").Enrolled.RecoveryCode
		started := h.startMFA("ada")
		o, err := h.redeem(started.Token, strings.ToLower(code[:12]+"-"+code[12:]))
		must(h.t, err)
		if o.UserID != "ada" || o.Login.Method != login.ByRecoveryCode || len(o.Next) != 24 || string(o.Next) == code {
			h.t.Errorf("%+v", o)
		}
		_, err = h.redeem(h.startMFA("ada").Token, code)
		expect(h.t, "the spent code, in another login", err, recovery.ErrWrongCode)
		if _, err := h.redeem(h.startMFA("ada").Token, string(o.Next)); err != nil {
			h.t.Errorf("the next code: %v", err)
		}
		h.expectEvents("ada", audit.RecoverySucceed, 2)
	})
}

func TestRedeemCode_SameAgainGetsTheSameAnswerBeforeLimitsAreLookedAt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		code := h.enroll("ada", "a").Enrolled.RecoveryCode
		token := h.startMFA("ada").Token
		first, err := h.redeem(token, code)
		must(h.t, err)
		for range 10 {
			_, err := h.redeem(h.startMFA("ada").Token, wrongCode)
			expect(h.t, "a wrong code", err, recovery.ErrWrongCode)
		}
		h.clock.Advance(10*time.Minute - time.Nanosecond)
		for range 3 {
			again, err := h.redeem(token, code)
			if err != nil || cmp.Diff(first, again) != "" {
				h.t.Errorf("again: %v, %s", err, cmp.Diff(first, again))
			}
		}
		_, err = h.redeem(token, wrongCode)
		expect(h.t, "another code", err, login.ErrGrant)
		_, err = h.redeem(token, string(first.Next))
		expect(h.t, "the next code", err, login.ErrGrant)
		_, err = h.redeem(token, "typo")
		expect(h.t, "a typo", err, login.ErrGrant)
		h.clock.Advance(time.Nanosecond)
		_, err = h.redeem(token, code)
		expect(h.t, "past the mfa_token", err, login.ErrMFATokenExpired)
	})
}

func TestRedeemCode_AnswerIsErasedByRotationRetirementAndReset(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(h *house, p *phone)
		want error
	}{
		"rotation": {func(h *house, _ *phone) {
			_, err := h.home.Admins.Regenerate(context.Background(), "ada", audit.ByOperator(0))
			must(h.t, err)
		}, login.ErrGrant},
		"retirement": {func(h *house, p *phone) {
			must(h.t, h.devices.Leave(context.Background(), p.Proof(), audit.ByUser()))
		}, login.ErrGrant},
		"reset":   {func(h *house, _ *phone) { h.reset("ada") }, login.ErrMFATokenExpired},
		"a block": {func(h *house, _ *phone) { h.block("ada", true) }, login.ErrBlocked},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				p := h.enroll("ada", "a")
				token := h.startMFA("ada").Token
				_, err := h.redeem(token, p.Enrolled.RecoveryCode)
				must(h.t, err)
				c.end(h, p)
				_, err = h.redeem(token, p.Enrolled.RecoveryCode)
				expect(h.t, name, err, c.want)
			})
		})
	}
}

func TestRedeemCode_WrongCodesCountAndTyposDoNot(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		code := h.enroll("ada", "a").Enrolled.RecoveryCode
		token := h.startMFA("ada").Token
		for range 30 {
			_, err := h.redeem(token, wrongCode[:23]+"0")
			expect(h.t, "a typo", err, recovery.ErrTypo)
		}
		for range 10 {
			_, err := h.redeem(token, wrongCode)
			expect(h.t, "a wrong code", err, recovery.ErrWrongCode)
		}
		_, err := h.redeem(token, wrongCode)
		if !errors.Is(err, recovery.ErrLimited) || storage.RetryAfter(err) != 30*time.Second {
			h.t.Errorf("a wrong code too soon: %v, after %v", err, storage.RetryAfter(err))
		}
		_, err = h.redeem(token, "typo")
		expect(h.t, "a typo then", err, recovery.ErrTypo)
		if _, err := h.redeem(token, code); err != nil {
			h.t.Errorf("the right code, with the same mfa_token: %v", err)
		}
	})
}

func TestRedeemCode_TakesOnlyTheMFATokenOfItsClient(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		code := p.Enrolled.RecoveryCode
		token := h.startMFA("ada").Token
		begun := h.begin(request("ada"))
		_, err := h.RedeemCode(context.Background(), h.by("another client", token), code)
		expect(h.t, "another client", err, login.ErrMFAToken)
		for name, bad := range map[string]string{
			"nothing": "", "a txtkn": p.one().TransactionToken, "an auth_req_id": begun.ID, "the device token": p.Enrolled.Token, "cut off": token[:len(token)-1],
		} {
			_, err := h.redeem(bad, code)
			expect(h.t, name, err, login.ErrMFAToken)
		}
		h.clock.Advance(10 * time.Minute)
		_, err = h.redeem(token, code)
		expect(h.t, "after ten minutes", err, login.ErrMFATokenExpired)
		if _, err := h.redeem(h.startMFA("ada").Token, code); err != nil {
			h.t.Errorf("the code was spent: %v", err)
		}
	})
}

func TestRedeemCode_64AtOnceSpendOneCodeAndGetOneAnswer(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		code := h.enroll("ada", "a").Enrolled.RecoveryCode
		token := h.startMFA("ada").Token
		next := make([]recovery.Code, 64)
		var all sync.WaitGroup
		for i := range next {
			all.Go(func() {
				o, err := h.redeem(token, code)
				if err != nil {
					h.t.Error(err)
				}
				next[i] = o.Next
			})
		}
		all.Wait()
		for _, n := range next {
			if n != next[0] {
				h.t.Fatal("two next codes were given")
			}
		}
		h.expectEvents("ada", audit.RecoverySucceed, 1)
	})
}

func TestRedeemCode_ManyLoginsAtOnceSpendOneCodeOnce(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		code := h.enroll("ada", "a").Enrolled.RecoveryCode
		tokens := make([]string, 12)
		for i := range tokens {
			tokens[i] = h.startMFA("ada").Token
		}
		var mu sync.Mutex
		redeemed := 0
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				token := tokens[i%len(tokens)]
				_, err := h.redeem(token, code)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					redeemed |= 1 << (i % len(tokens))
				case !errors.Is(err, recovery.ErrWrongCode) && !errors.Is(err, recovery.ErrLimited):
					h.t.Error(err)
				}
			})
		}
		all.Wait()
		if redeemed == 0 || redeemed&(redeemed-1) != 0 {
			h.t.Errorf("the logins let in by one code: %b", redeemed)
		}
	})
}

func TestRedeemCode_IsASuccessForThePushBudget(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.set("push.budget", "1")
		code := h.enroll("ada", "a").Enrolled.RecoveryCode
		h.expectDelivery("first", request("ada"), login.Push)
		h.expectDelivery("second", request("ada"), login.Silent)
		_, err := h.redeem(h.startMFA("ada").Token, code)
		must(h.t, err)
		h.expectDelivery("after the code", request("ada"), login.Push)
	})
}

// TestReset_LeavesNothingOfTheUsersMFA plants a word wherever somebody outside can put one, in every table of class mfa.
func TestReset_LeavesNothingOfTheUsersMFA(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		const planted = "planted-6f1d"
		ctx := context.Background()
		p := h.enrollApp("ada", planted+" identifier", devicetest.NewEd25519(h.t), device.NumberMatching, planted+" capability")
		name := planted + " name"
		_, err := h.devices.Patch(ctx, p.Proof(), device.Change{
			Name: &name, Push: push.Address{Service: push.APNs, Token: planted + " push token"},
		}, audit.ByUser().WithOrigin(planted, planted))
		must(h.t, err)
		req := request("ada")
		req.Client = "bank"
		req.Message = planted
		req.IP = planted
		req.Agent = planted
		req.LoginID = planted
		req.Details = json.RawMessage(`[{"type":"` + planted + `"}]`)
		req.Audience = planted
		req.Scope = planted
		begun := h.begin(req)
		h.damageAPush(planted)
		h.deliver()
		must(h.t, p.deny(p.one(), planted))
		token := h.startMFA("ada").Token
		_, err = h.redeem(token, wrongCode)
		expect(h.t, "a wrong code", err, recovery.ErrWrongCode)
		o, err := h.redeem(token, p.Enrolled.RecoveryCode)
		must(h.t, err)
		h.begin(req) // the code gave the push budget back
		remembering := h.by("bank", h.startMFA("ada").Token)
		remembering.Remember = true
		_, err = h.RedeemOTP(ctx, remembering, p.OTP(0))
		must(h.t, err)
		named := p.enrollment().PushAddress()
		h.update(func(tx *storage.Tx) error {
			said := device.Said{Gone: true, AsOf: tx.Now(), Why: "Unregistered"}
			return device.NotePush(tx, h.uidIn(tx, "ada"), p.Enrolled.ID, named, said)
		})
		_, err = h.devices.Practise(ctx, p.Proof(), wrongCode, audit.ByUser())
		must(h.t, err)
		must(h.t, h.store.Update(ctx, func(tx *storage.Tx) error {
			u, err := user.Find(tx, "ada")
			if err != nil {
				return err
			}
			e := audit.Event{Type: audit.AuthFailed, UID: u.UID}
			return audit.Fold(tx, audit.ByUser().WithOrigin(planted, planted), e, audit.Detail{Text: planted}, planted, time.Hour)
		}))
		h.plantBackup(p, planted)
		_, err = h.home.Admins.CheckCaller(ctx, "ada", planted, planted, desk)
		must(h.t, err)
		filled := h.tables()
		for table, class := range storage.Tables() {
			// TestRegister_AResetLeavesNothingOfPasskeys plants in the first, the tests of recovery/webhook in the second.
			planted := strings.HasPrefix(table, "passkey_") || table == "webhook_ticket"
			if class == storage.MFA && filled[table] == 0 && !planted {
				h.t.Errorf("the user has no row of %s: plant something there", table)
			}
		}
		r := h.reset("ada")
		for _, removed := range r.Removed {
			if filled[removed.Table] != removed.Rows {
				h.t.Errorf("of %d rows of %s the receipt counts %d", filled[removed.Table], removed.Table, removed.Rows)
			}
		}
		h.scan(func(key, value string) {
			for _, secret := range []string{planted, "Pixel 9", p.In.Key.X, p.Enrolled.ID, p.Enrolled.Token, p.Enrolled.RecoveryCode, string(o.Next), p.Enrolled.TOTP.Secret} {
				if strings.Contains(key+value, secret) {
					h.t.Errorf("%q holds %q: %s", key, secret, value)
				}
			}
			if key[0] == 'u' && strings.Contains(value, `"`+begun.Number+`"`) {
				h.t.Errorf("%q holds the number", key)
			}
		})
		if r := h.reset("ada"); len(r.Removed) != 0 {
			h.t.Errorf("a second reset removed %v", r.Removed)
		}
	})
}

// plantBackup has a phone back a word up, and veto a restore by a phone that is named by it.
func (h *house) plantBackup(p *phone, word string) {
	h.t.Helper()
	ctx := context.Background()
	hexDigest := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	manifest := p.Sign(map[string]any{
		"iss": p.Enrolled.ID, "generation": 1, "parent": "", "digest": hexDigest(word), "size": len(word), "items": 1,
		"provider": "server", "automatic_restore": true, "iat": h.clock.Wall().Unix(),
	})
	put := backup.PutRequest{
		Manifest:     manifest,
		Body:         []byte(word),
		Precondition: backup.Precondition{None: true},
	}
	stored, err := h.home.Backups.Put(ctx, p.Proof(), put, audit.ByUser().WithOrigin(word, word))
	must(h.t, err)
	other := h.home.NewPhone(word)
	other.In.Name = word
	start := restore.StartRequest{
		Handle:       stored.Handle,
		Installation: other.In,
		Proof:        other.Sign(map[string]any{"handle": hexDigest(stored.Handle), "iat": 1}),
	}
	started, err := h.home.Restores.Start(ctx, start, audit.ByUser().WithOrigin(word, word))
	must(h.t, err)
	must(h.t, h.home.Restores.Veto(ctx, p.Proof(), started.ID, audit.ByUser().WithOrigin(word, word)))
}

// damageAPush puts a word in the place of a payload that waits in the outbox: what cannot be read is set aside.
func (h *house) damageAPush(word string) {
	h.t.Helper()
	must(h.t, h.store.Engine().Update(context.Background(), func(r storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		err := r.Scan(storage.Prefix([]byte("u")), func(key, _ []byte) bool {
			if !strings.HasPrefix(string(key[17:]), "outbox\x00") {
				return true
			}
			ws.Put(bytes.Clone(key), []byte(word))
			return false
		})
		return ws, err
	}))
}

// tables counts the rows of each table, of all users.
func (h *house) tables() map[string]int {
	rows := map[string]int{}
	h.scan(func(key, _ string) {
		if key[0] == 'u' {
			table, _, _ := strings.Cut(key[17:], "\x00")
			rows[table]++
		}
	})
	return rows
}

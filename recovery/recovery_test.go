package recovery_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func TestSpend_RotatesInOneStep(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		next, err := h.spend(uid, recovery.LoginChannel, code)
		must(h.t, err)
		if next == code || len(next) != 24 {
			h.t.Errorf("the next code is %q", next)
		}
		if _, err := h.spend(uid, recovery.LoginChannel, code); !errors.Is(err, recovery.ErrWrongCode) {
			h.t.Errorf("the spent code got %v", err)
		}
		if _, err := h.spend(uid, recovery.LoginChannel, next); err != nil {
			h.t.Errorf("the next code got %v", err)
		}
	})
}

func TestSpend_RolledBackSpendsAndIssuesNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		later := errors.New("something later in the use case")
		err := h.update(func(tx *storage.Tx) error {
			if _, err := h.Spend(tx, uid, recovery.LoginChannel, code, audit.ByUser()); err != nil {
				return err
			}
			return later
		})
		if !errors.Is(err, later) {
			h.t.Fatal(err)
		}
		if _, err := h.spend(uid, recovery.LoginChannel, code); err != nil {
			h.t.Errorf("the code got %v", err)
		}
	})
}

func TestSpend_OneOf64AtOnceGetsTheCodeThrough(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		var mu sync.Mutex
		var next []recovery.Code
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				got, err := h.spend(uid, recovery.LoginChannel, code)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					next = append(next, got)
				case !errors.Is(err, recovery.ErrWrongCode) && !errors.Is(err, recovery.ErrLimited):
					h.t.Error(err)
				}
			})
		}
		all.Wait()
		if len(next) != 1 {
			h.t.Fatalf("%d of 64 spent one code", len(next))
		}
		must(h.t, h.update(func(tx *storage.Tx) error { return recovery.OpenAll(tx, uid) }))
		if _, err := h.spend(uid, recovery.LoginChannel, next[0]); err != nil {
			h.t.Errorf("the one next code got %v", err)
		}
	})
}

func TestSpend_CodeOfAnotherUserIsWrong(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		_, code := h.newUser("ben")
		if _, err := h.spend(uid, recovery.LoginChannel, code); !errors.Is(err, recovery.ErrWrongCode) {
			h.t.Errorf("got %v", err)
		}
	})
}

func TestSpend_UserWithoutACodeGetsWrongAndIsCounted(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		var uid storage.UID
		must(h.t, h.update(func(tx *storage.Tx) (err error) {
			made, err := user.Create(tx, user.User{ID: "ada"})
			if err == nil {
				uid = made.UID
			}
			return err
		}))
		h.failUntil(uid, recovery.LoginChannel, 0, 10)
		if h.wait(uid, recovery.LoginChannel) != 30*time.Second {
			h.t.Error("the failures of a user without a code are not counted")
		}
	})
}

func TestSpend_RecordsEventsAndTellsThePhones(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		h.failUntil(uid, recovery.RestoreChannel, 0, 10)
		h.clock.Advance(time.Minute)
		_, err := h.spend(uid, recovery.RestoreChannel, code)
		must(h.t, err)
		counts := map[audit.Type]int{}
		for _, e := range h.events(uid) {
			counts[e.Type]++
			if e.Facts["channel"] != "restore" {
				h.t.Errorf("%s has the facts %v", e.Type, e.Facts)
			}
		}
		if counts[audit.RecoveryFailed] != 10 || counts[audit.RecoveryRateLimit] != 1 || counts[audit.RecoverySucceed] != 1 {
			h.t.Errorf("events: %v", counts)
		}
		if n := h.rows("outbox"); n != 2 { // code_guessed, code_changed
			h.t.Errorf("%d notices wait in the outbox", n)
		}
	})
}

func (h *house) events(uid storage.UID) []audit.Entry {
	h.t.Helper()
	entries, _, err := audit.List(context.Background(), h.store, audit.Query{UID: uid}, false)
	must(h.t, err)
	return entries
}

func TestSpend_CodesSurviveARotationOfKeys(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		_, err := h.ring.Rotate(context.Background())
		must(h.t, err)
		next, err := h.spend(uid, recovery.LoginChannel, code)
		if err != nil {
			h.t.Fatalf("the code of the old key got %v", err)
		}
		if _, err := h.spend(uid, recovery.LoginChannel, next); err != nil {
			h.t.Errorf("the code of the new key got %v", err)
		}
	})
}

func TestIssue_StoresNoCodeInPlainForm(t *testing.T) {
	h := newHouse(t, ground.Options{})
	uid, code := h.newUser("ada")
	next, err := h.spend(uid, recovery.LoginChannel, code)
	must(t, err)
	h.scan(func(key, value string) {
		for _, c := range []recovery.Code{code, next} {
			if strings.Contains(key+value, string(c)) {
				t.Errorf("a code lies in plain form under %q", key)
			}
		}
	})
}

// scan shows every key and value of the engine.
func (h *house) scan(see func(key, value string)) {
	h.t.Helper()
	must(h.t, h.store.Engine().View(context.Background(), func(r storage.Reader) error {
		return r.Scan(storage.Range{}, func(key, value []byte) bool {
			see(string(key), string(value))
			return true
		})
	}))
}

// rows counts the rows of a table, of all users.
func (h *house) rows(table string) (n int) {
	h.scan(func(key, _ string) {
		if key[0] == 'u' && strings.HasPrefix(key[17:], table+"\x00") {
			n++
		}
	})
	return n
}

func (h *house) practise(uid storage.UID, typed string) (valid bool, err error) {
	err = h.update(func(tx *storage.Tx) (err error) {
		valid, err = h.Practise(tx, uid, typed, audit.ByUser())
		return err
	})
	return valid, err
}

func TestPractise_TellsWithoutSpending(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		for typed, want := range map[string]bool{
			string(code): true, strings.ToLower(string(code)): true, string(h.wrong()): false, string(code)[1:]: false, "": false,
		} {
			if valid, err := h.practise(uid, typed); err != nil || valid != want {
				h.t.Errorf("%d characters: %t, %v", len(typed), valid, err)
			}
		}
		if _, err := h.spend(uid, recovery.LoginChannel, code); err != nil {
			h.t.Errorf("the code that was practised got %v", err)
		}
	})
}

func TestPractise_CountsAndClearsOnItsOwnChannelAndNoTypo(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		for range 9 {
			if valid, err := h.practise(uid, string(h.wrong())); valid || err != nil {
				h.t.Fatal(valid, err)
			}
		}
		// Typos do not count.
		for range 30 {
			if valid, err := h.practise(uid, example[1:]+"0"); valid || err != nil {
				h.t.Fatalf("a typo got %t, %v", valid, err)
			}
		}
		if valid, err := h.practise(uid, string(code)); !valid || err != nil {
			h.t.Fatalf("after nine wrong ones the right code got %t, %v", valid, err)
		}
		// The right code has cleared the count, so it takes ten wrong ones again.
		for range 10 {
			if _, err := h.practise(uid, string(h.wrong())); err != nil {
				h.t.Fatal(err)
			}
		}
		if _, err := h.practise(uid, string(h.wrong())); storage.RetryAfter(err) != 30*time.Second {
			h.t.Errorf("a wrong one too soon: %v", err)
		}
		if valid, err := h.practise(uid, "typo"); valid || err != nil {
			h.t.Errorf("a typo then: %t, %v", valid, err)
		}
		if wait := h.wait(uid, recovery.LoginChannel); wait != 0 {
			h.t.Errorf("practice made the login wait %v", wait)
		}
		if valid, err := h.practise(uid, string(code)); !valid || err != nil {
			h.t.Errorf("the right one, which waits for nothing: %t, %v", valid, err)
		}
	})
}

func TestRegenerate_GivesACodeForADayThatAnAdminSaw(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		uid, old := h.newUser("ada")
		code, err := h.admins.Regenerate(ctx, "ada", audit.ByClient("x", nil, storage.House))
		must(h.t, err)
		if _, err := h.spend(uid, recovery.LoginChannel, old); !errors.Is(err, recovery.ErrWrongCode) {
			h.t.Errorf("the old code got %v", err)
		}
		h.clock.Advance(24*time.Hour - time.Nanosecond)
		h.expectCode(uid, true, true)
		h.clock.Advance(time.Nanosecond)
		h.expectCode(uid, false, true) // the row stays, and so the state
		if _, err := h.spend(uid, recovery.LoginChannel, code); !errors.Is(err, recovery.ErrWrongCode) {
			h.t.Errorf("the code of yesterday got %v", err)
		}
		if valid, err := h.practise(uid, string(code)); valid || err != nil {
			h.t.Errorf("practised, it is %t, %v", valid, err)
		}
		if n := h.rows("outbox"); n != 1 {
			h.t.Errorf("%d notices wait in the outbox", n)
		}
	})
}

func TestRegenerate_CodeThatIsSpentIsReplacedByOneThatStays(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, _ := h.newUser("ada")
		code, err := h.admins.Regenerate(context.Background(), "ada", audit.ByOperator(0))
		must(h.t, err)
		next, err := h.spend(uid, recovery.LoginChannel, code)
		must(h.t, err)
		h.clock.Advance(1000 * time.Hour)
		if _, err := h.spend(uid, recovery.LoginChannel, next); err != nil {
			h.t.Errorf("got %v", err)
		}
	})
}

func (h *house) expectCode(uid storage.UID, has, issued bool) {
	h.t.Helper()
	h.view(func(tx *storage.Tx) error {
		gotHas, err := recovery.HasCode(tx, uid)
		gotIssued, err2 := recovery.CodeIssued(tx, uid)
		if gotHas != has || gotIssued != issued {
			h.t.Errorf("has a code: %t, was issued one: %t", gotHas, gotIssued)
		}
		return errors.Join(err, err2)
	})
}

func TestAnswer_IsKeptSealedForItsLifeAtMostAQuarterOfAnHour(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		for key, life := range map[string]time.Duration{"short": time.Minute, "long": time.Hour} {
			must(h.t, h.update(func(tx *storage.Tx) error {
				a := recovery.Reply{Code: h.HashForReply(uid, code), Body: []byte("planted in an answer")}
				return recovery.KeepReply(tx, uid, key, a, life)
			}))
		}
		h.scan(func(key, value string) {
			if strings.Contains(value, "planted") {
				h.t.Errorf("the body lies in plain form under %q", key)
			}
		})
		h.view(func(tx *storage.Tx) error {
			kept, err := recovery.KeptReply(tx, uid, "short")
			must(h.t, err)
			if string(kept.Body) != "planted in an answer" || !h.RepliesTo(tx, kept, uid, code) || h.RepliesTo(tx, kept, uid, h.wrong()) {
				h.t.Errorf("kept is %+v", kept)
			}
			return nil
		})
		h.expectAnswers(uid, "short", "long")
		h.clock.Advance(time.Minute)
		h.expectAnswers(uid, "long")
		h.clock.Advance(14*time.Minute - time.Nanosecond)
		h.expectAnswers(uid, "long")
		h.clock.Advance(time.Nanosecond)
		h.expectAnswers(uid)
	})
}

// expectAnswers fails the test unless just these answers are kept.
func (h *house) expectAnswers(uid storage.UID, keys ...string) {
	h.t.Helper()
	h.view(func(tx *storage.Tx) error {
		var found []string
		for _, key := range []string{"short", "long", "a", "b", "page"} {
			_, err := recovery.KeptReply(tx, uid, key)
			if err == nil {
				found = append(found, key)
			} else if !errors.Is(err, storage.ErrNotFound) {
				return err
			}
		}
		if fmt.Sprint(found) != fmt.Sprint(keys) {
			h.t.Errorf("kept are %v, want %v", found, keys)
		}
		return nil
	})
}

func TestAnswer_IsErasedByWhatEndsItsUse(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(h *house, uid storage.UID, code recovery.Code)
		left []string
	}{
		"the first call of its enrollment": {func(h *house, uid storage.UID, _ recovery.Code) {
			must(h.t, h.update(func(tx *storage.Tx) error { return recovery.Called(tx, uid, "dev_a") }))
		}, []string{"b", "page"}},
		"being shown": {func(h *house, uid storage.UID, _ recovery.Code) {
			must(h.t, h.update(func(tx *storage.Tx) error { return recovery.ForgetReply(tx, uid, "page") }))
		}, []string{"a", "b"}},
		"a rotation": {func(h *house, uid storage.UID, code recovery.Code) {
			_, err := h.spend(uid, recovery.LoginChannel, code)
			must(h.t, err)
		}, nil},
		"an admin's new code": {func(h *house, _ storage.UID, _ recovery.Code) {
			_, err := h.admins.Regenerate(context.Background(), "ada", audit.ByOperator(0))
			must(h.t, err)
		}, nil},
		"a reset": {func(h *house, _ storage.UID, _ recovery.Code) { h.reset("ada", false) }, nil},
		"a wrong code, which ends nothing": {func(h *house, uid storage.UID, _ recovery.Code) {
			h.fail(uid, recovery.LoginChannel)
		}, []string{"a", "b", "page"}},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				uid, code := h.newUser("ada")
				must(h.t, h.update(func(tx *storage.Tx) error {
					return errors.Join(
						recovery.KeepReply(tx, uid, "a", recovery.Reply{Enrollment: "dev_a", Body: []byte("x")}, time.Hour),
						recovery.KeepReply(tx, uid, "b", recovery.Reply{Enrollment: "dev_b", Body: []byte("x")}, time.Hour),
						recovery.KeepReply(tx, uid, "page", recovery.Reply{Body: []byte("x")}, time.Hour))
				}))
				c.end(h, uid, code)
				h.expectAnswers(uid, c.left...)
			})
		})
	}
}

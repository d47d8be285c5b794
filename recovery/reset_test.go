package recovery_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// stuff stands for a table that a package above has: a reset knows no list of tables.
type stuff struct {
	Text   string `json:"text"`
	Secret []byte `json:"secret"`
}

var (
	stuffs = storage.Declare(storage.Spec[stuff]{
		Name: "test_stuff", Class: storage.MFA,
		Sealed: func(s *stuff) []storage.Field { return []storage.Field{{Name: "secret", Value: &s.Secret}} },
	})
	_ = stuffs.Plain("text", func(s *stuff) []string { return []string{s.Text} })
)

// planted is what a reset must leave nothing of.
const planted = "planted-6f1d"

// newFullUser makes a user with rows in several tables of class mfa.
func (h *house) newFullUser(id string) storage.UID {
	h.t.Helper()
	uid, code := h.newUser(id)
	h.fail(uid, recovery.LoginChannel)
	_, err := h.spend(uid, recovery.RestoreChannel, code)
	must(h.t, err)
	h.fail(uid, recovery.RestoreChannel)
	must(h.t, h.update(func(tx *storage.Tx) error {
		return errors.Join(
			recovery.KeepReply(tx, uid, planted, recovery.Reply{Enrollment: planted, Body: []byte(planted)}, time.Hour),
			stuffs.Put(tx, uid, planted, &stuff{Text: planted, Secret: []byte(planted)}),
			audit.Record(tx, audit.ByUser().WithOrigin(planted, planted), audit.Event{Type: audit.StartAuth, UID: uid}, audit.Detail{Device: planted, Text: planted}))
	}))
	return uid
}

func (h *house) reset(id string, dry bool) recovery.Receipt {
	h.t.Helper()
	req := recovery.ResetRequest{
		Reason:      "lost the phone",
		CallerCheck: "document",
		DryRun:      dry,
	}
	r, err := h.admins.Reset(context.Background(), id, req, audit.ByClient("desk", nil, storage.House).WithOrigin("192.0.2.7", ""))
	must(h.t, err)
	return r
}

func TestReset_DryRunRemovesNothingAndTellsTheRealCounts(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid := h.newFullUser("ada")
		before := h.content()
		dry := h.reset("ada", true)
		if diff := cmp.Diff(before, h.content()); diff != "" {
			h.t.Errorf("a dry run wrote: %s", diff)
		}
		if !dry.DryRun || dry.Signature != "" || dry.Residue {
			h.t.Errorf("the dry run says %+v", dry)
		}
		counts := map[string]int{}
		for _, r := range dry.Removed {
			counts[r.Table] = r.Rows
			if n := h.rows(r.Table); n != r.Rows {
				h.t.Errorf("%s has %d rows, the dry run says %d", r.Table, n, r.Rows)
			}
		}
		for _, table := range []string{"recovery_code", "limit", "answer", "test_stuff", "event_detail", "outbox"} {
			if counts[table] == 0 {
				h.t.Errorf("the dry run does not name %s: %v", table, dry.Removed)
			}
		}
		if r := h.reset("ada", false); cmp.Diff(dry.Removed, r.Removed) != "" || r.Digest != dry.Digest {
			h.t.Errorf("the dry run said %v, the reset removed %v", dry.Removed, r.Removed)
		}
		h.expectCode(uid, false, false)
	})
}

// content is the whole engine.
func (h *house) content() map[string]string {
	all := map[string]string{}
	h.scan(func(key, value string) { all[key] = value })
	return all
}

// The receipt says in people's words what went, and the event of the reset has the hash of what is signed.
func TestReset_SaysItInPeoplesWordsAndItsEventHasTheHashOfTheReceipt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.newFullUser("ada")
		r := h.reset("ada", false)
		if r.V != 1 || r.Evidence == nil || len(r.Evidence) != 0 || r.Summary != "1 code" {
			h.t.Errorf("receipt %+v", r)
		}
		if again := h.reset("ada", false); again.Summary != "" {
			h.t.Errorf("again: %q", again.Summary)
		}
		parts := strings.Split(r.Signature, ".")
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		must(h.t, err)
		for _, member := range []string{`"v":1`, `"evidence":[]`, `"summary":"1 code"`} {
			if !strings.Contains(string(payload), member) {
				h.t.Errorf("signed without %s: %s", member, payload)
			}
		}
		sum := sha256.Sum256(payload)
		entries, _, err := audit.List(context.Background(), h.store, audit.Query{Types: []audit.Type{audit.Reset}, Oldest: true}, false)
		must(h.t, err)
		if got := entries[0].Facts[audit.FactSHA256]; string(got) != hex.EncodeToString(sum[:]) {
			h.t.Errorf("the event has %s", got)
		}
	})
}

func TestReset_SecondOneRemovesNothingAndSaysSo(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.newFullUser("ada")
		first := h.reset("ada", false)
		second := h.reset("ada", false)
		if len(second.Removed) != 0 || second.ID == first.ID || second.Signature == "" {
			h.t.Errorf("the second reset: %+v", second)
		}
		if !second.Residue {
			h.t.Error("the second receipt denies the residue of the first")
		}
		if encoded, err := json.Marshal(second); err != nil || !bytes.Contains(encoded, []byte(`"removed":[]`)) {
			h.t.Errorf("encoded: %s, %v", encoded, err)
		}
		h.view(func(tx *storage.Tx) error {
			list, err := recovery.Receipts(tx, first.UID)
			if len(list) != 2 {
				h.t.Errorf("%d receipts are kept", len(list))
			}
			return err
		})
	})
}

func TestReset_LeavesOnlyAccountAndEvidence(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid := h.newFullUser("ada")
		h.newFullUser("ben")
		bens := h.owned("ben")
		h.reset("ada", false)
		classes := storage.Tables()
		h.scan(func(key, value string) {
			if key[0] != 'u' || !strings.HasPrefix(key[1:], string(uid[:])) {
				return
			}
			table, _, _ := strings.Cut(key[17:], "\x00")
			if class := classes[table]; class != storage.Account && class != storage.Evidence {
				h.t.Errorf("a row of %s (%s) is left", table, class)
			}
		})
		ben := h.uid("ben")
		must(h.t, h.update(func(tx *storage.Tx) error { // Ben's planted strings are not Ada's
			_, err := storage.Purge(tx, ben, false, storage.MFA)
			return err
		}))
		if bens == 0 {
			h.t.Error("another user lost rows")
		}
		h.scan(func(key, value string) {
			if strings.Contains(key+value, planted) {
				h.t.Errorf("%q holds what was planted", key)
			}
		})
		h.expectEvidence(uid)
	})
}

// expectEvidence fails the test when evidence holds anything personal.
func (h *house) expectEvidence(uid storage.UID) {
	h.t.Helper()
	classes := storage.Tables()
	h.scan(func(key, value string) {
		if key[0] != 'u' || !strings.HasPrefix(key[1:], string(uid[:])) {
			return
		}
		table, _, _ := strings.Cut(key[17:], "\x00")
		for _, personal := range []string{"ada", "192.0.2.7", "lost the phone"} {
			if classes[table] == storage.Evidence && strings.Contains(value, personal) {
				h.t.Errorf("evidence in %s holds %q", table, personal)
			}
		}
	})
}

func (h *house) uid(id string) (uid storage.UID) {
	h.t.Helper()
	h.view(func(tx *storage.Tx) (err error) {
		u, err := user.Find(tx, id)
		if err == nil {
			uid = u.UID
		}
		return err
	})
	return uid
}

// owned counts the rows of class mfa of a user.
func (h *house) owned(id string) int {
	h.t.Helper()
	var removed []storage.Removed
	must(h.t, h.update(func(tx *storage.Tx) (err error) {
		removed, err = storage.Purge(tx, h.uidIn(tx, id), true, storage.MFA)
		return err
	}))
	return len(removed)
}

func (h *house) uidIn(tx *storage.Tx, id string) storage.UID {
	u, err := user.Find(tx, id)
	must(h.t, err)
	return u.UID
}

func TestReset_ReceiptIsSignedOverAllButResidue(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.newFullUser("ada")
		r := h.reset("ada", false)
		signed, err := jose.ParseSignedCompact(r.Signature, []jose.SignatureAlgorithm{jose.EdDSA})
		must(h.t, err)
		payload, err := signed.Verify(h.key.Public().(ed25519.PublicKey))
		must(h.t, err)
		encoded, err := json.Marshal(r)
		must(h.t, err)
		// What is signed is what is answered, without the members that are not.
		var want, got map[string]any
		must(h.t, json.Unmarshal(encoded, &want))
		must(h.t, json.Unmarshal(payload, &got))
		delete(want, "signature")
		delete(want, "residue")
		if diff := cmp.Diff(want, got); diff != "" {
			h.t.Error(diff)
		}
		for _, member := range []string{"id", "user_id", "uid", "by", "reason", "caller_check", "at", "dry_run", "removed", "digest"} {
			if _, ok := got[member]; !ok {
				h.t.Errorf("the signed bytes lack %s", member)
			}
		}
		h.view(func(tx *storage.Tx) error {
			kept, err := recovery.Receipts(tx, r.UID)
			if diff := cmp.Diff([]recovery.Receipt{r}, kept); diff != "" {
				h.t.Errorf("the receipt as kept: %s", diff)
			}
			return err
		})
	})
}

func TestReset_ThatCannotBeSignedRemovesNothing(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.newFullUser("ada")
	broken := recovery.New(h.store, h.ring, func(context.Context, []byte) (string, error) { return "", errors.New("no key") })
	before := h.content()
	_, err := admin.New(h.store, broken, nil, nil, nil).Reset(context.Background(), "ada", recovery.ResetRequest{Reason: "x"}, audit.ByOperator(0))
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(before, h.content()); diff != "" {
		t.Error(diff)
	}
}

func TestReset_ResidueOfEachReceiptUntilTheFileWasWrittenAnew(t *testing.T) {
	ground.NeedsFile(t)
	h := newHouse(t, ground.Options{})
	uid := h.newFullUser("ada")
	h.reset("ada", false)
	h.clock.Advance(time.Second)
	if _, err := h.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	h.clock.Advance(time.Second)
	h.expectResidue(uid, false)
	if r := h.reset("ada", false); r.Residue {
		t.Error("a reset that removed nothing, of a file written anew, tells of residue")
	}
	h.clock.Advance(time.Second)
	must(t, h.update(func(tx *storage.Tx) error {
		_, err := h.Issue(tx, uid)
		return err
	}))
	h.reset("ada", false)
	h.expectResidue(uid, false, false, true)
	h.clock.Advance(time.Second)
	if _, err := h.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	h.expectResidue(uid, false, false, false)
}

func (h *house) expectResidue(uid storage.UID, want ...bool) {
	h.t.Helper()
	h.view(func(tx *storage.Tx) error {
		list, err := recovery.Receipts(tx, uid)
		var got []bool
		for _, r := range list {
			got = append(got, r.Residue)
		}
		if cmp.Diff(want, got) != "" {
			h.t.Errorf("residue of the receipts, oldest first: %v, want %v", got, want)
		}
		return err
	})
}

// TestReset_FreedPagesKeepOldBytesUntilCompact shows what a receipt means by residue, on the raw file.
func TestReset_FreedPagesKeepOldBytesUntilCompact(t *testing.T) {
	ground.NeedsFile(t)
	h := newHouse(t, ground.Options{})
	uid := h.newFullUser("ada")
	if !h.fileHolds(planted) {
		t.Fatal("the file does not hold what was planted: the test tests nothing")
	}
	h.reset("ada", false)
	if !h.fileHolds(planted) {
		t.Log("the engine has overwritten the freed pages already")
	}
	h.clock.Advance(time.Second)
	if _, err := h.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	if h.fileHolds(planted) {
		t.Error("the file written anew holds what was reset")
	}
	h.expectResidue(uid, false)
}

func (h *house) fileHolds(s string) bool {
	h.t.Helper()
	raw, err := os.ReadFile(h.path)
	must(h.t, err)
	return bytes.Contains(raw, []byte(s))
}

func TestReset_WakesWhoWaits(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid := h.newFullUser("ada")
		woken, stop := h.store.Watch(uid)
		defer stop()
		h.reset("ada", false)
		select {
		case <-woken:
		default:
			h.t.Error("nobody was woken")
		}
	})
}

func TestDelete_RemovesAllButEvidence(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		uid := h.newFullUser("ada")
		h.reset("ada", false)
		h.newFullUserAgain("ada")
		must(h.t, h.admins.Delete(ctx, "ada", audit.ByClient("desk", nil, storage.House).WithOrigin("192.0.2.7", "")))
		classes := storage.Tables()
		h.scan(func(key, value string) {
			if key[0] == 'u' && strings.HasPrefix(key[1:], string(uid[:])) {
				if table, _, _ := strings.Cut(key[17:], "\x00"); classes[table] != storage.Evidence {
					h.t.Errorf("a row of %s is left", table)
				}
			}
			if strings.Contains(key+value, planted) || strings.Contains(value, "192.0.2.7") {
				h.t.Errorf("%q holds something of the user's", key)
			}
		})
		h.expectEvidence(uid)
		if err := h.admins.Delete(ctx, "ada", audit.ByOperator(0)); err != nil {
			h.t.Errorf("nobody: %v", err)
		}
		if again, _ := h.newUser("ada"); again == uid {
			h.t.Error("a user made anew has the uid of the one deleted")
		}
	})
}

// newFullUserAgain gives a user who is there rows of class mfa again.
func (h *house) newFullUserAgain(id string) {
	h.t.Helper()
	uid := h.uid(id)
	must(h.t, h.update(func(tx *storage.Tx) error {
		_, err := h.Issue(tx, uid)
		return errors.Join(err, stuffs.Put(tx, uid, planted, &stuff{Text: planted, Secret: []byte(planted)}))
	}))
}

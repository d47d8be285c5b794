package backup_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"tutela/backup"
	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func TestPut_TheFirstMakesABackupWithAHandleThatOnlyItsHashIsKeptOf(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		p := h.enroll(t, "ada")
		body := random(200_000)
		stored := p.put(t, p.version(t, 1, "", body, 5, nil))
		if stored.Generation != 1 || stored.Digest != hexDigest(body) || stored.Created.IsZero() {
			t.Errorf("answer is %+v", stored)
		}
		if len(stored.Handle) < 43 {
			t.Errorf("handle %q has fewer than 256 bits", stored.Handle)
		}
		if h.Holds(stored.Handle) {
			t.Error("the store holds the handle in plain form")
		}
		v, got, err := h.backups.Latest(context.Background(), p.Proof())
		must(t, err)
		if !bytes.Equal(got, body) || v.Size != len(body) || !v.Key.Same(p.In.Key) {
			t.Errorf("latest is another: %d bytes of %d", len(got), len(body))
		}
		if n := len(h.Rows("backup_chunk")); n != 4 {
			t.Errorf("a body of 200000 bytes lies in %d chunks, want 4 of 64 KiB", n)
		}
	})
}

func TestPut_IsRefusedForTheFirstReasonThatHolds(t *testing.T) {
	h := openHouse(t, ground.Options{})
	p := h.enroll(t, "ada")
	other := h.enroll(t, "ada")
	manifest := p.backUp(t, 2)
	body := random(50)
	good := func(change func(map[string]any)) backup.PutRequest { return p.version(t, 3, manifest, body, 5, change) }
	stale := func(req backup.PutRequest) backup.PutRequest {
		one := int64(1)
		req.Precondition = backup.Precondition{Match: &one}
		return req
	}
	with := func(req backup.PutRequest, change func(*backup.PutRequest)) backup.PutRequest {
		change(&req)
		return req
	}
	cases := []struct {
		name string
		req  backup.PutRequest
		want error
	}{
		{"neither precondition, and stale", with(stale(good(nil)), func(r *backup.PutRequest) { r.Precondition = backup.Precondition{} }), backup.ErrInvalid},
		{"both preconditions", with(good(nil), func(r *backup.PutRequest) { r.Precondition.None = true }), backup.ErrInvalid},
		{"no manifest, and stale", with(stale(good(nil)), func(r *backup.PutRequest) { r.Manifest = "" }), backup.ErrInvalid},
		{"manifest without payload", with(good(nil), func(r *backup.PutRequest) { r.Manifest = "e30..x" }), backup.ErrInvalid},
		{"manifest without digest", good(func(c map[string]any) { delete(c, "digest") }), backup.ErrInvalid},
		{"manifest without items", good(func(c map[string]any) { delete(c, "items") }), backup.ErrInvalid},
		{"manifest with items below 0", good(func(c map[string]any) { c["items"] = -1 }), backup.ErrInvalid},
		{"manifest with items past reason", good(func(c map[string]any) { c["items"] = 1 << 62 }), backup.ErrInvalid},
		{"manifest of an unknown provider", good(func(c map[string]any) { c["provider"] = "dropbox" }), backup.ErrInvalid},
		{"manifest too long", good(func(c map[string]any) { c["x"] = strings.Repeat("x", 14_000) }), backup.ErrInvalid},
		{"more of the app's own than 8 KiB", good(func(c map[string]any) { c["slots"] = strings.Repeat("x", 8<<10) }), backup.ErrInvalid},
		{"stale, and the digest differs", stale(good(func(c map[string]any) { c["digest"] = hexDigest(nil) })), backup.ErrConflict},
		{"the first once more", p.version(t, 1, "", body, 5, nil), backup.ErrConflict},
		{"a generation left out", good(func(c map[string]any) { c["generation"] = 4 }), backup.ErrConflict},
		{"a digest that differs", good(func(c map[string]any) { c["digest"] = hexDigest(nil) }), backup.ErrInvalid},
		{"a size that differs, and it shrinks", good(func(c map[string]any) {
			c["size"] = 49
			c["items"] = 0
		}), backup.ErrInvalid},
		{"another phone's manifest", with(good(nil), func(r *backup.PutRequest) { r.Manifest = other.version(t, 3, manifest, body, 5, nil).Manifest }), backup.ErrInvalid},
		{"another phone's name on this phone's manifest", good(func(c map[string]any) { c["iss"] = other.Enrolled.ID }), backup.ErrInvalid},
		{"this phone's name on another phone's manifest", with(good(nil), func(r *backup.PutRequest) {
			r.Manifest = other.version(t, 3, manifest, body, 5, func(c map[string]any) { c["iss"] = p.Enrolled.ID }).Manifest
		}), backup.ErrInvalid},
		{"a parent that does not chain", good(func(c map[string]any) { c["parent"] = hexDigest(body) }), backup.ErrInvalid},
		{"no parent", good(func(c map[string]any) { c["parent"] = "" }), backup.ErrInvalid},
		{"a platform's backup with a body", good(func(c map[string]any) { c["provider"] = "icloud" }), backup.ErrInvalid},
		{"none of five items, and too large", p.version(t, 3, manifest, random(300_000), 0, nil), backup.ErrShrinks},
		{"under half of five items", good(func(c map[string]any) { c["items"] = 2 }), backup.ErrShrinks},
		{"too large", p.version(t, 3, manifest, random(256<<10+1), 5, nil), backup.ErrTooLarge},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := h.backups.Put(context.Background(), p.Proof(), c.req, audit.ByUser())
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			var conflict *backup.Conflict
			if errors.As(err, &conflict) && (conflict.Generation != 2 || conflict.Manifest != manifest) {
				t.Errorf("the conflict names generation %d", conflict.Generation)
			}
			if v, _, err := h.backups.Latest(context.Background(), p.Proof()); err != nil || v.Generation != 2 {
				t.Errorf("the refused put changed the backup: %v, %v", v, err)
			}
		})
	}
	p.put(t, good(nil))
}

func TestPut_ConflictsWithGeneration0WhereNothingIs(t *testing.T) {
	h := openHouse(t, ground.Options{})
	p := h.enroll(t, "ada")
	_, err := h.backups.Put(context.Background(), p.Proof(), p.version(t, 2, "x", nil, 0, nil), audit.ByUser())
	var conflict *backup.Conflict
	if !errors.As(err, &conflict) || *conflict != (backup.Conflict{}) {
		t.Errorf("got %v", err)
	}
	if storage.CodeOf(err) != storage.Conflict {
		t.Errorf("its code is %q", storage.CodeOf(err))
	}
}

func TestPut_LetsAShrinkingBackupPassWhenItIsMeantOrSmall(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		p := h.enroll(t, "ada")
		req := p.version(t, 1, "", random(9), 8, nil)
		p.put(t, req)
		half := p.version(t, 2, req.Manifest, random(9), 4, nil)
		p.put(t, half)
		meant := p.version(t, 3, half.Manifest, random(9), 1, func(c map[string]any) { c["shrink"] = true })
		p.put(t, meant)
		p.put(t, p.version(t, 4, meant.Manifest, nil, 0, nil)) // from fewer than four items
	})
}

func TestPut_AgainGetsTheSameAnswerWithTheHandleForAQuarterOfAnHour(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		p := h.enroll(t, "ada")
		req := p.version(t, 1, "", random(70_000), 5, nil)
		first := p.put(t, req)
		h.clock.Advance(14 * time.Minute)
		if again := p.put(t, req); !cmp.Equal(again, first) {
			t.Errorf("the same put got %+v, before %+v", again, first)
		}
		req.Precondition = backup.Precondition{} // looked for before all else
		if again := p.put(t, req); !cmp.Equal(again, first) {
			t.Errorf("the same put got %+v, before %+v", again, first)
		}
		h.clock.Advance(time.Minute)
		want := *first
		want.Handle = ""
		if again := p.put(t, req); !cmp.Equal(again, &want) {
			t.Errorf("after a quarter of an hour the same put got %+v", again)
		}
		other := req
		other.Body = random(70_000)
		if _, err := h.backups.Put(context.Background(), p.Proof(), other, audit.ByUser()); err == nil {
			t.Error("another body under the same manifest was taken for the same put")
		}
		entries, _, err := audit.List(context.Background(), h.store, audit.Query{Types: []audit.Type{audit.BackupPut}}, false)
		must(t, err)
		if len(entries) != 1 {
			t.Errorf("%d events of one put", len(entries))
		}
	})
}

func TestPut_TracksAPlatformBackupWithAnEmptyBody(t *testing.T) {
	h := openHouse(t, ground.Options{})
	p := h.enroll(t, "ada")
	req := p.version(t, 1, "", nil, 7, func(c map[string]any) {
		c["provider"] = "icloud"
		c["automatic_restore"] = false
	})
	p.put(t, req)
	list, err := h.Admins.Backups(context.Background(), "ada")
	must(t, err)
	want := []backup.Tracked{{
		ID:         list[0].ID,
		Generation: 1,
		Items:      7,
		Provider:   backup.ICloud,
		Created:    h.store.Now(),
		Updated:    h.store.Now().Truncate(time.Millisecond),
		Enrollment: p.Enrolled.ID,
		Device:     "Pixel 9",
	}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
	if _, err := h.Admins.Backups(context.Background(), "nobody"); !errors.Is(err, user.ErrUnknown) {
		t.Errorf("nobody's backups: %v", err)
	}
}

func TestPut_KeepsTheNewestGenerationsAsSet(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		p := h.enroll(t, "ada")
		manifest := p.backUp(t, 12)
		ctx := context.Background()
		list, err := h.backups.Generations(ctx, p.Proof())
		must(t, err)
		if len(list) != 11 || list[0].Generation != 12 || list[9].Generation != 3 || list[10].Generation != 2 {
			t.Errorf("of 12 generations %d are kept", len(list)) // the newest ten, and the newest before them of today
		}
		for i, v := range list[:10] {
			if !strings.Contains(payload(t, v.Manifest), hexDigest([]byte(list[i+1].Manifest))) {
				t.Errorf("generation %d does not name the one before as its parent", v.Generation)
			}
		}
		if _, _, err := h.backups.Generation(ctx, p.Proof(), 1); !errors.Is(err, backup.ErrNone) {
			t.Errorf("generation 1: %v", err)
		}
		if v, body, err := h.backups.Generation(ctx, p.Proof(), 3); err != nil || v.Digest != hexDigest(body) {
			t.Errorf("generation 3: %v", err)
		}
		h.Set("backup.keep", "1")
		p.put(t, p.version(t, 13, manifest, random(100_000), 5, nil))
		versions := len(h.Rows("backup_version"))
		chunks := len(h.Rows("backup_chunk"))
		if versions != 2 || chunks != 3 {
			t.Errorf("one generation, and one of today, lie in %d versions and %d chunks", versions, chunks)
		}
	})
}

func TestPut_BySixtyFourAtOnceAddsOneVersion(t *testing.T) {
	h := openHouse(t, ground.Options{})
	p := h.enroll(t, "ada")
	manifest := p.backUp(t, 1)
	proof := p.Proof()
	var won, conflicts atomic.Int32
	var group sync.WaitGroup
	for i := range 64 {
		req := p.version(t, 2, manifest, random(10+i), 5, nil)
		group.Go(func() {
			_, err := h.backups.Put(context.Background(), proof, req, audit.ByUser())
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, backup.ErrConflict):
				conflicts.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 || conflicts.Load() != 63 {
		t.Errorf("%d puts won, %d conflicted", won.Load(), conflicts.Load())
	}
}

func TestDelete_IsFollowedByGeneration1WithANewHandle(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		p := h.enroll(t, "ada")
		first := p.put(t, p.version(t, 1, "", random(100_000), 5, nil))
		must(t, h.backups.Delete(ctx, p.Proof(), audit.ByUser()))
		if _, _, err := h.backups.Latest(ctx, p.Proof()); !errors.Is(err, backup.ErrNone) {
			t.Errorf("the deleted backup is seen: %v", err)
		}
		if h.find(t, first.Handle) != nil {
			t.Error("the handle still leads to a backup")
		}
		if err := h.backups.Delete(ctx, p.Proof(), audit.ByUser()); !errors.Is(err, backup.ErrNone) {
			t.Errorf("delete of nothing: %v", err)
		}
		again := p.put(t, p.version(t, 1, "", random(10), 1, nil))
		if again.Generation != 1 || again.Handle == "" || again.Handle == first.Handle {
			t.Errorf("the put after it got %+v", again)
		}
	})
}

func TestFind_KnowsAHandleAfterTheKeysWereRotated(t *testing.T) {
	h := openHouse(t, ground.Options{})
	p := h.enroll(t, "ada")
	stored := p.put(t, p.version(t, 1, "", nil, 0, nil))
	_, err := h.ring.Rotate(context.Background())
	must(t, err)
	_, err = h.store.Reseal(context.Background())
	must(t, err)
	if h.find(t, stored.Handle) == nil {
		t.Error("the handle is forgotten")
	}
	if h.find(t, "rh_made-up") != nil {
		t.Error("a made-up handle leads to a backup")
	}
}

func TestBackup_StaysRestorableWhenItsEnrollmentIsGone(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		p := h.enroll(t, "ada")
		stored := p.put(t, p.version(t, 1, "", random(10), 3, nil))
		must(t, h.devices.Leave(ctx, p.Proof(), audit.ByUser()))
		if h.find(t, stored.Handle) == nil {
			t.Fatal("the handle leads nowhere")
		}
		list, err := h.Admins.Backups(ctx, "ada")
		must(t, err)
		if len(list) != 1 || !list[0].Orphaned || list[0].Device != "Pixel 9" {
			t.Errorf("the backups are %+v", list)
		}
		next := h.enroll(t, "ada")
		if _, _, err := h.backups.Latest(ctx, next.Proof()); !errors.Is(err, backup.ErrNone) {
			t.Errorf("the new enrollment has a backup: %v", err)
		}
		next.backUp(t, 1)
		if h.find(t, stored.Handle) == nil {
			t.Error("the new enrollment's backup took the place of the old one")
		}
	})
}

func TestBackup_AResetLeavesNothing(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		p := h.enroll(t, "ada")
		planted := "planted-" + hex.EncodeToString(random(16))
		stored := p.put(t, p.version(t, 1, "", []byte(planted), 5, nil))
		if !h.Holds(planted) {
			t.Fatal("the scan does not find what is there")
		}
		_, err := h.Admins.Reset(context.Background(), "ada", recovery.ResetRequest{Reason: "test"}, audit.ByOperator(0))
		must(t, err)
		if h.Holds(planted) || h.find(t, stored.Handle) != nil {
			t.Error("something of the backup is left")
		}
	})
}

func TestBackup_TakesNoDeviceToken(t *testing.T) {
	h := openHouse(t, ground.Options{})
	ctx := context.Background()
	p := h.enroll(t, "ada")
	p.backUp(t, 1)
	stolen, err := h.devices.Prove(ctx, p.Enrolled.ID, p.Enrolled.Token, false)
	must(t, err)
	calls := map[string]func() error{
		"put": func() error {
			_, err := h.backups.Put(ctx, stolen, p.version(t, 1, "", nil, 0, nil), audit.ByUser())
			return err
		},
		"latest": func() error {
			_, _, err := h.backups.Latest(ctx, stolen)
			return err
		},
		"generation": func() error {
			_, _, err := h.backups.Generation(ctx, stolen, 1)
			return err
		},
		"generations": func() error {
			_, err := h.backups.Generations(ctx, stolen)
			return err
		},
		"handle": func() error {
			_, err := h.backups.NewHandle(ctx, stolen, false, audit.ByUser())
			return err
		},
		"delete": func() error { return h.backups.Delete(ctx, stolen, audit.ByUser()) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, device.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPut_AfterAResetThatCameBetweenIsRefused(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		p := h.enroll(t, "ada")
		proof := p.Proof()
		req := p.version(t, 1, "", random(10), 1, nil)
		_, err := h.Admins.Reset(context.Background(), "ada", recovery.ResetRequest{Reason: "test"}, audit.ByOperator(0))
		must(t, err)
		if _, err := h.backups.Put(context.Background(), proof, req, audit.ByUser()); !errors.Is(err, device.ErrNoEnrollment) {
			t.Errorf("got %v", err)
		}
		if n := len(h.Rows("backup")); n != 0 {
			t.Errorf("%d backups are left behind", n)
		}
	})
}

func TestParsePrecondition(t *testing.T) {
	three := int64(3)
	none := int64(-1)
	cases := []struct {
		match, noneMatch string
		want             backup.Precondition
	}{
		{"", "", backup.Precondition{}},
		{"", "*", backup.Precondition{None: true}},
		{`"3"`, "", backup.Precondition{Match: &three}},
		{`"3"`, "*", backup.Precondition{None: true, Match: &three}},
		{"3", "", backup.Precondition{Match: &none}},
		{`"03"`, "", backup.Precondition{Match: &none}},
		{`W/"3"`, "", backup.Precondition{Match: &three}},
		{`"3-gzip"`, "", backup.Precondition{Match: &three}},
		{`W/"3-br"`, "", backup.Precondition{Match: &three}},
		{`W/W/"3"`, "", backup.Precondition{Match: &none}},
		{`"3-gzip-gzip"`, "", backup.Precondition{Match: &none}},
		{`"3-x"`, "", backup.Precondition{Match: &none}},
		{"*", "", backup.Precondition{Match: &none}},
		{"", `"3"`, backup.Precondition{}},
	}
	for _, c := range cases {
		if diff := cmp.Diff(c.want, backup.ParsePrecondition(c.match, c.noneMatch)); diff != "" {
			t.Errorf("If-Match %q, If-None-Match %q: %s", c.match, c.noneMatch, diff)
		}
	}
}

// find returns the backup under a handle, or nil.
func (h *house) find(t testing.TB, handle string) (b *backup.Backup) {
	t.Helper()
	must(t, h.store.View(context.Background(), func(tx *storage.Tx) (err error) {
		_, b, _, err = h.backups.Find(tx, handle, storage.NewUID())
		return err
	}))
	return b
}

package backup_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"tutela/backup"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// admin undeletes a backup as an admin does.
func (h *house) adminUndeletes(id string) error {
	return h.Admins.Undelete(context.Background(), "ada", id, audit.ByOperator(0))
}

func TestUndelete_BringsTheBackupBackWithItsHandles(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		p := h.enroll(t, "ada")
		if err := h.backups.Undelete(ctx, p.Proof(), audit.ByUser()); !errors.Is(err, backup.ErrNone) {
			t.Errorf("undelete of nothing: %v", err)
		}
		req := p.version(t, 1, "", random(100_000), 5, nil)
		first := p.put(t, req)
		second, err := h.backups.NewHandle(ctx, p.Proof(), false, audit.ByUser())
		must(t, err)
		must(t, h.backups.Delete(ctx, p.Proof(), audit.ByUser()))
		h.clock.Advance(7*24*time.Hour - time.Second)
		must(t, h.backups.Undelete(ctx, p.Proof(), audit.ByUser()))
		must(t, h.backups.Undelete(ctx, p.Proof(), audit.ByUser())) // its answer was lost
		if _, body, err := h.backups.Latest(ctx, p.Proof()); err != nil || len(body) != 100_000 {
			t.Errorf("%d bytes came back: %v", len(body), err)
		}
		if h.find(t, first.Handle) == nil || h.find(t, second) == nil {
			t.Error("a handle did not return")
		}
		p.put(t, p.version(t, 2, req.Manifest, nil, 5, func(c map[string]any) { c["provider"] = "icloud" }))
		if err := h.backups.Undelete(ctx, p.Proof(), audit.ByUser()); !errors.Is(err, backup.ErrAnother) {
			t.Errorf("undelete of a backup that is there: %v", err)
		}
	})
}

func TestUndelete_IsRefusedAfterANewPutButNotToAnAdmin(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		p := h.enroll(t, "ada")
		old := p.put(t, p.version(t, 1, "", random(10), 5, nil))
		must(t, h.backups.Delete(ctx, p.Proof(), audit.ByUser()))
		h.clock.Advance(time.Minute)
		p.put(t, p.version(t, 1, "", random(10), 5, nil))
		if err := h.backups.Undelete(ctx, p.Proof(), audit.ByUser()); !errors.Is(err, backup.ErrAnother) {
			t.Fatalf("undelete after a new put: %v", err)
		}
		list, err := h.Admins.Backups(ctx, "ada")
		must(t, err)
		if len(list) != 2 || list[0].Deleted.IsZero() || !list[1].Deleted.IsZero() {
			t.Fatalf("the backups are %+v", list)
		}
		must(t, h.adminUndeletes(list[0].ID))
		must(t, h.adminUndeletes(list[0].ID)) // once more
		if h.find(t, old.Handle) == nil {
			t.Error("the handle does not find what the admin brought back")
		}
		list, err = h.Admins.Backups(ctx, "ada")
		must(t, err)
		if !list[0].Orphaned || list[1].Orphaned {
			t.Errorf("the backups are %+v", list) // the phone writes to its new one
		}
		if err := h.adminUndeletes("bkp_0123456789abcdef"); !errors.Is(err, backup.ErrNone) {
			t.Errorf("an unknown one: %v", err)
		}
	})
}

func TestDelete_LeavesNothingAfterSevenDays(t *testing.T) {
	h := openHouse(t, ground.Options{})
	ctx := context.Background()
	p := h.enroll(t, "ada")
	p.put(t, p.version(t, 1, "", random(100_000), 5, nil))
	must(t, h.backups.Delete(ctx, p.Proof(), audit.ByUser()))
	h.clock.Advance(7 * 24 * time.Hour)
	if err := h.backups.Undelete(ctx, p.Proof(), audit.ByUser()); !errors.Is(err, backup.ErrNone) {
		t.Errorf("undelete after seven days: %v", err)
	}
	list, err := h.Admins.Backups(ctx, "ada")
	must(t, err)
	if len(list) != 0 {
		t.Errorf("an admin sees %+v", list)
	}
	for swept := 1; swept > 0; {
		swept, err = h.store.Sweep(ctx)
		must(t, err)
	}
	for _, table := range []string{"backup", "backup_version", "backup_chunk", "backup_handle"} {
		if n := len(h.Rows(table)); n != 0 {
			t.Errorf("%d rows of %s are left", n, table)
		}
	}
}

// Who has a phone's key deletes what its owner made, and then many that he makes, so that hers is pushed out.
func TestDelete_PushesOutNoneThatLivedLonger(t *testing.T) {
	h := openHouse(t, ground.Options{})
	ctx := context.Background()
	p := h.enroll(t, "ada")
	owners := p.put(t, p.version(t, 1, "", random(10), 5, nil))
	h.clock.Advance(24 * time.Hour)
	must(t, h.backups.Delete(ctx, p.Proof(), audit.ByUser()))
	for range 2 * backup.MostOrphans {
		h.clock.Advance(time.Minute)
		p.put(t, p.version(t, 1, "", nil, 0, nil))
		must(t, h.backups.Delete(ctx, p.Proof(), audit.ByUser()))
	}
	if n := len(h.Rows("backup")); n != backup.MostOrphans {
		t.Errorf("%d deleted backups are kept", n)
	}
	list, err := h.Admins.Backups(ctx, "ada")
	must(t, err)
	must(t, h.adminUndeletes(list[0].ID))
	if h.find(t, owners.Handle) == nil {
		t.Error("the owner's backup is gone")
	}
}

func TestBackup_FourOrphansAreKept(t *testing.T) {
	h := openHouse(t, ground.Options{})
	var handles []string
	for range 7 {
		p := h.enroll(t, "ada")
		handles = append(handles, p.put(t, p.version(t, 1, "", random(100_000), 3, nil)).Handle)
		must(t, h.devices.Leave(context.Background(), p.Proof(), audit.ByUser()))
		h.clock.Advance(time.Minute)
	}
	h.enroll(t, "ada").backUp(t, 1)
	backups := len(h.Rows("backup"))
	chunks := len(h.Rows("backup_chunk"))
	if backups != backup.MostOrphans+1 || chunks != 2*backup.MostOrphans+1 {
		t.Errorf("%d backups with %d chunks are kept", backups, chunks)
	}
	for i, handle := range handles {
		if found := h.find(t, handle) != nil; found != (i >= 3) {
			t.Errorf("backup %d is found: %v", i, found)
		}
	}
}

func TestPut_KeepsSoManyGenerationsOfAUserThatAResetIsShort(t *testing.T) {
	h := openHouse(t, ground.Options{})
	h.Set("backup.keep", "50")
	few := h.enroll(t, "ada")
	few.backUp(t, 3)
	for range 3 {
		h.enroll(t, "ada").backUp(t, 50)
	}
	if n := len(h.Rows("backup_version")); n != backup.MostGenerations {
		t.Errorf("%d generations are kept", n)
	}
	list, err := h.backups.Generations(context.Background(), few.Proof())
	must(t, err)
	if len(list) != 3 {
		t.Errorf("%d generations are kept of the phone that has few", len(list))
	}
	chunksOf := len(h.Rows("backup_chunk"))
	if chunksOf != backup.MostGenerations {
		t.Errorf("%d chunks", chunksOf)
	}
}

func TestPut_AnEmptyBodyOfTheServersHasNoAccountsWhateverItClaims(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		p := h.enroll(t, "ada")
		req := p.version(t, 1, "", random(10), 10, nil)
		p.put(t, req)
		empty := p.version(t, 2, req.Manifest, nil, 10, nil)
		if _, err := h.backups.Put(context.Background(), p.Proof(), empty, audit.ByUser()); !errors.Is(err, backup.ErrShrinks) {
			t.Fatalf("an empty body in the place of ten accounts: %v", err)
		}
		empty = p.version(t, 2, req.Manifest, nil, 10, func(c map[string]any) { c["shrink"] = true })
		p.put(t, empty)
		list, err := h.backups.Generations(context.Background(), p.Proof())
		must(t, err)
		if list[0].Items != 0 {
			t.Errorf("it is kept with %d accounts", list[0].Items)
		}
		p.put(t, p.version(t, 3, empty.Manifest, nil, 10, func(c map[string]any) { c["provider"] = "google" }))
	})
}

func TestNewHandle_ThreeEarlierOnesStillFindTheBackup(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		p := h.enroll(t, "ada")
		if _, err := h.backups.NewHandle(ctx, p.Proof(), false, audit.ByUser()); !errors.Is(err, backup.ErrNone) {
			t.Errorf("a handle for no backup: %v", err)
		}
		req := p.version(t, 1, "", nil, 0, nil)
		handles := []string{p.put(t, req).Handle}
		renew := func(revoke bool) {
			handle, err := h.backups.NewHandle(ctx, p.Proof(), revoke, audit.ByUser())
			must(t, err)
			handles = append(handles, handle)
		}
		want := func(alive ...int) {
			t.Helper()
			for i, handle := range handles {
				found := h.find(t, handle) != nil
				should := false
				for _, n := range alive {
					should = should || n == i
				}
				if found != should {
					t.Errorf("handle %d finds the backup: %v", i, found)
				}
			}
		}
		renew(false)
		if again := p.put(t, req); again.Handle != "" {
			t.Error("the first put again shows a handle that is not the current one")
		}
		h.clock.Advance(29 * 24 * time.Hour)
		renew(false)
		want(0, 1, 2)
		h.clock.Advance(24 * time.Hour)
		want(1, 2)
		renew(false)
		renew(false)
		want(1, 2, 3, 4)
		renew(false)
		want(2, 3, 4, 5)
		renew(true)
		want(6)
		entries, _, err := audit.List(ctx, h.store, audit.Query{Types: []audit.Type{audit.BackupHandle}}, false)
		must(t, err)
		if len(entries) != 6 || len(h.Rows("outbox")) < 6 {
			t.Errorf("%d events of six new handles", len(entries))
		}
	})
}

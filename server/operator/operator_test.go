package operator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/server/operator"
	"tutela/server/servertest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/bolt"
	"tutela/storage/setting"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

var quiet = slog.New(slog.DiscardHandler)

// house is an installation over a real data file, with the operator's calls both ways.
type house struct {
	operator.Services
	clock  *storage.FakeClock
	dir    string
	local  *operator.Local
	client *operator.Client
}

func newHouse(t *testing.T) *house {
	t.Helper()
	ctx := context.Background()
	services := servertest.Open(t, servertest.Options{})
	h := &house{clock: services.Clock, dir: check.ShortFolder(t), Services: operator.Services{
		Access:  services.Access,
		Admins:  services.Admins,
		Codes:   services.Codes,
		Devices: services.Devices,
		Store:   services.Store,
	}}
	h.local = operator.NewLocal(h.Services, 4711)
	serve(t, h.socket(), h.Services)
	var err error
	h.client, err = operator.Dial(ctx, h.socket())
	must(t, err)
	t.Cleanup(h.client.Close)
	return h
}

func (h *house) socket() string { return filepath.Join(h.dir, "admin.sock") }

// serve serves the socket until the test ends.
func serve(t *testing.T, path string, h operator.Services) {
	t.Helper()
	l, err := operator.Listen(context.Background(), path)
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- operator.Serve(ctx, l, h, quiet) }()
	t.Cleanup(func() {
		stop()
		must(t, <-ended)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
}

// both runs a test over the socket and in process.
func both(t *testing.T, test func(t *testing.T, h *house, s operator.Service, by string)) {
	t.Run("socket", func(t *testing.T) {
		h := newHouse(t)
		test(t, h, h.client, fmt.Sprintf("operator:%d", os.Getuid()))
	})
	t.Run("in process", func(t *testing.T) {
		h := newHouse(t)
		test(t, h, h.local, "operator:4711")
	})
}

func TestEveryCall_StandsInTheLogAsTheOperators(t *testing.T) {
	both(t, func(t *testing.T, h *house, s operator.Service, by string) {
		ctx := t.Context()
		_, err := operator.MakeTicket.Do(ctx, s, operator.TicketRequest{UserID: "maria"})
		must(t, err)
		credentials, err := operator.AddClient.Do(ctx, s, operator.NewClient{Name: "shop", Scopes: []string{"read:users"}, ActsAs: "maria"})
		must(t, err)
		must(t, only(operator.RemoveClient.Do(ctx, s, credentials.ClientID)))
		must(t, only(operator.SetRole.Do(ctx, s, operator.RoleChange{UserID: "maria", Role: user.Owner})))
		must(t, only(operator.SetBlocked.Do(ctx, s, operator.BlockChange{UserID: "maria", Blocked: true})))
		must(t, only(operator.SetBlocked.Do(ctx, s, operator.BlockChange{UserID: "maria", Blocked: false})))
		must(t, only(operator.UnlockUser.Do(ctx, s, "maria")))
		_, err = operator.SetPolicy.Do(ctx, s, operator.PolicyChange{Name: "approval.presence", Value: "number"})
		must(t, err)
		receipt, err := operator.ResetUser.Do(ctx, s, operator.Reset{UserID: "maria", Reason: "lost"})
		must(t, err)
		if receipt.By != by {
			t.Errorf("the receipt is by %q", receipt.By)
		}
		_, err = operator.RotateKeys.Do(ctx, s, operator.None{})
		must(t, err)
		// Every event is the operator's, and there is one for each change.
		events, err := operator.ListEvents.Do(ctx, s, operator.EventQuery{Take: 100})
		must(t, err)
		var got []string
		for _, e := range events {
			if e.By != by {
				t.Errorf("%s is by %q, not %q", e.Type, e.By, by)
			}
			got = append(got, string(e.Type)+" "+e.UserID)
		}
		want := []string{
			"gd_start_enroll maria", "td_client_added ", "gd_tenant_update ", "sapi maria", "sapi maria", "sapi maria", "sapi maria", "gd_tenant_update ",
			"td_reset maria", "td_key_rotated ", "td_key_rotated ", "td_key_rotated ",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestUsers_AreListedAndShown(t *testing.T) {
	both(t, func(t *testing.T, h *house, s operator.Service, by string) {
		ctx := t.Context()
		for _, id := range []string{"a", "b", "c"} {
			_, err := operator.MakeTicket.Do(ctx, s, operator.TicketRequest{UserID: id, Email: id + "@example.com"})
			must(t, err)
		}
		users, err := operator.ListUsers.Do(ctx, s, operator.Page{After: "a", Take: 5})
		must(t, err)
		if len(users) != 2 || users[0].ID != "b" || users[0].State != user.New || users[0].Email != "b@example.com" || users[0].UID.IsZero() {
			t.Errorf("users %+v", users)
		}
		_, err = operator.ResetUser.Do(ctx, s, operator.Reset{UserID: "b", Reason: "lost"})
		must(t, err)
		b, err := operator.ShowUser.Do(ctx, s, "b")
		must(t, err)
		if b.ID != "b" || b.HasCode || len(b.Receipts) != 1 || b.Receipts[0].By != by || len(b.Enrollments) != 0 {
			t.Errorf("user %+v", b)
		}
	})
}

func TestErrors_KeepCodeAndMessage(t *testing.T) {
	both(t, func(t *testing.T, h *house, s operator.Service, _ string) {
		ctx := t.Context()
		_, err := operator.ShowUser.Do(ctx, s, "nobody")
		wantError(t, err, user.ErrUnknown.With("there is no user %q", "nobody"))
		_, err = operator.SetPolicy.Do(ctx, s, operator.PolicyChange{Name: "nosuch", Value: "1"})
		wantError(t, err, setting.ErrUnknown.With("there is no policy %q", "nosuch"))
		_, err = operator.SetPolicy.Do(ctx, s, operator.PolicyChange{Name: "approval.presence", Value: "never"})
		wantError(t, err, setting.ErrValue.With("approval.presence is one of prefer-number, number, tap"))
		_, err = operator.ResetUser.Do(ctx, s, operator.Reset{UserID: "nobody"})
		wantError(t, err, recovery.ErrReason.With("the reason of a reset must be text of 1 to 1000 bytes"))
		wantError(t, only(operator.RemoveClient.Do(ctx, s, "x")), access.ErrNoClient.With("there is no client with the id %q", "x"))
		wantError(t, only(operator.UnlockUser.Do(ctx, s, "nobody")), user.ErrUnknown.With("there is no user %q", "nobody"))
		_, err = operator.AddClient.Do(ctx, s, operator.NewClient{Name: "x", Scopes: []string{"openid"}, ActsAs: "nobody"})
		wantError(t, err, user.ErrUnknown.With("there is no user %q", "nobody"))
	})
}

func wantError(t *testing.T, err error, want *storage.Error) {
	t.Helper()
	if err == nil || storage.CodeOf(err) != want.Code || !strings.Contains(err.Error(), want.Message) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func TestEvents_GoOnAfterAnID(t *testing.T) {
	both(t, func(t *testing.T, h *house, s operator.Service, _ string) {
		ctx := t.Context()
		for _, id := range []string{"a", "b", "a"} {
			_, err := operator.MakeTicket.Do(ctx, s, operator.TicketRequest{UserID: id})
			must(t, err)
		}
		newest, err := operator.ListEvents.Do(ctx, s, operator.EventQuery{Take: 2})
		must(t, err)
		if len(newest) != 2 || newest[0].UserID != "b" || newest[1].UserID != "a" {
			t.Fatalf("the newest: %+v", newest)
		}
		after, err := operator.ListEvents.Do(ctx, s, operator.EventQuery{After: newest[0].ID, Take: 10})
		must(t, err)
		if len(after) != 1 || after[0].ID != newest[1].ID {
			t.Errorf("after it: %+v", after)
		}
		ofA, err := operator.ListEvents.Do(ctx, s, operator.EventQuery{UserID: "a", Types: []audit.Type{audit.StartEnroll}, Take: 10})
		must(t, err)
		if len(ofA) != 2 {
			t.Errorf("of a: %+v", ofA)
		}
	})
}

func TestCopyTo_IsADataFileThatOpens(t *testing.T) {
	ground.NeedsFile(t)
	both(t, func(t *testing.T, h *house, s operator.Service, _ string) {
		_, err := operator.MakeTicket.Do(t.Context(), s, operator.TicketRequest{UserID: "maria"})
		must(t, err)
		path := filepath.Join(check.ShortFolder(t), "copy.db")
		f, err := os.Create(path)
		must(t, err)
		n, err := s.CopyTo(t.Context(), f)
		must(t, errors.Join(err, f.Close()))
		if info, err := os.Stat(path); err != nil || info.Size() != n {
			t.Errorf("%d bytes told: %v", n, err)
		}
		must(t, bolt.Inspect(path))
	})
}

// failing is a writer that fails in the middle of a copy.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestCopyTo_TellsThatItFailed(t *testing.T) {
	ground.NeedsFile(t)
	both(t, func(t *testing.T, _ *house, s operator.Service, _ string) {
		if _, err := s.CopyTo(t.Context(), failing{}); err == nil || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("error %v", err)
		}
	})
}

func TestCalls_WhoseServerEndsHaveAnUnknownOutcome(t *testing.T) {
	path := filepath.Join(check.ShortFolder(t), "admin.sock")
	l, err := net.Listen("unix", path)
	must(t, err)
	// It answers that it is there, begins an answer to the second call, and is gone before any other.
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hello":
			_, _ = w.Write([]byte("{}"))
			return
		case "/client/list", "/copy":
			_, _ = w.Write([]byte(`[{"`))
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { must(t, server.Close()) })
	c, err := operator.Dial(t.Context(), path)
	must(t, err)
	t.Cleanup(c.Close)
	_, compacted := operator.Compact.Do(t.Context(), c, operator.None{})
	_, listed := operator.ListClients.Do(t.Context(), c, operator.None{})
	_, copied := c.CopyTo(t.Context(), io.Discard)
	for call, err := range map[string]error{"compact": compacted, "list": listed, "copy": copied} {
		if !errors.Is(err, operator.ErrCutOff) || storage.CodeOf(err) != storage.OutcomeUnknown || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestCompact_EndsTheResidueOfReceipts(t *testing.T) {
	ground.NeedsFile(t)
	both(t, func(t *testing.T, h *house, s operator.Service, _ string) {
		ctx := t.Context()
		_, err := operator.MakeTicket.Do(ctx, s, operator.TicketRequest{UserID: "maria"})
		must(t, err)
		receipt, err := operator.ResetUser.Do(ctx, s, operator.Reset{UserID: "maria", Reason: "lost"})
		must(t, err)
		if !receipt.Residue {
			t.Error("there is no residue at once")
		}
		h.clock.Advance(2 * time.Millisecond) // a receipt tells its time by the millisecond
		_, err = operator.Compact.Do(ctx, s, operator.None{})
		must(t, err)
		maria, err := operator.ShowUser.Do(ctx, s, "maria")
		must(t, err)
		if maria.Receipts[0].Residue {
			t.Error("there is residue after a compaction")
		}
	})
}

func TestJWKS_VerifiesAReceiptThatCameOverTheSocket(t *testing.T) {
	both(t, func(t *testing.T, _ *house, s operator.Service, _ string) {
		ctx := t.Context()
		_, err := operator.MakeTicket.Do(ctx, s, operator.TicketRequest{UserID: "maria"})
		must(t, err)
		receipt, err := operator.ResetUser.Do(ctx, s, operator.Reset{UserID: "maria", Reason: "lost"})
		must(t, err)
		jwks, err := operator.ReadJWKS.Do(ctx, s, operator.None{})
		must(t, err)
		signed, err := access.VerifyReceipt(receipt.Signature, jwks)
		must(t, err)
		printed, err := json.Marshal(receipt)
		must(t, err)
		var got, want map[string]any
		must(t, errors.Join(json.Unmarshal(signed, &want), json.Unmarshal(printed, &got)))
		delete(got, "signature")
		delete(got, "residue")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what was printed (-signed +printed):\n%s", diff)
		}
	})
}

func TestListen_ClosesTheFolderAndTheSocketToOthers(t *testing.T) {
	dir := filepath.Join(check.ShortFolder(t), "data")
	must(t, os.Mkdir(dir, 0o755))
	path := filepath.Join(dir, "admin.sock")
	l, err := operator.Listen(t.Context(), path)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	for name, want := range map[string]fs.FileMode{dir: 0o700, path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestListen_TakesTheSocketOfAKilledServerAndOfNoOther(t *testing.T) {
	path := filepath.Join(check.ShortFolder(t), "admin.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	dead.SetUnlinkOnClose(false)
	must(t, dead.Close())
	if _, err := operator.Dial(t.Context(), path); !errors.Is(err, operator.ErrNobodyServes) {
		t.Fatalf("error %v", err)
	}
	living, err := operator.Listen(t.Context(), path)
	must(t, err)
	t.Cleanup(func() { must(t, living.Close()) })
	if _, err := operator.Listen(t.Context(), path); !errors.Is(err, operator.ErrServed) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("the socket of a living server is gone")
	}
	other := filepath.Join(check.ShortFolder(t), "admin.sock")
	must(t, os.WriteFile(other, []byte("mine"), 0o600))
	if _, err := operator.Listen(t.Context(), other); !errors.Is(err, operator.ErrFolder) {
		t.Errorf("error %v", err)
	}
	if content, err := os.ReadFile(other); err != nil || string(content) != "mine" {
		t.Error("a file that is no socket is gone")
	}
}

func TestListen_RefusesAFolderOfAll(t *testing.T) {
	dir := filepath.Join(check.ShortFolder(t), "shared")
	must(t, os.Mkdir(dir, 0o777))
	must(t, os.Chmod(dir, 0o777|fs.ModeSticky))
	if _, err := operator.Listen(t.Context(), filepath.Join(dir, "admin.sock")); !errors.Is(err, operator.ErrFolder) {
		t.Errorf("error %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("the folder was changed: %v", info.Mode())
	}
}

func TestListen_ClosesOnlyADataFolder(t *testing.T) {
	for name, holds := range map[string][]string{"empty": nil, "a volume": {"lost+found"}, "a data folder": {"tutela.db", "notes"}} {
		t.Run(name, func(t *testing.T) {
			l, err := operator.Listen(t.Context(), filepath.Join(openFolder(t, holds), "admin.sock"))
			must(t, err)
			must(t, l.Close())
		})
	}
	dir := openFolder(t, []string{"passwd"})
	if _, err := operator.Listen(t.Context(), filepath.Join(dir, "admin.sock")); !errors.Is(err, operator.ErrFolder) {
		t.Errorf("error %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the folder was changed: %v", info.Mode())
	}
	must(t, os.Chmod(dir, 0o700))
	must(t, operator.CheckFolder(dir))
	must(t, operator.CheckFolder(filepath.Join(dir, "none")))
	if err := operator.CheckFolder(filepath.Join(dir, "passwd")); !errors.Is(err, operator.ErrFolder) {
		t.Errorf("error %v", err)
	}
}

// openFolder makes a folder that others may enter, with some files.
func openFolder(t *testing.T, holds []string) string {
	t.Helper()
	dir := filepath.Join(check.ShortFolder(t), "data")
	must(t, os.Mkdir(dir, 0o755))
	for _, name := range holds {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	return dir
}

func TestPath_IsOneClearErrorWhenItIsTooLong(t *testing.T) {
	path := "/" + strings.Repeat("x", 107)
	_, listening := operator.Listen(t.Context(), path)
	_, dialling := operator.Dial(t.Context(), path)
	for _, err := range []error{listening, dialling} {
		if !errors.Is(err, operator.ErrPath) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "108 bytes") {
			t.Errorf("error %v", err)
		}
	}
	must(t, operator.CheckPath(path[:107]))
}

func TestDial_FindsNobodyWhereNothingIs(t *testing.T) {
	if _, err := operator.Dial(t.Context(), filepath.Join(check.ShortFolder(t), "admin.sock")); !errors.Is(err, operator.ErrNobodyServes) {
		t.Errorf("error %v", err)
	}
}

var must = check.Must

// only is the error of a call that answers nothing.
func only(_ operator.None, err error) error { return err }

// The person behind sudo is named in the detail of every event about a user, also after a reset, and in nothing that is
// kept for ever.
func TestEveryCall_NamesThePersonBehindSudoInADetailAlone(t *testing.T) {
	const name = "planted-admin é"
	both(t, func(t *testing.T, h *house, s operator.Service, _ string) {
		s = h.bySudo(s, name)
		ctx := t.Context()
		_, err := operator.MakeTicket.Do(ctx, s, operator.TicketRequest{UserID: "maria"})
		must(t, err)
		must(t, only(operator.SetRole.Do(ctx, s, operator.RoleChange{UserID: "maria", Role: user.Owner})))
		must(t, only(operator.SetBlocked.Do(ctx, s, operator.BlockChange{UserID: "maria", Blocked: true})))
		must(t, only(operator.UnlockUser.Do(ctx, s, "maria")))
		receipt, err := operator.ResetUser.Do(ctx, s, operator.Reset{UserID: "maria", Reason: "lost"})
		must(t, err)
		if strings.Contains(fmt.Sprint(receipt), "planted") {
			t.Errorf("the receipt names the person: %+v", receipt)
		}
		events, err := operator.ListEvents.Do(ctx, s, operator.EventQuery{UserID: "maria", Take: 100})
		must(t, err)
		if len(events) != 5 {
			t.Errorf("%d events", len(events))
		}
		for _, e := range events {
			if e.Detail.Sudo != name || strings.Contains(fmt.Sprint(e.Event), "planted") {
				t.Errorf("%s: sudo %q, event %+v", e.Type, e.Detail.Sudo, e.Event)
			}
		}
		h.expectOnlyIn(t, "planted", "event_account_detail")
	})
}

// The same holds of what concerns the installation: the name goes with the event.
func TestEveryCallOfTheInstallation_NamesThePersonBehindSudoInADetailAlone(t *testing.T) {
	const name = "planted-admin é"
	both(t, func(t *testing.T, h *house, s operator.Service, _ string) {
		s = h.bySudo(s, name)
		ctx := t.Context()
		credentials, err := operator.AddClient.Do(ctx, s, operator.NewClient{Name: "shop", Scopes: []string{"read:users"}})
		must(t, err)
		must(t, only(operator.RemoveClient.Do(ctx, s, credentials.ClientID)))
		_, err = operator.SetPolicy.Do(ctx, s, operator.PolicyChange{Name: "approval.presence", Value: "number"})
		must(t, err)
		_, err = operator.RotateKeys.Do(ctx, s, operator.None{})
		must(t, err)
		h.clock.Jump(time.Hour)
		_, err = operator.SettleClock.Do(ctx, s, storage.TrustWall)
		must(t, err)
		h.damage(t)
		dropped, err := operator.DropDamage.Do(ctx, s, operator.None{})
		must(t, err)
		if dropped != 1 {
			t.Errorf("%d damaged records were dropped", dropped)
		}
		events, err := operator.ListEvents.Do(ctx, s, operator.EventQuery{Take: 100})
		must(t, err)
		var got []audit.Type
		for _, e := range events {
			got = append(got, e.Type)
			if e.Detail != (audit.Detail{Sudo: name}) || e.Damage != "" || strings.Contains(fmt.Sprint(e.Event), "planted") {
				t.Errorf("%s: detail %+v, event %+v, damage %q", e.Type, e.Detail, e.Event, e.Damage)
			}
		}
		want := []audit.Type{
			audit.ClientAdded, audit.TenantUpdate, audit.TenantUpdate,
			audit.KeyRotated, audit.KeyRotated, audit.KeyRotated, // the ring, and a signing key of each algorithm
			audit.TenantUpdate, audit.TenantUpdate, // the clock, and the damage
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		h.expectOnlyIn(t, "planted", "event_detail_house")
	})
}

// damage has the sweeper set aside an expiry entry that names no row.
func (h *house) damage(t *testing.T) {
	t.Helper()
	must(t, h.Store.Engine().Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Put([]byte("x\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01no row's key"), []byte("damaged"))
		return ws, nil
	}))
	for {
		list, err := h.Store.SetAside(t.Context(), 1)
		must(t, err)
		if len(list) == 1 {
			return
		}
		_, err = h.Store.Sweep(t.Context())
		must(t, err)
	}
}

// bySudo returns s with the name of the person who acts as the operator by sudo.
func (h *house) bySudo(s operator.Service, name string) operator.Service {
	if client, ok := s.(*operator.Client); ok {
		client.BySudo(name)
		return client
	}
	return h.local.BySudo(name)
}

// expectOnlyIn fails the test when a text lies in the store outside of a table.
func (h *house) expectOnlyIn(t *testing.T, text, table string) {
	t.Helper()
	must(t, h.local.Store.Engine().Peek(t.Context(), storage.Range{}, func(key, value []byte) bool {
		if bytes.Contains(append(bytes.Clone(key), value...), []byte(text)) && !bytes.Contains(key, []byte(table)) {
			t.Errorf("%q lies under %q", text, key)
		}
		return true
	}))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/server/access"
	"tutela/server/operator"
	"tutela/storage/storagetest/check"
)

// These tests kill the server under load, again and again, and start it on what is left. Everything that it had
// acknowledged must be there: a person may lose an account by what is lost.
const (
	killRounds = 10
	killUsers  = 16
)

func TestKill_NothingAcknowledgedIsLost(t *testing.T) {
	s := startLive(t)
	l := newLedger(t, s)
	acknowledged := 0
	for round := range killRounds {
		acknowledged += l.loadAndKill(t)
		s.start(t)
		if err := l.verify(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if acknowledged < killRounds { // a busy machine acknowledges few
		t.Fatalf("only %d acknowledged steps in %d rounds: that shows nothing", acknowledged, killRounds)
	}
	t.Logf("%d kills, %d acknowledged steps, none lost", killRounds, acknowledged)
}

// The data file is compacted again and again, so that nearly every kill comes in the middle of that.
func TestKill_WhileItCompactsUnderLoadLosesNothing(t *testing.T) {
	s := startLive(t)
	l := newLedger(t, s)
	compacted := 0
	cut := 0
	for round := range killRounds / 2 {
		l.loadAndKill(t, func(ctx context.Context) error {
			err := compactThere(ctx, s)
			if err == nil {
				compacted++
			}
			if errors.Is(err, operator.ErrCutOff) {
				cut++
			}
			return err
		})
		s.start(t)
		if err := l.verify(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, built := range []string{"tutela.db.compact", "tutela.db.copy", "tutela.db.new"} {
			if _, err := os.Lstat(filepath.Join(s.data, built)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("round %d: %s is left: %v", round, built, err)
			}
		}
	}
	if compacted == 0 || cut == 0 {
		t.Fatalf("%d compactions were done and %d cut off: that shows nothing", compacted, cut)
	}
	t.Logf("%d compactions done, %d cut off by a kill", compacted, cut)
}

// compactThere makes the running server compact.
func compactThere(ctx context.Context, s *liveServer) error {
	client, err := operator.Dial(ctx, filepath.Join(s.data, "admin.sock"))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = operator.Compact.Do(ctx, client, operator.None{})
	return err
}

// The control: what was acknowledged after a copy of the file was made is lost on purpose, by putting the copy in the
// file's place. The same check must catch it.
func TestKill_AWriteThatIsLostIsCaught(t *testing.T) {
	s := startLive(t)
	l := newLedger(t, s)
	l.loadAndKill(t)
	file := filepath.Join(s.data, "tutela.db")
	copied := filepath.Join(t.TempDir(), "copy.db")
	copyFile(t, file, copied)
	s.start(t)
	l.loadAndKill(t)
	copyFile(t, copied, file)
	s.start(t)
	err := l.verify(t.Context())
	if err == nil {
		t.Fatal("acknowledged writes were lost, and the check did not notice")
	}
	t.Logf("caught: %.200v", err)
}

// TestSoakKill kills for as long as TUTELA_SOAK says.
func TestSoakKill(t *testing.T) {
	long := check.Soak(t)
	s := startLive(t)
	l := newLedger(t, s)
	rounds := 0
	acknowledged := 0
	for end := time.Now().Add(long); time.Now().Before(end); rounds++ {
		acknowledged += l.loadAndKill(t)
		s.start(t)
		if err := l.verify(t.Context()); err != nil {
			t.Fatalf("round %d: %v", rounds, err)
		}
	}
	t.Logf("%d kills, %d acknowledged steps, none lost", rounds, acknowledged)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	target, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(target, source)
	if err := errors.Join(err, source.Close(), target.Close()); err != nil {
		t.Fatal(err)
	}
}

// ledger is what the server has acknowledged, user by user.
type ledger struct {
	server *liveServer
	users  []*account
}

// account is what is known of one user. A step that was not acknowledged may or may not have happened: what it would
// have changed is then unknown, and not checked.
type account struct {
	id         string
	phone      *phone.Phone
	code       string // the recovery code; empty: not known
	generation int64  // of the backup that was acknowledged last
	approved   []begun
	collected  []begun
	steps      int
}

func newLedger(t *testing.T, s *liveServer) *ledger {
	t.Helper()
	l := &ledger{server: s}
	for i := range killUsers {
		a := &account{id: fmt.Sprintf("user-%d", i)}
		var err error
		if a.phone, a.code, err = s.enroll(t.Context(), a.id); err != nil {
			t.Fatal(err)
		}
		l.users = append(l.users, a)
	}
	return l
}

// loadAndKill lets all users do steps at once until it kills the server, and returns how many steps were
// acknowledged. Each of beside runs again and again meanwhile.
func (l *ledger) loadAndKill(t *testing.T, beside ...func(context.Context) error) int {
	t.Helper()
	return l.loadUntil(t, func() { l.server.kill(syscall.SIGKILL) }, beside...)
}

// loadUntil lets all users do steps at once until what disaster does makes them fail, and returns how many steps were acknowledged.
func (l *ledger) loadUntil(t *testing.T, disaster func(), beside ...func(context.Context) error) int {
	t.Helper()
	before := l.steps()
	var group sync.WaitGroup
	for _, a := range l.users {
		group.Go(func() {
			for a.step(t.Context(), l.server) == nil {
				a.steps++
			}
		})
	}
	for _, do := range beside {
		group.Go(func() {
			for do(t.Context()) == nil {
			}
		})
	}
	// The moment of the kill is the one thing here that no event can give.
	<-time.After(time.Duration(100+rand.IntN(500)) * time.Millisecond)
	disaster()
	group.Wait()
	return l.steps() - before
}

func (l *ledger) steps() int {
	n := 0
	for _, a := range l.users {
		n += a.steps
	}
	return n
}

// step does one thing at random. It returns an error when the server did not acknowledge it.
func (a *account) step(ctx context.Context, s *liveServer) error {
	switch rand.IntN(4) {
	case 0:
		return a.backUp(ctx)
	case 1:
		return a.useCode(ctx, s)
	case 2:
		return a.logIn(ctx, s, false)
	default:
		return a.logIn(ctx, s, true)
	}
}

func (a *account) backUp(ctx context.Context) error {
	accounts := []phone.Account{{Name: fmt.Sprintf("account-%d", a.generation), Issuer: "Example", Secret: "JBSWY3DPEHPK3PXP"}}
	v, err := a.phone.Backup(ctx, accounts, phone.BackupOptions{Shrink: true})
	if err == nil {
		a.generation = v.Generation
	}
	return err
}

// useCode logs in by the recovery code, which the login replaces.
func (a *account) useCode(ctx context.Context, s *liveServer) error {
	if a.code == "" {
		return a.backUp(ctx)
	}
	var started struct {
		Token string `json:"mfa_token"`
	}
	err := s.form(ctx, s.bank, "/mfa/start", &started, "user_id", a.id)
	if refusal(err) == "too_many_attempts" {
		return a.backUp(ctx)
	}
	if err != nil {
		return err
	}
	var tokens struct {
		Code string `json:"recovery_code"`
	}
	code := a.code
	a.code = "" // until the answer is there, either may hold
	err = s.form(ctx, s.bank, "/oauth/token", &tokens, "grant_type", access.GrantRecoveryCode, "mfa_token", started.Token, "recovery_code", code)
	a.code = tokens.Code
	return err
}

// logIn lets a login be approved and, with collect, collects it.
func (a *account) logIn(ctx context.Context, s *liveServer, collect bool) error {
	asked, err := s.ask(ctx, a.id)
	if refusal(err) == "too_many_attempts" { // twelve in a minute, also across restarts
		return a.backUp(ctx)
	}
	if err != nil {
		return err
	}
	approvals, err := a.phone.Approvals(ctx, 0, nil)
	if err != nil {
		return err
	}
	if len(approvals) == 0 {
		return fmt.Errorf("the approval of %s is not listed", a.id)
	}
	if err := a.phone.Approve(ctx, approvals[len(approvals)-1], asked.Number); err != nil {
		return err
	}
	if !collect {
		a.approved = append(a.approved, asked)
		return nil
	}
	if err := collectOne(ctx, s, asked); err != nil {
		return err
	}
	a.collected = append(a.collected, asked)
	return nil
}

func collectOne(ctx context.Context, s *liveServer, asked begun) error {
	return s.form(ctx, s.bank, "/oauth/token", nil, "grant_type", access.GrantCIBA, "auth_req_id", asked.ID)
}

// verify checks, for all users at once, that everything acknowledged is there.
func (l *ledger) verify(ctx context.Context) error {
	failures := make([]error, len(l.users))
	var group sync.WaitGroup
	for i, a := range l.users {
		group.Go(func() { failures[i] = a.verify(ctx, l.server) })
	}
	group.Wait()
	return errors.Join(failures...)
}

func (a *account) verify(ctx context.Context, s *liveServer) error {
	wrong := []error{}
	if _, err := a.phone.Status(ctx); err != nil {
		wrong = append(wrong, fmt.Errorf("the enrollment: %w", err))
	}
	if a.code != "" {
		if valid, err := a.phone.CheckCode(ctx, a.code); err != nil || !valid {
			wrong = append(wrong, errors.Join(fmt.Errorf("the recovery code is valid: %v", valid), err))
		}
	}
	wrong = append(wrong, a.verifyBackup(ctx))
	for _, asked := range a.approved {
		if err := collectOne(ctx, s, asked); err != nil {
			wrong = append(wrong, fmt.Errorf("an approval: %w", err))
		}
	}
	for _, asked := range a.collected {
		if err := collectOne(ctx, s, asked); refusal(err) != "invalid_grant" {
			wrong = append(wrong, errors.Join(errors.New("a login that was collected can be collected again"), err))
		}
	}
	a.approved = nil
	a.collected = nil
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("%s: %w", a.id, err)
	}
	return nil
}

func (a *account) verifyBackup(ctx context.Context) error {
	if a.generation == 0 {
		return nil
	}
	versions, err := a.phone.Generations(ctx)
	if err != nil {
		return fmt.Errorf("the backup: %w", err)
	}
	if len(versions) == 0 || versions[0].Generation < a.generation {
		return fmt.Errorf("the backup: generation %d is gone", a.generation)
	}
	return nil
}

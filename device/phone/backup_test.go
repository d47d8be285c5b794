package phone

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// sample is n accounts with secrets of their own.
func sample(n int) []Account {
	accounts := make([]Account, n)
	for i := range accounts {
		accounts[i] = Account{
			Issuer: "Example",
			Name:   fmt.Sprintf("maria%d", i),
			Secret: fmt.Sprintf("PLANTED%d", i),
			Digits: 6,
		}
	}
	return accounts
}

func TestSeal_OpensToWhatWasSealedAndToNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := newBlobKey()
		accounts := sample(rapid.IntRange(0, 20).Draw(t, "accounts"))
		generation := rapid.Int64Range(1, 1000).Draw(t, "generation")
		blob, err := sealAccounts(key, accounts, "dev_1", generation)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(blob, []byte("PLANTED")) {
			t.Fatal("a secret stands in the blob")
		}
		got, err := openAccounts(key, blob, "dev_1", generation)
		if err != nil || !cmp.Equal(got, accounts) {
			t.Fatalf("opened to %v, %v", got, err)
		}
		changed := bytes.Clone(blob)
		changed[rapid.IntRange(0, len(blob)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		cut := blob[:rapid.IntRange(0, len(blob)-1).Draw(t, "cut")]
		for what, try := range map[string]func() ([]Account, error){
			"a changed bit":      func() ([]Account, error) { return openAccounts(key, changed, "dev_1", generation) },
			"a cut blob":         func() ([]Account, error) { return openAccounts(key, cut, "dev_1", generation) },
			"another key":        func() ([]Account, error) { return openAccounts(newBlobKey(), blob, "dev_1", generation) },
			"another generation": func() ([]Account, error) { return openAccounts(key, blob, "dev_1", generation+1) },
			"another enrollment": func() ([]Account, error) { return openAccounts(key, blob, "dev_2", generation) },
		} {
			if _, err := try(); !errors.Is(err, ErrBackupSealed) {
				t.Fatalf("%s: %v", what, err)
			}
		}
	})
}

func TestMerge_LosesNoAccountAndPrefersMine(t *testing.T) {
	mine := []Account{{Issuer: "A", Name: "x", Secret: "mine"}}
	theirs := []Account{{Issuer: "A", Name: "x", Secret: "theirs"}, {Issuer: "B", Name: "x", Secret: "theirs"}}
	want := []Account{mine[0], theirs[1]}
	if diff := cmp.Diff(want, Merge(mine, theirs)); diff != "" {
		t.Error(diff)
	}
}

func TestBackup_ChainsGenerationsAndKeepsSecretsFromTheServer(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	for i := range 3 {
		v := must(p.Backup(ctx, sample(i+1), BackupOptions{}))(t)
		if v.Generation != int64(i+1) || v.Items != i+1 {
			t.Errorf("backup %d gave %+v", i, v)
		}
		p = open(t, s, p.folder.path)
	}
	if s.Holds("PLANTED") || s.Holds("maria0") {
		t.Error("the server can read an account")
	}
	_, old, err := p.FetchGeneration(ctx, 2)
	if err != nil || !cmp.Equal(old, sample(2)) {
		t.Errorf("generation 2 holds %v, %v", old, err)
	}
}

func TestBackup_SendsTheSameBytesAgainAfterALostAnswer(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	s.lose["PUT backup"] = true
	if _, err := p.Backup(ctx, sample(2), BackupOptions{}); err == nil {
		t.Fatal("the answer was to be lost")
	}
	p = open(t, s, p.folder.path)
	v := must(p.Backup(ctx, sample(2), BackupOptions{}))(t)
	if v.Generation != 1 || len(s.puts) != 2 || s.puts[0] != s.puts[1] || !s.finds(p.PlatformBackup().RestoreHandle) {
		t.Errorf("got generation %d after %d calls", v.Generation, len(s.puts))
	}
}

func TestBackup_SettlesALostAnswerBeforeOtherAccountsFollow(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	s.lose["PUT backup"] = true
	_, _ = p.Backup(ctx, sample(2), BackupOptions{})
	v := must(p.Backup(ctx, sample(3), BackupOptions{}))(t)
	if v.Generation != 2 || s.generations() != 2 {
		t.Errorf("got generation %d of %d", v.Generation, s.generations())
	}
}

func TestUndeleteBackup_BringsItBackWithAHandleThatFindsIt(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	must(p.Backup(ctx, sample(2), BackupOptions{}))(t)
	if err := p.DeleteBackup(ctx); err != nil {
		t.Fatal(err)
	}
	v, accounts, err := p.UndeleteBackup(ctx)
	if err != nil || v.Generation != 1 || !cmp.Equal(accounts, sample(2)) {
		t.Fatalf("came back: %+v, %v, %v", v, accounts, err)
	}
	earlier := p.PlatformBackup().RestoreHandle
	if !s.finds(earlier) {
		t.Error("the platform backup holds a dead handle")
	}
	if v := must(p.Backup(ctx, sample(3), BackupOptions{}))(t); v.Generation != 2 {
		t.Errorf("the next is generation %d", v.Generation)
	}
	if err := p.NewHandle(ctx, true); err != nil || s.finds(earlier) || !s.finds(p.PlatformBackup().RestoreHandle) {
		t.Errorf("revoked: %v", err)
	}
}

func TestFetchBackup_TakesTheGapsOfThinnedGenerations(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	must(p.Backup(ctx, sample(2), BackupOptions{}))(t)
	remembered := p.snapshot().platform
	for range 14 {
		must(p.Backup(ctx, sample(2), BackupOptions{}))(t)
	}
	err := p.change(func(s *state) {
		s.platform.Generation = remembered.Generation
		s.platform.ManifestDigest = remembered.ManifestDigest
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, _, err := p.FetchBackup(ctx); err != nil || v.Generation != 15 {
		t.Errorf("got generation %d: %v", v.Generation, err)
	}
}

func TestBackup_ComesRightAfterACrashBetweenTheTwoFiles(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	var before []byte
	file := filepath.Join(p.folder.path, hardwareFile)
	s.before = func() { before, _ = os.ReadFile(file) }
	must(p.Backup(ctx, sample(2), BackupOptions{}))(t)
	s.before = nil
	if err := os.WriteFile(file, before, 0o600); err != nil { // as if the second write had not happened
		t.Fatal(err)
	}
	p = open(t, s, p.folder.path)
	if v := must(p.Backup(ctx, sample(2), BackupOptions{}))(t); v.Generation != 1 || s.generations() != 1 {
		t.Errorf("got generation %d of %d", v.Generation, s.generations())
	}
}

func TestNewHandle_IsAskedForAgainWhenItsAnswerWasLost(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	must(p.Backup(ctx, sample(1), BackupOptions{}))(t)
	s.lose["POST handle"] = true
	if err := p.NewHandle(ctx, false); err == nil {
		t.Fatal("the answer was to be lost")
	}
	p = open(t, s, p.folder.path)
	must(p.Backup(ctx, sample(2), BackupOptions{}))(t)
	if !s.finds(p.PlatformBackup().RestoreHandle) {
		t.Error("the platform backup holds a dead handle")
	}
}

func TestBackup_OfThePlatformSendsNothingAndCarriesTheSecrets(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	must(p.Backup(ctx, sample(2), BackupOptions{Provider: ICloud}))(t)
	if n := len(s.Rows("backup_chunk")); n > 0 {
		t.Errorf("the server got a body of %d chunks", n)
	}
	if err := p.Reinstall(Reinstallation{}); err != nil {
		t.Fatal(err)
	}
	restoreWith(t, p, s.code)
	if _, accounts, err := p.FetchBackup(ctx); err != nil || !cmp.Equal(accounts, sample(2)) {
		t.Errorf("got %v, %v", accounts, err)
	}
}

func TestBackupAndFetch_DetectAServerThatWasRolledBack(t *testing.T) {
	for left := range 3 {
		s := newServer(t)
		p := enrolledPhone(t, s)
		var held []stored // by how many generations there were
		for i := range 3 {
			held = append(held, s.snapshot())
			must(p.Backup(ctx, sample(i+1), BackupOptions{}))(t)
		}
		s.rollBack(held[left])
		var rolledBack *RolledBackError
		if _, _, err := p.FetchBackup(ctx); !errors.As(err, &rolledBack) || rolledBack.Found != int64(left) {
			t.Errorf("%d left: fetching gave %v", left, err)
		}
		if _, err := p.Backup(ctx, sample(4), BackupOptions{}); !errors.As(err, &rolledBack) || rolledBack.Remembered != 3 {
			t.Errorf("%d left: backing up gave %v", left, err)
		}
		if len(p.Accounts()) != 4 {
			t.Errorf("%d left: the phone holds %d accounts", left, len(p.Accounts()))
		}
	}
}

func TestBackupAndFetch_DetectAnotherHistoryOfTheSameLength(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	must(p.Backup(ctx, sample(1), BackupOptions{}))(t)
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(p.folder.path)); err != nil {
		t.Fatal(err)
	}
	one := s.snapshot()
	must(p.Backup(ctx, sample(2), BackupOptions{}))(t)
	s.rollBack(one)
	must(open(t, s, copied).Backup(ctx, sample(3), BackupOptions{}))(t)
	var rolledBack *RolledBackError
	if _, _, err := p.FetchBackup(ctx); !errors.As(err, &rolledBack) {
		t.Errorf("fetching gave %v", err)
	}
	if _, err := p.Backup(ctx, sample(4), BackupOptions{}); !errors.As(err, &rolledBack) {
		t.Errorf("backing up gave %v", err)
	}
}

func TestFetchBackup_FollowsTheChainToTheGenerationItRemembers(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	must(p.Backup(ctx, sample(1), BackupOptions{}))(t)
	early := must(os.ReadFile(filepath.Join(p.folder.path, platformFile)))(t)
	for i := range 4 {
		must(p.Backup(ctx, sample(i+2), BackupOptions{}))(t)
	}
	if err := os.WriteFile(filepath.Join(p.folder.path, platformFile), early, 0o600); err != nil { // an old platform backup
		t.Fatal(err)
	}
	v, accounts, err := p.FetchBackup(ctx)
	if err != nil || v.Generation != 5 || len(accounts) != 5 {
		t.Fatalf("got %d, %v, %v", v.Generation, accounts, err)
	}
	if err := os.WriteFile(filepath.Join(p.folder.path, platformFile), early, 0o600); err != nil {
		t.Fatal(err)
	}
	s.tamper = func(body []byte) []byte {
		var list []map[string]any // newest first
		if json.Unmarshal(body, &list) != nil {
			return body
		}
		list[2]["manifest"] = list[1]["manifest"]
		return must(json.Marshal(list))(t)
	}
	var rolledBack *RolledBackError
	if _, _, err := p.FetchBackup(ctx); !errors.As(err, &rolledBack) {
		t.Errorf("a broken chain gave %v", err)
	}
}

func TestAcceptRollback_GoesOnAndLosesNoAccount(t *testing.T) {
	for _, left := range []int{0, 1} {
		s := newServer(t)
		p := enrolledPhone(t, s)
		var held []stored
		for i := range 3 {
			held = append(held, s.snapshot())
			must(p.Backup(ctx, sample(i+1), BackupOptions{}))(t)
		}
		s.rollBack(held[left])
		if err := p.AcceptRollback(ctx); err != nil {
			t.Fatal(err)
		}
		if v := must(p.Backup(ctx, p.Accounts(), BackupOptions{}))(t); v.Generation != int64(left+1) || v.Items != 3 {
			t.Errorf("with %d left: got %+v", left, v)
		}
	}
}

func TestFetchBackup_RefusesABlobThatWasTamperedWith(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	must(p.Backup(ctx, sample(2), BackupOptions{}))(t)
	s.tamper = func(body []byte) []byte {
		body[40] ^= 1
		return body
	}
	if _, _, err := p.FetchBackup(ctx); err == nil {
		t.Error("the blob was accepted")
	}
}

func TestBackup_OfTwoProcessesOnOneFolderLosesNoGeneration(t *testing.T) {
	s := newServer(t)
	folder := enrolledPhone(t, s).folder.path
	var group sync.WaitGroup
	for range 4 {
		p := open(t, s, folder)
		group.Go(func() {
			for range 5 {
				if _, err := p.Backup(ctx, sample(3), BackupOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	p := open(t, s, folder)
	remembered := p.PlatformBackup().Generation
	if latest, _, err := p.FetchBackup(ctx); err != nil || remembered != 20 || latest.Generation != 20 {
		t.Errorf("the phone is at generation %d, the server at %d: %v", remembered, latest.Generation, err)
	}
}

// TestVectors_SealedBackupsOpen: docs/vectors/backup.json is what this phone reads.
func TestVectors_SealedBackupsOpen(t *testing.T) {
	content, err := os.ReadFile("../../docs/vectors/backup.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Key         string `json:"key"`
		Accounts    string `json:"accounts"`
		Generations []struct {
			Generation int64  `json:"generation"`
			Body       string `json:"body"`
			Manifest   string `json:"manifest"`
		} `json:"generations"`
	}
	if err := json.Unmarshal(content, &v); err != nil {
		t.Fatal(err)
	}
	key, err := hex.DecodeString(v.Key)
	if err != nil || len(v.Generations) != 2 {
		t.Fatalf("%d generations, %v", len(v.Generations), err)
	}
	for _, g := range v.Generations {
		body, err := hex.DecodeString(g.Body)
		if err != nil {
			t.Fatal(err)
		}
		var claims struct {
			Enrollment string `json:"iss"`
		}
		if err := payloadOf(g.Manifest, &claims); err != nil {
			t.Fatal(err)
		}
		accounts, err := openAccounts(key, body, claims.Enrollment, g.Generation)
		if err != nil {
			t.Errorf("generation %d: %v", g.Generation, err)
		}
		if text, err := json.Marshal(accounts); err != nil || string(text) != v.Accounts {
			t.Errorf("generation %d holds %s, %v", g.Generation, text, err)
		}
	}
}

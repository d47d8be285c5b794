package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/boombuler/barcode/qr"
	"github.com/google/go-cmp/cmp"

	"tutela/storage/storagetest/check"
)

// commandLine runs the real binary on a data folder.
type commandLine struct {
	t      *testing.T
	binary string
	data   string
}

// newCommandLine returns a command line on a new installation.
func newCommandLine(t *testing.T) *commandLine {
	t.Helper()
	c := newCommandLineOnNothing(t)
	beginInstallation(t, dataIn(c.data))
	return c
}

// newCommandLineOnNothing returns a command line on a data folder that does not exist. A short run skips the test.
func newCommandLineOnNothing(t *testing.T) *commandLine {
	t.Helper()
	skipWhenShort(t)
	binary, err := builtBinary()
	must(t, err)
	return &commandLine{t, binary, filepath.Join(check.ShortFolder(t), "data")}
}

// dataIn returns the flags of a data folder.
func dataIn(path string) dataFlags { return dataFlags{Data: folder{path: path, typed: path}} }

// beginInstallation makes what the first start of a server makes.
func beginInstallation(t *testing.T, data dataFlags) {
	t.Helper()
	h, err := openHouse(t.Context(), houseOptions{
		dataFlags:  data,
		Begin:      true,
		PublicURLs: []string{localServer},
		Issuer:     "tutela",
		Log:        slog.New(slog.DiscardHandler),
	})
	must(t, err)
	must(t, h.Close())
}

// ran is what a command printed, and its exit status.
type ran struct {
	t              *testing.T
	stdout, stderr string
	status         int
}

// try runs a command with nobody at the keyboard.
func (c *commandLine) try(args ...string) ran {
	c.t.Helper()
	return c.tryWith(nil, append(args, "--data", c.data)...)
}

func (c *commandLine) tryWith(environment []string, args ...string) ran {
	c.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(c.t.Context(), c.binary, args...)
	cmd.Env = append(cleanEnvironment(), environment...)
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return ran{c.t, stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// run runs a command that must succeed, and returns its standard output.
func (c *commandLine) run(args ...string) string {
	c.t.Helper()
	r := c.try(args...)
	if r.status != 0 {
		c.t.Fatalf("tutela %s: status %d\n%s%s", strings.Join(args, " "), r.status, r.stdout, r.stderr)
	}
	return r.stdout
}

// refused fails the test unless the command ended with status 1 and one line on stderr that contains says.
func (r ran) refused(says string) {
	r.t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	if r.status != 1 || len(lines) != 1 || !strings.HasPrefix(lines[0], "tutela: ") || !strings.Contains(lines[0], says) {
		r.t.Errorf("status %d, and not one line with %q:\n%s%s", r.status, says, r.stdout, r.stderr)
	}
}

// notUnderstood fails the test unless the command ended with status 2 and one line on stderr that contains says.
func (r ran) notUnderstood(says string) {
	r.t.Helper()
	if lines := strings.SplitAfter(r.stderr, "\n"); r.status != statusUsage || len(lines) != 2 || !strings.HasPrefix(lines[0], "tutela: ") || !strings.Contains(lines[0], says) {
		r.t.Errorf("status %d, and not one line with %q:\n%s%s", r.status, says, r.stdout, r.stderr)
	}
}

// serve starts a server on the data folder, which the test ends.
func (c *commandLine) serve() *liveServer {
	c.t.Helper()
	s := &liveServer{binary: c.binary, data: c.data, http: http.DefaultClient}
	s.start(c.t)
	c.t.Cleanup(func() { s.kill(syscall.SIGTERM) })
	return s
}

// withAndWithoutServer runs a test through a running server and on the data file itself.
func withAndWithoutServer(t *testing.T, test func(t *testing.T, c *commandLine)) {
	t.Run("with a server", func(t *testing.T) {
		c := newCommandLine(t)
		c.serve()
		test(t, c)
	})
	t.Run("without a server", func(t *testing.T) { test(t, newCommandLine(t)) })
}

// decode reads the JSON that a command printed.
func decode(t *testing.T, printed string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(printed), &o); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	return o
}

func TestClient_IsAddedListedAndRemoved(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		added := decode(t, c.run("client", "add", "help desk", "--scope", "openid read:users", "--scope", "read:logs",
			"--grant", "client_credentials", "--grant", "urn:openid:params:grant-type:ciba", "--id-token-alg", "RS256", "--presence", "tap",
			"--delivery-mode", "ping", "--notification-endpoint", "https://example.com/ping",
			"--redirect-uri", "https://example.com/cb?a=1,2", "--web-origin", "https://example.com"))
		if len(added) != 2 || added["client_id"] == "" || added["client_secret"] == "" {
			t.Fatalf("added %v", added)
		}
		var clients []map[string]any
		must(t, json.Unmarshal([]byte(c.run("client", "list", "--json")), &clients))
		delete(clients[0], "created")
		want := map[string]any{
			"client_id": added["client_id"], "name": "help desk", "scopes": []any{"openid", "read:users", "read:logs"},
			"grants":        []any{"client_credentials", "urn:openid:params:grant-type:ciba"},
			"redirect_uris": []any{"https://example.com/cb?a=1,2"}, "web_origins": []any{"https://example.com"},
			"id_token_alg": "RS256", "presence": "tap",
			"delivery_mode": "ping", "notification_endpoint": "https://example.com/ping",
		}
		if diff := cmp.Diff(want, clients[0]); diff != "" || len(clients) != 1 {
			t.Errorf("client (-want +got):\n%s", diff)
		}
		if shown := c.run("client", "list"); !strings.Contains(shown, "help desk") || strings.Contains(shown, added["client_secret"].(string)) {
			t.Errorf("shown:\n%s", shown)
		}
		id := added["client_id"].(string)
		c.try("client", "remove", id).notUnderstood("nobody is there to ask: give --yes")
		c.try("client", "remove", "help desk", "--yes").refused(`there is no client with the id "help desk": that is the name of ` + id)
		c.run("client", "remove", id, "--yes")
		c.try("client", "remove", id, "--yes").refused("there is no client with the id \"" + id + "\": see tutela client list")
		c.try("client", "add", "x", "--scope", "openid", "--delivery-mode", "ping").notUnderstood("delivery mode ping wants a notification endpoint")
		c.try("client", "add", "x", "--scope", "openid", "--request-alg", "ES256").notUnderstood("requests are signed by a key of the client, and it has none for ES256")
		_, jwks := clientKey(t)
		signs := decode(t, c.run("client", "add", "bank", "--scope", "openid", "--jwks", string(jwks), "--request-alg", "ES256"))
		must(t, json.Unmarshal([]byte(c.run("client", "list", "--json")), &clients))
		if clients[0]["client_id"] != signs["client_id"] || clients[0]["request_alg"] != "ES256" {
			t.Errorf("clients %v", clients)
		}
		c.try("client", "add", "x", "--scope", "no:such").notUnderstood(`there is no scope "no:such"`)
	})
}

func TestTicket_PrintsTheLinkAloneAndThePhoneTakesIt(t *testing.T) {
	c := newCommandLine(t)
	c.serve()
	link := c.run("ticket", "maria", "--email", "maria@example.com")
	if strings.Count(link, "\n") != 1 || !strings.HasPrefix(link, "http://") || !strings.Contains(link, "/mfa/enrollment?ticket=") {
		t.Fatalf("printed %q", link)
	}
	phone := filepath.Join(t.TempDir(), "phone")
	if r := c.tryWith(nil, "phone", "--phone", phone, "enroll", strings.TrimSpace(link)); r.status != 0 {
		t.Fatalf("the phone does not enrol: %s", r.stderr)
	}
	c.try("ticket", "maria").refused(`the user "maria" is enrolled already; --replaces PHONE makes a ticket for one in the place of a lost phone, --multiple for another phone`)
	c.run("ticket", "maria", "--multiple")
	if shown := c.run("user", "show", "maria"); !strings.Contains(shown, "maria@example.com") || !strings.Contains(shown, "dev_") ||
		!strings.Contains(shown, "enrolled") {
		t.Errorf("shown:\n%s", shown)
	}
}

func TestTicket_WithoutAServerHasTheURLThatIsGiven(t *testing.T) {
	c := newCommandLine(t)
	if link := c.run("ticket", "maria", "--public-url", "https://mfa.example.com"); !strings.HasPrefix(link, "https://mfa.example.com/mfa/enrollment?ticket=") {
		t.Errorf("printed %q", link)
	}
	ticket := decode(t, c.run("ticket", "maria", "--json"))
	if uri, _ := ticket["uri"].(string); !strings.HasPrefix(uri, "otpauth://totp/tutela:maria?enrollment_tx_id=") {
		t.Errorf("ticket %v", ticket)
	}
}

func TestUser_IsListedShownBlockedAndGivenARole(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		c.run("ticket", "maria")
		c.run("ticket", "auth0|x/y z")
		c.run("user", "role", "maria", "admin")
		if r := c.try("user", "block", "maria"); !strings.Contains(r.stderr, "until tutela user block maria --off --data "+c.data) {
			t.Errorf("said:\n%s", r.stderr)
		}
		users := strings.Split(strings.TrimSpace(c.run("user", "list", "--json")), "\n")
		if len(users) != 2 || decode(t, users[0])["id"] != "auth0|x/y z" || decode(t, users[1])["role"] != "admin" || decode(t, users[1])["blocked"] != true {
			t.Errorf("users %v", users)
		}
		c.run("user", "block", "maria", "--off")
		c.run("user", "role", "maria", "none")
		shown := decode(t, c.run("user", "show", "maria", "--json"))
		if shown["role"] != nil || shown["blocked"] != nil || shown["mfa_state"] != "new" || shown["has_recovery_code"] != false {
			t.Errorf("user %v", shown)
		}
		c.try("user", "role", "maria", "king").notUnderstood(`not "king"`)
		for _, args := range [][]string{{"show", "nobody"}, {"role", "nobody", "admin"}, {"block", "nobody"}, {"unlock", "nobody"}, {"reset", "nobody", "--reason", "x", "--yes"}} {
			c.try(append([]string{"user"}, args...)...).refused(`there is no user "nobody": see tutela user list`)
		}
	})
}

func TestUndelete_BringsABackupBack(t *testing.T) {
	c := newCommandLine(t)
	c.serve()
	folder := filepath.Join(t.TempDir(), "phone")
	onPhone := func(args ...string) ran {
		return c.tryWith(nil, append([]string{"phone", "--phone", folder}, args...)...)
	}
	onPhone("enroll", strings.TrimSpace(c.run("ticket", "maria")))
	add := []string{"backup", "--add", "otpauth://totp/Example:maria?secret=JBSWY3DPEHPK3PXP"}
	if r := onPhone(add...); r.status != 0 {
		t.Fatal(r.stderr)
	}
	onPhone("backup", "--delete")
	shown := decode(t, c.run("user", "show", "maria", "--json"))["backups"].([]any)[0].(map[string]any)
	if !isInstant(shown["deleted"]) || !strings.Contains(c.run("user", "show", "maria"), "can be had back until") {
		t.Errorf("the deleted backup is shown as %v", shown)
	}
	c.run("user", "undelete", "maria", shown["id"].(string))
	if r := onPhone("backup", "--undelete"); r.status != 0 || !strings.Contains(r.stdout+r.stderr, "1 account, as generation 1") {
		t.Errorf("the phone's own call: %s%s", r.stdout, r.stderr) // a repeat
	}
	onPhone("backup", "--delete")
	if r := onPhone("backup", "--undelete"); r.status != 0 {
		t.Error(r.stderr)
	}
	if r := onPhone("backup", "--revoke"); r.status != 0 {
		t.Error(r.stderr)
	}
	c.try("user", "undelete", "maria", "bkp_0123456789abcdef").refused("there is no such backup")
}

func TestUnlock_EndsTheWaitOfWrongCodes(t *testing.T) {
	c := newCommandLine(t)
	c.serve()
	enroll := func(userID string) (folder, code string) {
		folder = filepath.Join(t.TempDir(), "phone")
		r := c.tryWith(nil, "phone", "--phone", folder, "--json", "enroll", strings.TrimSpace(c.run("ticket", userID)))
		return folder, decode(t, r.stdout)["recovery_code"].(string)
	}
	maria, right := enroll("maria")
	_, wrong := enroll("paul") // a code, but not hers
	practise := func(code string) ran { return c.tryWith(nil, "phone", "--phone", maria, "practise", "--code", code) }
	for range 10 {
		practise(wrong)
	}
	if r := practise(wrong); !strings.Contains(r.stderr, "too many wrong codes") {
		t.Fatalf("the control: nothing waits: %s%s", r.stdout, r.stderr)
	}
	if r := practise(right); r.status != 0 {
		t.Fatalf("the right code waits: %s", r.stderr)
	}
	for range 10 { // the right one has ended the wait
		practise(wrong)
	}
	blocks := decode(t, c.run("user", "show", "maria", "--json"))["blocks"].([]any)
	if len(blocks) != 1 || blocks[0].(map[string]any)["channel"] != "practice" || !isInstant(blocks[0].(map[string]any)["until"]) {
		t.Errorf("blocks %v", blocks)
	}
	c.run("user", "unlock", "maria")
	if r := practise(wrong); strings.Contains(r.stderr, "too many wrong codes") {
		t.Errorf("still waiting: %s", r.stderr)
	}
	if blocks, ok := decode(t, c.run("user", "show", "maria", "--json"))["blocks"].([]any); !ok || len(blocks) != 0 {
		t.Errorf("blocks %v", blocks)
	}
}

func TestPhoneNotices_ShowWhatAPhoneWithoutAPushServiceWasTold(t *testing.T) {
	c := newCommandLine(t)
	c.serve()
	first := filepath.Join(t.TempDir(), "first")
	second := filepath.Join(t.TempDir(), "second")
	phone := func(folder string, args ...string) ran {
		r := c.tryWith(nil, append([]string{"phone", "--phone", folder}, args...)...)
		if r.status != 0 {
			t.Fatalf("%q: %s", args, r.stderr)
		}
		return r
	}
	phone(first, "enroll", strings.TrimSpace(c.run("ticket", "maria")))
	if r := phone(first, "notices"); r.stdout != "Nothing was told to this phone.\n" {
		t.Errorf("before anything happened: %q", r.stdout)
	}
	phone(second, "enroll", "--name", "Pixel 10", strings.TrimSpace(c.run("ticket", "maria", "--multiple")))
	if r := phone(first, "notices"); !strings.Contains(r.stdout, "Another phone was added to your account: Pixel 10.") {
		t.Errorf("told: %q", r.stdout)
	}
	var told []map[string]any
	if err := json.Unmarshal([]byte(phone(first, "--json", "notices").stdout), &told); err != nil || len(told) != 1 || !isInstant(told[0]["d"]) {
		t.Fatalf("as JSON: %v, %v", told, err)
	}
	if r := phone(first, "--json", "notices", "--since", told[0]["d"].(string)); strings.TrimSpace(r.stdout) != "[]" {
		t.Errorf("after the last: %q", r.stdout)
	}
	c.tryWith(nil, "phone", "--phone", first, "notices", "--since", "yesterday").refused("--since yesterday is not the time of a notice: take the d that tutela phone notices --json shows")
	shown := c.run("user", "show", "maria")
	if !strings.Contains(shown, " by a ticket, last used") {
		t.Errorf("how the phones came about is not shown: %s", shown)
	}
}

// isInstant reports whether a member is a time as the APIs write it.
func isInstant(member any) bool {
	text, _ := member.(string)
	at, err := time.Parse(time.RFC3339, text)
	return err == nil && at.UTC().Format("2006-01-02T15:04:05.000Z") == text
}

// Commands print the JSON of the APIs: arrays are never null, and times have milliseconds and Z.
func TestJSON_HasArraysAndInstants(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		c.run("ticket", "maria")
		if listed := c.run("client", "list", "--json"); strings.TrimSpace(listed) != "[]" {
			t.Errorf("no clients: %s", listed)
		}
		c.run("client", "add", "shop", "--scope", "openid")
		printed := map[string]string{
			"client": strings.Trim(c.run("client", "list", "--json"), "[] \n"), "user": c.run("user", "show", "maria", "--json"),
			"line": c.run("user", "list", "--json"), "event": c.run("events", "--user", "maria", "--json"),
		}
		for name, members := range map[string][]string{"client": {"created"}, "user": {"created", "updated"}, "line": {"created", "updated"}, "event": {"time"}} {
			printed := decode(t, printed[name])
			for member, value := range printed {
				if value == nil {
					t.Errorf("%s: %s is null", name, member)
				}
			}
			for _, member := range members {
				if !isInstant(printed[member]) {
					t.Errorf("%s: %s is %v", name, member, printed[member])
				}
			}
		}
	})
}

func TestReset_PrintsAReceiptThatVerifies(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		c.run("ticket", "maria")
		c.try("user", "reset", "maria", "--reason", "lost").notUnderstood("give --yes, or --dry-run")
		if dry := decode(t, c.run("user", "reset", "maria", "--reason", "lost", "--dry-run")); dry["dry_run"] != true || dry["signature"] != nil {
			t.Errorf("dry run %v", dry)
		}
		r := c.try("user", "reset", "maria", "--reason", "lost", "--caller-check", "in_person", "--yes")
		receipt := decode(t, r.stdout)
		if receipt["user_id"] != "maria" || receipt["by"] != fmt.Sprintf("operator:%d", os.Getuid()) || receipt["caller_check"] != "in_person" {
			t.Errorf("receipt %v", receipt)
		}
		if !strings.Contains(r.stderr, "Removed of maria: ") || !strings.Contains(r.stderr, "ticket") {
			t.Errorf("said:\n%s", r.stderr)
		}
		dir := t.TempDir()
		write := func(name, content string) string {
			path := filepath.Join(dir, name)
			must(t, os.WriteFile(path, []byte(content), 0o600))
			return path
		}
		genuine := write("receipt.json", r.stdout)
		if said := c.run("receipt", "verify", genuine); !strings.Contains(said, "is genuine") || !strings.Contains(said, "lost") {
			t.Errorf("said:\n%s", said)
		}
		c.run("compact") // residue changes, and is not signed
		c.run("key", "rotate")
		c.run("receipt", "verify", genuine)
		c.run("receipt", "verify", write("signature", receipt["signature"].(string)+"\n"))
		c.run("receipt", "verify", write("marked.json", "\uFEFF"+r.stdout))
		c.try("receipt", "verify", write("changed.json", strings.Replace(r.stdout, `"lost"`, `"found"`, 1))).refused("reason is not what was signed")
		c.try("receipt", "verify", write("cut.json", r.stdout[:40])).refused("this is not a receipt")
		c.try("receipt", "verify", write("text", "hello")).refused("this is not a receipt")
		c.try("receipt", "verify", filepath.Join(dir, "nosuch")).refused("no such file")
	})
}

func TestReceipt_VerifiesOfflineByASavedKeySet(t *testing.T) {
	c := newCommandLine(t)
	s := c.serve()
	c.run("ticket", "maria")
	receipt := filepath.Join(t.TempDir(), "receipt.json")
	jwks := filepath.Join(t.TempDir(), "jwks.json")
	must(t, os.WriteFile(receipt, []byte(c.run("user", "reset", "maria", "--reason", "lost", "--yes")), 0o600))
	resp, err := http.Get(s.public + "/.well-known/jwks.json")
	must(t, err)
	var document bytes.Buffer
	_, err = document.ReadFrom(resp.Body)
	must(t, errors.Join(err, resp.Body.Close()))
	must(t, os.WriteFile(jwks, document.Bytes(), 0o600))
	elsewhere := newCommandLine(t) // with other keys
	if said := elsewhere.run("receipt", "verify", receipt, "--jwks", jwks); !strings.Contains(said, "is genuine") {
		t.Errorf("said:\n%s", said)
	}
	elsewhere.try("receipt", "verify", receipt).refused("is not in the key set")
}

func TestPolicy_IsListedReadAndSet(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		for name, fallback := range map[string]string{
			"approval.presence": "prefer-number", "approval.digits": "6", "restore.veto": "alive", "restore.first_wait": "1m", "restore.wait": "10m",
			"enrollment.after_reset": "open", "backup.max_bytes": "262144", "backup.keep": "10", "push.budget": "5",
		} {
			if got := strings.TrimSpace(c.run("policy", "get", name)); got != fallback {
				t.Errorf("%s is %q on a fresh installation", name, got)
			}
		}
		if r := c.try("policy", "set", "approval.digits", "4"); r.status != 0 || !strings.Contains(r.stderr, "Warning: approval.digits is 4") {
			t.Errorf("said:\n%s", r.stderr)
		}
		if got := strings.TrimSpace(c.run("policy", "get", "approval.digits")); got != "4" {
			t.Errorf("approval.digits is %q", got)
		}
		c.try("policy", "set", "approval.digits", "9").notUnderstood("approval.digits is a whole number from 2 to 8")
		c.try("policy", "set", "nosuch", "1").refused(`there is no policy "nosuch"`)
		c.try("policy", "get", "nosuch").refused(`there is no policy "nosuch"`)
		if listed := c.run("policy", "list"); !strings.Contains(listed, "4 *") {
			t.Errorf("listed:\n%s", listed)
		}
		if events := c.run("events", "--type", "gd_tenant_update"); strings.Count(events, "\n") != 1 || !strings.Contains(events, "policy=approval.digits") {
			t.Errorf("events:\n%s", events)
		}
	})
}

func TestEvents_AreChosenByUserAndType(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		c.run("ticket", "maria")
		c.run("ticket", "paul")
		c.run("user", "reset", "maria", "--reason", "a long story", "--yes")
		ofMaria := strings.Split(strings.TrimSpace(c.run("events", "--user", "maria", "--json")), "\n")
		if len(ofMaria) != 2 || decode(t, ofMaria[0])["type"] != "gd_start_enroll" || decode(t, ofMaria[1])["type"] != "td_reset" ||
			decode(t, ofMaria[1])["user_id"] != "maria" {
			t.Errorf("events %v", ofMaria)
		}
		if last := c.run("events", "--last", "1"); !strings.Contains(last, "td_reset") || !strings.Contains(last, `reason="a long story"`) || strings.Count(last, "\n") != 1 {
			t.Errorf("the last:\n%s", last)
		}
		c.try("events", "--user", "nobody").refused(`there is no user "nobody": see tutela user list`)
	})
}

func TestEvents_FollowWhatAServerDoes(t *testing.T) {
	c := newCommandLine(t)
	c.serve()
	cmd := exec.CommandContext(t.Context(), c.binary, "events", "--follow", "--json", "--data", c.data)
	cmd.Env = cleanEnvironment()
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	decoder := json.NewDecoder(stdout)
	for i := range 3 {
		c.run("ticket", fmt.Sprintf("user%d", i))
		var e struct {
			UserID string `json:"user_id"`
		}
		must(t, decoder.Decode(&e))
		if e.UserID != fmt.Sprintf("user%d", i) {
			t.Errorf("event %d is about %q", i, e.UserID)
		}
	}
	must(t, cmd.Process.Signal(syscall.SIGINT))
	if err := cmd.Wait(); err != nil {
		t.Errorf("whoever has followed enough gets %v", err)
	}
}

func TestBackupDB_IsRestoredOnlyWhenNoServerRuns(t *testing.T) {
	c := newCommandLine(t)
	s := c.serve()
	c.run("ticket", "before")
	copied := filepath.Join(t.TempDir(), "copy.db")
	r := c.try("backup-db", copied)
	if r.status != 0 || !strings.Contains(r.stderr, "The master key is not in it") {
		t.Fatalf("said:\n%s", r.stderr)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", info, err)
	}
	c.try("backup-db", copied).refused("exists already, and is not overwritten")
	c.run("ticket", "after")
	c.try("restore-db", copied).refused("a server runs on")
	s.kill(syscall.SIGTERM)
	c.run("restore-db", copied)
	if users := c.run("user", "list"); !strings.Contains(users, "before") || strings.Contains(users, "after") {
		t.Errorf("users after the restore:\n%s", users)
	}
	kept, err := filepath.Glob(filepath.Join(c.data, "tutela.db.before-*"))
	must(t, err)
	if len(kept) != 1 {
		t.Fatalf("kept %v", kept)
	}
	c.run("restore-db", kept[0])
	if users := c.run("user", "list"); !strings.Contains(users, "after") {
		t.Errorf("users after going back:\n%s", users)
	}
	again := filepath.Join(t.TempDir(), "again.db")
	c.run("backup-db", again)
	fresh := newCommandLineOnNothing(t)
	fresh.try("restore-db", again).refused("nothing was restored: the master key " + filepath.Join(fresh.data, "master.key") + " is missing")
	if _, err := os.Stat(fresh.data); !errors.Is(err, os.ErrNotExist) {
		t.Error("a restore that cannot be has made the data folder")
	}
	must(t, os.Mkdir(fresh.data, 0o700))
	key, err := os.ReadFile(filepath.Join(c.data, "master.key"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(fresh.data, "master.key"), key, 0o600))
	fresh.run("restore-db", again)
	if users := fresh.run("user", "list"); !strings.Contains(users, "after") {
		t.Errorf("users elsewhere:\n%s", users)
	}
}

func TestRestoreDB_LeavesEverythingWhenTheCopyIsNoDataFile(t *testing.T) {
	c := newCommandLine(t)
	c.run("ticket", "maria")
	before := c.file()
	bad := filepath.Join(t.TempDir(), "bad.db")
	must(t, os.WriteFile(bad, bytes.Repeat([]byte("nonsense"), 4096), 0o600))
	c.try("restore-db", bad).refused("not a data file of tutela")
	if !bytes.Equal(before, c.file()) {
		t.Error("the data file was changed")
	}
	if left, err := filepath.Glob(filepath.Join(c.data, "*before*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRestoreDB_ChangesNothingWhenTheMasterKeyIsNotTheCopys(t *testing.T) {
	c := newCommandLineOnNothing(t)
	elsewhere := newCommandLine(t)
	elsewhere.run("ticket", "paul")
	copied := filepath.Join(t.TempDir(), "copy.db")
	elsewhere.run("backup-db", copied)
	must(t, os.Mkdir(c.data, 0o700))
	c.try("restore-db", copied).refused("nothing was restored: the master key " + filepath.Join(c.data, "master.key") + " is missing")
	if names := c.names(); names != "" {
		t.Errorf("the folder holds %s", names)
	}
	must(t, os.Remove(c.data))
	beginInstallation(t, dataIn(c.data))
	before := c.file()
	names := c.names()
	c.try("restore-db", copied).refused("nothing was restored: the master key is not the one that this data was written with")
	if !bytes.Equal(before, c.file()) || names != c.names() {
		t.Errorf("the folder held %s, and now %s", names, c.names())
	}
	c.run("restore-db", copied, "--master-key-file", filepath.Join(elsewhere.data, "master.key"))
}

func TestCommands_SayWhatIsKnownWhenTheServerEndsInTheMiddle(t *testing.T) {
	c := newCommandLine(t)
	l, err := net.Listen("unix", filepath.Join(c.data, "admin.sock"))
	must(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/hello" {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte("{}"))
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { must(t, server.Close()) })
	c.try("compact").refused("Nothing is lost: the data file is whole")
	c.try("backup-db", filepath.Join(t.TempDir(), "copy.db")).refused("no copy was made")
	c.try("user", "list").refused("ended before it answered")
}

// The data file may lie on another disk, with a link to it in the data folder.
func TestRestoreDB_ThroughALinkKeepsTheLinkAndTheOldFile(t *testing.T) {
	c := newCommandLine(t)
	c.run("ticket", "maria")
	link := filepath.Join(c.data, "tutela.db")
	target := filepath.Join(t.TempDir(), "on-another-disk.db")
	must(t, os.Rename(link, target))
	must(t, os.Symlink(target, link))
	copied := filepath.Join(t.TempDir(), "copy.db")
	c.run("backup-db", copied)
	c.run("ticket", "paul")
	c.run("restore-db", copied)
	if to, err := os.Readlink(link); err != nil || to != target {
		t.Errorf("the link names %q: %v", to, err)
	}
	if users := c.run("user", "list"); strings.Contains(users, "paul") {
		t.Errorf("users after the restore:\n%s", users)
	}
	kept, err := filepath.Glob(target + ".before-*")
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept beside the target: %v, %v", kept, err)
	}
	must(t, os.Rename(kept[0], target))
	if users := c.run("user", "list"); !strings.Contains(users, "paul") {
		t.Errorf("users of the file that was kept:\n%s", users)
	}
}

func TestDropKept_KeepsTheOnlyNameOfTheOldDataFile(t *testing.T) {
	c := &restoreDBCmd{dataFlags: dataIn(t.TempDir())}
	must(t, os.WriteFile(c.file(), []byte("old"), 0o600))
	kept, err := c.keepOld()
	must(t, err)
	must(t, c.dropKept(kept))
	if _, err := os.Stat(kept); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the second name stays: %v", err)
	}
	kept, err = c.keepOld()
	must(t, err)
	building := filepath.Join(c.Data.path, "building")
	must(t, os.WriteFile(building, []byte("new"), 0o600))
	must(t, os.Rename(building, c.file()))
	if err := c.dropKept(kept); err == nil || !strings.Contains(err.Error(), "kept as "+kept) {
		t.Errorf("error %v", err)
	}
	if content, err := os.ReadFile(kept); err != nil || string(content) != "old" {
		t.Errorf("the old data file: %q, %v", content, err)
	}
}

// file returns the bytes of the data file.
func (c *commandLine) file() []byte {
	c.t.Helper()
	content, err := os.ReadFile(filepath.Join(c.data, "tutela.db"))
	must(c.t, err)
	return content
}

func TestCommands_SayWhenAServerHasTheFileAndDoesNotAnswer(t *testing.T) {
	c := newCommandLine(t)
	c.serve()
	must(t, os.Remove(filepath.Join(c.data, "admin.sock")))
	c.try("user", "list").refused("nobody answers on " + filepath.Join(c.data, "admin.sock"))
}

func TestCommands_AtOnceWithoutAServerWaitForEachOther(t *testing.T) {
	c := newCommandLine(t)
	c.run("policy", "list")
	done := make(chan ran)
	const many = 6
	for i := range many {
		go func() { done <- c.try("ticket", fmt.Sprintf("user%d", i)) }()
	}
	for range many {
		if r := <-done; r.status != 0 {
			t.Errorf("status %d: %s", r.status, r.stderr)
		}
	}
	if users := c.run("user", "list", "--json"); strings.Count(users, "\n") != many {
		t.Errorf("users:\n%s", users)
	}
}

func TestCommands_AreConfiguredByTheEnvironment(t *testing.T) {
	c := newCommandLine(t)
	if r := c.tryWith([]string{"TUTELA_DATA=" + c.data, "TUTELA_CLIENT_ADD_SCOPE=openid read:users", "TUTELA_NAME=y"}, "client", "add", "x"); r.status != 0 {
		t.Fatal(r.stderr)
	}
	if listed := c.run("client", "list"); !strings.Contains(listed, "openid read:users") {
		t.Errorf("listed:\n%s", listed)
	}
}

func TestCompact_LeavesNothingOfAUserWhoWasReset(t *testing.T) {
	c := newCommandLine(t)
	c.serve()
	phone := filepath.Join(t.TempDir(), "phone")
	if r := c.tryWith(nil, "phone", "--phone", phone, "enroll", "--name", "PLANTED-PHONE-NAME", strings.TrimSpace(c.run("ticket", "maria"))); r.status != 0 {
		t.Fatal(r.stderr)
	}
	if !bytes.Contains(c.file(), []byte("PLANTED-PHONE-NAME")) {
		t.Fatal("the control: what was planted is not in the file")
	}
	c.run("user", "reset", "maria", "--reason", "lost", "--yes")
	c.run("compact")
	if bytes.Contains(c.file(), []byte("PLANTED-PHONE-NAME")) {
		t.Error("what was planted is still in the file")
	}
	if receipts := decode(t, c.run("user", "show", "maria", "--json"))["receipts"].([]any); receipts[0].(map[string]any)["residue"] != false {
		t.Errorf("receipts %v", receipts)
	}
}

func TestConfirm_WantsTheUsersID(t *testing.T) {
	for typed, ok := range map[string]bool{"maria\n": true, "maria \n": true, "maria": true, "y\n": false, "": false, "mario\n": false} {
		if err := confirm(strings.NewReader(typed), new(bytes.Buffer), "the user's id", "maria", "nothing was reset"); (err == nil) != ok {
			t.Errorf("%q: %v", typed, err)
		}
	}
}

func TestDrawQR_DrawsEveryModuleInsideAQuietZone(t *testing.T) {
	const text = "otpauth://totp/tutela:maria?enrollment_tx_id=abc"
	code, err := qr.Encode(text, qr.L, qr.Unicode)
	must(t, err)
	size := code.Bounds().Dx()
	var drawn bytes.Buffer
	must(t, drawQR(&drawn, text, 200))
	var rows [][]bool // dark or not
	for line := range strings.Lines(drawn.String()) {
		line, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), blackOnWhite)
		line, reset := strings.CutSuffix(line, ownColours)
		if !ok || !reset {
			t.Fatalf("a line keeps no colours of its own: %q", line)
		}
		var upper, lower []bool
		for _, r := range line {
			upper = append(upper, r == '▀' || r == '█')
			lower = append(lower, r == '▄' || r == '█')
		}
		rows = append(rows, upper, lower)
	}
	if len(rows) < size+2*quietZone {
		t.Fatalf("%d rows for %d modules", len(rows), size)
	}
	for y, row := range rows {
		if len(row) != size+2*quietZone {
			t.Fatalf("row %d has %d modules", y, len(row))
		}
		for x, dark := range row {
			inX := x - quietZone
			inY := y - quietZone
			want := false
			if inX >= 0 && inY >= 0 && inX < size && inY < size {
				r, _, _, _ := code.At(inX, inY).RGBA()
				want = r == 0
			}
			if dark != want {
				t.Fatalf("module %d,%d: dark %v", inX, inY, dark)
			}
		}
	}
	drawn.Reset()
	must(t, drawQR(&drawn, text, 20))
	if strings.Contains(drawn.String(), "█") {
		t.Error("it is drawn on a terminal that is too narrow")
	}
}

func TestNextNight_IsTheNextThreeOClock(t *testing.T) {
	zone := time.FixedZone("there", 2*60*60)
	for now, want := range map[string]string{
		"2026-03-01T02:59:59+02:00": "2026-03-01T03:00:00+02:00",
		"2026-03-01T03:00:00+02:00": "2026-03-02T03:00:00+02:00",
		"2026-12-31T23:00:00+02:00": "2027-01-01T03:00:00+02:00",
	} {
		at, err := time.Parse(time.RFC3339, now)
		must(t, err)
		if got := nextNight(at.In(zone)).Format(time.RFC3339); got != want {
			t.Errorf("after %s: %s", now, got)
		}
	}
}

var must = check.Must

func TestClient_RotatesASecretWithAndWithoutAnOverlap(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		added := decode(t, c.run("client", "add", "shop", "--scope", "openid"))
		id := added["client_id"].(string)
		rotated := decode(t, c.run("client", "rotate-secret", id, "--overlap", "24h"))
		if secret, _ := rotated["client_secret"].(string); rotated["client_id"] != id || len(secret) != 48 || secret == added["client_secret"] {
			t.Errorf("rotated %v", rotated)
		}
		c.try("client", "rotate-secret", id, "--overlap", "169h").notUnderstood("overlap is from 0 to 604800 seconds")
		c.try("client", "rotate-secret", "nobody").refused(`no client with the id "nobody"`)
	})
}

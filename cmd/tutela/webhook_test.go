package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"tutela/recovery/webhook"
	"tutela/storage"
	"tutela/storage/audit"
)

// delivered has a webhook of maria's house be told of an event, in vain, and returns the delivery's id.
func (m *mounted) delivered() string {
	m.t.Helper()
	ctx := m.t.Context()
	m.must(m.house.store.Update(ctx, func(tx *storage.Tx) error {
		return audit.Record(tx, audit.Actor{}, audit.Event{Type: audit.Reset}, audit.Detail{})
	}))
	m.must(m.house.outbox.Drain(ctx))
	list, err := m.house.hooks.Deliveries(ctx, m.hook, webhook.Waiting)
	m.must(err)
	if len(list) == 0 {
		m.t.Fatal("nothing was delivered")
	}
	// The latest event is the one above: others of the house may wait for the webhook as well.
	return slices.MaxFunc(list, func(a, b webhook.Delivery) int { return strings.Compare(a.Event, b.Event) }).ID
}

// posted is a message as a receiver got it.
type posted struct {
	Type   string            `json:"type"`
	Data   map[string]string `json:"data"`
	header http.Header
	body   []byte
}

// receiver is a program on this machine that is told what happens. It answers status, 204 in the beginning.
type receiver struct {
	*httptest.Server
	messages chan posted

	mu     sync.Mutex
	status int
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{messages: make(chan posted, 1000), status: http.StatusNoContent}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		p := posted{header: req.Header, body: body}
		if err != nil || json.Unmarshal(body, &p) != nil {
			t.Errorf("posted %q: %v", body, err)
		}
		r.mu.Lock()
		status := r.status
		r.mu.Unlock()
		w.WriteHeader(status)
		r.messages <- p
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answers(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// allowed lets webhooks be on this machine.
const allowed = "TUTELA_WEBHOOK_ALLOW=127.0.0.1"

func TestWebhookCommand_RegistersTriesRotatesAndRemoves(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		added := decode(t, c.run("webhook", "add", "https://example.com/hooks", "--event", "td_reset", "--event", "gd_unenroll"))
		id, _ := added["id"].(string)
		secret, _ := added["secret"].(string)
		if !strings.HasPrefix(id, "whk_") || !strings.HasPrefix(secret, "whsec_") || len(added) != 2 {
			t.Fatalf("added %v", added)
		}
		if shown := c.run("webhook", "list"); !strings.Contains(shown, "https://example.com/hooks") || !strings.Contains(shown, "enabled") || strings.Contains(shown, secret) {
			t.Errorf("listed:\n%s", shown)
		}
		if rotated := decode(t, c.run("webhook", "rotate", id)); rotated["id"] != id || rotated["secret"] == secret {
			t.Errorf("rotated %v", rotated)
		}
		if nothing := c.run("webhook", "set", id, "--enable", "off"); nothing != "" {
			t.Errorf("disabled: %s", nothing)
		}
		if shown := c.run("webhook", "list"); !strings.Contains(shown, "disabled") {
			t.Errorf("listed:\n%s", shown)
		}
		moved := decode(t, c.run("webhook", "set", id, "--url", "https://127.0.0.1:1/", "--enable", "on"))
		if moved["secret"] == "" || moved["secret"] == secret {
			t.Errorf("moved %v", moved)
		}
		c.try("webhook", "test", id).refused("the webhook's address 127.0.0.1 is loopback: --webhook-allow 127.0.0.1/32 allows it")
		if shown := c.run("webhook", "deliveries", id, "--status", "failed"); strings.Count(shown, "\n") != 1 {
			t.Errorf("deliveries:\n%s", shown)
		}
		c.try("webhook", "add", "https://example.com/", "--event", "td_nothing").notUnderstood(`there are no events of type "td_nothing"`)
		c.try("webhook", "rotate", "whk_x").refused(`there is no webhook with the id "whk_x": see tutela webhook list`)
		c.run("webhook", "remove", id)
		c.try("webhook", "remove", id).refused("there is no webhook with the id")
		if events := c.run("events", "--type", "gd_tenant_update"); !strings.Contains(events, "webhook="+id) || strings.Contains(events, "example.com") {
			t.Errorf("events:\n%s", events)
		}
	})
}

// A server that dies after a commit, and before the message is sent, sends it at its next start.
func TestWebhook_IsToldAfterAKill(t *testing.T) {
	c := newCommandLine(t)
	r := newReceiver(t)
	r.answers(http.StatusServiceUnavailable)
	s := &liveServer{
		binary:      c.binary,
		data:        c.data,
		http:        http.DefaultClient,
		environment: []string{allowed},
	}
	s.start(t)
	secret, _ := decode(t, c.run("webhook", "add", r.URL, "--event", "gd_start_enroll"))["secret"].(string)
	c.run("ticket", "maria")
	first := <-r.messages
	s.kill(syscall.SIGKILL)
	r.answers(http.StatusNoContent)
	s.start(t)
	t.Cleanup(func() { s.kill(syscall.SIGTERM) })
	second := <-r.messages
	by, err := standardwebhooks.NewWebhook(secret)
	must(t, err)
	must(t, by.Verify(second.body, second.header))
	if first.header.Get("webhook-id") != second.header.Get("webhook-id") || second.Type != "gd_start_enroll" || second.Data["user_id"] != "maria" {
		t.Errorf("told %s", second.body)
	}
}

// The receiver of docs/webhooks.md, with npm's standardwebhooks, takes what a server sends, during a rotation too, and nothing else.
func TestExample_TheReceiverOfWebhooksTakesWhatIsPosted(t *testing.T) {
	program := node(t)
	folder := t.TempDir()
	for _, name := range []string{"webhook.mjs", "package.json", "package-lock.json"} {
		content, err := os.ReadFile(examplePath(t, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(folder, name), content, 0o600))
	}
	npm := example{t: t, program: []string{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"}, folder: folder}
	if output, err := npm.run(); err != nil && os.Getenv("CI") == "" {
		t.Skipf("npm brings no standardwebhooks: %v\n%s", err, output)
	} else if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	c := newCommandLine(t)
	s := &liveServer{
		binary:      c.binary,
		data:        c.data,
		http:        http.DefaultClient,
		environment: []string{allowed},
	}
	s.start(t)
	t.Cleanup(func() { s.kill(syscall.SIGTERM) })
	added := decode(t, c.run("webhook", "add", "http://127.0.0.1:1/", "--event", "gd_start_enroll"))
	id, _ := added["id"].(string)
	before, _ := added["secret"].(string)

	run := exec.CommandContext(t.Context(), program, "webhook.mjs", before, "0")
	run.Dir = folder
	said, err := run.StdoutPipe()
	must(t, err)
	run.Stderr = os.Stderr
	must(t, run.Start())
	t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
	})
	lines := bufio.NewScanner(said)
	lines.Scan()
	port := strings.TrimPrefix(lines.Text(), "listens on ")
	receiverURL := "http://127.0.0.1:" + port + "/"
	moved := decode(t, c.run("webhook", "set", id, "--url", receiverURL))
	c.try("webhook", "test", id).refused("it answers 401") // another URL has another secret, which the receiver does not know
	must(t, run.Process.Kill())
	_ = run.Wait()

	again := exec.CommandContext(t.Context(), program, "webhook.mjs", moved["secret"].(string), port)
	again.Dir = folder
	again.Stderr = os.Stderr
	said, err = again.StdoutPipe()
	must(t, err)
	must(t, again.Start())
	t.Cleanup(func() {
		_ = again.Process.Kill()
		_ = again.Wait()
	})
	lines = bufio.NewScanner(said)
	lines.Scan()
	c.run("webhook", "test", id)
	lines.Scan()
	if lines.Text() != "webhook.test -" {
		t.Errorf("it says %q", lines.Text())
	}
	c.run("webhook", "rotate", id) // both sign
	c.run("ticket", "maria")
	lines.Scan()
	if lines.Text() != "gd_start_enroll maria" {
		t.Errorf("it says %q", lines.Text())
	}
	c.run("webhook", "rotate", id, "--overlap", "0s")
	c.try("webhook", "test", id).refused("it answers 401")
	response, err := http.Post(receiverURL, "application/json", strings.NewReader("{}"))
	must(t, err)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("what nobody has signed: %d", response.StatusCode)
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// demoCmd is "tutela demo": the whole story with real processes over loopback HTTP. It fails when any step is not
// what the story says.
type demoCmd struct {
	Keep bool `help:"Keep the folder with the data and the phones, and say where it is."`
}

// Help is the long help of "tutela demo".
func (demoCmd) Help() string {
	return `Starts a server of its own in a folder of its own, on a free port of 127.0.0.1, and tells the story of maria: she
enrols her phone, answers a login, refuses one that is not hers, backs up, loses her phone, comes back with her
recovery code, starts over without a backup, and is reset by an admin. The server and each command of the phone and
the operator is a process; the login system and the admin's program speak HTTP.`
}

// Run tells the story.
func (c *demoCmd) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "tutela-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	if c.Keep {
		defer func() { fmt.Printf("\nThe data and the phones are in %s\n", dir) }()
	} else {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	s := &story{
		self:  self,
		dir:   dir,
		out:   os.Stdout,
		color: term.IsTerminal(int(os.Stdout.Fd())),
		http:  &http.Client{Timeout: 70 * time.Second},
	}
	began := time.Now()
	err = errors.Join(s.tell(ctx), s.turnsOff(), s.stopServer())
	if err == nil {
		s.say("\n%s %d chapters, %d checks, %.1f s.\n", s.bold("All is as the story says:"), s.chapter, s.checks, time.Since(began).Seconds())
	}
	return err
}

// story is the demo as it is told.
type story struct {
	self   string // this program
	dir    string
	out    io.Writer
	color  bool
	http   *http.Client
	server *exec.Cmd
	public string  // the server's public URL
	ringer *ringer // maria's first phone, waiting for pushes

	chapter, checks int

	bank       credentials // the login system's
	admin      credentials // the admin's program's
	code       string      // maria's recovery code, as she has saved it
	enrollment string      // her phone's
	receipt    []byte      // of her reset
}

// credentials are what client add prints for a client.
type credentials struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
}

func (s *story) say(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format, args...) }

func (s *story) bold(text string) string { return s.paint("1", text) }

func (s *story) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// begin begins a chapter.
func (s *story) begin(title string) {
	s.chapter++
	s.say("\n%s\n", s.bold(fmt.Sprintf("%2d  %s", s.chapter, title)))
}

// note prints what happens behind the screens.
func (s *story) note(format string, args ...any) {
	s.say("    %s\n", s.paint("2", fmt.Sprintf(format, args...)))
}

// show shows what somebody sees on a screen.
func (s *story) show(who, screen string) {
	for i, line := range strings.Split(strings.Trim(screen, "\n"), "\n") {
		if i > 0 {
			who = ""
		}
		s.say("    %s %s\n", s.paint("36", fmt.Sprintf("%9s │", who)), line)
	}
}

// check counts a check, and returns an error unless so is true. format says what should have been so.
func (s *story) check(so bool, format string, args ...any) error {
	s.checks++
	if so {
		return nil
	}
	return fmt.Errorf("chapter %d: not as the story says: %s", s.chapter, fmt.Sprintf(format, args...))
}

// tutela runs a command of this program as a process and returns what it prints.
func (s *story) tutela(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.self, args...) //nolint:gosec // this program, with arguments of the story
	cmd.Dir = s.dir
	cmd.Env = cleanEnvironment()
	var stdout, stderr bytes.Buffer
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("tutela %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// cleanEnvironment returns the environment without the variables that configure tutela.
func cleanEnvironment() []string {
	var env []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "TUTELA_") {
			env = append(env, pair)
		}
	}
	return env
}

// phone runs a command of maria's phone, shows its screen, and returns what it printed.
func (s *story) phone(ctx context.Context, args ...string) (string, error) {
	screen, err := s.tutela(ctx, append([]string{"phone", "--phone", filepath.Join(s.dir, "phone")}, args...)...)
	if err == nil {
		s.show("phone", screen)
	}
	return screen, err
}

// phoneJSON runs a command of maria's phone with --json and decodes what it prints. It shows nothing.
func (s *story) phoneJSON(ctx context.Context, into any, args ...string) error {
	text, err := s.tutela(ctx, append([]string{"phone", "--phone", filepath.Join(s.dir, "phone"), "--json"}, args...)...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}

// startServer starts the server on a free port and waits until it says where it serves.
func (s *story) startServer(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, s.self, "serve", //nolint:gosec // this program
		"--dev", "--listen", "127.0.0.1:0", "--data", filepath.Join(s.dir, "data"),
		"--name", "Hafenlicht", "--log-level", "warn")
	cmd.Env = cleanEnvironment()
	cmd.Dir = s.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	s.server = cmd
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if _, rest, found := strings.Cut(lines.Text(), "serves on "); found {
			s.public = strings.Fields(rest)[0]
			go func() { _, _ = io.Copy(io.Discard, stdout) }()
			return nil
		}
	}
	return errors.New("the server did not say where it serves")
}

// stopServer ends the server as an operator would.
func (s *story) stopServer() error {
	if s.server == nil {
		return nil
	}
	if err := s.server.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	err := s.server.Wait()
	s.server = nil
	return err
}

// response is the server's answer to a call of the login system or the admin's program.
type response struct {
	status int
	body   []byte
}

func (a response) decode(into any) error { return json.Unmarshal(a.body, into) }

// problem returns the error word of either form of error body; "" when there is none.
func (a response) problem() string {
	var p struct {
		Error     string `json:"error"`
		ErrorCode string `json:"errorCode"`
	}
	_ = a.decode(&p) // no error body has no error word
	if p.ErrorCode != "" {
		return p.ErrorCode
	}
	return p.Error
}

// form posts a form as a client.
func (s *story) form(ctx context.Context, as credentials, path string, pairs ...string) (response, error) {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.public+path, strings.NewReader(values.Encode()))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(as.ID, as.Secret)
	return s.do(req)
}

// call makes a call with JSON and a bearer token.
func (s *story) call(ctx context.Context, method, path, bearer string, body any) (response, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return response{}, err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.public+path, bytes.NewReader(encoded))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+bearer)
	return s.do(req)
}

func (s *story) do(req *http.Request) (response, error) {
	resp, err := s.http.Do(req)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return response{status: resp.StatusCode, body: body}, err
}

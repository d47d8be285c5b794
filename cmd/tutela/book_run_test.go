package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// shownCommand is a command of a page with what the page says that it prints.
type shownCommand struct {
	page    string
	line    int
	typed   string
	printed []string
}

// notRun are commands of the pages, by how they begin, that the tests do not run, each with why.
var notRun = map[string]string{
	"make ":                            "builds and serves: the other commands run on what it makes",
	"PREFIX":                           "installs on this machine",
	"CGO_ENABLED=0 go build":           "the tests build the program themselves",
	"sudo ":                            "changes this machine",
	"useradd ":                         "changes this machine",
	"install ":                         "changes this machine",
	"(umask ":                          "changes this machine",
	"cat ":                             "shows a file that only root has",
	"sha256sum ":                       "shows a file of the reader's",
	"systemctl ":                       "changes this machine",
	"journalctl ":                      "needs systemd; TestRequest_FindsAReferenceInTheLog pipes a log",
	"tutela serve":                     "goes on for ever; TestServe_ tests serve so",
	"tutela ticket maria --data ./dta": "TestCommands_WithoutAnInstallationMakeNothingAndNameTheFolderAsTyped",
	"tutela restore-db":                "wants a stopped server and another key; TestRestoreDB_ and TestRestore_",
	"tutela migrate-store":             "wants a database; TestMigrateStore_ moves real ones",
	"tutela clock":                     "shows a clock that is wrong; TestClock_",
	"curl -s localhost:8080/readyz              # with a full disk": "needs a full disk",
}

// whyNotRun returns why a command is not run; "" for one that is.
func whyNotRun(typed string) string {
	for begins, why := range notRun {
		if strings.HasPrefix(typed, begins) {
			return why
		}
	}
	return ""
}

// shownCommands returns the commands of a page: in its indented blocks the lines after "$ ", and such lines as begin with a
// program that we know.
func shownCommands(t *testing.T, page string) (shown []shownCommand) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", page))
	must(t, err)
	inside := false
	for i, line := range strings.Split(string(content), "\n") {
		text, indented := strings.CutPrefix(line, "    ")
		typed, asked := strings.CutPrefix(text, "$ ")
		switch {
		case !indented:
			inside = inside && line == ""
		case asked || !inside && beginsProgram(text):
			shown = append(shown, shownCommand{page: page, line: i + 1, typed: typed})
			inside = asked
		case inside:
			last := &shown[len(shown)-1]
			last.printed = append(last.printed, text)
		}
	}
	return shown
}

// beginsProgram reports whether a line of a block without prompts is a command.
func beginsProgram(text string) bool {
	for _, program := range []string{
		"tutela ", "curl ", "make ", "CGO_ENABLED=0 go ", "sudo ", "useradd ", "install ", "(umask ", "systemctl ", "cat ", "sha256sum ",
	} {
		if strings.HasPrefix(text, program) {
			return !strings.HasPrefix(text, "tutela begins") && !strings.HasPrefix(text, "tutela serves")
		}
	}
	return false
}

// reader follows the pages as a reader does: one server, one phone, one shell after the other.
type reader struct {
	*commandLine
	server *liveServer
	home   string
	names  *strings.Replacer // what the pages name, as it is called here
	known  []string
}

// know replaces what a page shows by what is so here.
func (r *reader) know(shown, here string) {
	r.known = append(r.known, shown, here)
	r.names = strings.NewReplacer(r.known...)
}

func newReader(t *testing.T) *reader {
	t.Helper()
	c := newCommandLine(t)
	r := &reader{commandLine: c, server: c.serve(), home: t.TempDir()}
	must(t, os.Mkdir(filepath.Join(r.home, "backup"), 0o700))
	must(t, os.Symlink(c.binary, filepath.Join(r.home, "tutela")))
	u, err := url.Parse(r.server.public)
	must(t, err)
	r.know("localhost:8080", u.Host)
	r.know("/srv/data", c.data)
	r.know("/backup/", filepath.Join(r.home, "backup")+"/")
	return r
}

// follow runs a command as it is shown, and returns what it printed.
func (r *reader) follow(shown shownCommand) (stdout string) {
	r.t.Helper()
	typed := r.names.Replace(shown.typed)
	var out, said bytes.Buffer
	cmd := exec.CommandContext(r.t.Context(), "bash", "-c", typed)
	cmd.Dir = r.home
	cmd.Env = append(cleanEnvironment(), "PATH="+r.home+":"+os.Getenv("PATH"), "TUTELA_DATA="+r.data)
	cmd.Stdout = &out
	cmd.Stderr = &said
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	fails := len(shown.printed) > 0 && strings.HasPrefix(shown.printed[0], "tutela: ")
	switch {
	case fails && (err == nil || !strings.Contains(said.String(), r.names.Replace(shown.printed[0]))):
		r.t.Errorf("%s:%d: %s\nsays\n%s%s\nand not\n%s", shown.page, shown.line, typed, out.String(), said.String(), shown.printed[0])
	case !fails && err != nil:
		r.t.Errorf("%s:%d: %s: %v\n%s", shown.page, shown.line, typed, err, said.String())
	case !fails && len(shown.printed) > 0 && !hasLineLike(out.String()+said.String(), r.names.Replace(shown.printed[0])):
		r.t.Errorf("%s:%d: %s prints\n%s%s\nand not\n%s", shown.page, shown.line, typed, out.String(), said.String(), shown.printed[0])
	}
	return out.String()
}

// hasLineLike reports whether a line begins with the same word as the one that is shown.
func hasLineLike(printed, shown string) bool {
	for line := range strings.Lines(printed) {
		if firstWord(line) == firstWord(shown) {
			return true
		}
	}
	return false
}

// firstWord returns the first word of what was printed, without what is drawn anew at each run.
func firstWord(printed string) string {
	words := strings.Fields(printed)
	if len(words) == 0 {
		return ""
	}
	word, _, _ := strings.Cut(words[0], `":"`)
	word, _, _ = strings.Cut(word, "?ticket=")
	word, _, _ = strings.Cut(word, "?invite=")
	if len(word) > 4 && word[4] == '-' {
		return "a date"
	}
	return word
}

// phone runs a command of the phone.
func (r *reader) phone(args ...string) {
	r.t.Helper()
	if ran := r.tryWith(nil, append([]string{"phone", "--phone", filepath.Join(r.home, "phone")}, args...)...); ran.status != 0 {
		r.t.Fatalf("%v: %s", args, ran.stderr)
	}
}

// goOn does what a page says that has happened between two of its commands.
func (r *reader) goOn(shown shownCommand, stdout string) {
	r.t.Helper()
	switch shown.typed {
	case "tutela client add shop --scope openid":
		must(r.t, json.Unmarshal([]byte(stdout), &r.server.bank))
	case "tutela ticket maria --email maria@example.com":
		r.phone("enroll", "--name", "Pixel 9", strings.TrimSpace(stdout))
		r.phone("backup", "--add", "otpauth://totp/Example:maria?secret=JBSWY3DPEHPK3PXP")
		asked, err := r.server.ask(r.t.Context(), "maria")
		must(r.t, err)
		r.phone("approve", "--number", asked.Number)
		r.run("ticket", "otto")
		enrolled := decode(r.t, r.tryWith(nil, "phone", "--phone", filepath.Join(r.home, "phone"), "--json", "status").stdout)
		r.know("dev_X7KA0vbaHWguatI3", enrolled["enrollment_id"].(string))
	}
	if strings.HasPrefix(shown.typed, `tutela client add "Hafenlicht Bank"`) {
		added := decode(r.t, stdout)
		r.know("ID:SECRET", added["client_id"].(string)+":"+added["client_secret"].(string))
	}
	if strings.HasPrefix(shown.typed, "tutela client add receiver") {
		r.know("cR7uLwX2nBq8ZkT5vYp1HdGs6JmAe4fQ", decode(r.t, stdout)["client_id"].(string))
	}
	if strings.Contains(shown.typed, "/bc-authorize") {
		begun := decode(r.t, stdout)
		r.know("auth_req_id=…", "auth_req_id="+begun["auth_req_id"].(string))
		r.know("--number NUMBER", "--number "+begun["number"].(string))
	}
}

func TestBook_CommandsRunAsTheyAreShown(t *testing.T) {
	for page, least := range map[string]int{"README.md": 6, "docs/operating.md": 20} {
		t.Run(page, func(t *testing.T) {
			r := newReader(t)
			ran := 0
			for _, shown := range shownCommands(t, page) {
				if whyNotRun(shown.typed) != "" {
					continue
				}
				ran++
				r.goOn(shown, r.follow(shown))
			}
			if ran < least {
				t.Errorf("only %d commands ran", ran)
			}
		})
	}
}

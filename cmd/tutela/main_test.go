package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"
)

// shared are the variables of flags that mean the same in every command.
var shared = []string{"TUTELA_DATA", "TUTELA_MASTER_KEY_FILE", "TUTELA_STORE", "TUTELA_PUBLIC_URL", "TUTELA_NAME", "TUTELA_WEBHOOK_ALLOW"}

func TestFlags_EachHasAnEnvironmentVariableOfItsOwn(t *testing.T) {
	parser, err := newParser(t.Context())
	must(t, err)
	owners := map[string]string{masterKeyVariable: "the master key itself", passwordVariable: "the password itself"}
	var walk func(command *kong.Node)
	walk = func(command *kong.Node) {
		for _, flag := range command.Flags {
			who := command.FullPath() + " --" + flag.Name
			if flag.Name == "help" || flag.Name == "version" {
				continue
			}
			if len(flag.Envs) == 0 || !slices.Equal(flag.Envs, flag.Tag.Envs) {
				t.Errorf("%s has the variables %v, and reads %v", who, flag.Envs, flag.Tag.Envs)
			}
			for _, name := range flag.Envs {
				if !strings.HasPrefix(name, "TUTELA_") || strings.ToUpper(name) != name {
					t.Errorf("%s is named %s", who, name)
				}
				if other, taken := owners[name]; taken && !slices.Contains(shared, name) {
					t.Errorf("both %s and %s read %s", other, who, name)
				}
				owners[name] = who
			}
		}
		for _, child := range command.Children {
			walk(child)
		}
	}
	walk(parser.Model.Node)
	for _, name := range []string{"TUTELA_USER_RESET_YES", "TUTELA_PHONE_RESTORE_CODE", "TUTELA_LISTEN", "TUTELA_PHONE_SERVER"} {
		if owners[name] == "" {
			t.Errorf("no flag reads %s", name)
		}
	}
}

func TestCommandLine_SaysInOneLineWhatItCannotRun(t *testing.T) {
	c := newCommandLine(t)
	for says, args := range map[string][]string{
		`tutela: --trusted-proxy: "x" is not an address range, such as 10.0.0.0/8: see tutela serve --help`: {"serve", "--trusted-proxy", "x"},
		`tutela: expected one of "list", "get", "set": see tutela policy --help`:                            {"policy"},
		`tutela: --key must be one of "p256","ed25519","rsa" but got "x": see tutela phone enroll --help`:   {"phone", "enroll", "--key", "x", "y"},
		`tutela: missing flags: --reason=TEXT: see tutela user reset --help`:                                {"user", "reset", "maria"},
		`tutela: unexpected argument nosuch: see tutela --help`:                                             {"nosuch"},
		`tutela: --listen "8080" is not a HOST:PORT, such as localhost:8080 or :443`:                        {"serve", "--listen", "8080", "--data", c.data},
		`tutela: "mfa.example.com" is not a public URL: it is http or https, a host, and no query`:          {"ticket", "x", "--public-url", "mfa.example.com", "--data", c.data},
	} {
		if r := c.tryWith(nil, args...); r.status != statusUsage || r.stdout != "" || r.stderr != says+"\n" {
			t.Errorf("%v: status %d\n%s%swant %s", args, r.status, r.stdout, r.stderr, says)
		}
	}
}

func TestCommandLine_AloneShowsItsHelp(t *testing.T) {
	r := newCommandLine(t).tryWith(nil)
	if r.status != 0 || !strings.HasPrefix(r.stdout, "Usage: tutela") || r.stderr != "" {
		t.Errorf("status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
}

func TestVersion_IsSaidByTheProgramTheServerAndTheLog(t *testing.T) {
	c := newCommandLine(t)
	if r := c.tryWith(nil, "--version"); r.status != 0 || r.stdout != "tutela "+version+"\n" || r.stderr != "" {
		t.Errorf("status %d: %q %s", r.status, r.stdout, r.stderr)
	}
	if _, log := c.served(nil); !strings.Contains(log, `msg="tutela serves" version=`+version) {
		t.Errorf("the log:\n%s", log)
	}
	s := c.serve()
	for _, path := range []string{"/healthz", "/readyz"} {
		resp, err := http.Get(s.public + path)
		must(t, err)
		var told struct {
			Version string `json:"version"`
		}
		must(t, errors.Join(json.NewDecoder(resp.Body).Decode(&told), resp.Body.Close()))
		if told.Version != version {
			t.Errorf("%s says %q", path, told.Version)
		}
	}
}

func TestServe_TakesTheAddressOfAProxyForARange(t *testing.T) {
	for typed, want := range map[string]string{
		"10.0.0.1": "10.0.0.1/32", "10.0.0.0/8": "10.0.0.0/8", "2001:db8::1": "2001:db8::1/128", "2001:db8::/32": "2001:db8::/32",
	} {
		var r proxyRange
		if err := r.UnmarshalText([]byte(typed)); err != nil || r.String() != want {
			t.Errorf("%s is %v, %v", typed, r, err)
		}
	}
}

func TestShellWord_IsOneWordOfAShell(t *testing.T) {
	for text, want := range map[string]string{"maria": "maria", "a@b.example": "a@b.example", "auth0|x y": "'auth0|x y'", "o'neil": `'o'\''neil'`, "": "''"} {
		if got := shellWord(text); got != want {
			t.Errorf("%q is %s", text, got)
		}
	}
}

// emptyVariables returns all variables that any command reads, each set to nothing.
func emptyVariables(t *testing.T) (environment []string) {
	t.Helper()
	parser, err := newParser(t.Context())
	must(t, err)
	everyCommand(parser.Model.Node, func(node *kong.Node) {
		for _, flag := range node.Flags {
			for _, name := range flag.Envs {
				environment = append(environment, name+"=")
			}
		}
	})
	return append(environment, masterKeyVariable+"=")
}

func TestEnvironment_AVariableThatIsEmptyIsNone(t *testing.T) {
	empty := emptyVariables(t)
	if len(empty) < 50 {
		t.Fatalf("only %d variables", len(empty))
	}
	c := newCommandLineOnNothing(t)
	if said, _ := c.served(empty); !strings.HasPrefix(said, "tutela begins a new installation in "+c.data+"\n") {
		t.Errorf("the server says\n%s", said)
	}
	for _, args := range installationCommands(t) {
		if r := c.tryWith(empty, append(args, "--data", c.data)...); r.status == statusUsage {
			t.Errorf("%v: %s", args, r.stderr)
		}
	}
	phone := filepath.Join(t.TempDir(), "phone")
	if r := c.tryWith(empty, "phone", "--phone", phone, "status"); r.status == statusUsage || strings.Contains(r.stderr, "empty") {
		t.Errorf("phone status: %s", r.stderr)
	}
}

func TestServe_ListensOnBothLoopbackAddresses(t *testing.T) {
	l, err := listen(t.Context(), listenFlag, "localhost:0")
	must(t, err)
	defer l.Close() //nolint:errcheck // the second time
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	for _, host := range loopbacks {
		if !hasAddress(t, host) {
			t.Logf("this machine has no %s", host)
			continue
		}
		dialed, err := new(net.Dialer).DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		must(t, err)
		accepted, err := l.Accept()
		must(t, err)
		if accepted.RemoteAddr().String() != dialed.LocalAddr().String() {
			t.Errorf("%s: accepted %v of %v", host, accepted.RemoteAddr(), dialed.LocalAddr())
		}
		must(t, errors.Join(dialed.Close(), accepted.Close()))
	}
	if _, err := listen(t.Context(), listenFlag, "localhost:"+port); err == nil || !strings.Contains(err.Error(), "something else listens there already") {
		t.Errorf("a port that is taken: %v", err)
	}
	must(t, l.Close())
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// hasAddress reports whether one can listen on an address of this machine.
func hasAddress(t *testing.T, host string) bool {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return false
	}
	must(t, l.Close())
	return true
}

// Without --listen the server is there for whoever takes localhost to be the one address or the other.
func TestServe_OfItselfAnswersOnBothLoopbackAddresses(t *testing.T) {
	c := newCommandLine(t)
	s := &liveServer{binary: c.binary, data: c.data, listen: "localhost:0"}
	s.start(t)
	defer s.kill(syscall.SIGTERM)
	u, err := url.Parse(s.public)
	must(t, err)
	for _, host := range loopbacks {
		if !hasAddress(t, host) {
			continue
		}
		resp, err := http.Get("http://" + net.JoinHostPort(host, u.Port()) + "/healthz")
		must(t, err)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", host, resp.Status)
		}
		must(t, resp.Body.Close())
	}
	parser, err := newParser(t.Context())
	must(t, err)
	node, _ := commandNamed(parser.Model.Node, []string{"serve"})
	for _, flag := range node.Flags {
		if flag.Name == "listen" && flag.Default != "localhost:8080" {
			t.Errorf("it listens on %s by itself", flag.Default)
		}
	}
}

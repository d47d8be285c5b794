package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// logOf serves one call and returns the server's log.
func (c *commandLine) logOf(environment ...string) string {
	c.t.Helper()
	log, err := os.Create(filepath.Join(c.t.TempDir(), "log"))
	must(c.t, err)
	s := &liveServer{
		binary:      c.binary,
		data:        c.data,
		logLevel:    "info",
		log:         log,
		environment: environment,
	}
	s.start(c.t)
	resp, err := http.Get(s.public + "/nosuch")
	must(c.t, errors.Join(err, resp.Body.Close()))
	s.kill(syscall.SIGTERM)
	content, err := os.ReadFile(log.Name())
	must(c.t, err)
	return string(content)
}

func TestServe_LogsJSONWhenItIsTold(t *testing.T) {
	c := newCommandLine(t)
	calls := 0
	for line := range strings.Lines(c.logOf("TUTELA_LOG_FORMAT=json")) {
		var record struct{ Time, Level, Msg, Path string }
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Msg == "" || record.Time == "" || record.Level == "" {
			t.Errorf("%v: %s", err, line)
		}
		if record.Msg == "call" && record.Path == "/nosuch" {
			calls++
		}
	}
	if calls != 1 {
		t.Errorf("%d lines of the call", calls)
	}
}

func TestServe_LogsNoCallWhenItIsTold(t *testing.T) {
	c := newCommandLine(t)
	if log := c.logOf(); !strings.Contains(log, "msg=call ") {
		t.Fatalf("the control:\n%s", log)
	}
	if log := c.logOf("TUTELA_ACCESS_LOG=off"); strings.Contains(log, "msg=call ") || !strings.Contains(log, `msg="tutela serves"`) {
		t.Errorf("the log:\n%s", log)
	}
}

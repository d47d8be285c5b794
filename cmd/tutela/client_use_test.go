package main

import (
	"syscall"
	"testing"
	"time"
)

// What a server knows of a program's last use it writes down before it stops.
func TestClient_LastUseIsKnownAfterAStop(t *testing.T) {
	c := newCommandLine(t)
	s := c.serve()
	used := func() time.Time {
		t.Helper()
		shown, _ := decode(t, `{"clients":`+c.run("client", "list", "--json")+`}`)["clients"].([]any)
		if len(shown) != 1 {
			t.Fatalf("there are %d clients", len(shown))
		}
		at, _ := shown[0].(map[string]any)["last_used"].(string)
		if at == "" {
			return time.Time{}
		}
		parsed, err := time.Parse(time.RFC3339, at)
		must(t, err)
		return parsed
	}
	began := time.Now().Add(-time.Second)
	c.signs(t, s.public) // it gets a token
	here := used()
	if here.Before(began) {
		t.Fatalf("it was used at %v, which is before %v", here, began)
	}
	s.kill(syscall.SIGTERM)
	if after := used(); !after.Equal(here) {
		t.Errorf("after the stop it was used at %v, before at %v", after, here)
	}
	s.start(t)
}

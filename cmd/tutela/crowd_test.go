package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tutela/storage/storagetest/check"
)

// limitFiles has the server run with at most n file descriptors.
func (s *liveServer) limitFiles(t *testing.T, n int) {
	t.Helper()
	wrapper := filepath.Join(check.ShortFolder(t), "limited")
	must(t, os.WriteFile(wrapper, fmt.Appendf(nil, "#!/bin/sh\nulimit -n %d\nexec %q \"$@\"\n", n, s.binary), 0o700))
	s.binary = wrapper
}

// silence opens n connections from one address, says nothing on them, and keeps them until the test ends.
func (s *liveServer) silence(t *testing.T, n int) error {
	for range n {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.public, "http://"))
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	return nil
}

// The address that fills the server up is not that of the honest caller; the network of both is the same.
func TestServe_SilentConnectionsShutOutNeitherTheHonestCallerNorTheOperator(t *testing.T) {
	s := newLive(t)
	log, err := os.Create(filepath.Join(check.ShortFolder(t), "log"))
	must(t, err)
	s.log = log
	s.logLevel = "info"
	s.listen = "127.0.0.1:0"
	s.limitFiles(t, 300)
	s.open(t)
	s.public = strings.Replace(s.public, "localhost", "127.0.0.1", 1)

	must(t, s.silence(t, 400))
	flood := make(chan error, 1)
	go func() { flood <- s.silence(t, 400) }()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	honest := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}}
	ready, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.public+"/readyz", nil)
	must(t, err)
	for range 50 {
		resp, err := honest.Do(ready)
		must(t, err)
		must(t, resp.Body.Close())
		if resp.StatusCode != http.StatusOK {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	operator := &commandLine{t, s.binary, s.data}
	for range 3 {
		operator.run("ticket", "maria")
	}
	must(t, <-flood)

	written, err := os.ReadFile(log.Name())
	must(t, err)
	for _, line := range []string{
		`msg="connections are bounded" max=263 descriptors=300`,
		`msg="half of the connections are in use: silent ones are closed sooner, and each address has a share"`,
	} {
		if !strings.Contains(string(written), line) {
			t.Errorf("not in the log: %s\n%s", line, written)
		}
	}
	for _, line := range []string{"cannot accept", "too many", "level=ERROR"} {
		if strings.Contains(string(written), line) {
			t.Errorf("in the log: %s\n%s", line, written)
		}
	}
}

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDevCert_IsTrustedByWhoeverIsToldTo(t *testing.T) {
	m := mountTLS(t)
	m.ok(m.call("GET", "/healthz", ""))
	if !strings.HasPrefix(m.url, "https://localhost:") || m.ok(m.call("GET", "/.well-known/openid-configuration", "")).member("issuer") != m.url+"/" {
		t.Errorf("served at %s", m.url)
	}
	if pair, err := tls.Dial("tcp", m.domain(), &tls.Config{RootCAs: m.tls.pool, ServerName: "localhost"}); err != nil {
		t.Error(err)
	} else {
		must(t, pair.Close())
	}
	strangers := &http.Client{Transport: &http.Transport{}}
	if resp, err := strangers.Get(m.url + "/healthz"); err == nil {
		_ = resp.Body.Close()
		t.Error("it is trusted by everybody")
	}
}

func TestDevCert_SignsForItsNamesAndForNoOther(t *testing.T) {
	folder := t.TempDir()
	c := &devCertCmd{
		Cert: file(filepath.Join(folder, "cert.pem")),
		Key:  file(filepath.Join(folder, "key.pem")),
		Host: []string{"mfa.lan", "192.168.1.20"},
	}
	must(t, c.make())
	pair, err := tls.LoadX509KeyPair(string(c.Cert), string(c.Key))
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	for name, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "::1": true, "mfa.lan": true, "192.168.1.20": true, "example.com": false, "192.168.1.21": false,
	} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool}); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if pair.Leaf.IsCA {
		t.Error("whoever has the key can sign for every name")
	}
	info, err := os.Stat(string(c.Key))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v", info.Mode())
	}
}

func TestDevCert_OverwritesNothingUnlessToldTo(t *testing.T) {
	folder := t.TempDir()
	c := &devCertCmd{Cert: file(filepath.Join(folder, "cert.pem")), Key: file(filepath.Join(folder, "key.pem"))}
	must(t, c.make())
	before, err := os.ReadFile(string(c.Cert))
	must(t, err)
	if err := c.make(); err == nil || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("a second time: %v", err)
	}
	c.Host = []string{"https://mfa.lan"}
	if err := c.make(); err == nil || !strings.Contains(err.Error(), "https://mfa.lan") {
		t.Errorf("a host that is none: %v", err)
	}
	c.Host = nil
	c.Replace = true
	must(t, c.make())
	after, err := os.ReadFile(string(c.Cert))
	must(t, err)
	if block, _ := pem.Decode(after); block == nil || string(before) == string(after) {
		t.Errorf("replaced by %s", after)
	}
	if _, err := tls.LoadX509KeyPair(string(c.Cert), string(c.Key)); err != nil {
		t.Error(err)
	}
}

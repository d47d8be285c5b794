package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// devTLS is a certificate of "tutela dev-cert", and the pool of a caller who trusts it.
type devTLS struct {
	certFile, keyFile string // Node trusts the first by NODE_EXTRA_CA_CERTS
	pool              *x509.CertPool
}

// newDevTLS makes a certificate as the command does.
func newDevTLS(t testing.TB) *devTLS {
	t.Helper()
	folder := t.TempDir()
	d := &devTLS{
		certFile: filepath.Join(folder, "dev-cert.pem"),
		keyFile:  filepath.Join(folder, "dev-key.pem"),
		pool:     x509.NewCertPool(),
	}
	must(t, (&devCertCmd{Cert: file(d.certFile), Key: file(d.keyFile)}).make())
	content, err := os.ReadFile(d.certFile)
	must(t, err)
	if !d.pool.AppendCertsFromPEM(content) {
		t.Fatalf("no certificate: %s", content)
	}
	return d
}

// transport trusts the certificate and no other.
func (d *devTLS) transport() *http.Transport {
	return &http.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: d.pool}}
}

// mountTLS mounts the house at https://localhost and a free port, with a certificate of tutela dev-cert. The official clients
// build https URLs from a domain; domain returns it.
func mountTLS(t testing.TB) *mounted {
	t.Helper()
	d := newDevTLS(t)
	transport := d.transport()
	t.Cleanup(transport.CloseIdleConnections)
	return mountWith(t, func(m *mounted) {
		m.tls = d
		m.url = "https://localhost" + m.url[strings.LastIndexByte(m.url, ':'):]
		m.options.PublicURLs = []string{m.url}
		m.road = &http.Client{Transport: transport}
	})
}

// domain is the host and port of the house, as the official clients want it.
func (m *mounted) domain() string { return m.url[strings.Index(m.url, "//")+2:] }

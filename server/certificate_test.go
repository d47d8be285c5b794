package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tutela/server"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writeCertificate makes a certificate with the serial number for 127.0.0.1 and writes it over the files.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert},
		keyFile:  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// serial is the serial number of the certificate that the server shows now.
func (r *running) serial() int64 {
	r.t.Helper()
	c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func startTLS(t *testing.T, limits server.Limits) (r *running, certFile, keyFile string) {
	t.Helper()
	certFile = filepath.Join(t.TempDir(), "cert.pem")
	keyFile = filepath.Join(t.TempDir(), "key.pem")
	writeCertificate(t, certFile, keyFile, 1)
	return start(t, server.Config{CertFile: certFile, KeyFile: keyFile, Limits: limits}, nil), certFile, keyFile
}

func TestCertificate_IsReadAgainOnHangup(t *testing.T) {
	r, certFile, keyFile := startTLS(t, server.Limits{})
	if got := r.serial(); got != 1 {
		t.Fatalf("serial %d", got)
	}
	hangup := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(keyFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	hangup()
	for !strings.Contains(r.log.String(), "the old one stays") {
		_ = r.serial() // until the signal has arrived
	}
	if got := r.serial(); got != 1 {
		t.Errorf("after broken files: serial %d", got)
	}
	writeCertificate(t, certFile, keyFile, 2)
	hangup()
	for r.serial() != 2 { // until the signal has arrived
	}
}

// Whoever renews the certificate need not tell the server. The two files are never replaced at one instant: until both are there the
// old pair is shown.
func TestCertificate_IsReadAgainWhenTheFilesChange(t *testing.T) {
	r, certFile, keyFile := startTLS(t, server.Limits{})
	next := t.TempDir()
	newCert := filepath.Join(next, "cert.pem")
	newKey := filepath.Join(next, "key.pem")
	writeCertificate(t, newCert, newKey, 2)
	if got := r.serial(); got != 1 {
		t.Fatalf("serial %d", got)
	}
	if err := os.Rename(newCert, certFile); err != nil {
		t.Fatal(err)
	}
	if got := r.serial(); got != 1 {
		t.Errorf("with the new certificate and the old key: serial %d", got)
	}
	if !strings.Contains(r.log.String(), "the old one stays") {
		t.Errorf("the log does not say so: %s", r.log.String())
	}
	if err := os.Rename(newKey, keyFile); err != nil {
		t.Fatal(err)
	}
	if got := r.serial(); got != 2 {
		t.Errorf("with both: serial %d", got)
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	if got := r.serial(); got != 2 {
		t.Errorf("without the file: serial %d", got)
	}
}

// TestCertificate_ThatCouldNotBeReadIsTriedAgain has files that are sound while nothing can be opened. Nothing shows on them when that
// is over.
func TestCertificate_ThatCouldNotBeReadIsTriedAgain(t *testing.T) {
	r, certFile, keyFile := startTLS(t, server.Limits{})
	writeCertificate(t, certFile, keyFile, 2)
	var waiting []net.Conn
	for range 3 {
		waiting = append(waiting, r.dial())
	}
	last := r.dial()
	_, err := io.WriteString(last, "no TLS\r\n")
	must(t, err)
	_, _ = io.ReadAll(last) // refused: so the server has accepted those that were there before

	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	none := limit
	none.Cur = 0
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none))
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) })
	for _, c := range waiting {
		if got := r.serialOn(c); got != 1 {
			t.Errorf("while nothing can be opened: serial %d", got)
		}
	}
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	if told := strings.Count(r.log.String(), "the old one stays"); told != 1 {
		t.Errorf("the log says so %d times:\n%s", told, r.log.String())
	}
	if got := r.serial(); got != 2 {
		t.Errorf("afterwards: serial %d", got)
	}
}

// serialOn is the serial number of the certificate that the server shows on a connection.
func (r *running) serialOn(c net.Conn) int64 {
	r.t.Helper()
	secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	must(r.t, secure.Handshake())
	return secure.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestServe_GoesOnAfterAHangupWithoutTLS(t *testing.T) {
	r := start(t, server.Config{}, nil)
	r.ask("GET", "/healthz", "") // from here on it serves
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(r.log.String(), "no TLS certificate to read again") {
		r.ask("GET", "/healthz", "") // until the signal has arrived
	}
}

func TestCertificate_ServesOverTLSAndLingers(t *testing.T) {
	r, _, _ := startTLS(t, server.Limits{})
	const size = 8 << 20
	c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nPOST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, strings.Repeat("x", size)); err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(back), "200 OK") || !strings.Contains(string(back), "413 Request Entity Too Large") {
		t.Errorf("%s", back)
	}
}

func TestCertificate_CutsAHandshakeThatNeverComes(t *testing.T) {
	r, _, _ := startTLS(t, server.Limits{HeaderTime: 50 * time.Millisecond, IdleTime: 50 * time.Millisecond})
	r.send("\x16")
}

func TestCertificate_NeedsBothFiles(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for _, config := range []server.Config{
		{CertFile: missing},
		{KeyFile: missing},
		{CertFile: missing, KeyFile: missing},
	} {
		if _, err := server.New(config); err == nil {
			t.Errorf("%+v was taken", config)
		}
	}
}

func TestCertificate_TLS12HasCipherSuitesWithAuthenticationAlone(t *testing.T) {
	r, _, _ := startTLS(t, server.Limits{})
	for suite, want := range map[uint16]bool{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       true,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: true,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA:          false,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA:          false,
	} {
		c, err := tls.Dial("tcp", r.addr, &tls.Config{
			InsecureSkipVerify: true,
			MaxVersion:         tls.VersionTLS12,
			CipherSuites:       []uint16{suite},
		})
		if err == nil {
			_ = c.Close()
		}
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.CipherSuiteName(suite), err)
		}
	}
}

func TestTLS_ReadsFilesWithAByteOrderMark(t *testing.T) {
	dir := t.TempDir()
	certFile := filepath.Join(dir, "cert.pem")
	keyFile := filepath.Join(dir, "key.pem")
	writeCertificate(t, certFile, keyFile, 1)
	for _, file := range []string{certFile, keyFile} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append([]byte("\uFEFF"), content...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.CheckTLS(certFile, keyFile); err != nil {
		t.Error(err)
	}
}

package server

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certificate is the server's TLS certificate and key. They are read again when their files change, while the server uses them.
// Safe for concurrent use.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]

	mu   sync.Mutex     // guards what is below
	read [2]os.FileInfo // of the files whose content was read last; nil: there was none
	told string         // what the log has said of them since
}

// loadCertificate reads a certificate chain and its key from two PEM files.
func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("TLS needs both a certificate file and a key file")
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// CheckTLS returns an error unless the two files hold a certificate and its key, or neither file is named.
func CheckTLS(certFile, keyFile string) error {
	if certFile == "" && keyFile == "" {
		return nil
	}
	_, err := loadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	return err
}

// load reads the files. When that fails, the certificate in use stays.
func (c *certificate) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loadLocked()
}

// loadLocked looks at the files before it reads them: a change that comes meanwhile is seen at the next look. Files that it could not
// read count as not read, for what keeps it from that (their mode, or too many open files) need not show on them when it is over.
func (c *certificate) loadLocked() error {
	seen := c.look()
	content, err := readFiles(c.certFile, c.keyFile)
	if err != nil {
		c.read = [2]os.FileInfo{}
		return c.unusable(err)
	}
	c.read = seen
	c.told = ""
	pair, err := tls.X509KeyPair(content[0], content[1])
	if err != nil {
		return c.unusable(err)
	}
	if end := pair.Leaf.NotAfter; time.Now().After(end) {
		c.log.Warn("the TLS certificate has expired: callers will refuse it", "file", c.certFile, "expired", end)
	}
	c.current.Store(&pair)
	return nil
}

func (c *certificate) unusable(err error) error {
	return fmt.Errorf("read the TLS certificate %s and key %s: %w", c.certFile, c.keyFile, err)
}

// look returns what can be seen of the files without reading them.
func (c *certificate) look() (files [2]os.FileInfo) {
	for i, file := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(file); err == nil {
			files[i] = info
		}
	}
	return files
}

// refresh reads the files again if they have changed since they were read. Two files are never replaced at one instant: while they do
// not fit together the old certificate stays, and the next change is read again. Files that cannot be read are tried again with each
// handshake, and told of once. A handshake that finds another one at it goes on.
func (c *certificate) refresh() {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	now := c.look()
	if isSameContent(now[0], c.read[0]) && isSameContent(now[1], c.read[1]) {
		return
	}
	err := c.loadLocked()
	switch {
	case err == nil:
		c.log.Info(readAgainMessage)
	case err.Error() != c.told:
		c.told = err.Error()
		c.log.Error(staysMessage, "err", err)
	}
}

// What the log says of a certificate that is read again.
const (
	staysMessage     = "the TLS certificate is not read again; the old one stays"
	readAgainMessage = "the TLS certificate was read again"
)

// isSameContent reports whether a file is the one that was seen before, and nobody has written to it.
func isSameContent(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// readFiles reads a certificate chain and its key. It skips a byte order mark before either, behind which the decoder would
// not find the PEM.
func readFiles(certFile, keyFile string) (content [2][]byte, err error) {
	for i, file := range []string{certFile, keyFile} {
		if content[i], err = os.ReadFile(file); err != nil {
			return content, err
		}
		content[i] = bytes.TrimPrefix(content[i], []byte("\uFEFF"))
	}
	return content, nil
}

// suites are the cipher suites of TLS 1.2 that have forward secrecy and authenticated encryption. Those of TLS 1.3 all do.
//
// Source: RFC 9325 §4.2.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// config offers HTTP/1.1 over TLS 1.2 and newer. Each handshake uses the certificate that the files hold, or the last good one.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		CipherSuites: suites,
		NextProtos:   []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.refresh()
			return c.current.Load(), nil
		},
	}
}

// CertificateEnd returns until when the server's TLS certificate counts; the zero time of a server without TLS.
func (s *Server) CertificateEnd() time.Time {
	if s.certificate == nil {
		return time.Time{}
	}
	return s.certificate.current.Load().Leaf.NotAfter
}

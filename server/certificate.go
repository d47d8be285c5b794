package server

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// certificate is the server's TLS certificate and key. They can be read again while the server uses them.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// loadCertificate reads a certificate chain and its key from two PEM files.
func loadCertificate(certFile, keyFile string) (*certificate, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("TLS needs both a certificate file and a key file")
	}
	c := &certificate{certFile: certFile, keyFile: keyFile}
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
	_, err := loadCertificate(certFile, keyFile)
	return err
}

// load reads the files. When that fails, the certificate in use stays.
func (c *certificate) load() error {
	pair, err := readPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read the TLS certificate %s and key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current.Store(&pair)
	return nil
}

// readPair reads a certificate chain and its key. It skips a byte order mark before either, behind which the decoder would
// not find the PEM.
func readPair(certFile, keyFile string) (pair tls.Certificate, err error) {
	var content [2][]byte
	for i, file := range []string{certFile, keyFile} {
		if content[i], err = os.ReadFile(file); err != nil {
			return pair, err
		}
		content[i] = bytes.TrimPrefix(content[i], []byte("\uFEFF"))
	}
	return tls.X509KeyPair(content[0], content[1])
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

// config offers HTTP/1.1 over TLS 1.2 and newer. Each handshake uses the certificate that was read last.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		CipherSuites: suites,
		NextProtos:   []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}

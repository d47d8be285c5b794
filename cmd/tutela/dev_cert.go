package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// devCertCmd is "tutela dev-cert".
type devCertCmd struct {
	Cert    file     `default:"dev-cert.pem" placeholder:"FILE" help:"Where the certificate goes."`
	Key     file     `default:"dev-key.pem" placeholder:"FILE" help:"Where its key goes."`
	Host    []string `placeholder:"NAME" help:"Another name or address of this machine that it is for; repeatable. It is always for localhost, 127.0.0.1 and ::1."`
	Replace bool     `help:"Overwrite the files."`
}

// Help is the long help of "tutela dev-cert".
func (devCertCmd) Help() string {
	return `For development: programs that insist on https, such as the official Auth0 clients, can call a server on this machine.
The certificate signs itself and no other, so whoever gets its key can pretend to be these names alone.

  tutela dev-cert
  tutela serve --tls-cert dev-cert.pem --tls-key dev-key.pem
  tutela dev-cert --host 192.168.1.20 --replace           for a phone in the same network`
}

// devCertLife is how long a development certificate counts: programs of Apple refuse one that counts for longer.
//
// Source: Apple, "Requirements for trusted certificates in iOS 13 and macOS 10.15" (825 days).
const devCertLife = 825 * 24 * time.Hour

// Run makes the certificate, and says how to use and trust it.
func (c *devCertCmd) Run() error {
	if err := c.make(); err != nil {
		return err
	}
	return c.explain()
}

// hosts are what the certificate is for.
func (c *devCertCmd) hosts() []string {
	return append([]string{"localhost", "127.0.0.1", "::1"}, c.Host...)
}

// make makes the files. The key comes first: so a certificate that is there always has its key.
func (c *devCertCmd) make() error {
	cert, key, err := selfSigned(c.hosts(), time.Now().Add(devCertLife))
	if err != nil {
		return err
	}
	if err := c.write(c.Key, "PRIVATE KEY", key, 0o600); err != nil {
		return err
	}
	return c.write(c.Cert, "CERTIFICATE", cert, 0o644)
}

// selfSigned makes a key, and a certificate for the hosts that it signs itself; both in DER.
func selfSigned(hosts []string, until time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "tutela development, " + hosts[0]},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              until,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, // and no CA
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		if host == "" || strings.ContainsAny(host, "/: ") {
			return nil, nil, notUnderstood("--host %q is not a name or address, such as mfa.lan or 192.168.1.20", host)
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	if cert, err = x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private); err != nil {
		return nil, nil, fmt.Errorf("make a certificate for %s: %w", strings.Join(hosts, ", "), err)
	}
	key, err = x509.MarshalPKCS8PrivateKey(private)
	return cert, key, err
}

// write writes a PEM file. Without Replace it overwrites none.
func (c *devCertCmd) write(name file, kind string, der []byte, mode fs.FileMode) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if c.Replace {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(string(name), flags, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: use it, or overwrite it with --replace", name)
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(mode), pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Close())
}

// explain says on stdout how to serve with the certificate, and how programs come to trust it.
func (c *devCertCmd) explain() error {
	path, err := filepath.Abs(string(c.Cert))
	if err != nil {
		return err
	}
	cert := shellWord(path)
	until := time.Now().Add(devCertLife).Format(time.DateOnly)
	say(os.Stdout, "%s and %s are made: for %s, until %s.\n", c.Cert, c.Key, strings.Join(c.hosts(), ", "), until)
	say(os.Stdout, "serve with it:\n  %s serve --tls-cert %s --tls-key %s\n", nameToCall(), shellWord(string(c.Cert)), shellWord(string(c.Key)))
	say(os.Stdout, "have a program trust it:\n")
	for _, line := range [][2]string{
		{"curl", "curl --cacert " + cert + " https://localhost:8080/healthz"},
		{"Go", "SSL_CERT_FILE=" + cert},
		{"Node", "NODE_EXTRA_CA_CERTS=" + cert},
		{"Python", "SSL_CERT_FILE=" + cert + " REQUESTS_CA_BUNDLE=" + cert},
		{"Debian", "sudo cp " + cert + " /usr/local/share/ca-certificates/tutela-dev.crt && sudo update-ca-certificates"},
	} {
		say(os.Stdout, "  %-8s%s\n", line[0], line[1])
	}
	return nil
}

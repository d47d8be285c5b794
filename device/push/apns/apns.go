// Package apns brings messages to iPhones by the Apple Push Notification service.
//
// It uses github.com/sideshow/apns2 for the form of the requests, and a transport of net/http: one connection, on which what is
// beyond the service's limit of streams waits. Each delivery is one request, or two when the provider token has expired.
package apns

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"
	"software.sslmate.com/src/go-pkcs12"

	"tutela/device/push"
	"tutela/device/push/wire"
)

// Credentials are how the server shows APNs who it is: by a key and its ids, or by a certificate.
type Credentials struct {
	Key    []byte // the .p8 file of an authentication key
	KeyID  string
	TeamID string

	Certificate []byte           // PKCS#12, with its private key
	Password    string           // of the PKCS#12 file
	Read        *tls.Certificate // what ReadCertificate has read of such a file, in place of it

	Topic    string         // the app's bundle id; "" with a certificate: the one that the certificate names
	Sandbox  bool           // for apps that are installed by Xcode
	Endpoint string         // in place of Apple's; "": that one
	Roots    *x509.CertPool // whom a server's certificate must come from; nil: whom this machine trusts
}

// Errors of credentials. They quote nothing secret.
var (
	ErrCredentials = errors.New("the APNs credentials are not valid")
	ErrEndpoint    = errors.New("the APNs endpoint is not valid")
)

// Carrier brings messages to APNs. Safe for concurrent use.
type Carrier struct {
	client  *apns2.Client
	line    *line
	topic   string
	host    string
	expires time.Time
}

// New returns a carrier. It connects to nobody: whether Apple knows the credentials shows with the first message.
//
// Errors: ErrCredentials, ErrEndpoint.
func New(c Credentials) (*Carrier, error) {
	host, err := c.host()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEndpoint, err)
	}
	line, err := newLine(newTransport(c.Roots), host)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEndpoint, err)
	}
	carrier := &Carrier{line: line, topic: c.Topic, host: host}
	sender := &sender{by: line}
	switch {
	case len(c.Key) > 0 && len(c.Certificate) > 0:
		err = errors.New("give a key or a certificate, not both")
	case len(c.Key) > 0:
		sender.provider, err = c.provider()
	case len(c.Certificate) > 0 || c.Read != nil:
		err = carrier.present(c)
	default:
		err = errors.New("give a key or a certificate")
	}
	if err == nil && !topic.MatchString(carrier.topic) {
		err = errors.New("the topic must be the app's bundle id, such as com.example.app")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	carrier.client = &apns2.Client{
		Host:       host,
		HTTPClient: &http.Client{Transport: sender, CheckRedirect: followNone},
	}
	return carrier, nil
}

func followNone(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// host returns the URL before the path of a request.
func (c Credentials) host() (string, error) {
	switch {
	case c.Endpoint != "" && c.Sandbox:
		return "", errors.New("give an endpoint or the sandbox, not both")
	case c.Endpoint != "":
		return wire.ParseEndpoint(c.Endpoint)
	case c.Sandbox:
		return apns2.HostDevelopment, nil
	default:
		return apns2.HostProduction, nil
	}
}

// idleTime is how long a connection stays open that is not used. Apple takes rapid connecting and disconnecting for an attack.
const idleTime = 15 * time.Minute

// newTransport returns a transport that speaks only HTTP/2.
func newTransport(roots *x509.CertPool) *http.Transport {
	t := wire.NewTransport()
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP2(true)
	t.Protocols.SetUnencryptedHTTP2(true) // for a stand-in on this machine; see wire.ParseEndpoint
	t.IdleConnTimeout = idleTime
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return t
}

var (
	topic = regexp.MustCompile(`^[a-zA-Z0-9.-]{1,255}$`)
	id    = regexp.MustCompile(`^[A-Z0-9]{10}$`)
)

// provider reads the key with which provider tokens are signed.
func (c Credentials) provider() (*provider, error) {
	key, err := token.AuthKeyFromBytes(c.Key)
	switch {
	case err != nil:
		return nil, errors.New("the key is no .p8 file with a key of P-256, as Apple gives it")
	case key.Params().BitSize != 256:
		return nil, errors.New("the key is not a key on P-256")
	case !id.MatchString(c.KeyID):
		return nil, errors.New("the key id must be 10 capital letters and digits, as in the name of the .p8 file")
	case !id.MatchString(c.TeamID):
		return nil, errors.New("the team id must be 10 capital letters and digits, as in Apple's membership details")
	}
	return newProvider(key, c.KeyID, c.TeamID), nil
}

// present has the carrier show a certificate when it connects.
func (c *Carrier) present(from Credentials) error {
	certificate := from.Read
	if certificate == nil {
		var err error
		if certificate, err = ReadCertificate(from.Certificate, from.Password); err != nil {
			return err
		}
	}
	c.line.by.TLSClientConfig.Certificates = []tls.Certificate{*certificate}
	c.expires = certificate.Leaf.NotAfter
	if c.topic == "" {
		c.topic = topicOf(certificate.Leaf)
	}
	if c.topic == "" {
		return errors.New("the certificate names no topic: give the app's bundle id")
	}
	return nil
}

// ReadCertificate reads a PKCS#12 file with one private key, in old or new encryption. It may take some seconds: whoever writes the file
// chooses how many, within a bound. It returns why it cannot.
//
// Errors: ErrIterations; others, which say what is wrong.
func ReadCertificate(file []byte, password string) (*tls.Certificate, error) {
	errFile := errors.New("the certificate is no PKCS#12 file with one private key")
	switch err := checkIterations(file, password); {
	case errors.Is(err, ErrIterations):
		return nil, err
	case err != nil:
		return nil, errFile
	}
	key, leaf, chain, err := pkcs12.DecodeChain(file, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, errors.New("the password of the certificate is wrong")
	case err != nil:
		return nil, errFile
	}
	certificate := &tls.Certificate{PrivateKey: key, Leaf: leaf, Certificate: [][]byte{leaf.Raw}}
	for _, issuer := range chain {
		certificate.Certificate = append(certificate.Certificate, issuer.Raw)
	}
	return certificate, nil
}

// oidUserID is the attribute of a subject in which Apple writes the bundle id.
const oidUserID = "0.9.2342.19200300.100.1.1"

// topicOf returns the topic that a certificate is for, or "".
func topicOf(leaf *x509.Certificate) string {
	for _, attribute := range leaf.Subject.Names {
		if text, ok := attribute.Value.(string); ok && attribute.Type.String() == oidUserID {
			return text
		}
	}
	return ""
}

// Topic returns the bundle id of the app that gets the messages.
func (c *Carrier) Topic() string { return c.topic }

// Host returns the URL of the service.
func (c *Carrier) Host() string { return c.host }

// Expires returns when the certificate ends; zero with a key, which does not end.
func (c *Carrier) Expires() time.Time { return c.expires }

// Close closes the connection when it is idle.
func (c *Carrier) Close() { c.line.close() }

// deviceToken is a token as the SDKs give it: it becomes a part of a URL's path. Apple says not to rely on its length.
var deviceToken = regexp.MustCompile(`^[0-9a-fA-F]{1,200}$`)

// Deliver implements [push.Carrier].
func (c *Carrier) Deliver(ctx context.Context, to push.Address, m push.Message) error {
	if to.Service != push.APNs {
		return push.ErrNotCarried
	}
	if !deviceToken.MatchString(to.Token) {
		return &push.Refusal{Verdict: push.Mismatch, Reason: apns2.ReasonBadDeviceToken} // as Apple would say
	}
	payload, err := payloadOf(m)
	if err != nil {
		return err
	}
	now := time.Now()
	ctx, went := wire.Watch(ctx)
	_, err = c.client.PushWithContext(ctx, &apns2.Notification{
		DeviceToken: strings.ToLower(to.Token),
		Topic:       c.topic,
		CollapseID:  collapseID(m),
		Expiration:  now.Add(m.Life),
		Priority:    apns2.PriorityHigh,
		PushType:    apns2.PushTypeAlert,
		Payload:     payload,
	})
	return outcome(went, err, now)
}

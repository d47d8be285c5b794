// Package fcm brings messages to Android phones by Firebase Cloud Messaging, HTTP v1.
//
// It uses Google's SDK only for the form of the messages. What the SDK does by itself is kept from it: each delivery is
// one request, or two when the access token has been revoked. It makes no other, whatever the answer.
package fcm

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"firebase.google.com/go/v4/messaging"
	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/jwt"
	"google.golang.org/api/option"

	"tutela/device/push"
	"tutela/device/push/wire"
)

// DefaultEndpoint is Google's.
const DefaultEndpoint = "https://fcm.googleapis.com/v1"

// scope is what the access token may be used for.
const scope = "https://www.googleapis.com/auth/firebase.messaging"

// Credentials are how the server shows FCM who it is.
type Credentials struct {
	JSON     []byte // a service account's key file, as the Firebase console gives it
	Endpoint string // in place of DefaultEndpoint; "": that one
}

// Errors of credentials. They quote nothing of the file.
var (
	ErrCredentials = errors.New("the FCM credentials are not valid")
	ErrEndpoint    = errors.New("the FCM endpoint is not valid")
)

// Carrier brings messages to FCM. Safe for concurrent use.
type Carrier struct {
	client    *messaging.Client
	transport *http.Transport
	project   string
}

// New returns a carrier. It connects to nobody: whether Google knows the credentials shows with the first message.
//
// Errors: ErrCredentials, ErrEndpoint.
func New(c Credentials) (*Carrier, error) {
	project, config, err := readAccount(c.JSON)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	endpoint := DefaultEndpoint
	if c.Endpoint != "" {
		if endpoint, err = wire.ParseEndpoint(c.Endpoint); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrEndpoint, err)
		}
	}
	transport := wire.NewTransport()
	sender := &sender{by: transport, tokens: newTokens(config, transport)}
	// The SDK drops any credentials when it is given a client: the sender adds the access token.
	client, err := newClient(messaging.NewClient, project,
		option.WithHTTPClient(&http.Client{Transport: sender}), option.WithEndpoint(endpoint))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	return &Carrier{client, transport, project}, nil
}

// newClient makes the SDK's client. The type of its configuration is internal to the SDK, whose public way to it links
// Firestore and Storage; so the type is inferred from the SDK's own function.
func newClient[C ~struct {
	Opts      []option.ClientOption
	ProjectID string
	Version   string
}](construct func(context.Context, *C) (*messaging.Client, error), project string, options ...option.ClientOption) (*messaging.Client, error) {
	config := C(struct {
		Opts      []option.ClientOption
		ProjectID string
		Version   string
	}{options, project, sdkVersion})
	return construct(context.Background(), &config)
}

// sdkVersion is what the SDK says that it is.
const sdkVersion = "4.19.0"

// account is what a service account's key file holds, as far as it is needed here.
type account struct {
	Type       string `json:"type"`
	ProjectID  string `json:"project_id"`
	Email      string `json:"client_email"`
	PrivateKey string `json:"private_key"`
	TokenURI   string `json:"token_uri"`
}

// projectID is what may stand in the path of a request.
var projectID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.:_-]{0,99}$`)

// readAccount reads a service account's key file.
func readAccount(file []byte) (project string, config *jwt.Config, err error) {
	var a account
	if err := json.Unmarshal(file, &a); err != nil {
		return "", nil, errors.New("they are no JSON; give the key file of a service account, from the Firebase console")
	}
	switch {
	case a.Type != "service_account":
		return "", nil, errors.New(`"type" is not "service_account"; give the key file of a service account, from the Firebase console`)
	case !projectID.MatchString(a.ProjectID):
		return "", nil, errors.New(`"project_id" is missing, or is no id of a project`)
	case a.Email == "":
		return "", nil, errors.New(`"client_email" is missing`)
	case !isPrivateKey(a.PrivateKey):
		return "", nil, errors.New(`"private_key" is no RSA key in PEM`)
	}
	if _, err := wire.ParseEndpoint(a.TokenURI); err != nil {
		return "", nil, fmt.Errorf(`"token_uri": %w`, err)
	}
	config, err = google.JWTConfigFromJSON(file, scope)
	if err != nil {
		return "", nil, errors.New("they are not the key file of a service account")
	}
	return a.ProjectID, config, nil
}

func isPrivateKey(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	_, isRSA := key.(*rsa.PrivateKey)
	return err == nil && isRSA
}

// Project returns the id of the project whose apps get the messages.
func (c *Carrier) Project() string { return c.project }

// Close closes the connections that are idle.
func (c *Carrier) Close() { c.transport.CloseIdleConnections() }

// Deliver implements [push.Carrier].
func (c *Carrier) Deliver(ctx context.Context, to push.Address, m push.Message) error {
	if to.Service != push.FCM && to.Service != push.GCM {
		return push.ErrNotCarried
	}
	message, err := messageTo(to, m)
	if err != nil {
		return err
	}
	ctx, went := wire.Watch(ctx)
	_, err = c.client.Send(ctx, message)
	return outcome(went, err, time.Now())
}

// maxDataBytes bounds the keys and values of a data message together.
//
// Source: firebase.google.com/docs/cloud-messaging, "Message payload: 4096 bytes".
const maxDataBytes = 4096

// longestLife is the longest that FCM keeps a message.
const longestLife = 28 * 24 * time.Hour

// messageTo returns a data message, which wakes the app. It has no collapse key: FCM keeps the messages of four keys for a phone, and
// drops those of others.
//
// Source: guardian-wire.md §3.2.
func messageTo(to push.Address, m push.Message) (*messaging.Message, error) {
	data, err := m.Strings()
	if err == nil && size(data) > maxDataBytes {
		data, err = m.Fit(fits).Strings()
	}
	if err != nil {
		return nil, err
	}
	life := min(max(m.Life, 0), longestLife).Truncate(time.Second)
	return &messaging.Message{
		Token: to.Token,
		Data:  data,
		Android: &messaging.AndroidConfig{
			Priority: "high",
			TTL:      &life,
		},
	}, nil
}

func fits(m push.Message) bool {
	data, err := m.Strings()
	return err != nil || size(data) <= maxDataBytes
}

func size(data map[string]string) (n int) {
	for key, value := range data {
		n += len(key) + len(value)
	}
	return n
}

package push

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
)

// The sizes of a subscription's parts, in bytes.
//
// Source: RFC 8291 §3.1 and §3.2.
const (
	maxEndpointBytes = 2048
	p256dhBytes      = 65 // a point of P-256, uncompressed
	authBytes        = 16
)

// Subscription is where Web Push reaches a browser or a UnifiedPush distributor, with the keys that encrypt messages to it.
// [ParseSubscription] returns only valid ones. == compares subscriptions.
//
// Source: RFC 8030, RFC 8291; W3C Push API, PushSubscription.toJSON.
type Subscription struct {
	Endpoint string            // where messages are posted; a secret, since whoever knows it can post
	P256DH   [p256dhBytes]byte // the receiver's public key
	Auth     [authBytes]byte   // the secret that the receiver shares with senders
}

// subscriptionJSON is a subscription on the wire. Browsers send expirationTime beside these.
type subscriptionJSON struct {
	Endpoint string `json:"endpoint"`
	Keys     struct {
		P256DH string `json:"p256dh"`
		Auth   string `json:"auth"`
	} `json:"keys"`
}

// ParseSubscription reads the JSON of a subscription. A stranger chose the endpoint's host: the sender must find out,
// each time, whether it may connect there.
//
// Errors: ErrAddress.
func ParseSubscription(text string) (Subscription, error) {
	var raw subscriptionJSON
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return Subscription{}, ErrAddress.With("the token of a WEBPUSH address is the subscription as JSON")
	}
	if !validEndpoint(raw.Endpoint) {
		return Subscription{}, ErrAddress.With("the subscription's endpoint must be a URL of at most %d bytes", maxEndpointBytes)
	}
	s := Subscription{Endpoint: raw.Endpoint}
	if !decodeExactly(s.P256DH[:], raw.Keys.P256DH) || !onP256(s.P256DH[:]) {
		return Subscription{}, ErrAddress.With("the subscription's p256dh must be a point of P-256, uncompressed, in base64url")
	}
	if !decodeExactly(s.Auth[:], raw.Keys.Auth) {
		return Subscription{}, ErrAddress.With("the subscription's auth must be %d bytes in base64url", authBytes)
	}
	return s, nil
}

// String returns the subscription as JSON, always the same for the same subscription.
func (s Subscription) String() string {
	var raw subscriptionJSON
	raw.set(s)
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // the & of a query stays one byte
	if err := encoder.Encode(raw); err != nil {
		return "" // encoding strings never fails
	}
	return strings.TrimSuffix(text.String(), "\n")
}

func (raw *subscriptionJSON) set(s Subscription) {
	raw.Endpoint = s.Endpoint
	raw.Keys.P256DH = base64.RawURLEncoding.EncodeToString(s.P256DH[:])
	raw.Keys.Auth = base64.RawURLEncoding.EncodeToString(s.Auth[:])
}

// URL returns the endpoint with its host in lower case and without the scheme's own port, so that two ways to write one host are
// one origin: its scheme and host.
//
// Errors: ErrAddress, for the zero Subscription.
//
// Source: RFC 6454 §4.
func (s Subscription) URL() (*url.URL, error) {
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Host == "" {
		return nil, ErrAddress.With("the subscription has no endpoint")
	}
	u.Host = strings.ToLower(u.Host)
	port := u.Port()
	if port == "" || port == ownPort[u.Scheme] {
		u.Host = strings.TrimSuffix(strings.TrimSuffix(u.Host, port), ":")
	}
	return u, nil
}

// ownPort is the port of a scheme that needs not be written.
var ownPort = map[string]string{"https": "443", "http": "80"}

// validEndpoint reports whether a message can be posted to the URL. It allows http, for a distributor of the
// organisation's own; the sender decides where that is allowed.
func validEndpoint(endpoint string) bool {
	if len(endpoint) > maxEndpointBytes || strings.ContainsFunc(endpoint, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return false
	}
	u, err := url.Parse(endpoint)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil &&
		!strings.Contains(endpoint, "#")
}

// decodeExactly fills into from base64url, with padding or without. It reports whether the length was exactly right.
func decodeExactly(into []byte, encoded string) bool {
	decoded, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(encoded, "="))
	return err == nil && copy(into, decoded) == len(into) && len(decoded) == len(into)
}

func onP256(point []byte) bool {
	_, err := ecdh.P256().NewPublicKey(point)
	return err == nil
}

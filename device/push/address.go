package push

import (
	"crypto/sha256"
	"encoding/hex"
	"unicode/utf8"

	"tutela/storage"
)

// Service is a push service, by the name that an app gives it.
type Service string

// The push services: those of the Guardian wire protocol, and Web Push, which is tutela's.
const (
	GCM     Service = "GCM" // Android still calls FCM so
	FCM     Service = "FCM"
	APNs    Service = "APNS"
	WebPush Service = "WEBPUSH"
)

// maxTokenBytes bounds what an app gives as its token.
const maxTokenBytes = 4096

// Address is where the server reaches a phone, as [ParseAddress] returned it. The zero Address is none: the app pulls.
// == compares addresses.
type Address struct {
	Service Service
	// Token names the phone at the service. For Web Push it is the subscription, as [Subscription.String] writes it.
	Token string
}

// ErrAddress reports push credentials that can reach no phone. It does not quote the token.
var ErrAddress = storage.NewError(storage.Invalid, "the push credentials are not valid")

// ParseAddress reads the push credentials of an app.
//
// Errors: ErrAddress.
func ParseAddress(service, token string) (Address, error) {
	a := Address{Service: Service(service), Token: token}
	if token == "" || len(token) > maxTokenBytes || !utf8.ValidString(token) {
		return Address{}, ErrAddress.With("push_credentials.token must be text of 1 to %d bytes", maxTokenBytes)
	}
	switch a.Service {
	case GCM, FCM, APNs:
		return a, nil
	case WebPush:
		subscription, err := ParseSubscription(token)
		if err != nil {
			return Address{}, err
		}
		a.Token = subscription.String()
		return a, nil
	default:
		return Address{}, ErrAddress.With("push_credentials.service is GCM, FCM, APNS or WEBPUSH")
	}
}

// IsZero reports whether there is no address.
func (a Address) IsZero() bool { return a == Address{} }

// Through names the service that carries messages to the address, so that a service that does not answer holds up only
// its own messages. A Web Push service is named by a hash of its origin, since the host may be a person's own. The hash is so
// long that nobody finds a host of his own with the hash of a great service, and holds up its messages by never answering.
func (a Address) Through() string {
	switch a.Service {
	case GCM:
		return string(FCM)
	case WebPush:
		return string(WebPush) + "/" + a.originHash()
	default:
		return string(a.Service)
	}
}

// originHash is the hash of the origin of a Web Push address.
func (a Address) originHash() string {
	var origin string
	s, err := a.Subscription()
	if err == nil {
		if u, err := s.URL(); err == nil {
			origin = u.Scheme + "://" + u.Host
		}
	}
	hash := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(hash[:16])
}

// Subscription returns the subscription of a Web Push address.
//
// Errors: ErrAddress, for an address of another service.
func (a Address) Subscription() (Subscription, error) {
	if a.Service != WebPush {
		return Subscription{}, ErrAddress.With("an address of %s has no subscription", a.Service)
	}
	return ParseSubscription(a.Token)
}

// KeptAddress is an address as a row keeps it. The row's table seals Token.
type KeptAddress struct {
	Service Service `json:"service"`
	Token   []byte  `json:"token"`
	Lost    bool    `json:"lost,omitempty"`  // the service has said that the address is gone
	Retry   bool    `json:"retry,omitempty"` // though lost, it is to be tried once more
}

// Keep returns the address as a row keeps it.
func (a Address) Keep() KeptAddress {
	if a.IsZero() {
		return KeptAddress{}
	}
	return KeptAddress{Service: a.Service, Token: []byte(a.Token)}
}

// IsZero reports whether there is no address.
func (k KeptAddress) IsZero() bool { return k.Service == "" }

// Serves reports whether messages go to the address: it is there, and not lost or to be tried once more.
func (k KeptAddress) Serves() bool { return !k.IsZero() && (!k.Lost || k.Retry) }

// Open returns the address that Keep was called on.
func (k KeptAddress) Open() Address { return Address{Service: k.Service, Token: string(k.Token)} }

package push

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"time"
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

// Provider is the push service by one name: FCM for GCM as well.
func (s Service) Provider() Service {
	if s == GCM {
		return FCM
	}
	return s
}

// Through names the service that carries messages to the address, so that a service that does not answer holds up only
// its own messages. A Web Push service is named by a hash of its origin, since the host may be a person's own. The hash is so
// long that nobody finds a host of his own with the hash of a great service, and holds up its messages by never answering.
func (a Address) Through() string {
	if a.Service != WebPush {
		return string(a.Service.Provider())
	}
	return string(WebPush) + "/" + a.originHash()
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
	Service Service   `json:"service"`
	Token   []byte    `json:"token"`          // none once it was erased
	Named   time.Time `json:"named,omitzero"` // when the app has named it last; zero in a row of an earlier release

	Lost  bool      `json:"lost,omitempty"`  // the service has said that the address is gone
	Since time.Time `json:"since,omitzero"`  // with Lost: when it has said so first
	Why   string    `json:"why,omitempty"`   // with Lost: the service's own word
	Retry bool      `json:"retry,omitempty"` // though lost, it is to be tried once more
}

// Keep returns the address as a row keeps it.
func (a Address) Keep() KeptAddress {
	if a.IsZero() {
		return KeptAddress{}
	}
	return KeptAddress{Service: a.Service, Token: []byte(a.Token)}
}

// IsZero reports whether there is no address and was none that is lost.
func (k KeptAddress) IsZero() bool { return k.Service == "" }

// Serves reports whether messages go to the address: it is there, and not lost or to be tried once more.
func (k KeptAddress) Serves() bool { return len(k.Token) > 0 && (!k.Lost || k.Retry) }

// Same reports whether two rows keep the same address in the same state.
func (k KeptAddress) Same(other KeptAddress) bool {
	same := k.Named.Equal(other.Named) && k.Since.Equal(other.Since) && bytes.Equal(k.Token, other.Token)
	return same && k.Service == other.Service && k.Lost == other.Lost && k.Retry == other.Retry && k.Why == other.Why
}

// Note returns the address after its service has said, at a time, that it is gone, with a word of the service's, or has taken
// a message. asOf is until when the service knows that it is gone: an address that was named later stays as it is.
func (k KeptAddress) Note(gone bool, asOf, now time.Time, why string) KeptAddress {
	switch {
	case !gone:
		k.Lost = false
		k.Since = time.Time{}
		k.Why = ""
	case k.Named.After(asOf):
		return k
	default:
		if !k.Lost {
			k.Since = now
		}
		k.Lost = true
		k.Why = why
	}
	k.Retry = false
	return k
}

// Open returns the address that Keep was called on; none when it was erased.
func (k KeptAddress) Open() Address {
	if len(k.Token) == 0 {
		return Address{}
	}
	return Address{Service: k.Service, Token: string(k.Token)}
}

package audit

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"

	json "github.com/go-json-experiment/json/v1"
)

// The form of an event. docs/events.md has it with an example.
//
// The bytes of an event and of its detail are written once and never encoded again. Beside an event lies its leaf, the
// hash that stands for it in a tree over the log (RFC 9162, section 2.1.1: the hash of a leaf whose data is opening ‖
// event). Two salts make sure that a leaf and a digest say nothing about a person once the salt is gone: the detail's
// salt is deleted with the detail, the user's log key with the user.
//
//	stored   1 or 2 ‖ leaf (32) ‖ event     under the event's id, in the log
//	event    {"v":1,"id":…,"type":…,"time":…,"uid":…,"client":…,"by":…,"facts":…,"folded":…,"digest":…}
//	detail   {"salt":…,"ip":…,…}            among the user's rows; the salt is 16 random bytes
//	digest   SHA-256("event detail" ‖ 0 ‖ detail)
//	opening  HMAC-SHA-256(log key, "event" ‖ 0 ‖ id); 32 zero bytes for an event of the house and for a user's deletion
//	leaf     SHA-256(0 ‖ opening ‖ event)
//
// With 2 there was no log key, so the opening was random and was not kept: nobody can ever prove the event. An event
// without v is older than this form: it is stored as plain JSON, without a leaf, and its detail has no salt.
const (
	formVersion  = 1 // the v of an event
	storedOpen   = 1 // the first stored byte: the opening can be computed
	storedShut   = 2 // the opening is lost
	leafPrefix   = 0 // RFC 9162: 0 before a leaf, 1 before a node
	saltBytes    = 16
	hashBytes    = sha256.Size
	digestDomain = "event detail\x00"
	eventDomain  = "event\x00"
	foldDomain   = "fold\x00"
)

// hash is a leaf, or an opening.
type hash = [hashBytes]byte

// seal puts an event's bytes into the form in which they are stored, and computes the leaf.
func seal(format byte, opening hash, event []byte) []byte {
	b := make([]byte, 1+hashBytes+len(event))
	copy(b[1:], opening[:])
	copy(b[1+hashBytes:], event)
	b[0] = leafPrefix
	leaf := sha256.Sum256(b)
	b[0] = format
	copy(b[1:], leaf[:])
	return b
}

var errForm = errors.New("it is stored in an unknown form")

// unseal splits the stored bytes of an event. For an event without v, format and leaf are zero.
func unseal(stored []byte) (format byte, leaf hash, event []byte, err error) {
	switch {
	case len(stored) > 0 && stored[0] == '{':
		return storedShut, hash{}, stored, nil
	case len(stored) > 1+hashBytes && (stored[0] == storedOpen || stored[0] == storedShut):
		return stored[0], hash(stored[1 : 1+hashBytes]), stored[1+hashBytes:], nil
	default:
		return 0, hash{}, nil, errForm
	}
}

// openingOf returns the opening that ties one event of a user to its leaf. It reveals nothing of the user's other
// events.
func openingOf(key []byte, id string) hash { return mac(key, eventDomain, id) }

// openToAll is the opening of events that everybody may check.
var openToAll hash

// mac is HMAC-SHA-256 of text under a log key, for one purpose.
func mac(key []byte, domain, text string) (sum hash) {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(domain))
	m.Write([]byte(text))
	m.Sum(sum[:0])
	return sum
}

// encodeDetail returns the stored bytes of a detail, salt first.
func encodeDetail(d Detail, salt [saltBytes]byte) ([]byte, error) {
	return json.Marshal(struct {
		Salt string `json:"salt"`
		Detail
	}{base64.RawURLEncoding.EncodeToString(salt[:]), d})
}

// digestOf is the hash of a detail that its event holds.
func digestOf(detail []byte) string {
	sum := sha256.Sum256(append([]byte(digestDomain), detail...))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func newSalt() (salt [saltBytes]byte) {
	_, _ = rand.Read(salt[:]) // never fails: see crypto/rand
	return salt
}

package access

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/storage"
)

// AssertionType is the client_assertion_type of private_key_jwt.
//
// Source: RFC 7523 §2.2.
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// The bounds of an assertion and of a client's keys.
const (
	assertionLife      = time.Hour // its exp is no later, since its jti is kept until then
	assertionSkew      = time.Minute
	assertionReserve   = assertionLife // its jti is kept so much longer: the wall may be set back meanwhile, and the house's time is not
	maxAssertionBytes  = 8 << 10
	maxJTIBytes        = 255
	maxClientKeys      = 20
	maxClientKeysBytes = 32 << 10
	minRSABits         = 2048
	maxRSABits         = 8192 // a longer one would take the processor
)

// assertionAlgs are the algorithms of assertions: asymmetric ones alone, for a shared secret is the client's secret.
var assertionAlgs = []jose.SignatureAlgorithm{
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.PS256, jose.PS384, jose.PS512, jose.RS256, jose.RS384, jose.RS512,
}

// usedAssertion is the jti of an assertion or of a signed request, which counts once.
type usedAssertion struct {
	Until time.Time `json:"until"` // what has the jti is refused from then on
}

var usedAssertions = storage.Declare(storage.Spec[usedAssertion]{
	Name:    "client_assertion",
	Class:   storage.Settings,
	Expires: func(u *usedAssertion) time.Time { return u.Until },
})

// ParseClientKeys reads the public keys by which a client authenticates: a JWK Set, or one JWK.
//
// Errors: ErrNewClient, which says what is wrong.
//
// Source: RFC 7517 §5.
func ParseClientKeys(text []byte) (json.RawMessage, error) {
	if len(text) > maxClientKeysBytes {
		return nil, ErrNewClient.With("the keys of a client have at most %d KiB", maxClientKeysBytes>>10)
	}
	var named struct {
		Keys []json.RawMessage `json:"keys"`
		Type string            `json:"kty"`
	}
	if json.Unmarshal(text, &named) != nil || named.Keys == nil && named.Type == "" {
		return nil, ErrNewClient.With(`the keys of a client are a JWK Set, {"keys":[…]}, or one JWK`)
	}
	if named.Keys == nil {
		named.Keys = []json.RawMessage{text}
	}
	if len(named.Keys) == 0 || len(named.Keys) > maxClientKeys {
		return nil, ErrNewClient.With("a client has 1 to %d keys", maxClientKeys)
	}
	set := jose.JSONWebKeySet{}
	for i, raw := range named.Keys {
		key, err := parseClientKey(raw)
		if err != nil {
			return nil, ErrNewClient.With("key %d: %v", i+1, err)
		}
		set.Keys = append(set.Keys, key)
	}
	return json.Marshal(set)
}

// parseClientKey reads one public key that can verify assertions.
func parseClientKey(raw json.RawMessage) (key jose.JSONWebKey, err error) {
	if err := key.UnmarshalJSON(raw); err != nil {
		return key, errors.New("this is no JWK of type RSA, EC or OKP (Ed25519)")
	}
	if key.Use != "" && key.Use != "sig" {
		return key, errors.New("its use is not sig")
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return key, errors.New("an RSA key has 2048 to 8192 bits")
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	case []byte:
		return key, errors.New("it is a secret key: register the public keys alone")
	default:
		return key, errors.New("it holds a private key: register the public part alone")
	}
	if !key.Valid() {
		return key, errors.New("it is not valid")
	}
	if key.Algorithm != "" && len(algsOf(key)) == 0 {
		return key, errors.New("its alg does not fit it, or is none of an asymmetric signature")
	}
	return jose.JSONWebKey{
		Key:       key.Key,
		KeyID:     key.KeyID,
		Algorithm: key.Algorithm,
		Use:       key.Use,
	}, nil
}

// algsOf returns the algorithms by which a key may have signed.
func algsOf(key jose.JSONWebKey) []jose.SignatureAlgorithm {
	var fit []jose.SignatureAlgorithm
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		fit = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}
	case *ecdsa.PublicKey:
		byBits := map[int]jose.SignatureAlgorithm{256: jose.ES256, 384: jose.ES384, 521: jose.ES512}
		if alg, ok := byBits[public.Curve.Params().BitSize]; ok {
			fit = []jose.SignatureAlgorithm{alg}
		}
	case ed25519.PublicKey:
		fit = []jose.SignatureAlgorithm{jose.EdDSA}
	}
	if key.Algorithm == "" {
		return fit
	}
	return slices.DeleteFunc(fit, func(alg jose.SignatureAlgorithm) bool { return string(alg) != key.Algorithm })
}

// assertionClaims are the claims of an assertion. Times are Unix seconds, perhaps with a fraction.
//
// Source: RFC 7523 §3; OpenID Connect Core 1.0 §9.
type assertionClaims struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	ID        string          `json:"jti"`
	Expires   *float64        `json:"exp"`
	Issued    *float64        `json:"iat"`
	NotBefore *float64        `json:"nbf"`
}

// AuthenticateByAssertion returns the client that has signed an assertion (private_key_jwt). id is the client_id beside it, or "".
// An assertion counts once, at all servers over the store.
//
// Errors: ErrClient, which says what is wrong with an assertion that the client's key has signed, and nothing of any other.
//
// Source: RFC 7523 §3; OpenID Connect Core 1.0 §9.
func (s *Service) AuthenticateByAssertion(ctx context.Context, id, assertion string) (Client, error) {
	if len(assertion) > maxAssertionBytes {
		return Client{}, ErrClient
	}
	signed, err := jose.ParseSignedCompact(assertion, assertionAlgs)
	if err != nil || !isOfType(signed, "JWT", "client-authentication+jwt") {
		return Client{}, ErrClient
	}
	var named assertionClaims
	if json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &named) != nil || id != "" && id != named.Issuer {
		return Client{}, ErrClient
	}
	found, err := s.Client(ctx, named.Issuer)
	if errors.Is(err, ErrNoClient) || err == nil && !found.hasSigned(signed) {
		return Client{}, ErrClient
	}
	if err != nil {
		return Client{}, err
	}
	until, err := s.checkAssertion(named)
	if err != nil {
		return Client{}, err
	}
	return s.use(ctx, found, signed, jti{
		key:   keyOfJTI(found.ID, named.ID),
		until: until,
		twice: ErrClient.With("the client assertion was used before: sign another, with a jti of its own"),
	})
}

// isOfType reports whether the header of a JWT has one of the types, or none: a JWT of another kind by the same key is refused.
func isOfType(signed *jose.JSONWebSignature, types ...string) bool {
	if len(signed.Signatures) != 1 {
		return false
	}
	typ, there := signed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]
	name, _ := typ.(string)
	return !there || slices.ContainsFunc(types, func(one string) bool { return strings.EqualFold(name, one) })
}

// keys returns the client's keys; none of a client with a secret.
func (c Client) keys() []jose.JSONWebKey {
	var set jose.JSONWebKeySet
	if len(c.Keys) == 0 || json.Unmarshal(c.Keys, &set) != nil {
		return nil
	}
	return set.Keys
}

// hasSigned reports whether one of the client's keys has signed: the ones that kid names, or without a kid each that fits the alg.
func (c Client) hasSigned(signed *jose.JSONWebSignature) bool {
	header := signed.Signatures[0].Protected
	for _, key := range c.keys() {
		if header.KeyID != "" && header.KeyID != key.KeyID || !slices.Contains(algsOf(key), jose.SignatureAlgorithm(header.Algorithm)) {
			continue
		}
		if _, err := signed.Verify(key.Key); err == nil {
			return true
		}
	}
	return false
}

// checkAssertion checks the claims of an assertion that its client has signed, and returns until when it is to be remembered.
//
// Errors: ErrClient.
func (s *Service) checkAssertion(c assertionClaims) (until time.Time, err error) {
	now := s.store.Wall()
	refuse := func(why string) (time.Time, error) {
		return time.Time{}, ErrClient.With("the client assertion is refused: %s", why)
	}
	switch {
	case c.Subject != c.Issuer:
		return refuse("iss and sub are both the client_id")
	case !s.isForUs(c.Audience):
		return refuse("aud is one value: the issuer, the token endpoint or the backchannel authentication endpoint")
	case c.ID == "" || len(c.ID) > maxJTIBytes:
		return refuse("jti is missing, or longer than 255 bytes")
	case c.Expires == nil:
		return refuse("exp is missing")
	}
	expires := instantOf(*c.Expires)
	switch {
	case !now.Before(expires.Add(assertionSkew)):
		return refuse("it has expired")
	case expires.After(now.Add(assertionLife + assertionSkew)):
		return refuse("exp is more than an hour away")
	case c.Issued != nil && instantOf(*c.Issued).After(now.Add(assertionSkew)):
		return refuse("iat is in the future: set the clock")
	case c.NotBefore != nil && instantOf(*c.NotBefore).After(now.Add(assertionSkew)):
		return refuse("nbf is in the future: set the clock")
	}
	return s.rememberUntil(expires, now), nil
}

// rememberUntil returns until when, by the house's time, the jti of a JWT is kept that expires at an instant of the wall; now is the wall's time.
func (s *Service) rememberUntil(expires, now time.Time) time.Time {
	return s.store.Now().Add(expires.Sub(now) + assertionSkew + assertionReserve)
}

// instantOf returns a NumericDate as an instant; one that no clock shows becomes one that is out of every bound.
//
// Source: RFC 7519 §2.
func instantOf(seconds float64) time.Time {
	const most = 1e11                      // in the year 5138
	if seconds > -most && seconds < most { // so NaN is out of bounds too
		return time.Unix(int64(seconds), 0)
	}
	return time.Unix(most, 0)
}

// isForUs reports whether an aud has one value that names us, as text or in an array.
func (s *Service) isForUs(raw json.RawMessage) bool {
	list := valuesOf(raw)
	return len(list) == 1 && slices.ContainsFunc(s.public, func(public string) bool {
		return list[0] == public+"/" || list[0] == public+tokenPath || list[0] == public+backchannelPath
	})
}

// valuesOf returns the values of an aud, which is text or an array of texts; none of what is neither.
//
// Source: RFC 7519 §4.1.3.
func valuesOf(aud json.RawMessage) (list []string) {
	var one string
	if json.Unmarshal(aud, &one) == nil {
		return []string{one}
	}
	if json.Unmarshal(aud, &list) != nil {
		return nil
	}
	return list
}

// jti is the id of a JWT that a client has signed, and counts once.
type jti struct {
	key   string    // of the row that remembers it
	until time.Time // it is remembered
	twice error     // what a client is told that uses it again
}

// keyOfJTI returns the key of the row of a jti; whose is what tells it from those of others.
func keyOfJTI(whose ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(whose, "\x00")))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// use notes the jti of what a client has signed until that is too old to count, and returns the client as it is then: it may have been
// removed since found was read, or have lost the key.
//
// Errors: ErrClient; that of a jti that was used before.
func (s *Service) use(ctx context.Context, found Client, signed *jose.JSONWebSignature, id jti) (Client, error) {
	var authenticated Client
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		now, err := client(tx, found.ID)
		if errors.Is(err, ErrNoClient) || err == nil && !bytes.Equal(now.Keys, found.Keys) && !now.hasSigned(signed) {
			err = ErrClient
		}
		if err != nil {
			return err
		}
		authenticated = now.Client
		authenticated.Tokens = now.TokenVersion
		used, err := usedAssertions.Has(tx, storage.House, id.key)
		if err == nil && used {
			err = id.twice
		}
		if err != nil {
			return err
		}
		return usedAssertions.Insert(tx, storage.House, id.key, &usedAssertion{Until: id.until})
	})
	if err != nil {
		return Client{}, err
	}
	s.uses.note(authenticated.ID, s.store.Now())
	return authenticated, nil
}

// lacksKeyOf reports whether one of the keys before is not among those now.
func lacksKeyOf(now, before json.RawMessage) bool {
	kept := thumbprints(now)
	return slices.ContainsFunc(thumbprints(before), func(known string) bool { return !slices.Contains(kept, known) })
}

// thumbprints returns what each key of a client is known by, whatever it is called.
//
// Source: RFC 7638 §3.
func thumbprints(keys json.RawMessage) (prints []string) {
	for _, key := range (Client{Keys: keys}).keys() {
		sum, err := key.Thumbprint(crypto.SHA256)
		if err == nil {
			prints = append(prints, string(sum))
		}
	}
	return prints
}

// AssertionAlgs returns the names of the algorithms of assertions.
func AssertionAlgs() []string {
	names := make([]string, 0, len(assertionAlgs))
	for _, alg := range assertionAlgs {
		names = append(names, string(alg))
	}
	return names
}

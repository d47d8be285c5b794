package device

import (
	"math"
	"strings"
	"time"

	json "github.com/go-json-experiment/json/v1"

	"tutela/storage"
)

// Claims are the registered claims of a JWT that a phone signs.
//
// Source: RFC 7519 §4.1; guardian-wire.md §2.1 and §4.2.
type Claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	Issued   *float64 `json:"iat"` // iOS sends fractions of a second
	Expires  *float64 `json:"exp"`
}

// audience is one string or an array of them.
type audience []string

// UnmarshalJSON reads either form.
func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// maxNumericDate is the last second of the year 9999: a date past it is nonsense, and would overflow.
const maxNumericDate = 253402300799

// Life returns when the token was issued and when it expires. It compares the two times with each other and not with a
// clock, because it never trusts a phone's clock.
//
// Errors: ErrClaims, when a time is missing or nonsense, or exp does not lie after iat, or more than longest after it.
func (c *Claims) Life(longest time.Duration) (issued, expires time.Time, err error) {
	if c.Issued == nil || c.Expires == nil {
		return issued, expires, ErrClaims.With("the token lacks iat or exp")
	}
	for _, t := range []float64{*c.Issued, *c.Expires} {
		if !isDate(t) {
			return issued, expires, ErrClaims.With("iat or exp is not a time")
		}
	}
	life := time.Duration((*c.Expires - *c.Issued) * float64(time.Second))
	if *c.Expires <= *c.Issued || *c.Expires-*c.Issued > longest.Seconds() || life > longest {
		return issued, expires, ErrClaims.With("exp must lie after iat, by at most %v", longest)
	}
	return numericDate(*c.Issued), numericDate(*c.Expires), nil
}

// isDate reports whether a number of seconds is a date.
func isDate(seconds float64) bool {
	return !math.IsNaN(seconds) && seconds >= 0 && seconds <= maxNumericDate
}

func numericDate(seconds float64) time.Time {
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC()
}

// Errors of claims.
var (
	ErrClaims    = storage.NewError(storage.Denied, "the token's claims are not right")
	ErrClockSkew = storage.NewError(storage.Denied, "the phone's clock is more than 5 minutes off; sign with the time of the Date header")
)

// Bases are the URLs of the app API: each public URL, with and without /appliance-mfa. A token's aud names the one that its
// client was built with.
type Bases []string

// NewBases makes the list from the public URLs. The first is the one that we print.
func NewBases(publicURLs []string) Bases {
	bases := make(Bases, 0, len(publicURLs))
	for _, u := range publicURLs {
		bases = append(bases, strings.TrimRight(u, "/"))
	}
	return bases
}

// Public returns the first public URL.
func (b Bases) Public() string { return b[0] }

// API returns the base URL that we give to apps.
func (b Bases) API() string { return b[0] + "/appliance-mfa" }

// Names reports whether aud names the path under one of the bases.
func (b Bases) Names(aud []string, path string) bool {
	for _, a := range aud {
		for _, base := range b {
			if a == base+path || a == base+"/appliance-mfa"+path {
				return true
			}
		}
	}
	return false
}

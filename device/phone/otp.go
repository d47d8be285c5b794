package phone

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the algorithm of one-time codes, in an HMAC
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// OneTimeCode is what an app shows for a person to type.
type OneTimeCode struct {
	Code  string        `json:"code"`
	Until time.Time     `json:"until"` // when the app shows the next one, by the phone's clock
	Left  time.Duration `json:"-"`
}

// errNoCodes reports that the phone has no secret of one-time codes, or one of another kind.
var errNoCodes = errors.New("this phone has no one-time codes that it can show")

// OneTimeCode returns the code that the phone shows now.
//
// Source: RFC 6238; guardian-wire.md §1.5.
func (p *Phone) OneTimeCode() (OneTimeCode, error) {
	e, err := p.enrolled()
	if err != nil {
		return OneTimeCode{}, err
	}
	if e.TOTP == nil {
		return OneTimeCode{}, errNoCodes
	}
	return e.TOTP.at(p.now())
}

// at returns the code of an instant.
func (t *TOTP) at(now time.Time) (OneTimeCode, error) {
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(strings.TrimRight(t.Secret, "=")))
	if err != nil || len(secret) == 0 || t.Algorithm != "sha1" || t.Period <= 0 || t.Digits < 6 || t.Digits > 8 {
		return OneTimeCode{}, errNoCodes
	}
	step := now.Unix() / int64(t.Period)
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, step) // a hash takes all
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	number := binary.BigEndian.Uint32(sum[at:at+4]) & 0x7fffffff
	most := uint32(1)
	for range t.Digits {
		most *= 10
	}
	until := time.Unix((step+1)*int64(t.Period), 0).UTC()
	return OneTimeCode{
		Code:  fmt.Sprintf("%0*d", t.Digits, number%most),
		Until: until,
		Left:  until.Sub(now),
	}, nil
}

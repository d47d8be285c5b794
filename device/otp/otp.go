// Package otp computes and compares one-time codes. It keeps nothing: who has which secret, and which codes are spent, is the
// business of package device.
//
// Source: RFC 6238 (TOTP) over RFC 4226 (HOTP), with the parameters that every authenticator app accepts.
package otp

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"strings"
	"time"
	"unicode"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"tutela/storage"
)

// The parameters of the codes, as a QR code and the answer to an enrolment name them.
const (
	Algorithm   = "sha1" // lower-case, as the iOS SDK wants it
	Digits      = 6
	Period      = 30 // seconds
	secretBytes = 20
)

// maxTypedBytes bounds what a person may have typed or pasted.
const maxTypedBytes = 256

// Code is a one-time code in its plain form: six digits.
type Code string

// ErrTypo reports a text that cannot be a one-time code; it costs no attempt.
var ErrTypo = storage.NewError(storage.Invalid, "a one-time code has six digits")

// Parse reads a code as a person typed or pasted it. It drops blanks, dashes and characters that show nothing, wherever they
// stand, and reads the digits of every script, full-width ones too.
//
// Errors: ErrTypo.
func Parse(typed string) (Code, error) {
	if len(typed) > maxTypedBytes {
		return "", ErrTypo
	}
	plain := strings.Map(forgive, typed)
	if len(plain) != Digits || strings.Trim(plain, "0123456789") != "" {
		return "", ErrTypo
	}
	return Code(plain), nil
}

// forgive returns the digit that a person meant by r, -1 for nothing, and r itself for what is no digit.
func forgive(r rune) rune {
	switch {
	case unicode.IsSpace(r), unicode.In(r, unicode.Dash, unicode.Cf):
		return -1
	case unicode.Is(unicode.Nd, r):
		return '0' + valueOf(r)
	default:
		return r
	}
}

// valueOf returns the value of a decimal digit. The digits of a script are ten neighbours that begin with its zero, and
// Unicode lists them in runs of tens.
func valueOf(r rune) rune {
	for _, run := range unicode.Nd.R16 {
		if first := rune(run.Lo); first <= r && r <= rune(run.Hi) {
			return (r - first) % 10
		}
	}
	for _, run := range unicode.Nd.R32 {
		if first := rune(run.Lo); first <= r && r <= rune(run.Hi) {
			return (r - first) % 10
		}
	}
	return 0 // not reached for a decimal digit
}

// Step is the number of a period of 30 seconds since 1970. Each has one code.
type Step int64

// StepAt returns the step of an instant.
func StepAt(t time.Time) Step { return Step(t.Unix() / Period) }

// Secret is the key that an app and the server share.
type Secret []byte

// NewSecret draws a secret of 160 bits.
//
// Source: RFC 4226 §4, R6.
func NewSecret() Secret {
	secret := make(Secret, secretBytes)
	_, _ = rand.Read(secret) // never fails: see crypto/rand
	return secret
}

// The bounds of a secret that comes from elsewhere, in bytes. Google's apps have used ten.
const (
	leastSecretBytes = 10
	mostSecretBytes  = 128
)

// ErrSecret reports a text that cannot be a secret from elsewhere.
var ErrSecret = storage.NewError(storage.Invalid, "a one-time-code secret is base32, of 16 to 205 characters")

// ParseSecret reads a secret as another system has kept it: base32 in either case, with or without padding and blanks.
//
// Errors: ErrSecret.
func ParseSecret(text string) (Secret, error) {
	if len(text) > 4*mostSecretBytes {
		return nil, ErrSecret
	}
	plain := strings.TrimRight(strings.ToUpper(strings.Join(strings.Fields(text), "")), "=")
	secret, err := base32Of.DecodeString(plain)
	if err != nil || len(secret) < leastSecretBytes || len(secret) > mostSecretBytes {
		return nil, ErrSecret
	}
	return secret, nil
}

var base32Of = base32.StdEncoding.WithPadding(base32.NoPadding)

// String returns the secret in base32, as a QR code has it.
func (s Secret) String() string { return base32Of.EncodeToString(s) }

// At returns the code of a step.
func (s Secret) At(step Step) Code {
	// It fails only for a secret that is no base32.
	code, _ := hotp.GenerateCodeCustom(s.String(), uint64(step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	return Code(code)
}

// skew is how many steps before and after the present one a code may be of: the app's clock may be off by as much.
//
// Source: RFC 6238 §5.2 and §6.
const skew = 1

// Find returns the latest step whose code is c, of the step at now, the one before and the one after. All three codes are
// computed and compared in constant time, whatever matches. ok is false when c is none of them.
func (s Secret) Find(c Code, now time.Time) (found Step, ok bool) {
	at := StepAt(now)
	for step := at - skew; step <= at+skew; step++ {
		if subtle.ConstantTimeCompare([]byte(s.At(step)), []byte(c)) == 1 {
			found = step
			ok = true
		}
	}
	return found, ok
}

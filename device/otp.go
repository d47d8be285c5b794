package device

import "encoding/base32"

// OneTimeCodes holds the secret of an enrollment's one-time codes.
//
// Source: RFC 6238.
type OneTimeCodes struct {
	Secret []byte `json:"secret"` // sealed
}

// TOTP is what an app needs to show one-time codes; the numbers are JSON numbers and the algorithm is lower-case, as
// the iOS SDK wants them.
type TOTP struct {
	Secret    string `json:"secret"` // base32
	Algorithm string `json:"algorithm"`
	Digits    int    `json:"digits"`
	Period    int    `json:"period"`
}

// The parameters of one-time codes, as every authenticator app accepts them (RFC 6238).
const (
	totpAlgorithm   = "sha1"
	totpDigits      = 6
	totpPeriod      = 30
	totpSecretBytes = 20
)

func encodeSecret(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

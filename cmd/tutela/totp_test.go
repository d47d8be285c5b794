package main

import (
	"encoding/base32"
	"net/url"
	"testing"
	"time"

	"tutela/device/otp"
)

// codeOf returns the one-time code that an app shows now which has scanned the text of a QR code.
func codeOf(t testing.TB, uri string) string {
	t.Helper()
	parsed, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(parsed.Query().Get("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return string(otp.Secret(secret).At(otp.StepAt(time.Now())))
}

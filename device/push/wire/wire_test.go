package wire_test

import (
	"net/http"
	"testing"
	"time"

	"tutela/device/push/wire"
)

func TestRetryAfter_IsSecondsOrADateWithinADay(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"120":                            2 * time.Minute,
		" 120 ":                          2 * time.Minute,
		"86401":                          24 * time.Hour,
		"18446744073709551617":           24 * time.Hour,
		"-1":                             0,
		"1.5":                            0,
		"soon":                           0,
		"Sun, 01 Mar 2026 12:00:30 GMT":  30 * time.Second,
		"Sun, 01 Mar 2026 11:00:30 GMT":  0,
		"Fri, 01 Mar 2126 12:00:30 GMT":  24 * time.Hour,
		"Sunday, 01-Mar-26 12:00:30 GMT": 30 * time.Second,
	} {
		answer := wire.Answer{Header: http.Header{"Retry-After": {value}}}
		if got := answer.RetryAfter(now); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestParseEndpoint_TakesHTTPSAndHTTPOnThisMachine(t *testing.T) {
	for text, want := range map[string]string{
		"https://api.push.apple.com":       "https://api.push.apple.com",
		"https://fcm.example.com:8443/v1/": "https://fcm.example.com:8443/v1",
		"http://127.0.0.1:8081/v1":         "http://127.0.0.1:8081/v1",
		"http://[::1]:8081":                "http://[::1]:8081",
		"http://localhost":                 "http://localhost",
		"http://192.168.1.1":               "",
		"http://localhost.example.com":     "",
		"ftp://localhost":                  "",
		"api.push.apple.com":               "",
		"https://":                         "",
		"https://:443":                     "",
		"https://maria:secret@x":           "",
		"https://x/?a":                     "",
		"https://x/#a":                     "",
		"https://x\n":                      "",
	} {
		got, err := wire.ParseEndpoint(text)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device/phone"
)

func TestAccountOf_ReadsTheTextOfAQRCode(t *testing.T) {
	for text, want := range map[string]phone.Account{
		"otpauth://totp/Example:maria?secret=ABC":                           {Issuer: "Example", Name: "maria", Secret: "ABC"},
		"otpauth://totp/Ex%20ample:%20maria?secret=ABC&issuer=Ex%20ample":   {Issuer: "Ex ample", Name: "maria", Secret: "ABC"},
		"otpauth://totp/maria?secret=ABC&digits=8&period=60&algorithm=sha1": {Name: "maria", Secret: "ABC", Digits: 8, Period: 60, Algorithm: "sha1"},
	} {
		got, err := accountOf(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	for _, text := range []string{"", "https://example.com?secret=ABC", "otpauth://totp/maria", "otpauth://totp/maria?secret=ABC&digits=six"} {
		if got, err := accountOf(text); err == nil {
			t.Errorf("%q gave %+v", text, got)
		}
	}
}

func TestShowApproval_SaysWhoFromWhereAndWhatToType(t *testing.T) {
	p, err := phone.New(phone.Options{BaseURL: "http://localhost:8080"})
	if err != nil {
		t.Fatal(err)
	}
	var screen bytes.Buffer
	c := &phoneCmd{stdout: &screen}
	c.showApproval(context.Background(), p, phone.Approval{
		Challenge:      "qZ3vAAAAAAAA",
		Started:        time.Now(),
		NumberMatching: true,
		Location:       &phone.Location{Name: "Zurich"},
		Source:         phone.Source{Browser: phone.Product{Name: "Firefox", Version: "145"}, System: phone.Product{Name: "Linux"}},
	}, true)
	for _, want := range []string{"http://localhost:8080?", "Zurich", "Firefox 145 on Linux", "approve qZ3vAAAA --number", "deny qZ3vAAAA"} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("%q is not on the screen:\n%s", want, screen.String())
		}
	}
}

func TestGrouped_SetsACodeInFours(t *testing.T) {
	if got := grouped("7V3KQ9X2M4T8R6W5Y1ZJ0ABV"); got != "7V3K Q9X2 M4T8 R6W5 Y1ZJ 0ABV" {
		t.Error(got)
	}
}

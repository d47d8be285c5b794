package device_test

import (
	"encoding/json"
	"testing"
	"time"

	"tutela/device"
)

const maxLife = time.Minute

func TestLife_ChecksTheTimesAgainstEachOtherAlone(t *testing.T) {
	for claims, good := range map[string]bool{
		`{"iat":1795425899,"exp":1795425929}`:                    true,
		`{"iat":1795425899.123456,"exp":1795425929.123456}`:      true, // iOS
		`{"iat":1795425899,"exp":1795425959}`:                    true, // to the second
		`{"iat":1795425899,"exp":1795425959.001}`:                false,
		`{"iat":0,"exp":30}`:                                     true, // a phone whose clock says 1970
		`{"iat":253402300000,"exp":253402300030}`:                true, // or 9999
		`{"iat":1.7954258e9,"exp":1.79542583e9}`:                 true,
		`{"iat":1795425899,"exp":1795425899}`:                    false,
		`{"iat":1795425900,"exp":1795425899}`:                    false,
		`{"iat":-30,"exp":-1}`:                                   false,
		`{"iat":253402300790,"exp":253402300800}`:                false,
		`{"iat":1e300,"exp":1e300}`:                              false,
		`{"iat":0,"exp":1e300}`:                                  false,
		`{"iat":1795425899}`:                                     false,
		`{"exp":1795425899}`:                                     false,
		`{"iat":null,"exp":null}`:                                false,
		`{}`:                                                     false,
		`{"iat":9007199254740993,"exp":9007199254740994}`:        false,
		`{"iat":1795425899.9999999999,"exp":1795425929.9999999}`: true,
	} {
		var c device.Claims
		must(t, json.Unmarshal([]byte(claims), &c))
		issued, expires, err := c.Life(maxLife)
		if good && (err != nil || !expires.After(issued) || issued.Location() != time.UTC) {
			t.Errorf("%s: from %v to %v, %v", claims, issued, expires, err)
		}
		if !good {
			expect(t, claims, err, device.ErrClaims)
		}
	}
}

func TestClaims_RefuseTimesAndAudiencesOfAWrongType(t *testing.T) {
	for _, claims := range []string{
		`{"iat":"1795425899"}`, `{"exp":true}`, `{"iat":{}}`, `{"iat":1e999}`, `{"aud":1}`, `{"aud":{"a":"b"}}`, `{"aud":[1]}`, `{"iss":1}`, `[]`, `"x"`,
	} {
		var c device.Claims
		if err := json.Unmarshal([]byte(claims), &c); err == nil {
			t.Errorf("%s was read as %+v", claims, c)
		}
	}
}

func TestBases_NameEachPublicURLWithAndWithoutApplianceMFA(t *testing.T) {
	bases := device.NewBases([]string{"http://localhost:8080/", "https://mfa.example.com/base"})
	if bases.Public() != "http://localhost:8080" || bases.API() != "http://localhost:8080/appliance-mfa" {
		t.Errorf("public %s, API %s", bases.Public(), bases.API())
	}
	const path = "/api/device-accounts"
	for aud, want := range map[string]bool{
		"http://localhost:8080" + path:                             true,
		"http://localhost:8080/appliance-mfa" + path:               true,
		"https://mfa.example.com/base" + path:                      true,
		"https://mfa.example.com/base/appliance-mfa" + path:        true,
		"https://localhost:8080" + path:                            false,
		"http://localhost" + path:                                  false,
		"http://localhost:8080":                                    false,
		"http://localhost:8080" + path + "/dev_x":                  false,
		"http://localhost:8080/api/resolve-transaction":            false,
		"https://mfa.example.com" + path:                           false,
		"http://localhost:8080/appliance-mfa/appliance-mfa" + path: false,
		path: false,
		"":   false,
	} {
		if bases.Names([]string{aud}, path) != want {
			t.Errorf("%q: %t", aud, !want)
		}
		if bases.Names([]string{"https://other.example", aud}, path) != want {
			t.Errorf("%q, second of two: %t", aud, !want)
		}
	}
	if bases.Names(nil, path) {
		t.Error("no aud names the path")
	}
}

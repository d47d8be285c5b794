package phone

import (
	"testing"
	"time"
)

// The secret of the vectors of RFC 6238, appendix B, in base32.
const vectorSecret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

func TestOneTimeCode_IsThatOfRFC6238(t *testing.T) {
	for unix, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		for digits, code := range map[int]string{8: want, 6: want[2:]} {
			totp := &TOTP{
				Secret:    vectorSecret,
				Algorithm: "sha1",
				Digits:    digits,
				Period:    30,
			}
			got, err := totp.at(time.Unix(unix, 0))
			if err != nil || got.Code != code || got.Until.Unix() != (unix/30+1)*30 {
				t.Errorf("at %d: %+v, %v, want %s", unix, got, err, code)
			}
		}
	}
}

func TestOneTimeCode_OfWhatIsNoneIsRefused(t *testing.T) {
	for _, totp := range []TOTP{{}, {"1", "sha1", 6, 30}, {vectorSecret, "sha512", 6, 30}, {vectorSecret, "sha1", 6, 0}, {vectorSecret, "sha1", 5, 30}} {
		if code, err := totp.at(time.Unix(59, 0)); err == nil {
			t.Errorf("%+v shows %+v", totp, code)
		}
	}
}

package otp_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tutela/device/otp"
)

// vectors is the secret of the test vectors of both RFCs.
var vectors = otp.Secret("12345678901234567890")

func TestAt_IsThatOfRFC4226(t *testing.T) {
	// RFC 4226, appendix D: the codes of the counters from 0 to 9.
	for step, want := range []otp.Code{
		"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489",
	} {
		if got := vectors.At(otp.Step(step)); got != want {
			t.Errorf("counter %d: %s, want %s", step, got, want)
		}
	}
}

func TestFind_IsThatOfRFC6238(t *testing.T) {
	// RFC 6238, appendix B, SHA-1: of eight digits the last six are the code of six.
	for unix, want := range map[int64]otp.Code{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		at := time.Unix(unix, 0)
		if got := vectors.At(otp.StepAt(at)); got != want {
			t.Errorf("at %d: %s, want %s", unix, got, want)
		}
		if step, ok := vectors.Find(want, at); !ok || step != otp.StepAt(at) {
			t.Errorf("at %d %s is not found: step %d, %t", unix, want, step, ok)
		}
	}
}

func TestFind_TakesTheStepBeforeAndTheStepAfterAndNoOther(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		secret := otp.Secret(rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(r, "secret"))
		now := time.Unix(rapid.Int64Range(3*otp.Period, 1<<33).Draw(r, "now"), 0)
		off := otp.Step(rapid.Int64Range(-3, 3).Draw(r, "off"))
		code := secret.At(otp.StepAt(now) + off)
		// Two steps may have the same code: the latest of the three counts.
		var want otp.Step
		there := false
		for step := otp.StepAt(now) - 1; step <= otp.StepAt(now)+1; step++ {
			if secret.At(step) == code {
				want = step
				there = true
			}
		}
		if near := off >= -1 && off <= 1; near && !there {
			r.Fatal("the model is wrong")
		}
		if found, ok := secret.Find(code, now); ok != there || found != want {
			r.Fatalf("off by %d: step %d, %t; want %d, %t", off, found, ok, want, there)
		}
	})
}

func TestParse_DropsBlanksAndReadsTheDigitsOfEveryScript(t *testing.T) {
	for _, typed := range []string{
		"012345", "012 345", " 012345\n", "0 1 2 3 4 5", "012-345", "012\u2013345", "\u00a0012\u202f345\u3000", "\ufeff012\u200b345\u200f",
		"０１２３４５", "０１２　３４５", "٠١٢٣٤٥", "۰۱۲۳۴۵", "०१२३४५", "\U0001d7ce\U0001d7cf\U0001d7d0\U0001d7d1\U0001d7d2\U0001d7d3",
	} {
		if code, err := otp.Parse(typed); err != nil || code != "012345" {
			t.Errorf("%q: %q, %v", typed, code, err)
		}
	}
}

func TestParse_AnythingElseIsATypo(t *testing.T) {
	for _, typed := range []string{
		"", " ", "01234", "0123456", "01234a", "O12345", "+12345", "1.2345", "12,345", "½12345", "②12345", "0123 45\x00", "12345\u0301",
		fmt.Sprintf("%0300d", 1),
	} {
		if code, err := otp.Parse(typed); !errors.Is(err, otp.ErrTypo) || code != "" {
			t.Errorf("%q: %q, %v", typed, code, err)
		}
	}
}

func FuzzParse_IsSixDigitsOrATypo(f *testing.F) {
	for _, typed := range []string{"012345", "０１２３４５", "01234x", "\xff12345"} {
		f.Add(typed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, err := otp.Parse(typed)
		if err != nil {
			return
		}
		if again, err := otp.Parse(string(code)); err != nil || again != code || len(code) != otp.Digits {
			t.Errorf("%q: %q, then %q, %v", typed, code, again, err)
		}
	})
}

func TestNewSecret_HasTheBitsThatTheRFCWants(t *testing.T) {
	a := otp.NewSecret()
	if b := otp.NewSecret(); len(a) != 20 || a.String() == b.String() || len(a.String()) != 32 {
		t.Errorf("%s, %s", a, b)
	}
}

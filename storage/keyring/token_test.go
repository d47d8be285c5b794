package keyring_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"hash"
	"strings"
	"testing"

	"tutela/storage/keyring"
)

type claims struct {
	ID string `json:"id"`
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// forged is a token with a header of one's own and a MAC of the right length.
func forged(header string) string {
	return encode(header) + "." + encode(`{"id":"x"}`) + "." + strings.Repeat("A", 43)
}

func TestToken_OfOneKindIsRefusedAsEveryOther(t *testing.T) {
	h := newHouse(t)
	if len(keyring.Kinds) < 2 {
		t.Fatal("there is nothing to tell apart")
	}
	for _, made := range keyring.Kinds {
		token, err := h.ring.SignToken(made, claims{"x"})
		must(t, err)
		for _, wanted := range keyring.Kinds {
			var got claims
			err := h.ring.VerifyToken(wanted, token, &got)
			if made == wanted && (err != nil || got.ID != "x") {
				t.Errorf("%s: %v", made, err)
			}
			if made != wanted && (!errors.Is(err, keyring.ErrToken) || got.ID != "") {
				t.Errorf("%s was taken for %s", made, wanted)
			}
		}
	}
}

// With the header of one kind and a MAC under the key of another a token is of neither.
func TestToken_TheHeaderIsNeverBelieved(t *testing.T) {
	h := newHouse(t)
	token, err := h.ring.SignToken(keyring.MFAToken, claims{"x"})
	must(t, err)
	part := strings.Split(token, ".")
	right := `{"alg":"HS256","typ":"tutela-mfa+jwt","kid":"1"}`
	if part[0] != encode(right) {
		t.Fatalf("the header is %s", part[0])
	}
	other, err := h.ring.SignToken(keyring.TransactionToken, claims{"x"})
	must(t, err)
	otherPart := strings.Split(other, ".")
	for name, damaged := range map[string]string{
		"alg none":               encode(`{"alg":"none","typ":"tutela-mfa+jwt","kid":"1"}`) + "." + part[1] + ".",
		"alg none with the MAC":  encode(`{"alg":"none","typ":"tutela-mfa+jwt","kid":"1"}`) + "." + part[1] + "." + part[2],
		"HS384":                  encode(`{"alg":"HS384","typ":"tutela-mfa+jwt","kid":"1"}`) + "." + part[1] + "." + part[2],
		"HS512":                  encode(`{"alg":"HS512","typ":"tutela-mfa+jwt","kid":"1"}`) + "." + part[1] + "." + part[2],
		"RS256":                  encode(`{"alg":"RS256","typ":"tutela-mfa+jwt","kid":"1"}`) + "." + part[1] + "." + part[2],
		"another kind's header":  otherPart[0] + "." + part[1] + "." + part[2],
		"another kind's MAC":     part[0] + "." + part[1] + "." + otherPart[2],
		"no kid":                 encode(`{"alg":"HS256","typ":"tutela-mfa+jwt"}`) + "." + part[1] + "." + part[2],
		"kid 0":                  encode(`{"alg":"HS256","typ":"tutela-mfa+jwt","kid":"0"}`) + "." + part[1] + "." + part[2],
		"kid 2":                  encode(`{"alg":"HS256","typ":"tutela-mfa+jwt","kid":"2"}`) + "." + part[1] + "." + part[2],
		"kid a number":           encode(`{"alg":"HS256","typ":"tutela-mfa+jwt","kid":1}`) + "." + part[1] + "." + part[2],
		"kid 01":                 encode(`{"alg":"HS256","typ":"tutela-mfa+jwt","kid":"01"}`) + "." + part[1] + "." + part[2],
		"a member more":          encode(`{"alg":"HS256","typ":"tutela-mfa+jwt","kid":"1","jwk":{}}`) + "." + part[1] + "." + part[2],
		"the same in other form": encode(`{ "alg":"HS256","typ":"tutela-mfa+jwt","kid":"1"}`) + "." + part[1] + "." + part[2],
		"another payload":        part[0] + "." + encode(`{"id":"y"}`) + "." + part[2],
		"no payload":             part[0] + ".." + part[2],
		"no MAC":                 part[0] + "." + part[1] + ".",
		"padding":                token + "=",
		"a fourth part":          token + ".",
		"a space":                token + " ",
		"a newline":              part[0] + "." + part[1] + "\n." + part[2],
		"two parts":              part[0] + "." + part[1],
		"nothing":                "",
		"dots":                   "..",
	} {
		var got claims
		if err := h.ring.VerifyToken(keyring.MFAToken, damaged, &got); !errors.Is(err, keyring.ErrToken) || got.ID != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range token { // any one character that is another; in the last some bits are padding, and must count too
		for _, c := range "AB-_" {
			if damaged := token[:i] + string(c) + token[i+1:]; damaged != token {
				if err := h.ring.VerifyToken(keyring.MFAToken, damaged, new(claims)); !errors.Is(err, keyring.ErrToken) {
					t.Fatalf("changed at %d: %v", i, err)
				}
			}
		}
	}
}

// Who had a key of the ring by its raw form (a bug elsewhere that signs with it) makes no token: keys are derived.
func TestToken_IsMadeUnderADerivedKeyOnly(t *testing.T) {
	h := newHouse(t)
	for _, key := range append(h.ring.PlainKeys(), master, nil, make([]byte, 32)) {
		for _, algorithm := range []func() hash.Hash{sha256.New, sha512.New384, sha512.New} {
			signed := encode(`{"alg":"HS256","typ":"tutela-mfa+jwt","kid":"1"}`) + "." + encode(`{"id":"x"}`)
			m := hmac.New(algorithm, key)
			m.Write([]byte(signed))
			token := signed + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
			if err := h.ring.VerifyToken(keyring.MFAToken, token, new(claims)); !errors.Is(err, keyring.ErrToken) {
				t.Errorf("taken: %v", err)
			}
		}
	}
}

func TestToken_OfBeforeARotationIsGoodAfterIt(t *testing.T) {
	h := newHouse(t)
	old, err := h.ring.SignToken(keyring.MFAToken, claims{"x"})
	must(t, err)
	h.rotate()
	must(t, h.ring.VerifyToken(keyring.MFAToken, old, new(claims)))
	next, err := h.ring.SignToken(keyring.MFAToken, claims{"x"})
	must(t, err)
	must(t, h.ring.VerifyToken(keyring.MFAToken, next, new(claims)))
	if old == next {
		t.Error("the rotation changed nothing")
	}
	// The MAC of one version under the header of another.
	a := strings.Split(old, ".")
	b := strings.Split(next, ".")
	if err := h.ring.VerifyToken(keyring.MFAToken, b[0]+"."+a[1]+"."+a[2], new(claims)); !errors.Is(err, keyring.ErrToken) {
		t.Error("versions are mixed up")
	}
}

func TestSignToken_RefusesClaimsThatAreNoJSON(t *testing.T) {
	h := newHouse(t)
	if _, err := h.ring.SignToken(keyring.MFAToken, func() {}); err == nil {
		t.Error("signed a function")
	}
}

func TestVerifyToken_OfAnotherInstallationIsRefused(t *testing.T) {
	token, err := newHouse(t).ring.SignToken(keyring.MFAToken, claims{"x"})
	must(t, err)
	if err := newHouse(t).ring.VerifyToken(keyring.MFAToken, token, new(claims)); !errors.Is(err, keyring.ErrToken) {
		t.Errorf("got %v", err)
	}
}

func FuzzVerifyToken(f *testing.F) {
	h := newHouse(f)
	token, err := h.ring.SignToken(keyring.MFAToken, claims{"x"})
	must(f, err)
	other, err := h.ring.SignToken(keyring.TransactionToken, claims{"x"})
	must(f, err)
	f.Add(token)
	f.Add(other)
	f.Add(forged(`{"alg":"none","typ":"tutela-mfa+jwt","kid":"1"}`))
	f.Fuzz(func(t *testing.T, s string) {
		if err := h.ring.VerifyToken(keyring.MFAToken, s, new(claims)); err == nil && s != token {
			t.Errorf("%q was taken for a token of ours", s)
		}
	})
}

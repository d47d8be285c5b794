package device_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"tutela/device"
	"tutela/device/devicetest"
)

func keys(t testing.TB) map[string]crypto.Signer {
	return map[string]crypto.Signer{"RSA": devicetest.RSA(t), "P-256": devicetest.NewP256(t), "Ed25519": devicetest.NewEd25519(t)}
}

func TestParseKey_TakesTheThreeKindsAndVerifiesByThem(t *testing.T) {
	for name, signer := range keys(t) {
		key, err := device.ParseKey(devicetest.JWK(t, signer))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		payload, err := key.Verify(devicetest.Sign(t, signer, map[string]string{"a": "b"}))
		if err != nil || string(payload) != `{"a":"b"}` {
			t.Errorf("%s: %s, %v", name, payload, err)
		}
	}
}

// members are a JWK's members with changes; a change to nil takes one away.
func members(t testing.TB, signer crypto.Signer, change map[string]any) json.RawMessage {
	t.Helper()
	var m map[string]any
	must(t, json.Unmarshal(devicetest.JWK(t, signer), &m))
	maps.Copy(m, change)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return encode(t, m)
}

func TestParseKey_KnowsAKeyInEveryFormThatItComesIn(t *testing.T) {
	all := keys(t)
	r := all["RSA"].Public().(*rsa.PublicKey)
	ed := all["Ed25519"].Public().(ed25519.PublicKey)
	point, err := all["P-256"].Public().(*ecdsa.PublicKey).Bytes()
	must(t, err)
	for name, change := range map[string]struct {
		signer crypto.Signer
		change map[string]any
	}{
		"RSA without the zero byte":    {all["RSA"], map[string]any{"n": b64(r.N.Bytes())}},
		"RSA with two zero bytes":      {all["RSA"], map[string]any{"n": b64(append([]byte{0, 0}, r.N.Bytes()...))}},
		"RSA with a zero byte in e":    {all["RSA"], map[string]any{"e": b64([]byte{0, 1, 0, 1})}},
		"RSA with padding":             {all["RSA"], map[string]any{"n": base64.URLEncoding.EncodeToString(r.N.Bytes())}},
		"RSA without alg and use":      {all["RSA"], map[string]any{"alg": nil, "use": nil}},
		"RSA with members of its own":  {all["RSA"], map[string]any{"kid": "x", "key_ops": []string{"verify"}, "d": "ignored"}},
		"P-256 with padding":           {all["P-256"], map[string]any{"x": base64.URLEncoding.EncodeToString(point[1:33])}},
		"P-256 with stray bits":        {all["P-256"], map[string]any{"y": strayBits(b64(point[33:]))}},
		"P-256 with a line break":      {all["P-256"], map[string]any{"y": b64(point[33:])[:20] + "\n" + b64(point[33:])[20:]}},
		"P-256 without alg":            {all["P-256"], map[string]any{"alg": nil}},
		"Ed25519 with padding":         {all["Ed25519"], map[string]any{"x": base64.URLEncoding.EncodeToString(ed)}},
		"Ed25519 with stray bits":      {all["Ed25519"], map[string]any{"x": strayBits(b64(ed))}},
		"Ed25519 with an RSA member":   {all["Ed25519"], map[string]any{"n": "AQAB"}},
		"Ed25519 without alg and use":  {all["Ed25519"], map[string]any{"alg": nil, "use": nil}},
		"Ed25519 as the SDK sends one": {all["Ed25519"], nil},
	} {
		want, err := device.ParseKey(devicetest.JWK(t, change.signer))
		must(t, err)
		got, err := device.ParseKey(members(t, change.signer, change.change))
		if err != nil || !got.Same(want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// strayBits sets the bits of the last character that no byte takes.
func strayBits(encoded string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, encoded[len(encoded)-1])
	return encoded[:len(encoded)-1] + digits[last|1:last|1+1]
}

func TestParseKey_RefusesBadKeys(t *testing.T) {
	all := keys(t)
	n := all["RSA"].Public().(*rsa.PublicKey).N.Bytes()
	with := func(kind string, change map[string]any) json.RawMessage { return members(t, all[kind], change) }
	even := append([]byte(nil), n...)
	even[len(even)-1] &^= 1
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	p384Point, err := p384.PublicKey.Bytes()
	must(t, err)
	bytes := func(n int, last byte) string {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		b[0] = 0x80 | b[0]
		b[n-1] = last
		return b64(b)
	}
	for name, jwk := range map[string]json.RawMessage{
		"nothing":                  nil,
		"no JSON":                  json.RawMessage(`{"kty":`),
		"null":                     json.RawMessage(`null`),
		"a string":                 json.RawMessage(`"RSA"`),
		"an array":                 json.RawMessage(`[]`),
		"nothing in it":            json.RawMessage(`{}`),
		"kty of a wrong type":      json.RawMessage(`{"kty":1}`),
		"symmetric":                json.RawMessage(`{"kty":"oct","alg":"HS256","k":"c2VjcmV0"}`),
		"no algorithm":             with("RSA", map[string]any{"alg": "none"}),
		"RSA for HS256":            with("RSA", map[string]any{"alg": "HS256"}),
		"RSA for PS256":            with("RSA", map[string]any{"alg": "PS256"}),
		"RSA for encryption":       with("RSA", map[string]any{"use": "enc"}),
		"RSA of 1024 bits":         with("RSA", map[string]any{"n": bytes(128, 1)}),
		"RSA of 2047 bits":         with("RSA", map[string]any{"n": b64(append([]byte{0x7f}, n[1:]...))}),
		"RSA of 16384 bits":        with("RSA", map[string]any{"n": bytes(2048, 1)}),
		"RSA with an even n":       with("RSA", map[string]any{"n": b64(even)}),
		"RSA with e = 1":           with("RSA", map[string]any{"e": b64([]byte{1})}),
		"RSA with e = 0":           with("RSA", map[string]any{"e": b64([]byte{0})}),
		"RSA with e = 2":           with("RSA", map[string]any{"e": b64([]byte{2})}),
		"RSA with e = 65536":       with("RSA", map[string]any{"e": b64([]byte{1, 0, 0})}),
		"RSA with e = 2³¹ + 1":     with("RSA", map[string]any{"e": b64([]byte{0x80, 0, 0, 1})}),
		"RSA with a huge e":        with("RSA", map[string]any{"e": bytes(256, 1)}),
		"RSA without e":            with("RSA", map[string]any{"e": nil}),
		"RSA without n":            with("RSA", map[string]any{"n": nil}),
		"RSA with n of zeros":      with("RSA", map[string]any{"n": b64(make([]byte, 256))}),
		"RSA with n in plain text": with("RSA", map[string]any{"n": "not base64!"}),
		"RSA with n as a number":   with("RSA", map[string]any{"n": 65537}),
		"EC on P-384":              with("P-256", map[string]any{"crv": "P-384"}),
		"EC with P-384 lengths":    with("P-256", map[string]any{"x": b64(p384Point[1:49]), "y": b64(p384Point[49:])}),
		"EC on no curve":           with("P-256", map[string]any{"crv": nil}),
		"EC off the curve":         with("P-256", map[string]any{"x": b64(make([]byte, 32))}),
		"EC at infinity":           with("P-256", map[string]any{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}),
		"EC past the field":        with("P-256", map[string]any{"x": strings.Repeat("_", 42) + "8"}),
		"EC with a short x":        with("P-256", map[string]any{"x": b64(make([]byte, 31))}),
		"EC with a long x":         with("P-256", map[string]any{"x": b64(make([]byte, 33))}),
		"EC without y":             with("P-256", map[string]any{"y": nil}),
		"EC for ES384":             with("P-256", map[string]any{"alg": "ES384"}),
		"OKP on X25519":            with("Ed25519", map[string]any{"crv": "X25519"}),
		"OKP with 31 bytes":        with("Ed25519", map[string]any{"x": b64(make([]byte, 31))}),
		"OKP with 33 bytes":        with("Ed25519", map[string]any{"x": b64(make([]byte, 33))}),
		"OKP for ES256":            with("Ed25519", map[string]any{"alg": "ES256"}),
		"OKP off the curve":        with("Ed25519", map[string]any{"x": b64(offCurve())}),
	} {
		key, err := device.ParseKey(jwk)
		expect(t, name, err, device.ErrKey)
		if key != (device.Key{}) {
			t.Errorf("%s: a key comes with the error", name)
		}
	}
}

// offCurve is an encoding of no point of edwards25519: no x goes with y = 2.
func offCurve() []byte { return append([]byte{2}, make([]byte, 31)...) }

// smallOrder are the points under which anybody can sign, in all of their encodings.
//
// Source: Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" (2020), table 1; libsodium's ge25519_has_small_order.
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func TestParseKey_RefusesPointsUnderWhichAnybodyCanSign(t *testing.T) {
	identity := append([]byte{1}, make([]byte, 31)...)
	forged := append(append([]byte(nil), identity...), make([]byte, 32)...) // R = identity, S = 0
	if !ed25519.Verify(identity, []byte("anything"), forged) {
		t.Error("crypto/ed25519 refuses the identity by now: is the check still needed?")
	}
	for _, encoded := range smallOrder {
		point, err := hex.DecodeString(encoded)
		must(t, err)
		_, err = device.ParseKey(encode(t, map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(point)}))
		expect(t, encoded, err, device.ErrKey)
	}
}

func TestParseKey_TakesEveryEd25519KeyThatIsMade(t *testing.T) {
	for i := range 200 {
		seed := sha512.Sum512([]byte{byte(i)})
		key := ed25519.NewKeyFromSeed(seed[:32])
		if _, err := device.ParseKey(devicetest.JWK(t, key)); err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
	}
}

func TestVerify_TakesTheKeysAlgorithmAlone(t *testing.T) {
	r := devicetest.RSA(t)
	p := devicetest.NewP256(t)
	e := devicetest.NewEd25519(t)
	payload := []byte(`{"iss":"x"}`)
	parse := func(signer crypto.Signer) device.Key {
		key, err := device.ParseKey(devicetest.JWK(t, signer))
		must(t, err)
		return key
	}
	none := b64([]byte(`{"alg":"none"}`)) + "." + b64(payload) + "."
	good := devicetest.SignAs(t, jose.RS256, r, payload)
	parts := strings.Split(good, ".")
	for name, c := range map[string]struct {
		key     device.Key
		compact string
	}{
		"none by no key":            {device.Key{}, none},
		"none":                      {parse(r), none},
		"none under the signature":  {parse(r), b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + "." + parts[2]},
		"HMAC under the public key": {parse(r), devicetest.SignAs(t, jose.HS256, []byte(parse(r).N), payload)},
		"HMAC under the point":      {parse(e), devicetest.SignAs(t, jose.HS256, []byte(e.Public().(ed25519.PublicKey)), payload)},
		"PS256 by the RSA key":      {parse(r), devicetest.SignAs(t, jose.PS256, r, payload)},
		"RS512 by the RSA key":      {parse(r), devicetest.SignAs(t, jose.RS512, r, payload)},
		"another key of the kind":   {parse(e), devicetest.SignAs(t, jose.EdDSA, devicetest.NewEd25519(t), payload)},
		"a key of another kind":     {parse(p), devicetest.SignAs(t, jose.EdDSA, e, payload)},
		"a changed payload":         {parse(r), parts[0] + "." + b64([]byte(`{"iss":"y"}`)) + "." + parts[2]},
		"a changed header":          {parse(r), b64([]byte(`{"alg":"RS256"}`)) + "." + parts[1] + "." + parts[2]},
		"no signature":              {parse(r), parts[0] + "." + parts[1] + "."},
		"two parts":                 {parse(r), parts[0] + "." + parts[1]},
		"four parts":                {parse(r), good + "." + parts[2]},
		"nothing":                   {parse(r), ""},
		"dots":                      {parse(r), ".."},
		"too long":                  {parse(r), good + strings.Repeat("A", device.MaxTokenBytes)},
		"a critical header":         {parse(e), critical(e, payload)},
		"a key of its own":          {parse(e), embedded(t, devicetest.NewEd25519(t), payload)},
		"JSON serialisation":        {parse(r), `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`},
	} {
		_, err := c.key.Verify(c.compact)
		expect(t, name, err, device.ErrSignature)
	}
	if _, err := parse(r).Verify(good); err != nil {
		t.Error(err)
	}
}

// critical is a JWS whose header names an extension that must be understood.
func critical(key ed25519.PrivateKey, payload []byte) string {
	signed := b64([]byte(`{"alg":"EdDSA","crit":["x"],"x":1}`)) + "." + b64(payload)
	return signed + "." + b64(ed25519.Sign(key, []byte(signed)))
}

// embedded is a JWS that brings the key along by which it verifies.
func embedded(t testing.TB, key ed25519.PrivateKey, payload []byte) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, &jose.SignerOptions{EmbedJWK: true})
	must(t, err)
	signed, err := s.Sign(payload)
	must(t, err)
	compact, err := signed.CompactSerialize()
	must(t, err)
	return compact
}

func FuzzParseKey(f *testing.F) {
	for _, signer := range keys(f) {
		f.Add([]byte(devicetest.JWK(f, signer)))
	}
	f.Add([]byte(`{"kty":"RSA","n":"","e":"AQAB"}`))
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`))
	f.Fuzz(func(t *testing.T, jwk []byte) {
		key, err := device.ParseKey(jwk)
		if err != nil {
			expect(t, string(jwk), err, device.ErrKey)
			return
		}
		again, err := device.ParseKey(encode(t, key))
		if err != nil || !again.Same(key) {
			t.Fatalf("%s gave %+v, which gives %+v, %v", jwk, key, again, err)
		}
		if _, err := key.Verify("e30.e30.AAAA"); err == nil {
			t.Fatal("a signature of three bytes verified")
		}
	})
}

func FuzzVerify(f *testing.F) {
	signers := keys(f)
	var parsed []device.Key
	for _, signer := range signers {
		f.Add(devicetest.Sign(f, signer, map[string]any{"iss": "x", "iat": 1.5, "exp": 2}))
		key, err := device.ParseKey(devicetest.JWK(f, signer))
		must(f, err)
		parsed = append(parsed, key)
	}
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, compact string) {
		for _, key := range parsed {
			payload, err := key.Verify(compact)
			if err != nil {
				expect(t, compact, err, device.ErrSignature)
				continue
			}
			var c device.Claims
			if json.Unmarshal(payload, &c) != nil {
				continue
			}
			if issued, expires, err := c.Life(maxLife); err == nil && (!expires.After(issued) || expires.Sub(issued) > maxLife) {
				t.Fatalf("%s lives from %v to %v", payload, issued, expires)
			}
		}
	})
}

func TestSame_NobodysKeyIsNotTheSameAsNobodys(t *testing.T) {
	if (device.Key{}).Same(device.Key{}) {
		t.Error("two enrollments without a key count as the same phone")
	}
	key, err := device.ParseKey(devicetest.JWK(t, devicetest.NewEd25519(t)))
	must(t, err)
	if !key.Same(key) || key.Same(device.Key{}) || (device.Key{}).Same(key) {
		t.Error("a key is not the same as itself, or the same as none")
	}
}

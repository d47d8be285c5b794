package tutela_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"
	"golang.org/x/crypto/chacha20poly1305"

	"tutela/device"
	"tutela/device/otp"
	"tutela/device/phone"
	"tutela/device/push"
	"tutela/device/push/pushtest"
	"tutela/recovery"
)

// The vectors of docs/vectors are for makers of apps. What is deterministic is made anew by the simulated phone and compared; all
// of it is looked at by the server's own code.

// warning stands in each file that holds a key.
const warning = "For tests alone: these private keys are published. No app and no server may use them."

// The names in the vectors.
const (
	vectorBase       = "https://mfa.example.com/appliance-mfa"
	vectorEnrollment = "dev_0TestVector0Test"
	vectorUser       = "auth0|maria"
	vectorIdentifier = "5f8c1b2a9d3e4f60"
	vectorChallenge  = "Y2hhbGxlbmdlIG9mIHRoZSB0ZXN0IHZlY3RvcnMsIDMyIEI"
	vectorIssued     = 1767225600 // 2026-01-01T00:00:00Z
	vectorTxtkn      = "eyJhbGciOiJIUzI1NiJ9.eyJ0eGlkIjoidHhuX3Rlc3QiLCJleHAiOjE3NjcyMjU3MjB9.c2lnbmF0dXJl"
)

var b64u = base64.RawURLEncoding

// compareVectors compares a file of docs/vectors with what is right, or writes it.
func compareVectors(t *testing.T, name string, right any) {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(right); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("docs", "vectors", name)
	if *update {
		if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	stored, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(stored, text.Bytes()) {
		t.Errorf("%s is not what the code makes: run make book (%v)", path, err)
	}
}

// readVectors reads a file of vectors that are random. Without the file it writes fresh ones, if it may.
func readVectors(t *testing.T, name string, into any, fresh func() any) {
	t.Helper()
	path := filepath.Join("docs", "vectors", name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && *update {
		compareVectors(t, name, fresh())
	}
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// vectorKey is a device's key.
type vectorKey struct {
	Algorithm string          `json:"alg"`
	Private   *phone.Key      `json:"pkcs8"` // in base64
	Public    json.RawMessage `json:"jwk"`
	Android   json.RawMessage `json:"jwk_android,omitempty"` // as Android writes it: a zero byte before the modulus
}

type vectorKeys struct {
	Warning string      `json:"warning"`
	Keys    []vectorKey `json:"keys"`
}

func (k vectorKeys) of(t *testing.T, alg string) vectorKey {
	t.Helper()
	i := slices.IndexFunc(k.Keys, func(k vectorKey) bool { return k.Algorithm == alg })
	if i < 0 {
		t.Fatalf("there is no key for %s", alg)
	}
	return k.Keys[i]
}

func readKeys(t *testing.T) vectorKeys {
	t.Helper()
	var keys vectorKeys
	readVectors(t, "keys.json", &keys, func() any {
		made := vectorKeys{Warning: warning}
		for _, alg := range []phone.Algorithm{phone.RS256, phone.ES256, phone.EdDSA} {
			private, err := phone.NewKey(alg)
			if err != nil {
				t.Fatal(err)
			}
			k := vectorKey{Algorithm: string(alg), Private: private, Public: jwkOf(t, private, false)}
			if alg == phone.RS256 {
				k.Android = jwkOf(t, private, true)
			}
			made.Keys = append(made.Keys, k)
		}
		return made
	})
	return keys
}

func jwkOf(t *testing.T, k *phone.Key, leadingZero bool) json.RawMessage {
	t.Helper()
	public, err := k.Public(leadingZero)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(public)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestBookVectors_KeysAreTakenByTheServer(t *testing.T) {
	for _, k := range readKeys(t).Keys {
		if string(k.Private.Algorithm) != k.Algorithm || !sameJSON(t, k.Public, jwkOf(t, k.Private, false)) {
			t.Errorf("%s: the public key is not that of the private one", k.Algorithm)
		}
		public, err := device.ParseKey(k.Public)
		if err != nil {
			t.Errorf("%s: %v", k.Algorithm, err)
		}
		if k.Android == nil {
			continue
		}
		android, err := device.ParseKey(k.Android)
		if err != nil || !android.Same(public) || sameJSON(t, k.Android, k.Public) {
			t.Errorf("the key as Android writes it: %+v, %v", android, err)
		}
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	compact := func(text []byte) string {
		var out bytes.Buffer
		if err := json.Compact(&out, text); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	return compact(a) == compact(b)
}

// signedVector is a statement that a phone signs.
type signedVector struct {
	Name     string         `json:"name"`
	Used     string         `json:"used"`
	Header   map[string]any `json:"header"`
	Claims   map[string]any `json:"claims"`
	Compact  string         `json:"compact"`
	Audience string         `json:"-"` // the path that aud names; "": it names none
	longest  time.Duration  // that exp may lie after iat; 0: there is no exp
}

// statements are what a phone signs, without header and signature.
func statements(public json.RawMessage) []signedVector {
	answer := func(more map[string]any) map[string]any {
		claims := map[string]any{
			"iss": vectorIdentifier, "sub": vectorChallenge, "aud": vectorBase + "/api/resolve-transaction", "iat": vectorIssued, "exp": vectorIssued + 30,
			"auth0_guardian_method": "push",
		}
		maps.Copy(claims, more)
		return claims
	}
	first := manifestClaims(1, "", bodyOf(1))
	ath := sha256.Sum256([]byte(vectorTxtkn))
	handle := sha256.Sum256([]byte(vectorHandle))
	return []signedVector{
		{
			Name:     "device JWT",
			Used:     "Authorization: Bearer, of most calls",
			Claims:   map[string]any{"iss": vectorEnrollment, "sub": vectorUser, "aud": vectorBase + "/api/device-accounts", "iat": vectorIssued, "exp": vectorIssued + 7200},
			Audience: "/api/device-accounts",
			longest:  2 * time.Hour,
		},
		{
			Name:     "answer: yes, with the number",
			Used:     "POST /api/resolve-transaction, challenge_response",
			Claims:   answer(map[string]any{"auth0_guardian_accepted": true, "tutela_number": "042917"}),
			Audience: "/api/resolve-transaction",
			longest:  time.Minute,
		},
		{
			Name:     "answer: no, it was not me",
			Used:     "POST /api/resolve-transaction, challenge_response",
			Claims:   answer(map[string]any{"auth0_guardian_accepted": false, "auth0_guardian_reason": "not_me"}),
			Audience: "/api/resolve-transaction",
			longest:  time.Minute,
		},
		{Name: "manifest of generation 1", Used: "Backup-Manifest; its body is the first of backup.json", Claims: first},
		{Name: "restore proof at a start", Used: "Restore-Proof, of POST /api/restores", Claims: map[string]any{"handle": hex.EncodeToString(handle[:]), "iat": vectorIssued}},
		{Name: "restore proof after a lost answer", Used: "Restore-Proof, of GET /api/restores/{id}", Claims: map[string]any{"restore": "rst_TestVector", "iat": vectorIssued}},
		{
			Name:   "consent proof",
			Used:   "MFA-DPoP, of GET /rich-consents/{id}; ath is the SHA-256 of the txtkn " + vectorTxtkn,
			Header: map[string]any{"typ": "dpop+jwt", "jwk": public},
			Claims: map[string]any{"htu": "https://mfa.example.com/rich-consents/cns_TestVector", "htm": "GET", "ath": b64u.EncodeToString(ath[:]), "jti": "N7c4kQ2ZpX9rTbV1sLmW8yHd", "iat": vectorIssued},
		},
	}
}

const vectorHandle = "c29tZSByZXN0b3JlIGhhbmRsZSBmb3IgdGVzdCB2ZWN0b3Jz"

// signAll signs the statements with a key, and has the server's code look at each.
func signAll(t *testing.T, k vectorKey) (all []signedVector) {
	t.Helper()
	for _, v := range statements(k.Public) {
		header := map[string]any{"alg": k.Algorithm, "typ": "JWT"}
		maps.Copy(header, v.Header)
		v.Header = header
		compact, err := k.Private.Sign(header, v.Claims, false)
		if err != nil {
			t.Fatal(err)
		}
		v.Compact = compact
		all = append(all, v)
	}
	return all
}

// verifyAll has the server's code verify statements: the signature, and what all of them have in common.
func verifyAll(t *testing.T, keys vectorKeys, alg string, stored []signedVector) {
	t.Helper()
	right := statements(keys.of(t, alg).Public)
	if len(stored) != len(right) {
		t.Fatalf("%d statements are stored for %s, not %d: remove the file, then make book", len(stored), alg, len(right))
	}
	for i, v := range stored {
		for _, k := range keys.Keys {
			public, err := device.ParseKey(k.Public)
			if err != nil {
				t.Fatal(err)
			}
			payload, err := public.Verify(v.Compact)
			if (err == nil) != (k.Algorithm == alg) {
				t.Errorf("%s, %s: under the key for %s: %v", alg, v.Name, k.Algorithm, err)
			}
			if err != nil {
				continue
			}
			claims, err := json.Marshal(right[i].Claims)
			if err != nil {
				t.Fatal(err)
			}
			if !sameJSON(t, payload, claims) {
				t.Errorf("%s, %s: the payload is %s, want %s: remove the file, then make book", alg, v.Name, payload, claims)
			}
			checkClaims(t, alg+", "+v.Name, payload, right[i])
		}
	}
}

func checkClaims(t *testing.T, name string, payload []byte, right signedVector) {
	t.Helper()
	if right.longest == 0 {
		return
	}
	var claims device.Claims
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if _, _, err := claims.Life(right.longest); err != nil || !device.NewBases([]string{"https://mfa.example.com"}).Names(claims.Audience, right.Audience) {
		t.Errorf("%s: %v, for %q", name, err, claims.Audience)
	}
}

// signedVectors is a file of statements.
type signedVectors struct {
	About string         `json:"about"`
	Alg   string         `json:"alg"`
	Key   string         `json:"key"`
	All   []signedVector `json:"statements"`
}

func TestBookVectors_StatementsAreSignedAsThePhoneSigns(t *testing.T) {
	keys := readKeys(t)
	for alg, name := range map[string]string{"RS256": "signed-rs256.json", "EdDSA": "signed-eddsa.json"} {
		v := signedVectors{
			About: "What a phone signs. The signature is the same each time: sign the payload as it stands between the dots, and compare.",
			Alg:   alg,
			Key:   "keys.json",
			All:   signAll(t, keys.of(t, alg)),
		}
		verifyAll(t, keys, alg, v.All)
		compareVectors(t, name, v)
	}
	var stored signedVectors
	readVectors(t, "signed-es256.json", &stored, func() any {
		return signedVectors{
			About: "What a phone signs. The signature is another each time: verify these with the public key, and have your own verified by it. r and s have 32 bytes each, and are no ASN.1.",
			Alg:   "ES256",
			Key:   "keys.json",
			All:   signAll(t, keys.of(t, "ES256")),
		}
	})
	verifyAll(t, keys, "ES256", stored.All)
}

// vectorBlobKey is the key of the backups in the vectors.
var vectorBlobKey = bytes.Repeat([]byte{0x42}, chacha20poly1305.KeySize)

const vectorAccounts = `[{"issuer":"Example","name":"maria","secret":"JBSWY3DPEHPK3PXP"}]`

// bodyOf is the sealed body of a generation, under a nonce that no app may take.
func bodyOf(generation int) []byte {
	aead, err := chacha20poly1305.NewX(vectorBlobKey)
	if err != nil {
		return nil
	}
	nonce := bytes.Repeat([]byte{byte(generation)}, aead.NonceSize())
	return aead.Seal(append([]byte{1}, nonce...), nonce, []byte(vectorAccounts), []byte(bindsOf(generation)))
}

func bindsOf(generation int) string {
	return "\x01\x00" + vectorEnrollment + "\x00" + string(rune('0'+generation))
}

func manifestClaims(generation int, parent string, body []byte) map[string]any {
	digest := sha256.Sum256(body)
	return map[string]any{
		"iss": vectorEnrollment, "generation": generation, "parent": parent, "digest": hex.EncodeToString(digest[:]), "size": len(body), "items": 1,
		"provider": "server", "automatic_restore": true, "iat": vectorIssued,
	}
}

func TestBookVectors_BackupsAreSealedAndChained(t *testing.T) {
	type generation struct {
		Generation int    `json:"generation"`
		Nonce      string `json:"nonce"`
		Binds      string `json:"associated_data"`
		Body       string `json:"body"`
		Digest     string `json:"digest"`
		Parent     string `json:"parent"`
		Manifest   string `json:"manifest"`
	}
	v := struct {
		Warning  string       `json:"warning"`
		About    string       `json:"about"`
		Key      string       `json:"key"`
		Accounts string       `json:"accounts"`
		Signed   string       `json:"signed_by"`
		All      []generation `json:"generations"`
	}{
		Warning:  warning + " A nonce is random: never take one of these.",
		About:    "Bodies as device/phone seals them, and their manifests. Nonces, keys, bodies and associated data are in hex. parent is the hex SHA-256 of the manifest before, as it was sent.",
		Key:      hex.EncodeToString(vectorBlobKey),
		Accounts: vectorAccounts,
		Signed:   "EdDSA, keys.json",
	}
	k := readKeys(t).of(t, "EdDSA")
	public, err := device.ParseKey(k.Public)
	if err != nil {
		t.Fatal(err)
	}
	parent := ""
	for n := 1; n <= 2; n++ {
		body := bodyOf(n)
		claims := manifestClaims(n, parent, body)
		manifest, err := k.Private.Sign(map[string]any{"alg": "EdDSA", "typ": "JWT"}, claims, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := public.Verify(manifest); err != nil {
			t.Errorf("generation %d: %v", n, err)
		}
		v.All = append(v.All, generation{
			Generation: n,
			Nonce:      hex.EncodeToString(body[1:25]),
			Binds:      hex.EncodeToString([]byte(bindsOf(n))),
			Body:       hex.EncodeToString(body),
			Digest:     claims["digest"].(string),
			Parent:     parent,
			Manifest:   manifest,
		})
		digest := sha256.Sum256([]byte(manifest))
		parent = hex.EncodeToString(digest[:])
	}
	compareVectors(t, "backup.json", v)
}

func TestBookVectors_QRCodesAreAsTheServerDrawsThem(t *testing.T) {
	type qr struct {
		Issuer  string            `json:"issuer"`
		Account string            `json:"account"`
		Text    string            `json:"text"`
		Reads   map[string]string `json:"an_app_reads"`
	}
	v := struct {
		About string `json:"about"`
		All   []qr   `json:"codes"`
	}{About: "Texts of QR codes. An app takes enrollment_tx_id and base_url; an app for one-time codes takes secret. The names are clipped where they are long, and mark the cut."}
	secret := []byte("12345678901234567890")
	for _, names := range [][2]string{
		{"Hafenlicht", "maria@example.com"}, {"Café & Söhne: Nord", "auth0|maria"}, {"山田商事", strings.Repeat("very.long.name.", 30) + "@example.com"},
	} {
		s := device.New(nil, nil, nil, device.Options{Bases: device.NewBases([]string{"https://mfa.example.com"}), Issuer: names[0]})
		v.All = append(v.All, qr{
			Issuer:  names[0],
			Account: names[1],
			Text:    s.EnrollmentURI(names[1], "N7c4kQ2ZpX9rTbV1sLmW8yHdJ3fGuA5e", device.Reserved{ID: vectorEnrollment, Secret: secret}),
			Reads: map[string]string{
				"enrollment_tx_id": "N7c4kQ2ZpX9rTbV1sLmW8yHdJ3fGuA5e", "base_url": vectorBase, "id": vectorEnrollment, "secret": otp.Secret(secret).String(),
			},
		})
	}
	compareVectors(t, "qr.json", v)
}

func TestBookVectors_RecoveryCodesHaveTheirCheckCharacters(t *testing.T) {
	type code struct {
		Random string   `json:"random"`
		Code   string   `json:"code"`
		Typed  []string `json:"typed"`
	}
	v := struct {
		About string   `json:"about"`
		Codes []code   `json:"codes"`
		Typos []string `json:"typos"`
	}{
		About: "24 characters of 0123456789ABCDEFGHJKMNPQRSTVWXYZ, of which the last is Luhn mod 32 of the others in the alphabet's order. typed are forms of the code that count; typos are refused and not counted.",
		Typos: []string{"7V3KQ9X2M4T8R6W5Y1ZJ0ABW", "V73KQ9X2M4T8R6W5Y1ZJ0ABV", "7V3KQ9X2M4T8R6W5Y1ZJ0AB", "7V3KQ9X2M4T8R6W5Y1ZJ0ABVV", "7V3KQ9X2M4T8R6W5Y1ZJ0AUV", ""},
	}
	for random, check := range map[string]string{"7V3KQ9X2M4T8R6W5Y1ZJ0AB": "V", "0123456789ABCDEFGHJKMNP": "V", strings.Repeat("Z", 23): "Q", strings.Repeat("0", 23): "0"} {
		whole := random + check
		grouped := strings.Join([]string{whole[:4], whole[4:8], whole[8:12], whole[12:16], whole[16:20], whole[20:]}, " ")
		c := code{Random: random, Code: whole, Typed: []string{whole, grouped, strings.ToLower(strings.ReplaceAll(grouped, " ", "-")), "“" + grouped + "”", strings.NewReplacer("0", "O", "1", "l").Replace(whole)}}
		for _, typed := range c.Typed {
			if got, err := recovery.ParseCode(typed); err != nil || string(got) != whole {
				t.Errorf("%q is %q, %v", typed, got, err)
			}
		}
		v.Codes = append(v.Codes, c)
	}
	slices.SortFunc(v.Codes, func(a, b code) int { return strings.Compare(a.Code, b.Code) })
	for _, typo := range v.Typos {
		if _, err := recovery.ParseCode(typo); err == nil {
			t.Errorf("%q is a code", typo)
		}
	}
	compareVectors(t, "recovery-codes.json", v)
}

func TestBookVectors_OneTimeCodesAreThoseOfTheRFC(t *testing.T) {
	type code struct {
		Time int64  `json:"time"`
		Step int64  `json:"step"`
		Code string `json:"code"`
	}
	secret := otp.Secret("12345678901234567890")
	v := struct {
		About  string `json:"about"`
		Secret string `json:"secret"`
		Codes  []code `json:"codes"`
	}{About: "The times of RFC 6238, Appendix B, with SHA-1, six digits and 30 seconds: the last six of its eight digits.", Secret: secret.String()}
	for at, eight := range map[int64]string{59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130"} {
		step := otp.StepAt(time.Unix(at, 0))
		got := string(secret.At(step))
		if got != eight[2:] {
			t.Errorf("at %d the code is %s, want %s", at, got, eight[2:])
		}
		v.Codes = append(v.Codes, code{at, int64(step), got})
	}
	slices.SortFunc(v.Codes, func(a, b code) int { return int(a.Step - b.Step) })
	compareVectors(t, "one-time-codes.json", v)
}

// webPushVector is one message of Web Push.
type webPushVector struct {
	Name          string          `json:"name"`
	Private       string          `json:"private"` // of the subscription
	Subscription  json.RawMessage `json:"subscription"`
	ServerKey     string          `json:"public_key"` // of GET /api/push/web; "": the example of the RFC has none
	Authorization string          `json:"authorization"`
	Body          string          `json:"body"`
	Text          string          `json:"text"`
}

type webPushVectors struct {
	Warning string          `json:"warning"`
	About   string          `json:"about"`
	All     []webPushVector `json:"messages"`
}

func TestBookVectors_WebPushMessagesOpen(t *testing.T) {
	var stored webPushVectors
	readVectors(t, "web-push.json", &stored, func() any { return freshWebPush(t) })
	for _, v := range stored.All {
		var subscription struct {
			Keys struct {
				Auth string `json:"auth"`
			} `json:"keys"`
		}
		if err := json.Unmarshal(v.Subscription, &subscription); err != nil {
			t.Fatal(err)
		}
		private, err := ecdh.P256().NewPrivateKey(fromBase64(t, v.Private))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := push.ParseSubscription(string(v.Subscription))
		if err != nil || !bytes.Equal(parsed.P256DH[:], private.PublicKey().Bytes()) {
			t.Errorf("%s: the server does not take the subscription: %v", v.Name, err)
		}
		text, err := pushtest.Decrypt(fromBase64(t, v.Body), private, fromBase64(t, subscription.Keys.Auth))
		if err != nil || string(text) != v.Text {
			t.Errorf("%s: %q, %v", v.Name, text, err)
		}
		if v.ServerKey == "" {
			continue
		}
		if _, err := phone.ParseMessage(text); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		verifyVAPID(t, v)
	}
}

// verifyVAPID verifies who has sent a message. The token is over; that it was for the endpoint's origin is not.
func verifyVAPID(t *testing.T, v webPushVector) {
	t.Helper()
	token, key, _ := strings.Cut(strings.TrimPrefix(v.Authorization, "vapid t="), ", k=")
	point := fromBase64(t, v.ServerKey)
	jwk, err := json.Marshal(map[string]string{"kty": "EC", "crv": "P-256", "x": b64u.EncodeToString(point[1:33]), "y": b64u.EncodeToString(point[33:])})
	if err != nil {
		t.Fatal(err)
	}
	public, err := device.ParseKey(jwk)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := public.Verify(token)
	if err != nil || key != v.ServerKey || !strings.Contains(string(payload), `"aud":"https://push.example.net"`) {
		t.Errorf("%s: signed by %s: %s, %v", v.Name, key, payload, err)
	}
}

func fromBase64(t *testing.T, text string) []byte {
	t.Helper()
	b, err := b64u.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// kept is an HTTP client that sends nothing and keeps the request.
type kept struct{ request *http.Request }

func (k *kept) Do(r *http.Request) (*http.Response, error) {
	k.request = r
	return &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody}, nil
}

// freshWebPush makes the messages: the example of the RFC, and an approval and a notice as the server encrypts them.
func freshWebPush(t *testing.T) webPushVectors {
	t.Helper()
	const rfcPublic = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	const rfcAuth = "BTBZMqHH6r4Tts7J_aSIgg"
	of := func(endpoint, public, auth string) json.RawMessage {
		return json.RawMessage(`{"endpoint":"` + endpoint + `","keys":{"p256dh":"` + public + `","auth":"` + auth + `"}}`)
	}
	v := webPushVectors{
		Warning: warning,
		About:   "Messages as they come to a subscription. private is its key, subscription what the app names as its push token; body and private are base64url. Open the body by RFC 8291; verify authorization by RFC 8292 under public_key, as a push service does.",
		All: []webPushVector{{
			Name:         "RFC 8291, Appendix A",
			Private:      "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94",
			Subscription: of("https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV", rfcPublic, rfcAuth),
			Body: "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_y" +
				"l95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
			Text: "When I grow up, I want to be a watermelon",
		}},
	}
	serverPrivate, serverPublic, err := webpush.GenerateVAPIDKeys()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"an approval": `{"bm":"Sign in to online banking","c":"` + vectorChallenge + `","cn":"Hafenlicht Bank","d":"2026-01-01T00:00:00.000Z","dai":"` + vectorEnrollment +
			`","l":{"n":"203.0.113.7"},"nm":true,"s":{"b":{"n":"Firefox","v":"140"},"os":{"n":"Windows","v":"10"}},"sh":"https://mfa.example.com","txtkn":"` + vectorTxtkn + `"}`,
		"a notice": `{"d":"2026-01-01T00:00:00.000Z","dai":"` + vectorEnrollment + `","name":"Pixel 9","notice":"device_added","sh":"https://mfa.example.com","text":"Another phone was added to your account."}`,
	} {
		private, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		auth := make([]byte, 16)
		_, _ = rand.Read(auth)
		public := b64u.EncodeToString(private.PublicKey().Bytes())
		client := &kept{}
		answer, err := webpush.SendNotification([]byte(text), &webpush.Subscription{
			Endpoint: "https://push.example.net/push/" + strings.ReplaceAll(name, " ", "-"),
			Keys:     webpush.Keys{P256dh: public, Auth: b64u.EncodeToString(auth)},
		}, &webpush.Options{
			HTTPClient:      client,
			RecordSize:      3103,
			Subscriber:      "ops@example.com",
			TTL:             120,
			VAPIDPublicKey:  serverPublic,
			VAPIDPrivateKey: serverPrivate,
		})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(client.request.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			t.Fatal(err)
		}
		v.All = append(v.All, webPushVector{
			Name:          name,
			Private:       b64u.EncodeToString(private.Bytes()),
			Subscription:  of(client.request.URL.String(), public, b64u.EncodeToString(auth)),
			ServerKey:     serverPublic,
			Authorization: client.request.Header.Get("Authorization"),
			Body:          b64u.EncodeToString(body),
			Text:          text,
		})
	}
	slices.SortFunc(v.All, func(a, b webPushVector) int { return strings.Compare(a.Name, b.Name) })
	return v
}

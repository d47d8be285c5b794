package passkey_test

import (
	"bytes"
	"errors"
	"testing"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/passkey"
	"tutela/storage"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// FuzzResponse sends anything in the place of a browser's answer: what is not accepted is refused by one of the package's errors, and
// nothing is an internal one.
func FuzzResponse(f *testing.F) {
	home := devicetest.Open(f, ground.Options{})
	h := &house{House: home, Service: home.Passkeys, t: f}
	uid := h.user("ada")
	a := devicetest.NewAuthenticator(f)
	a.Extensions = map[string]any{"credProps": map[string]any{"rk": true}, "prf": map[string]any{"enabled": true}}
	h.Set("passkey.attestation", passkey.AttestationAny)
	created := a.Create(h.creation(uid, device.TypeRoaming))
	made, err := h.VerifyRegistration(f.Context(), uid, "a", created)
	check.Must(f, err)
	_, err = h.bind(made)
	check.Must(f, err)
	options := h.creation(uid, device.TypeRoaming)
	for _, format := range []string{"", "none", "tpm", "android-key", "android-safetynet", "fido-u2f", "apple", "compound", "?"} {
		other := devicetest.NewAuthenticator(f)
		other.Format = format
		f.Add([]byte(other.Create(options)))
	}
	f.Add([]byte(a.Get(h.request(uid))))
	f.Add([]byte(`{"id":"YQ","rawId":"YQ","type":"public-key","response":{}}`))
	f.Add(bytes.Replace(created, []byte(`"rk":true`), []byte(`"rk":"x"`), 1))
	_, sealed := h.ask()
	f.Fuzz(func(t *testing.T, body []byte) {
		known := func(err error) {
			if err != nil && storage.CodeOf(err) == "" {
				t.Errorf("an error without a code: %v", err)
			}
			if errors.Is(err, storage.ErrDamaged) {
				t.Errorf("damage: %v", err)
			}
		}
		_, err := h.VerifyRegistration(t.Context(), uid, "a", body)
		known(err)
		_, err = h.Verify(t.Context(), uid, "a", body)
		known(err)
		_, err = h.VerifyEntry(t.Context(), sealed, body)
		known(err)
		_, err = h.VerifyEntry(t.Context(), string(body), created)
		known(err)
	})
}

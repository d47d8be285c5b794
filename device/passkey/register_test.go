package passkey_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/passkey"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

func TestRegister_KeepsTheCredentialAsItWasGiven(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid := h.user("ada")
		a := devicetest.NewAuthenticator(h.t)
		a.Options.BackupEligible = true
		a.Options.BackupState = true
		a.Credential.Counter = 7
		a.Attachment = "platform"
		a.Extensions = map[string]any{
			"credProps": map[string]any{"rk": true},
			"prf":       map[string]any{"enabled": false},
			"unheardOf": "what a password manager adds",
		}
		response := a.Create(h.creation(uid, device.TypePlatform))
		made, err := h.finish(uid, response)
		check.Must(h.t, err)
		e := h.stored(uid, made.ID)
		p := e.WebAuthn
		if e.Type != device.TypePlatform || e.Status != device.Active || e.Name != "Passkey" || !bytes.Equal(p.CredentialID, a.Credential.ID) || !bytes.Equal(p.AAGUID, a.Aaguid[:]) {
			h.t.Errorf("the enrollment is %+v", e)
		}
		if p.RelyingParty != "localhost" || p.SignCount != 7 || !p.BackupEligible || !p.BackedUp || !p.UserVerified || p.Attachment != "platform" || p.Format != "packed" {
			h.t.Errorf("the passkey is %+v", p)
		}
		if p.PRF != device.OutcomeNo || p.Discoverable != device.OutcomeYes {
			h.t.Errorf("prf %q, discoverable %q", p.PRF, p.Discoverable)
		}
		h.View(func(tx *storage.Tx) error {
			object, clientData, err := device.AttestationOf(tx, uid, e.ID)
			encoded := base64Of(object)
			if !strings.Contains(string(response), encoded) || !strings.Contains(string(response), base64Of(clientData)) || len(object) == 0 {
				h.t.Error("the attestation is not kept as it was given")
			}
			return err
		})
		if n := len(h.EventsOf("ada", audit.EnrollComplete)); n != 1 {
			h.t.Errorf("%d events", n)
		}
	})
}

// creationOptions are what a browser is asked for.
type creationOptions struct {
	RP struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"rp"`
	User struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"user"`
	Timeout   int                    `json:"timeout"`
	Excluded  []struct{ ID string }  `json:"excludeCredentials"`
	Selection map[string]any         `json:"authenticatorSelection"`
	Asked     string                 `json:"attestation"`
	Ext       map[string]any         `json:"extensions"`
	Keys      []struct{ Alg int }    `json:"pubKeyCredParams"`
	Challenge string                 `json:"challenge"`
	Rest      map[string]interface{} `json:"-"`
}

func (h *house) created(uid storage.UID, typ device.Type) (o creationOptions) {
	h.t.Helper()
	check.Must(h.t, json.Unmarshal(h.creation(uid, typ), &o))
	return o
}

func TestBeginRegistration_AsksForWhatTheTypeNeeds(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid := h.user("ada")
		first := devicetest.NewAuthenticator(h.t)
		e := h.register(uid, device.TypeRoaming, first)
		for typ, want := range map[device.Type]map[string]any{
			device.TypeRoaming:  {"authenticatorAttachment": "cross-platform", "residentKey": "discouraged", "userVerification": "preferred"},
			device.TypePlatform: {"authenticatorAttachment": "platform", "residentKey": "preferred", "userVerification": "required"},
		} {
			o := h.created(uid, typ)
			for member, value := range want {
				if o.Selection[member] != value {
					h.t.Errorf("%s asks for %s %v, want %v", typ, member, o.Selection[member], value)
				}
			}
			_, prf := o.Ext["prf"]
			if !prf || o.Ext["credProps"] != true {
				h.t.Errorf("%s asks for the extensions %v", typ, o.Ext)
			}
			if o.Asked != "none" && o.Asked != "" {
				h.t.Errorf("%s asks for an attestation: %s", typ, o.Asked)
			}
			if len(o.Excluded) != 1 || o.Excluded[0].ID != base64Of(e.WebAuthn.CredentialID) {
				h.t.Errorf("%s excludes %v", typ, o.Excluded)
			}
			if o.RP.ID != "localhost" || o.RP.Name != h.Devices.Issuer() || o.User.Name != "ada" || o.Timeout != 300_000 {
				h.t.Errorf("%s: %+v", typ, o)
			}
		}
		h.Set("passkey.attestation", passkey.AttestationAny)
		h.Set("passkey.user_verification", "required")
		o := h.created(uid, device.TypeRoaming)
		if o.Asked != "direct" || o.Selection["userVerification"] != "required" {
			h.t.Errorf("under other settings: %+v", o)
		}
	})
}

func TestBeginRegistration_TheUserHandleIsRandomAndStaysUntilAReset(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid := h.user("ada")
		first := h.created(uid, device.TypeRoaming)
		again := h.created(uid, device.TypePlatform)
		other := h.created(h.user("bob"), device.TypeRoaming)
		h.Reset("ada")
		after := h.created(uid, device.TypeRoaming)
		if first.User.ID != again.User.ID || first.User.ID == other.User.ID || first.User.ID == after.User.ID || len(first.User.ID) < 43 {
			h.t.Errorf("handles: %s, %s, %s, after a reset %s", first.User.ID, again.User.ID, other.User.ID, after.User.ID)
		}
		if first.Challenge == again.Challenge {
			h.t.Error("two ceremonies have one challenge")
		}
	})
}

func TestRegister_RefusesWhatDoesNotFitItsChallenge(t *testing.T) {
	for name, c := range map[string]struct {
		typ    device.Type
		change func(a *devicetest.Authenticator)
		want   error
	}{
		"another origin":          {device.TypeRoaming, func(a *devicetest.Authenticator) { a.Party.Origin = "https://evil.example" }, passkey.ErrRefused},
		"a subdomain's origin":    {device.TypeRoaming, func(a *devicetest.Authenticator) { a.Party.Origin = "http://evil.localhost:8080" }, passkey.ErrRefused},
		"another port":            {device.TypeRoaming, func(a *devicetest.Authenticator) { a.Party.Origin = "http://localhost:8081" }, passkey.ErrRefused},
		"another relying party":   {device.TypeRoaming, func(a *devicetest.Authenticator) { a.Party.ID = "evil.example" }, passkey.ErrRefused},
		"nobody was there":        {device.TypeRoaming, func(a *devicetest.Authenticator) { a.Options.UserNotPresent = true }, passkey.ErrRefused},
		"copied and not copyable": {device.TypeRoaming, func(a *devicetest.Authenticator) { a.Options.BackupState = true }, passkey.ErrRefused},
		"a platform passkey that has not verified its user": {device.TypePlatform, func(a *devicetest.Authenticator) {
			a.Options.UserNotVerified = true
		}, passkey.ErrRefused},
		"a security key need not": {device.TypeRoaming, func(a *devicetest.Authenticator) { a.Options.UserNotVerified = true }, nil},
		"an RSA key is fine": {device.TypePlatform, func(a *devicetest.Authenticator) {
			a.Credential = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeRSA)
		}, nil},
		"an id that is too long": {device.TypeRoaming, func(a *devicetest.Authenticator) { a.Credential.ID = make([]byte, 1024) }, passkey.ErrResponse},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				uid := h.user("ada")
				options := h.creation(uid, c.typ)
				a := devicetest.NewAuthenticator(h.t)
				c.change(a)
				var err error
				answer := func() { _, err = h.finish(uid, a.Create(options)) }
				if c.want == nil {
					answer()
				} else {
					h.Unchanged(answer)
				}
				h.expect(name, err, c.want)
			})
		})
	}
}

func TestRegister_AChallengeIsAnsweredOnceByItsUserInTime(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ada := h.user("ada")
		bob := h.user("bob")
		a := devicetest.NewAuthenticator(h.t)
		response := a.Create(h.creation(ada, device.TypeRoaming))

		_, err := h.finish(bob, response)
		h.expect("another user, who has no challenge", err, passkey.ErrCeremony)
		h.creation(bob, device.TypeRoaming)
		_, err = h.finish(bob, response)
		h.expect("another user's challenge", err, passkey.ErrRefused)

		// Two verified answers to one challenge: the second comes too late, whatever it verified before.
		first, err := h.VerifyRegistration(h.t.Context(), ada, "a", response)
		check.Must(h.t, err)
		second, err := h.VerifyRegistration(h.t.Context(), ada, "a", devicetest.NewAuthenticator(h.t).Create(h.again(ada, response)))
		h.expect("another answer to the challenge", err, nil)
		_, err = h.bind(first)
		h.expect("the answer", err, nil)
		_, err = h.bind(second)
		h.expect("the other answer", err, passkey.ErrCeremony)
		_, err = h.finish(ada, response)
		h.expect("the answer again", err, passkey.ErrCeremony)

		// A new challenge takes the place of the one before.
		before := a.Create(h.creation(bob, device.TypeRoaming))
		h.creation(bob, device.TypeRoaming)
		_, err = h.finish(bob, before)
		h.expect("the challenge before", err, passkey.ErrRefused)

		late := devicetest.NewAuthenticator(h.t).Create(h.creation(bob, device.TypeRoaming))
		verified, err := h.VerifyRegistration(h.t.Context(), bob, "a", late)
		check.Must(h.t, err)
		h.Clock.Advance(5 * time.Minute)
		_, err = h.bind(verified)
		h.expect("verified in time, and spent too late", err, passkey.ErrCeremony)
		_, err = h.finish(bob, late)
		h.expect("too late", err, passkey.ErrCeremony)
	})
}

// again returns creation options with the challenge that a response has answered.
func (h *house) again(uid storage.UID, answered passkey.Response) []byte {
	h.t.Helper()
	var r struct {
		Response struct {
			ClientData []byte `json:"-"`
			Encoded    string `json:"clientDataJSON"`
		} `json:"response"`
	}
	check.Must(h.t, json.Unmarshal(answered, &r))
	var data struct {
		Challenge string `json:"challenge"`
	}
	check.Must(h.t, json.Unmarshal(fromBase64(h.t, r.Response.Encoded), &data))
	options, err := json.Marshal(map[string]any{
		"challenge": data.Challenge,
		"rp":        map[string]any{"id": "localhost", "name": "x"},
		"user":      map[string]any{"id": base64Of(uid[:]), "name": "x"},
	})
	check.Must(h.t, err)
	return options
}

func TestRegister_APasskeyBelongsToOneUser(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ada := h.user("ada")
		bob := h.user("bob")
		a := devicetest.NewAuthenticator(h.t)
		e := h.register(ada, device.TypeRoaming, a)
		for name, uid := range map[string]storage.UID{"another user": bob, "the same user": ada} {
			_, err := h.finish(uid, a.Create(h.creation(uid, device.TypeRoaming)))
			h.expect(name, err, device.ErrRegistered)
		}
		h.Update(func(tx *storage.Tx) error {
			one, err := device.Get(tx, ada, e.ID)
			if err != nil {
				return err
			}
			return device.Retire(tx, ada, one, nil)
		})
		if p := h.stored(ada, e.ID).WebAuthn; len(p.CredentialID)+len(p.PublicKey) > 0 {
			h.t.Errorf("of a retired passkey there is %+v", p)
		}
		_, err := h.finish(bob, a.Create(h.creation(bob, device.TypeRoaming)))
		h.expect("once it is removed", err, nil)
	})
}

func TestRegister_TheAttestationIsJudgedAsThePolicySays(t *testing.T) {
	forged := func(a *devicetest.Authenticator) {
		a.Format = "packed"
		a.Forged = true
	}
	for name, c := range map[string]struct {
		change    func(a *devicetest.Authenticator)
		none, any error
	}{
		"signed by the passkey": {func(*devicetest.Authenticator) {}, nil, nil},
		"none":                  {func(a *devicetest.Authenticator) { a.Format = "none" }, nil, nil},
		"forged":                {forged, nil, passkey.ErrRefused},
		"of an unknown format":  {func(a *devicetest.Authenticator) { a.Format = "unheard-of" }, nil, passkey.ErrRefused},
	} {
		for policy, want := range map[string]error{passkey.AttestationNone: c.none, passkey.AttestationAny: c.any} {
			t.Run(name+" under "+policy, func(t *testing.T) {
				onEveryEngine(t, func(h *house) {
					h.Set("passkey.attestation", policy)
					uid := h.user("ada")
					a := devicetest.NewAuthenticator(h.t)
					c.change(a)
					_, err := h.finish(uid, a.Create(h.creation(uid, device.TypeRoaming)))
					h.expect(name, err, want)
				})
			})
		}
	}
}

func TestRegister_AResetLeavesNothingOfPasskeys(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid := h.user("ada")
		a := devicetest.NewAuthenticator(h.t)
		h.register(uid, device.TypeRoaming, a)
		h.creation(uid, device.TypePlatform)
		h.request(uid)
		h.ExpectState("ada", "enrolled")
		h.Reset("ada")
		h.ExpectState("ada", "new")
		for _, planted := range [][]byte{a.Credential.ID, a.Aaguid[:], []byte(device.CredentialKey(a.Credential.ID)), a.Options.UserHandle} {
			if h.Holds(string(planted)) || h.Holds(base64Of(planted)) || h.Holds(standardOf(planted)) {
				h.t.Errorf("%x is still there", planted)
			}
		}
		h.View(func(tx *storage.Tx) error {
			some, err := device.HasPasskeys(tx)
			if some {
				h.t.Error("the index still has a passkey")
			}
			return err
		})
	})
}

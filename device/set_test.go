package device_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/device/push"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

var (
	types    = []device.Type{device.TypePush, device.TypeOTP, device.TypeRoaming, device.TypePlatform}
	statuses = []device.Status{device.Active, device.Suspended, device.Left, device.Retired}
)

// ofType makes an enrollment with what its type has.
func ofType(of device.Type, status device.Status) *device.Enrollment {
	e := &device.Enrollment{
		ID:       storage.NewID("dev_", 16),
		Type:     of,
		Name:     "an " + string(of),
		Status:   status,
		Enrolled: ground.Start,
		Changed:  ground.Start,
	}
	switch of {
	case device.TypePush:
		e.Push = device.PushBinding{Identifier: "a", Address: push.Address{Service: push.FCM, Token: "t"}.Keep()}
		e.OTP = device.OneTimeCodes{Secret: []byte("12345678901234567890")}
	case device.TypeOTP:
		e.OTP = device.OneTimeCodes{Secret: []byte("12345678901234567890")}
	case device.TypeRoaming, device.TypePlatform:
		id := storage.NewUID() // two users cannot have one passkey
		e.WebAuthn = device.Passkey{
			CredentialID:   id[:],
			PublicKey:      []byte{3},
			RelyingParty:   "example.com",
			AAGUID:         make([]byte, 16),
			Transports:     []string{"usb", "nfc"},
			SignCount:      7,
			BackupEligible: true,
			BackedUp:       true,
		}
	}
	return e
}

// give puts an enrollment among a user's, who is made when there is none.
func (h *house) give(id string, e *device.Enrollment) *device.Enrollment {
	h.t.Helper()
	h.update(func(tx *storage.Tx) error {
		u, err := user.Ensure(tx, user.User{ID: id})
		must(h.t, err)
		return device.Put(tx, u.UID, e)
	})
	return e
}

// TestSet_PicksByTypeAndStatus is the table of which rule means which enrollments.
func TestSet_PicksByTypeAndStatus(t *testing.T) {
	var set device.Set
	for _, of := range types {
		for _, status := range statuses {
			set = append(set, ofType(of, status))
		}
	}
	every := func(statuses ...device.Status) (list []string) {
		for _, of := range types {
			for _, status := range statuses {
				list = append(list, string(of)+" "+string(status))
			}
		}
		return list
	}
	for name, c := range map[string]struct {
		picked device.Set
		want   []string
	}{
		"active":        {set.Active(), every(device.Active)},
		"phones":        {set.Phones(), []string{"push active", "push left"}},
		"shown":         {set.Shown(), every(device.Active, device.Suspended, device.Left)},
		"kept":          {set.Kept(), every(device.Active, device.Suspended, device.Left)},
		"passkeys":      {set.Passkeys("example.com"), []string{"webauthn-roaming active", "webauthn-roaming left", "webauthn-platform active", "webauthn-platform left"}},
		"elsewhere":     {set.Passkeys("example.org"), nil},
		"installations": {set.Installations(), []string{"push active", "push suspended", "push left"}},
	} {
		var got []string
		for _, e := range c.picked {
			got = append(got, string(e.Type)+" "+string(e.Status))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestState_IsEnrolledByAnActiveAuthenticatorOfAnyType(t *testing.T) {
	h := newHouse(t, ground.Options{})
	for _, of := range types {
		for _, status := range statuses {
			id := string(of) + " " + string(status)
			h.give(id, ofType(of, status))
			want := user.RecoveryOnly
			if status == device.Active || status == device.Left {
				want = user.Enrolled
			}
			h.expectState(id, want)
		}
	}
	h.give("several", ofType(device.TypePush, device.Suspended))
	h.expectState("several", user.RecoveryOnly)
	h.give("several", ofType(device.TypeOTP, device.Active))
	h.expectState("several", user.Enrolled)
}

func TestEnrollment_OfEachTypeIsReadAsItWasWritten(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for _, of := range types {
			want := h.give("ada", ofType(of, device.Active))
			h.view(func(tx *storage.Tx) error {
				_, got, err := device.Find(tx, want.ID)
				must(h.t, err)
				if diff := cmp.Diff(want, got); diff != "" {
					h.t.Errorf("%s: %s", of, diff)
				}
				return nil
			})
		}
		rows := 0
		h.scan(func(key, value string) {
			if key[0] != 'u' || !strings.HasPrefix(key[17:], "enrollment\x00") {
				return
			}
			rows++
			for member, of := range map[string][]string{`"push":{`: {"push"}, `"otp":{`: {"push", "otp"}, `"webauthn":{`: {"webauthn-roaming", "webauthn-platform"}} {
				has := slices.ContainsFunc(of, func(name string) bool { return strings.Contains(value, `"type":"`+name+`"`) })
				if strings.Contains(value, member) != has {
					h.t.Errorf("the row has %s, or not: %s", member, value)
				}
			}
		})
		if rows != len(types) || h.holds("12345678901234567890") || h.holds("MTIzNDU2Nzg5MDEyMzQ1Njc4OTA") {
			h.t.Errorf("%d rows, or a secret in plain form", rows)
		}
	})
}

func TestEnroll_LeavesAuthenticatorsWithoutAKeyAlone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		var others []*device.Enrollment
		for _, of := range types[1:] {
			others = append(others, h.give("ada", ofType(of, device.Active)), h.give("ada", ofType(of, device.Suspended)))
		}
		h.enroll("ada", "a").ExpectStatus(device.Active)
		for _, e := range others {
			h.view(func(tx *storage.Tx) error {
				_, now, err := device.Find(tx, e.ID)
				must(h.t, err)
				if now.Status != e.Status {
					h.t.Errorf("%s is %s, and was %s", e.Type, now.Status, e.Status)
				}
				return nil
			})
		}
	})
}

// TestProve_KnowsNoCallsOfAnAuthenticatorThatMakesNone: without the rule a type, whoever presents nothing would be compared
// with nothing.
func TestProve_KnowsNoCallsOfAnAuthenticatorThatMakesNone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		for _, of := range types[1:] {
			id := h.give("ada", ofType(of, device.Active)).ID
			for name, bearer := range map[string]string{
				"nothing":        "",
				"another's":      p.Enrolled.Token,
				"another's JWT":  p.JWT(map[string]any{"iss": id}),
				"a JWT unsigned": "eyJhbGciOiJub25lIn0." + b64(encode(h.t, p.Claims(map[string]any{"iss": id}))) + ".",
			} {
				_, err := h.Prove(context.Background(), id, bearer, false)
				expect(h.t, string(of)+", "+name, err, device.ErrNoEnrollment)
			}
		}
	})
}

func TestRetire_ErasesTheSecretOfOneTimeCodes(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.give("ada", ofType(device.TypePlatform, device.Active))
	codes := h.give("ada", ofType(device.TypeOTP, device.Active))
	must(t, h.home.Admins.RemoveEnrollment(context.Background(), codes.ID, audit.ByOperator(0)))
	h.view(func(tx *storage.Tx) error {
		_, e, err := device.Find(tx, codes.ID)
		if e.Status != device.Retired || len(e.OTP.Secret) != 0 {
			t.Errorf("%+v", e)
		}
		return err
	})
}

func TestAuthenticated_NotesTheLoginOfEveryTypeAndTheFirstCallOfAnApp(t *testing.T) {
	h := newHouse(t, ground.Options{})
	for _, of := range types {
		e := h.give("ada", ofType(of, device.Active))
		for _, satisfied := range []bool{false, true} {
			h.update(func(tx *storage.Tx) error {
				uid, read, err := device.Find(tx, e.ID)
				must(t, err)
				return device.Authenticated(tx, uid, read, device.Showing{Signed: of == device.TypePush, Satisfied: satisfied})
			})
			h.view(func(tx *storage.Tx) error {
				_, now, err := device.Find(tx, e.ID)
				must(t, err)
				if now.LastAuth.IsZero() == satisfied || now.Push.Seen != (of == device.TypePush) {
					t.Errorf("%s, satisfied %t: last login %v, seen %t", of, satisfied, now.LastAuth, now.Push.Seen)
				}
				return nil
			})
		}
	}
}

func TestAuthenticated_AOneTimeCodeIsNoCallOfThePhonesApp(t *testing.T) {
	h := newHouse(t, ground.Options{})
	p := h.enroll("ada", "a")
	h.update(func(tx *storage.Tx) error {
		uid, e, err := device.Find(tx, p.Enrolled.ID)
		must(t, err)
		return device.Authenticated(tx, uid, e, device.Showing{Satisfied: true})
	})
	if e := p.Enrollment(); e.Push.Seen || e.LastAuth.IsZero() {
		t.Errorf("seen %t, last login %v", e.Push.Seen, e.LastAuth)
	}
}

package device

import (
	"tutela/storage"
	"tutela/storage/setting"
)

// Factor is a kind of factor that an installation may offer, as the Management API names it.
type Factor string

// The factors. The recovery code is not an authenticator, but is switched on and off like one.
const (
	FactorPush     Factor = "push-notification"
	FactorOTP      Factor = "otp"
	FactorRoaming  Factor = "webauthn-roaming"
	FactorPlatform Factor = "webauthn-platform"
	FactorCode     Factor = "recovery-code"
)

// FactorOf returns the factor that a type of enrollment belongs to.
func FactorOf(t Type) Factor {
	if t == TypePush {
		return FactorPush
	}
	return Factor(t)
}

// factors holds the setting of each factor. A factor that is off is not offered or asked at a login, and cannot be
// enrolled. Its enrollments stay, and count again once the factor is on.
var factors = map[Factor]*setting.Setting[string]{
	FactorPush:     setting.OneOf("factor.push", "whether logins ask phones, and phones may enrol", on, off),
	FactorOTP:      setting.OneOf("factor.otp", "whether logins take one-time codes, and apps that show codes may enrol", on, off),
	FactorRoaming:  setting.OneOf("factor.webauthn_roaming", "whether logins take security keys, and security keys may enrol", on, off),
	FactorPlatform: setting.OneOf("factor.webauthn_platform", "whether logins take passkeys of phones and computers, and these may enrol", on, off),
	FactorCode:     setting.OneOf("factor.recovery_code", "whether logins take the recovery code; restores always take it", on, off),
}

const (
	on  = "on"
	off = "off"
)

// ErrFactorOff reports a factor that is switched off in this installation.
var ErrFactorOff = storage.NewError(storage.Denied, "this factor is switched off here: use another one")

// FactorSetting returns the name of the setting by which a factor is switched on and off, and whether there is such a factor.
func FactorSetting(f Factor) (name string, known bool) {
	s, known := factors[f]
	if !known {
		return "", false
	}
	return s.Name(), true
}

// FactorValue returns what the setting of a factor is set to.
func FactorValue(enabled bool) string {
	if enabled {
		return on
	}
	return off
}

// FactorOn reports whether a factor is switched on. An unknown factor is off.
func FactorOn(tx *storage.Tx, f Factor) (bool, error) {
	s, known := factors[f]
	if !known {
		return false, nil
	}
	value, err := s.Get(tx)
	return value == on, err
}

// TicketTakes reports whether a ticket for a factor, or "" for any, lets another factor enrol.
func TicketTakes(ticket string, f Factor) bool { return ticket == "" || Factor(ticket) == f }

// RequireFactor returns an error unless a factor is switched on.
//
// Errors: ErrFactorOff.
func RequireFactor(tx *storage.Tx, f Factor) error {
	enabled, err := FactorOn(tx, f)
	if err == nil && !enabled {
		err = ErrFactorOff.With("the factor %s is switched off here: use another one", f)
	}
	return err
}

// FactorsOn returns those of the given factors that are switched on, in the same order.
func FactorsOn(tx *storage.Tx, of ...Factor) (list []Factor, err error) {
	for _, f := range of {
		enabled, err := FactorOn(tx, f)
		if err != nil {
			return nil, err
		}
		if enabled {
			list = append(list, f)
		}
	}
	return list, nil
}

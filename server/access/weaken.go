package access

import (
	"slices"
	"strconv"

	"tutela/storage"
)

// ErrWeakens reports a policy that would become weaker than the caller may make it.
var ErrWeakens = storage.NewError(storage.Denied, "this policy is weakened by the operator only")

// strongest lists the values of policies from the strongest to the weakest.
var strongest = map[string][]string{
	"approval.presence":         {"number", "prefer-number", "tap"},
	"enrollment.after_reset":    {"ticket", "open"},
	"passkey.clone":             {"refuse", "accept"},
	"passkey.user_verification": {"required", "preferred", "discouraged"},
	"restore.dispute":           {"suspend", "tell"},
	"restore.veto":              {"on", "alive", "off"},
}

// fewestDigits is how many digits a login should show at least.
//
// Source: NIST SP 800-63B-4 §3.1.3 (at least six decimal digits).
const fewestDigits = 6

// Weakens reports whether a policy would let in whom it keeps out now.
func Weakens(name, from, to string) bool {
	if order, ranked := strongest[name]; ranked {
		return slices.Index(order, to) > slices.Index(order, from)
	}
	if name == "approval.digits" {
		before, err := strconv.Atoi(from)
		after, err2 := strconv.Atoi(to)
		return err == nil && err2 == nil && after < before && after < fewestDigits
	}
	return false
}

package access

import (
	"slices"
	"strconv"

	"tutela/recovery/user"
	"tutela/storage"
)

// Caller is who makes a management call. The zero Caller may nothing.
type Caller struct {
	ClientID string
	Scopes   []string
	ActsAs   storage.UID // the user for whom the client acts; House: nobody

	operator string // "operator:<uid>" of the operating system; such a caller has every scope
}

// ErrAdminResetRefused is that of a change of factors which this caller may not make to this user.
var ErrAdminResetRefused = storage.NewError(storage.Denied, "the factors of this user are not for this caller to change")

// Operator is the caller on the machine itself, known by the user id of the operating system.
func Operator(osUserID int) Caller { return Caller{operator: "operator:" + strconv.Itoa(osUserID)} }

// IsOperator tells whether the caller is an operator.
func (c Caller) IsOperator() bool { return c.operator != "" }

// Has tells whether the caller has a scope.
func (c Caller) Has(scope string) bool { return c.IsOperator() || slices.Contains(c.Scopes, scope) }

// By names the caller in an event: "operator:<uid>" or "client:<id>".
func (c Caller) By() string {
	if c.IsOperator() {
		return c.operator
	}
	return "client:" + c.ClientID
}

// MayChangeFactors is the rule for every call that adds, replaces or removes a factor, a code, a ticket or the user:
// nobody does it to himself, and to a user with role admin or owner only a client with reset:admin_mfa does, or the
// operator.
//
// Errors: ErrAdminResetRefused.
func MayChangeFactors(caller Caller, target storage.UID, role user.Role) error {
	switch {
	case caller.IsOperator():
		return nil
	case !caller.ActsAs.IsZero() && caller.ActsAs == target:
		return ErrAdminResetRefused.With("nobody changes his own factors by a management call")
	case (role == user.Admin || role == user.Owner) && !caller.Has(ScopeResetAdminMFA):
		return ErrAdminResetRefused.With("the factors of an admin are changed with scope %s only", ScopeResetAdminMFA)
	}
	return nil
}

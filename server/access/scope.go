package access

import (
	"slices"
	"strings"

	"tutela/recovery/admin"
	"tutela/storage"
	"tutela/storage/audit"
)

// The grants that a client can be registered for, each by its grant_type.
const (
	GrantCIBA              = "urn:openid:params:grant-type:ciba"                   // OpenID CIBA Core 1.0 §10.1
	GrantClientCredentials = "client_credentials"                                  // RFC 6749 §4.4; a management token
	GrantAuthorizationCode = "authorization_code"                                  // RFC 6749 §4.1; hosted pages
	GrantOTP               = "http://auth0.com/oauth/grant-type/mfa-otp"           // a one-time code
	GrantOOB               = "http://auth0.com/oauth/grant-type/mfa-oob"           // an approval
	GrantRecoveryCode      = "http://auth0.com/oauth/grant-type/mfa-recovery-code" // the recovery code
	GrantPasskey           = "urn:tutela:params:grant-type:mfa-webauthn"           // a passkey
)

var grants = []string{
	GrantCIBA, GrantClientCredentials, GrantAuthorizationCode, GrantOTP, GrantOOB, GrantRecoveryCode, GrantPasskey,
}

// ScopeOpenID is the scope of every login. Source: OpenID Connect Core 1.0 §3.1.2.1.
const ScopeOpenID = "openid"

// Our own scopes, as far as they open more than one call.
const (
	ScopeReadUsers     = "read:users"
	ScopeResetAdminMFA = admin.ScopeResetAdminMFA
	ScopeManageClients = "manage:clients"
)

// ErrScope reports a caller who has none of the scopes that the call asks for.
var ErrScope = storage.NewError(storage.Denied, "Insufficient scope")

// loginScopes say something about a login and open no management call. They are those of OpenID Connect Core 1.0 §5.4
// and of the MFA API.
var loginScopes = []string{
	ScopeOpenID, "profile", "email", "address", "phone", ScopeEnroll, ScopeReadAuthenticators, ScopeRemoveAuthenticators,
}

// ourScopes are the management scopes that Auth0 does not have.
var ourScopes = []string{
	"reset:mfa", ScopeResetAdminMFA, "issue:recovery_codes", "read:recoverability", "read:stats", "manage:webhooks",
	ScopeManageClients, "manage:policies", "ssf.read", "ssf.manage",
}

// oddScopes are the scopes of Auth0 that are not one of the four verbs on a thing.
var oddScopes = []string{"blacklist:tokens"}

// Every other scope of Auth0's Management API v2 is a verb on a thing. Auth0 changes from time to time which verb goes with
// which thing, so we accept all pairs. A scope for which we have no call opens nothing.
var (
	auth0Verbs  = []string{"create", "read", "update", "delete"}
	auth0Things = strings.Fields(`
		actions actions_log_sessions anomaly_blocks attack_protection authentication_methods branding client_credentials
		client_grants client_keys clients connection_profiles connections connections_keys connections_options
		current_user current_user_device_credentials current_user_identities current_user_metadata custom_domains
		custom_signing_keys device_credentials directory_provisionings email_provider email_templates encryption_keys
		entitlements event_deliveries event_streams federated_connections_tokens flows flows_executions flows_vault
		flows_vault_connections forms grants group_members groups guardian_enrollment_tickets guardian_enrollments
		guardian_factors hooks insights integrations limits log_streams logs logs_users mfa_policies network_acls
		organization_client_grants organization_connections organization_discovery_domains organization_invitations
		organization_member_roles organization_members organizations organizations_summary passwords_checking_job
		phone_providers phone_templates prompts refresh_tokens resource_servers role_members roles rules rules_configs
		scim_config scim_token security_metrics self_service_profile_custom_texts self_service_profiles sessions shields
		signing_keys sso_access_tickets stats tenant_settings token_exchange_profiles triggers user_attribute_profiles
		user_custom_blocks user_idp_tokens user_tickets users users_app_metadata vdcs_templates`)
)

// knownScope reports whether a client can have the scope.
func knownScope(scope string) bool {
	if slices.Contains(loginScopes, scope) || slices.Contains(ourScopes, scope) || slices.Contains(oddScopes, scope) {
		return true
	}
	verb, thing, _ := strings.Cut(scope, ":")
	return slices.Contains(auth0Verbs, verb) && slices.Contains(auth0Things, thing)
}

// defaultGrants returns the grants of a client that names none: every way to satisfy a login if the client may ask for
// logins, and management tokens if it has a scope for a management call.
func defaultGrants(scopes []string) []string {
	var granted []string
	if slices.Contains(scopes, ScopeOpenID) {
		granted = append(granted, GrantCIBA, GrantOTP, GrantOOB, GrantRecoveryCode, GrantPasskey)
	}
	if slices.ContainsFunc(scopes, func(scope string) bool { return !slices.Contains(loginScopes, scope) }) {
		granted = append(granted, GrantClientCredentials)
	}
	return granted
}

// RequireScope returns an error unless the caller has at least one of the scopes.
//
// Errors: ErrScope, worded as Auth0's Management API words it.
func RequireScope(caller audit.Actor, anyOf ...string) error {
	if slices.ContainsFunc(anyOf, caller.Has) {
		return nil
	}
	return ErrScope.With("Insufficient scope, expected any of: %s", strings.Join(anyOf, ","))
}

package audit

// Fact names what an event says beside its type.
type Fact string

// The facts. Each is declared here, once, so that a reader of the log finds all of them in one place.
const (
	FactActsAs       Fact = "acts_as"       // uid of the user for whom a client acts
	FactAlg          Fact = "alg"           // of a signing key (RFC 7518)
	FactCall         Fact = "call"          // a management call: one of the Call words
	FactChange       Fact = "change"        // of the installation: one of the Change words
	FactChannel      Fact = "channel"       // through which a recovery code was tried
	FactCode         Fact = "code"          // CodeFresh, when an answer that was given again brought another recovery code
	FactClock        Fact = "clock"         // how the clock was settled: a storage.Settlement
	FactConsent      Fact = "consent"       // whether the phone that answered was shown the details of the login: one of the Consent words
	FactDeliveryMode Fact = "delivery_mode" // of a client, when it does not poll: DeliveryPing
	FactDevice       Fact = "device"        // what was changed of an enrollment: one of the Device words
	FactEmail        Fact = "email"         // EmailChanged, of a user
	FactEvent        Fact = "event"         // id of the event of which its user says that it was not she
	FactEarlier      Fact = "earlier"       // EarlierRevoked, when a backup's earlier handles were ended
	FactFactor       Fact = "factor"        // of an enrollment that was made, removed, suspended or resumed: one of the Factor words
	FactFolded       Fact = "folded"        // FoldedOthers or FoldedOlder
	FactIDTokenAlg   Fact = "id_token_alg"  // that signs a client's ID tokens
	FactIdentifier   Fact = "identifier"    // IdentifierChanged, when the phone that answered gives another identifier than before
	FactKid          Fact = "kid"           // of a signing key
	FactMembers      Fact = "members"       // of a client that became others: their names, with spaces between them
	FactMethod       Fact = "method"        // that satisfied a login, as its amr says (RFC 8176)
	FactPasskey      Fact = "passkey"       // what is new about a passkey: one of the Passkey words
	FactPolicy       Fact = "policy"        // its name
	FactPresence     Fact = "presence"      // how a login shows that the person is there: one of the Presence words
	FactProvider     Fact = "provider"      // that keeps a backup
	FactReason       Fact = "reason"        // of a restore's step; of a push that was not taken, the service's own word
	FactReceipt      Fact = "receipt"       // id of a reset's receipt
	FactRequestAlg   Fact = "request_alg"   // by which a client signs its authentication requests
	FactRing         Fact = "ring"          // version of the ring of keys
	FactRole         Fact = "role"          // that a user was given; empty: none
	FactSHA256       Fact = "sha256"        // hash of the signed content of a reset's receipt, in hex
	FactScope        Fact = "scope"         // scopes of a client, with spaces between them
	FactSession      Fact = "session"       // of an admin: one of the Session words
	FactService      Fact = "service"       // the push service: FCM, APNS or WEBPUSH, which may be followed by a hash of its host
	FactStatus       Fact = "status"        // that an enrollment, its push address, or a push service's credentials now have; of a management call that failed, the answer's
	FactStream       Fact = "stream"        // of signals: its id
	FactStep         Fact = "step"          // that a restore began with
	FactValue        Fact = "value"         // that a policy was set to
	FactWebhook      Fact = "webhook"       // its id
	FactWas          Fact = "was"           // the enrollment's status before, when it was not active
	FactWay          Fact = "way"           // how a login will be satisfied: WayGrant
	FactWhy          Fact = "why"           // one of the Why words
)

// Word is the value of a fact: a word from a fixed list, or an id that is no person's data (a key, a policy, a
// receipt).
type Word string

// Facts are what an event says beside its type.
type Facts map[Fact]Word

// MethodPrivateKey is how a client authenticates that has keys and no secret.
const MethodPrivateKey Word = "private_key_jwt"

// DeliveryPing is how a client is told that an approval is decided.
const DeliveryPing Word = "ping"

// MethodRemembered is what has satisfied a login of a browser that was remembered.
const MethodRemembered Word = "remembered"

// Why something happened.
const (
	WhyAdmin          Word = "admin"           // an enrollment was removed by an admin
	WhyBudget         Word = "budget"          // no push was sent: the client has used the user's push budget up
	WhyCode           Word = "code"            // a login failed: the one-time code was wrong, or was spent
	WhyDevice         Word = "device"          // an enrollment was removed by its own phone
	WhyEnrolmentToken Word = "enrolment_token" // an enrollment was removed, or its backup moved, by somebody who had just proven a factor
	WhyHack           Word = "hack"            // a login was denied: the person says that somebody attacks her
	WhyMuted          Word = "muted"           // no push was sent: the person denied a login from this address
	WhyNotMe          Word = "not_me"          // a login was denied, or an enrollment suspended: the person says that it was not she
	WhyNumber         Word = "number"          // a login failed: the number was not the one that the login shows
	WhyPasskey        Word = "passkey"         // a login failed: the passkey may have a copy, or is another kind than was registered
	WhyReplaced       Word = "replaced"        // an enrollment was removed: the same phone enrolled again
	WhyRecoveryCode   Word = "recovery_code"   // an enrollment that its user had disowned is back: she logged in with her recovery code
	WhyRestored       Word = "restored"        // a backup was moved: its phone was restored
	WhyTicket         Word = "ticket"          // an enrollment was removed, or its backup moved: a ticket let another phone take its place
)

// What came of it when somebody said that something was not she.
const (
	NotMeReported  Word = "reported"  // admins and phones were told
	NotMeSuspended Word = "suspended" // and what was new was suspended
)

// Why a push was not taken.
const (
	WhyBusy        Word = "busy"        // the service cannot take it now
	WhyForbidden   Word = "forbidden"   // a webhook's address is not of the internet, and not allowed
	WhyTimeout     Word = "timeout"     // a webhook does not answer in time
	WhyGone        Word = "gone"        // nobody uses the address any more
	WhyMismatch    Word = "mismatch"    // the address does not fit this server's set-up
	WhySetup       Word = "setup"       // the service takes nothing from this server as it is set up
	WhyUnfit       Word = "unfit"       // the service will never take this message
	WhyUnreachable Word = "unreachable" // the service does not answer
	WhyBacklog     Word = "backlog"     // so much waits for a webhook that no more is kept
	WhyUnread      Word = "unread"      // nobody has polled a stream for a week
	WhyWave        Word = "wave"        // the service says of too many addresses that they are gone, and is not believed
)

// The states of a push address.
const (
	AddressLost Word = "lost"
	AddressOK   Word = "ok"
)

// Whether the phone that answered was shown the details of the login.
const (
	ConsentShown  Word = "shown"
	ConsentUnseen Word = "unseen" // there are authorization_details, and it has not asked for them
)

// CodeFresh says that the recovery code was replaced, since nobody can have got it.
const CodeFresh Word = "fresh"

// EmailChanged says that a user has another email address, or none any more.
const EmailChanged Word = "changed"

// How a phone answered whether its person rings the help desk.
const (
	CallerApproved Word = "approved"
	CallerDenied   Word = "denied"
	CallerWrong    Word = "wrong_number"
)

// FoldedOlder says that the event stands for the oldest of its type about a user, of whom there were too many.
const FoldedOlder Word = "older"

// FoldedOthers says that the event stands for what found no room in a fold of its own.
const FoldedOthers Word = "others"

// EarlierRevoked says that no earlier handle of a backup finds it any more.
const EarlierRevoked Word = "revoked"

// How a login shows that the person is there.
const (
	PresenceNumber Word = "number" // digits of the screen are typed on the phone
	PresenceTap    Word = "tap"    // on the phone, alone
)

// WayGrant says that a grant will satisfy the login. Without it, an approval will.
const WayGrant Word = "grant"

// The Factor words: the types of enrollments.
const (
	FactorPush     Word = "push"
	FactorOTP      Word = "otp"
	FactorRoaming  Word = "webauthn-roaming"
	FactorPlatform Word = "webauthn-platform"
)

// The statuses that an enrollment is given.
const (
	StatusActive    Word = "active"
	StatusSuspended Word = "suspended"
)

// The Device words.
const (
	DeviceAddress      Word = "address"      // its push token or identifier
	DeviceCapabilities Word = "capabilities" // it has given some up
	DeviceName         Word = "name"         // by its user, on her own page
)

// What is new about a passkey.
const (
	PasskeyBound    Word = "bound"    // it says that it cannot be copied, after it said that it can: it is refused
	PasskeyCopyable Word = "copyable" // it can be copied to other devices, after it said that it cannot
	PasskeyCopied   Word = "copied"   // its count did not advance: there may be a copy of it
	PasskeyRemoved  Word = "removed"  // that opens the dashboard: another has taken its place, or it was removed
	PasskeyAdded    Word = "added"    // that opens the dashboard
	PasskeyReplaced Word = "replaced" // those that open the dashboard, once the invite is used
)

// What became of a session of the dashboard.
const (
	SessionInvited   Word = "invited"    // it began with the passkey that an invite was for
	SessionStarted   Word = "started"    // by a passkey
	SessionProved    Word = "proved"     // the passkey was shown again
	SessionSignedOut Word = "signed_out" // by its admin
	SessionEnded     Word = "ended"      // from another session
)

// IdentifierChanged says that the phone that answered gives another identifier than before.
const IdentifierChanged Word = "changed"

// What was changed of the installation.
const (
	ChangeClient        Word = "client"
	ChangeClientRemoved Word = "client_removed"
	ChangeClientSecret  Word = "client_secret"
	ChangeClock         Word = "clock"
	ChangeDamage        Word = "damage_dropped"
	ChangePolicy        Word = "policy"
	ChangePush          Word = "push_credentials"

	ChangeStream        Word = "stream"
	ChangeStreamRemoved Word = "stream_removed"

	ChangeWebhook        Word = "webhook"
	ChangeWebhookRemoved Word = "webhook_removed"
	ChangeWebhookSecret  Word = "webhook_secret"
)

// The states of credentials for a push service.
const (
	CredentialsExpired  Word = "expired"
	CredentialsOK       Word = "ok"
	CredentialsUnusable Word = "unusable" // missing or incomplete: the service counts as not set up
)

// The calls that admins and their programs make. Those of the Management API have the names of their operations there,
// with underscores.
const (
	CallBlock                Word = "block"
	CallCheckCaller          Word = "caller_check"
	CallGetCallerCheck       Word = "get_caller_check"
	CallExportUser           Word = "export_user"
	CallGetRestores          Word = "get_user_restores"
	CallCreateMethod         Word = "create_authentication_method"
	CallCreateTicket         Word = "create_ticket"
	CallCreateUser           Word = "create_user"
	CallDeleteAuthenticators Word = "delete_authenticators"
	CallDeleteEnrollment     Word = "delete_enrollment"
	CallDeleteMethod         Word = "delete_authentication_method"
	CallDeleteMethods        Word = "delete_authentication_methods"
	CallDeleteProvider       Word = "delete_multifactor_provider"
	CallDeleteUser           Word = "delete_user"
	CallForgetBrowsers       Word = "invalidate_remember_browser"
	CallGetBackups           Word = "get_user_backups"
	CallGetBlocks            Word = "get_user_blocks"
	CallGetBlocksBy          Word = "get_user_blocks_by_identifier"
	CallGetEnrollment        Word = "get_enrollment"
	CallGetEnrollments       Word = "get_user_enrollments"
	CallGetLog               Word = "get_log"
	CallGetMethod            Word = "get_authentication_method"
	CallGetRecoverability    Word = "get_recoverability"
	CallGetStats             Word = "get_stats"
	CallGetUser              Word = "get_user"
	CallInviteAdmin          Word = "invite_admin"
	CallListFactors          Word = "get_factors"
	CallListLogs             Word = "list_logs"
	CallListMethods          Word = "list_authentication_methods"
	CallListUserLogs         Word = "list_user_logs"
	CallListUsers            Word = "list_users"
	CallListUsersAtRisk      Word = "list_users_at_risk"
	CallListUsersByEmail     Word = "users_by_email"
	CallOtherFactor          Word = "other_factor"
	CallRegenerateCode       Word = "recovery_code_regeneration"
	CallReplaceMethods       Word = "replace_authentication_methods"
	CallReset                Word = "mfa_reset"
	CallResetSeveral         Word = "mfa_resets"
	CallResumeEnrollment     Word = "resume_enrollment"
	CallSetFactor            Word = "put_factor"
	CallSetRole              Word = "role"
	CallSuspendEnrollment    Word = "suspend_enrollment"
	CallUnblock              Word = "unblock"
	CallUndeleteBackup       Word = "undelete_user_backup"
	CallUnlock               Word = "user_blocks"
	CallUnlockBy             Word = "user_blocks_by_identifier"
	CallUpdateMethod         Word = "update_authentication_method"
	CallUpdateUser           Word = "update_user"
)

// The calls by which admins' programs read and set what holds for the whole installation.
const (
	CallChangeClient        Word = "update_client"
	CallChangePolicies      Word = "patch_policies"
	CallCreateClient        Word = "create_client"
	CallDeleteClient        Word = "delete_client"
	CallGetClient           Word = "get_client"
	CallGetGuardianPolicies Word = "get_policies"
	CallGetGuardianSettings Word = "get_settings"
	CallGetMFAPush          Word = "get_prompts_mfa_push"
	CallGetPasskeyPlatform  Word = "get_webauthn_platform"
	CallGetPasskeyRoaming   Word = "get_webauthn_roaming"
	CallGetPushAPNs         Word = "get_push_apns"
	CallGetPushProvider     Word = "get_push_provider"
	CallListClients         Word = "list_clients"
	CallListPolicies        Word = "list_policies"
	CallPatchMFAPush        Word = "patch_prompts_mfa_push"
	CallPatchPushAPNs       Word = "patch_push_apns"
	CallPatchPushFCM        Word = "patch_push_fcmv1"
	CallRotateClientSecret  Word = "rotate_client_secret"
	CallSetGuardianSettings Word = "put_settings"
	CallSetGuardianPolicies Word = "put_policies"
	CallSetPasskeyPlatform  Word = "put_webauthn_platform"
	CallSetPasskeyRoaming   Word = "put_webauthn_roaming"
	CallSetPushAPNs         Word = "set_push_apns"
	CallSetPushFCM          Word = "set_push_fcmv1"
	CallTestPush            Word = "test_push"
	CallSetPushProvider     Word = "put_push_provider"
)

// The calls about webhooks.
const (
	CallCreateWebhook  Word = "create_webhook"
	CallDeleteWebhook  Word = "delete_webhook"
	CallGetWebhook     Word = "get_webhook"
	CallListDeliveries Word = "list_webhook_deliveries"
	CallListWebhooks   Word = "list_webhooks"
	CallRetryDelivery  Word = "retry_webhook_delivery"
	CallRotateWebhook  Word = "rotate_webhook"
	CallTestWebhook    Word = "test_webhook"
	CallUpdateWebhook  Word = "update_webhook"
)

// The calls about streams of signals.
const (
	CallAddSubject      Word = "add_stream_subject"
	CallCreateStream    Word = "create_stream"
	CallDeleteStream    Word = "delete_stream"
	CallGetStreams      Word = "get_streams"
	CallGetStreamStatus Word = "get_stream_status"
	CallPollStream      Word = "poll_stream"
	CallRemoveSubject   Word = "remove_stream_subject"
	CallReplaceStream   Word = "replace_stream"
	CallSetStreamStatus Word = "update_stream_status"
	CallUpdateStream    Word = "update_stream"
	CallVerifyStream    Word = "verify_stream"
)

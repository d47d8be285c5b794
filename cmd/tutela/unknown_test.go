package main

import (
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tutela/device/devicetest"
	"tutela/device/otp"
	"tutela/device/phone"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/server/operator"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/storagetest"
	"tutela/storage/storagetest/check"
)

// repeated is a call that writes, and what its repeat may do when the outcome of the first is unknown.
type repeated struct {
	name string
	// prepare makes the request ready, once, and returns what sends it, each time the same.
	prepare func(m *mounted) (send func() reply)
	// done accepts the answer to a repeat when the first was kept; nil: a 2xx, as of a first call.
	done func(reply) bool
	// leaves are the tables in which a repeat leaves rows beside those of the first, which no caller knows.
	leaves []string
}

// sent prepares a request with a JSON body that is made once.
func sent(method, path string, body func(m *mounted) any, header func(m *mounted) []string) func(*mounted) func() reply {
	return func(m *mounted) func() reply {
		object := body(m)
		fields := header(m)
		return func() reply { return m.json(method, m.fill(path), object, fields...) }
	}
}

func object(pairs ...any) func(*mounted) any {
	return func(*mounted) any {
		o := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			o[pairs[i].(string)] = pairs[i+1]
		}
		return o
	}
}

// bearer returns the header of a call that shows the secret that m holds by a name.
func bearer(held string) func(*mounted) []string {
	return func(m *mounted) []string { return []string{"Authorization", "Bearer " + m.held[held]} }
}

// formed prepares a form that is made once.
func formed(path string, pairs func(m *mounted) []string) func(*mounted) func() reply {
	return func(m *mounted) func() reply {
		values := pairs(m)
		return func() reply { return m.form(path, values...) }
	}
}

func fixed(pairs ...string) func(*mounted) []string {
	return func(*mounted) []string { return pairs }
}

// answers returns a done: the status, and the code when there is one.
func answers(status int, code string) func(reply) bool {
	return func(r reply) bool {
		return r.status == status && (code == "" || r.member("errorCode") == code || r.member("error") == code)
	}
}

const managed = "management_token"

// afterReset are the tables that a second reset writes to, which removes nothing: it has a receipt of its own, and webhooks
// and streams are told.
var afterReset = []string{"receipt", "receipt_evidence", "outbox", "signal_held"}

// repeatedCalls are all calls that write. docs/protocol/README.md tells of those with a done or leaves of their own.
var repeatedCalls = []repeated{
	{name: "enroll", prepare: sent("POST", "/api/enroll", func(m *mounted) any { return m.installation() },
		func(m *mounted) []string { return []string{"Authorization", `Ticket id="` + m.ticket("anna") + `"`} })},
	{name: "change the phone", prepare: sent("PATCH", "/api/device-accounts/:id", object("name", "Pixel 10"), bearer("device_jwt"))},
	{name: "leave", prepare: sent("DELETE", "/api/device-accounts/:id", object(), bearer("device_jwt")), done: answers(404, "device_account_not_found")},
	{name: "answer", prepare: func(m *mounted) func() reply {
		return func() reply {
			return m.json("POST", "/api/resolve-transaction", map[string]string{"challenge_response": m.held["challenge_response"]},
				"Authorization", "Bearer "+m.held[string(keyring.TransactionToken)])
		}
	}},
	{name: "read what a login is about", done: answers(401, "invalid_token"), prepare: func(m *mounted) func() reply {
		return func() reply {
			return m.call("GET", "/rich-consents/"+m.waiting.ConsentID, "", "MFA-DPoP", m.held["consent_proof"],
				"Authorization", "MFA-DPoP "+m.held[string(keyring.TransactionToken)])
		}
	}},
	{name: "put a backup", prepare: func(m *mounted) func() reply {
		return func() reply {
			return m.call("PUT", m.fill("/api/device-accounts/:id")+"/backup", "", "Content-Type", "application/octet-stream",
				"If-Match", `"1"`, "Backup-Manifest", m.held["manifest"], "Authorization", "Bearer "+m.held["device_jwt"])
		}
	}},
	{name: "delete the backup", prepare: sent("DELETE", "/api/device-accounts/:id/backup", object(), bearer("device_jwt")), done: answers(404, "backup_not_found")},
	{name: "undelete the backup", prepare: func(m *mounted) func() reply {
		header := []string{"Authorization", "Bearer " + m.held["device_jwt"]}
		m.ok(m.call("DELETE", m.fill("/api/device-accounts/:id/backup"), "", header...))
		return func() reply {
			return m.json("POST", m.fill("/api/device-accounts/:id")+"/backup/undelete", nil, header...)
		}
	}},
	{name: "a new handle", leaves: []string{"backup.handle", "outbox", "notice"}, prepare: sent("POST", "/api/device-accounts/:id/backup/handle", object(), bearer("device_jwt"))},
	{name: "practise", prepare: func(m *mounted) func() reply {
		return func() reply {
			return m.json("POST", m.fill("/api/device-accounts/:id")+"/recovery-code/check", map[string]string{"recovery_code": m.held["recovery_code"]},
				"Authorization", "Bearer "+m.held["device_jwt"])
		}
	}},
	{name: "lose the code", prepare: sent("POST", "/api/device-accounts/:id/recovery-code/lost", object(), bearer("device_jwt"))},
	{name: "start a restore", leaves: []string{"restore", "outbox", "notice"}, prepare: sent("POST", "/api/restores",
		func(m *mounted) any { return m.installation("restore_handle", m.held["restore_handle"]) }, fixed())},
	{name: "restore", prepare: func(m *mounted) func() reply {
		return func() reply {
			return m.json("POST", "/api/restores/"+m.restoreID+"/recovery-code", map[string]string{"recovery_code": m.held["recovery_code"]},
				"Authorization", "Bearer "+m.held["restore_token"])
		}
	}},
	{name: "restore as new", prepare: func(m *mounted) func() reply {
		return func() reply {
			return m.json("POST", "/api/restores/"+m.restoreID+"/first-time-setup", nil, "Authorization", "Bearer "+m.held["restore_token"])
		}
	}},
	{name: "veto", prepare: sent("POST", "/api/restores/:id/veto", object(), bearer("device_jwt"))},
	{name: "dispute", prepare: func(m *mounted) func() reply {
		m.ok(m.json("POST", "/api/restores/"+m.restoreID+"/recovery-code", map[string]string{"recovery_code": m.held["recovery_code"]},
			"Authorization", "Bearer "+m.held["restore_token"]))
		return func() reply {
			return m.json("POST", "/api/restores/"+m.restoreID+"/dispute", nil, "Authorization", "Bearer "+m.held["device_jwt"])
		}
	}},
	{name: "a lost answer, made anew", done: answers(401, "invalid_token"), prepare: func(m *mounted) func() reply {
		key, err := phone.NewKey(phone.ES256)
		m.must(err)
		public, err := key.Public(false)
		m.must(err)
		started := m.ok(m.json("POST", "/api/restores", m.installation("restore_handle", m.held["restore_handle"], "public_key", public)))
		path := "/api/restores/" + started.member("id")
		token := "Bearer " + started.member("token")
		m.ok(m.json("POST", path+"/recovery-code", map[string]string{"recovery_code": m.held["recovery_code"]}, "Authorization", token))
		_, err = m.house.admins.Regenerate(m.t.Context(), "maria", audit.ByOperator(0)) // erases the kept answer
		m.must(err)
		claims := map[string]any{"restore": started.member("id"), "iat": time.Now().Unix()}
		proof, err := key.Sign(map[string]any{"alg": "ES256"}, claims, false)
		m.must(err)
		return func() reply { return m.call("GET", path, "", "Authorization", token, "Restore-Proof", proof) }
	}},
	{name: "allow", prepare: sent("POST", "/api/restores/:id/allow", object(), bearer("device_jwt"))},

	{name: "start a flow", prepare: func(m *mounted) func() reply {
		token := m.ok(m.form("/mfa/start", "user_id", "anna")).member("mfa_token")
		return func() reply { return m.call("POST", "/api/start-flow", "", "Authorization", "Bearer "+token) }
	}},
	{name: "start a flow by ticket", leaves: []string{"ticket"}, prepare: func(m *mounted) func() reply {
		ticket := m.ticket("anna")
		return func() reply { return m.call("POST", "/api/start-flow", "", "Authorization", `Ticket id="`+ticket+`"`) }
	}},
	{name: "ask by a flow", prepare: sent("POST", "/api/send-push-notification", object(), bearer(string(keyring.FlowToken)))},
	{name: "log in by a flow", prepare: func(m *mounted) func() reply {
		flow := bearer(string(keyring.FlowToken))(m)
		m.ok(m.json("POST", "/api/recover-account", map[string]string{"recovery_code": m.held["recovery_code"]}, flow...))
		return func() reply { return m.call("POST", "/api/transaction-state", "", flow...) }
	}},
	{name: "enrol by a flow", prepare: func(m *mounted) func() reply {
		started := m.ok(m.call("POST", "/api/start-flow", "", "Authorization", `Ticket id="`+m.ticket("anna")+`"`))
		var account struct {
			Device struct {
				Secret string `json:"otp_secret"`
			} `json:"device_account"`
		}
		m.must(json.Unmarshal(started.body, &account))
		return sent("POST", "/api/verify-otp", oneTimeCode(account.Device.Secret), fixed("Authorization", "Bearer "+started.member("transaction_token")))(m)
	}},
	{name: "a one-time code of a flow", prepare: func(m *mounted) func() reply {
		return sent("POST", "/api/verify-otp", oneTimeCode(m.phone.Enrollment().TOTP.Secret), bearer(string(keyring.FlowToken)))(m)
	}},
	{name: "recover by a flow", prepare: sent("POST", "/api/recover-account",
		func(m *mounted) any { return map[string]string{"recovery_code": m.held["recovery_code"]} }, bearer(string(keyring.FlowToken)))},

	{name: "ask", prepare: formed("/bc-authorize", fixed("scope", "openid", "login_hint", "maria", "login_id", "a-login-of-the-bank"))},
	{name: "ask without login_id", leaves: []string{"login", "outbox", "pace"}, prepare: formed("/bc-authorize", fixed("scope", "openid", "login_hint", "maria"))},
	{name: "collect", done: answers(400, "invalid_grant"), prepare: func(m *mounted) func() reply {
		begun := m.ok(m.form("/bc-authorize", "scope", "openid", "login_hint", "maria"))
		asked, err := m.phone.Approvals(m.t.Context(), 0, nil)
		m.must(err)
		newest := slices.IndexFunc(asked, func(a phone.Approval) bool {
			return a.Token != m.held[string(keyring.TransactionToken)]
		})
		m.must(m.phone.Approve(m.t.Context(), asked[max(newest, 0)], begun.member("number")))
		return func() reply {
			return m.form("/oauth/token", "grant_type", access.GrantCIBA, "auth_req_id", begun.member("auth_req_id"))
		}
	}},
	{name: "start a login by code", leaves: []string{"login", "pace"}, prepare: formed("/mfa/start", fixed("user_id", "maria"))},
	{name: "ask for a hosted page", leaves: []string{"login", "pace"}, prepare: formed("/mfa/requests", fixed(pageOf("maria")...))},
	{name: "collect from a hosted page", done: answers(400, "invalid_grant"), prepare: func(m *mounted) func() reply {
		code := m.leavePage(m.ok(m.form("/mfa/requests", pageOf("maria")...)))
		return func() reply {
			return m.form("/oauth/token", "grant_type", access.GrantAuthorizationCode, "code", code, "redirect_uri", shopURL, "code_verifier", pageVerifier)
		}
	}},
	{name: "log in by code", prepare: formed("/oauth/token", func(m *mounted) []string {
		return []string{"grant_type", access.GrantRecoveryCode, "mfa_token", m.held[string(keyring.MFAToken)], "recovery_code", m.held["recovery_code"]}
	})},
	{name: "log in by a one-time code", prepare: formed("/oauth/token", func(m *mounted) []string {
		return []string{"grant_type", access.GrantOTP, "mfa_token", m.held[string(keyring.MFAToken)], "otp", m.otp()}
	})},
	{name: "associate", leaves: nil, prepare: sent("POST", "/mfa/associate", object("authenticator_types", []string{"oob"}), bearer("enrolment_token"))},
	{name: "confirm a passkey", prepare: func(m *mounted) func() reply {
		token, code, credential := newPasskey(m, devicetest.NewAuthenticator(m.t))
		return func() reply { return verifyPasskey(m, token, code, credential) }
	}},
	{name: "challenge for a passkey", prepare: func(m *mounted) func() reply {
		passkeyOf(m)
		token := m.ok(m.form("/mfa/start", "user_id", "key")).member("mfa_token")
		return func() reply { return m.form("/mfa/challenge", "mfa_token", token, "challenge_type", "webauthn") }
	}},
	{name: "log in by a passkey", prepare: func(m *mounted) func() reply {
		a := passkeyOf(m)
		token := m.ok(m.form("/mfa/start", "user_id", "key")).member("mfa_token")
		asked := m.ok(m.form("/mfa/challenge", "mfa_token", token, "challenge_type", "webauthn"))
		signed := a.Get(optionsIn(m, asked))
		return func() reply {
			return m.form("/oauth/token", "grant_type", access.GrantPasskey, "mfa_token", token, "credential", string(signed))
		}
	}},
	{
		name:    "remove an authenticator",
		prepare: sent("DELETE", "/mfa/authenticators/:id", object(), bearer("enrolment_token")),
		done:    answers(401, "invalid_token"), // it was the one that had proven the user
	},
	{name: "challenge", prepare: formed("/mfa/challenge", func(m *mounted) []string {
		return []string{"mfa_token", m.held[string(keyring.MFAToken)], "challenge_type", "oob"}
	})},
	{name: "log in by an approval", prepare: func(m *mounted) func() reply {
		token := m.ok(m.form("/mfa/start", "user_id", "maria")).member("mfa_token")
		asked := m.ok(m.form("/mfa/challenge", "mfa_token", token, "challenge_type", "oob"))
		approveNewest(m, asked.member("number"))
		return func() reply {
			return m.form("/oauth/token", "grant_type", access.GrantOOB, "mfa_token", token, "oob_code", asked.member("oob_code"))
		}
	}},
	{name: "log in by an association", prepare: func(m *mounted) func() reply {
		_, err := phoneOf(m).Enroll(m.t.Context(), m.newURI())
		m.must(err)
		return formed("/oauth/token", fixed("grant_type", access.GrantOOB, "mfa_token", m.newcomer, "oob_code", m.held["oob_code"]))(m)
	}},
	{name: "confirm an association by a code", prepare: func(m *mounted) func() reply {
		code := codeOf(m.t, m.newURI())
		return formed("/oauth/token", fixed("grant_type", access.GrantOTP, "mfa_token", m.newcomer, "otp", code))(m)
	}},
	{name: "log in by a remembered browser", prepare: formed("/mfa/start", func(m *mounted) []string {
		return []string{"user_id", "maria", "remember_token", m.held["remember_token"]}
	})},
	{
		name:    "forget the browsers",
		leaves:  []string{"signal_held"},
		prepare: sent("POST", "/api/v2/users/maria/multifactor/actions/invalidate-remember-browser", object(), bearer(managed)),
	},
	{name: "a management token", prepare: formed("/oauth/token", func(m *mounted) []string {
		return []string{"grant_type", access.GrantClientCredentials, "audience", m.url + "/api/v2/"}
	})},

	{name: "create a user", prepare: sent("POST", "/api/v2/users", object("user_id", "new"), bearer(managed)), done: answers(409, "user_exists")},
	{name: "change a user", prepare: sent("PATCH", "/api/v2/users/maria", object("name", "Maria", "app_metadata", map[string]any{"a": 1}), bearer(managed))},
	{name: "delete a user", prepare: sent("DELETE", "/api/v2/users/maria", object(), bearer(managed))},
	{name: "reset", prepare: sent("POST", "/api/v2/users/maria/mfa-reset", object("reason", "lost phone"), bearer(managed)), leaves: afterReset},
	{name: "a ticket", prepare: sent("POST", "/api/v2/guardian/enrollments/ticket", object("user_id", "anna"), bearer(managed)), leaves: []string{"ticket"}},
	{name: "suspend", prepare: sent("POST", "/api/v2/guardian/enrollments/:id/suspend", object(), bearer(managed))},
	{name: "resume", prepare: sent("POST", "/api/v2/guardian/enrollments/:id/resume", object(), bearer(managed))},
	{
		name:    "delete an enrollment",
		prepare: sent("DELETE", "/api/v2/guardian/enrollments/:id", object(), bearer(managed)),
		done:    answers(404, "enrollment_not_found"),
		leaves:  []string{"receipt", "receipt_evidence"},
	},
	{name: "select the push provider", prepare: sent("PUT", "/api/v2/guardian/factors/push-notification/selected-provider", object("provider", "direct"), bearer(managed))},
	{name: "set APNs", prepare: sent("PUT", "/api/v2/guardian/factors/push-notification/providers/apns", object("bundle_id", "com.example"), bearer(managed))},
	{name: "change APNs", prepare: sent("PATCH", "/api/v2/guardian/factors/push-notification/providers/apns", object("sandbox", true), bearer(managed))},
	{name: "set FCM", prepare: sent("PUT", "/api/v2/guardian/factors/push-notification/providers/fcmv1", object("server_credentials", "tutela"), bearer(managed))},
	{name: "change FCM", prepare: sent("PATCH", "/api/v2/guardian/factors/push-notification/providers/fcmv1", object("server_credentials", "tutela"), bearer(managed))},
	{name: "set security keys", prepare: sent("PUT", "/api/v2/guardian/factors/webauthn-roaming/settings", object("userVerification", "required"), bearer(managed))},
	{name: "set passkeys", prepare: sent("PUT", "/api/v2/guardian/factors/webauthn-platform/settings", object("overrideRelyingParty", false), bearer(managed))},
	{name: "set remembered browsers", prepare: sent("PUT", "/api/v2/guardian/settings", object("remember_me_default_value", true), bearer(managed))},
	{name: "name the app", prepare: sent("PATCH", "/api/v2/prompts/mfa-push", object("app_name", "Hafenlicht"), bearer(managed))},
	{name: "add a client", leaves: []string{"client"}, prepare: sent("POST", "/api/v2/clients",
		func(*mounted) any { return map[string]any{"name": "another", "scopes": []string{"read:users"}} }, bearer(managed))},
	{name: "change a client", prepare: func(m *mounted) func() reply {
		return sent("PATCH", "/api/v2/clients/"+m.other, object("name", "renamed"), bearer(managed))(m)
	}},
	{name: "rotate a client's secret", prepare: func(m *mounted) func() reply {
		return sent("POST", "/api/v2/clients/"+m.other+"/rotate-secret", object("overlap", 60), bearer(managed))(m)
	}},
	{name: "remove a client", done: answers(404, "inexistent_client"), prepare: func(m *mounted) func() reply {
		return sent("DELETE", "/api/v2/clients/"+m.other, object(), bearer(managed))(m)
	}},
	{name: "add a webhook", leaves: []string{"webhook", "webhook_secret"}, prepare: sent("POST", "/api/v2/webhooks",
		object("url", "https://127.0.0.1/", "events", []string{"td_reset"}), bearer(managed))},
	{name: "change a webhook", prepare: sent("PATCH", "/api/v2/webhooks/:id", object("enabled", false), bearer(managed))},
	{name: "try a webhook", prepare: sent("POST", "/api/v2/webhooks/:id/test", object(), bearer(managed))},
	{name: "rotate a webhook's secret", prepare: sent("POST", "/api/v2/webhooks/:id/rotate", object("overlap", 60), bearer(managed))},
	{name: "send a delivery again", leaves: []string{"outbox_house", "outbox"}, prepare: func(m *mounted) func() reply {
		return sent("POST", "/api/v2/webhooks/:id/deliveries/"+m.delivered()+"/retry", object(), bearer(managed))(m)
	}},
	{name: "remove a webhook", prepare: sent("DELETE", "/api/v2/webhooks/:id", object(), bearer(managed)), done: answers(404, "inexistent_webhook")},
	{name: "make a stream", leaves: []string{"signal_stream", "event_follower"}, prepare: sent("POST", "/api/v2/ssf/streams", object("description", "another"), bearer(managed))},
	{name: "change a stream", prepare: ofStream("PATCH", "/api/v2/ssf/streams", "description", "the bank")},
	{name: "replace a stream", prepare: ofStream("PUT", "/api/v2/ssf/streams", "description", "the bank")},
	{name: "pause a stream", prepare: ofStream("POST", "/api/v2/ssf/status", "status", "paused")},
	{name: "add a subject", prepare: ofStream("POST", "/api/v2/ssf/subjects/add", "subject", map[string]string{"format": "opaque", "id": "maria"})},
	{name: "remove a subject", leaves: []string{"signal_removed"}, prepare: ofStream("POST", "/api/v2/ssf/subjects/remove", "subject", map[string]string{"format": "opaque", "id": "maria"})},
	{name: "verify a stream", prepare: ofStream("POST", "/api/v2/ssf/verification", "state", "x"), done: answers(429, "too_many_verifications")},
	{name: "poll a stream", prepare: func(m *mounted) func() reply {
		polled := m.ok(sent("POST", "/api/v2/ssf/streams/"+m.stream+"/poll", object("returnImmediately", true), bearer(managed))(m)())
		var got struct {
			SETs map[string]string `json:"sets"`
		}
		m.must(json.Unmarshal(polled.body, &got))
		has := slices.Collect(maps.Keys(got.SETs))
		return sent("POST", "/api/v2/ssf/streams/"+m.stream+"/poll", object("returnImmediately", true, "ack", has[:1]), bearer(managed))(m)
	}},
	{name: "remove a stream", done: answers(404, "inexistent_stream"), prepare: func(m *mounted) func() reply {
		return sent("DELETE", "/api/v2/ssf/streams?stream_id="+m.stream, object(), bearer(managed))(m)
	}},
	{name: "change policies", prepare: sent("PATCH", "/api/v2/policies", object("restore.wait", "5m"), bearer(managed))},
	{name: "set the policies", prepare: func(m *mounted) func() reply {
		return func() reply {
			return m.json("PUT", "/api/v2/guardian/policies", []string{"all-applications"}, m.managing()...)
		}
	}},
	{name: "switch a factor", prepare: sent("PUT", "/api/v2/guardian/factors/otp", object("enabled", false), bearer(managed))},
	{name: "ask who rings", prepare: sent("POST", "/api/v2/users/maria/caller-check", object("note", "x"), bearer(managed)), leaves: []string{"login", "outbox"}},
	{name: "import a method", prepare: sent("POST", "/api/v2/users/maria/authentication-methods", object("type", "totp", "totp_secret", "JBSWY3DPEHPK3PXP"), bearer(managed)), leaves: []string{"outbox", "notice"}},
	{name: "rename a method", prepare: sent("PATCH", "/api/v2/users/maria/authentication-methods/:mid", object("name", "Work"), bearer(managed))},
	{
		name:    "delete a method",
		prepare: sent("DELETE", "/api/v2/users/maria/authentication-methods/:mid", object(), bearer(managed)),
		done:    answers(404, "inexistent_authentication_method"),
		leaves:  []string{"receipt", "receipt_evidence"},
	},
	{name: "replace methods", prepare: func(m *mounted) func() reply {
		wanted := []map[string]string{{"type": "totp", "totp_secret": "JBSWY3DPEHPK3PXP"}}
		return func() reply {
			return m.json("PUT", "/api/v2/users/maria/authentication-methods", wanted, bearer(managed)(m)...)
		}
	}},
	{name: "delete all methods", prepare: sent("DELETE", "/api/v2/users/maria/authentication-methods", object(), bearer(managed)), leaves: afterReset},
	{name: "delete all authenticators", prepare: sent("DELETE", "/api/v2/users/maria/authenticators", object(), bearer(managed)), leaves: afterReset},
	{name: "delete a provider", prepare: sent("DELETE", "/api/v2/users/maria/multifactor/guardian", object(), bearer(managed)), leaves: afterReset},
	{name: "unblock", prepare: sent("DELETE", "/api/v2/user-blocks/maria", object(), bearer(managed))},
	{name: "undelete a backup", prepare: func(m *mounted) func() reply {
		m.ok(m.call("DELETE", m.fill("/api/device-accounts/:id/backup"), "", "Authorization", "Bearer "+m.held["device_jwt"]))
		return sent("POST", "/api/v2/users/maria/backups/"+m.backupID()+"/undelete", object(), bearer(managed))(m)
	}},
	{name: "a new code", prepare: sent("POST", "/api/v2/users/maria/recovery-code-regeneration", object(), bearer(managed)), leaves: []string{"outbox", "notice", "signal_held"}},

	{name: "start on the page", leaves: []string{"ticket"}, prepare: func(m *mounted) func() reply {
		ticket := m.ticket("anna")
		return func() reply {
			return m.call("POST", "/mfa/enrollment/start", pageForm("ticket", ticket), "Content-Type", formType, "Cookie", pageCookie(ticket, m.held["page_session"]))
		}
	}},
	{name: "an app of codes connected on the page", prepare: func(m *mounted) func() reply {
		ticket := m.ticket("anna")
		cookie := pageCookie(ticket, m.held["page_session"])
		started, err := m.house.devices.StartTicket(m.t.Context(), ticket, "", m.held["page_session"])
		m.must(err)
		code := codeOf(m.t, started.URI)
		return func() reply {
			return m.call("POST", "/mfa/enrollment/otp", pageForm("ticket", ticket, "otp", code), "Content-Type", formType, "Cookie", cookie)
		}
	}},
	{name: "a passkey connected on the page", prepare: func(m *mounted) func() reply {
		ticket := m.ticket("anna")
		cookie := pageCookie(ticket, m.held["page_session"])
		credential := passkeyOnPage(m, ticket)
		return func() reply {
			return m.call("POST", "/mfa/enrollment/passkey", pageForm("ticket", ticket, "credential", credential), "Content-Type", formType, "Cookie", cookie)
		}
	}},
	{name: "the code confirmed on the page", prepare: func(m *mounted) func() reply {
		return func() reply {
			return m.call("POST", "/mfa/enrollment/code", pageForm("ticket", m.spent, "end", m.shown[20:]), "Content-Type", formType, "Cookie", pageCookie(m.spent, m.held["page_session"]))
		}
	}},
}

// oneTimeCode makes the body with the code of the next step, which counts for at least a minute.
func oneTimeCode(secret string) func(*mounted) any {
	return func(m *mounted) any {
		raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
		m.must(err)
		return map[string]any{"type": "manual_input", "code": otp.Secret(raw).At(otp.StepAt(time.Now()) + 1)}
	}
}

// tally counts the rows of each table and index, without events.
func (m *mounted) tally() map[string]int {
	m.t.Helper()
	counts := map[string]int{}
	for key := range m.contents() {
		name := key[:1]
		switch rest := key[1:]; name {
		case "u":
			name, _, _ = strings.Cut(rest[len(storage.UID{}):], "\x00")
		case "i", "l":
			name, _, _ = strings.Cut(rest, "\x00")
		}
		counts[name]++
	}
	delete(counts, "recoverability_count") // its rows are as many as the uids' first bytes fall into
	return counts
}

// doubtful is a mounted house whose commits can end in doubt.
func doubtful(t *testing.T) (*mounted, *storagetest.DoubtEngine) {
	t.Helper()
	var engine *storagetest.DoubtEngine
	m := mountOn(t, func(inner storage.Engine) storage.Engine {
		engine = storagetest.Doubt(inner)
		return engine
	})
	return m, engine
}

// Each commit of each call that writes ends in doubt, kept or not. The caller is told that the outcome is unknown, and
// never that nothing was done. The same request again has the effect of one call without a fault.
func TestUnknownOutcome_TheSameRequestAgainHasOneOutcome(t *testing.T) {
	check.WithoutRace(t)
	if testing.Short() {
		t.Skip("each call is repeated after each of its commits: half a minute")
	}
	tried := map[string]bool{}
	for _, call := range repeatedCalls {
		t.Run(call.name, func(t *testing.T) {
			m, engine := doubtful(t)
			send := call.prepare(m)
			m.caller.Transport = noting{m.caller.Transport, tried}
			before := engine.Updates()
			m.ok(send())
			want := m.tally()
			commits := engine.Updates() - before
			if commits == 0 {
				t.Fatal("the call writes nothing: it is no case")
			}
			for commit := range commits {
				for _, kept := range []bool{true, false} {
					t.Run(fmt.Sprintf("commit %d, kept %v", commit, kept), func(t *testing.T) { repeatInDoubt(t, call, commit, kept, want) })
				}
			}
		})
	}
	wantAllTried(t, mount(t), tried)
}

func repeatInDoubt(t *testing.T, call repeated, commit int, kept bool, want map[string]int) {
	m, engine := doubtful(t)
	send := call.prepare(m)
	engine.Next(commit, kept)
	r := send()
	if !engine.Doubted() {
		t.Fatal("nothing was in doubt")
	}
	wantUnknown(t, r)
	again := send()
	if done := again.status < 400 || kept && call.done != nil && call.done(again); !done {
		t.Errorf("the same request again: %d %s", again.status, again.body)
	}
	got := m.tally()
	for _, table := range slices.Sorted(maps.Keys(merged(got, want))) {
		extra := got[table] - want[table]
		mayLeave := slices.ContainsFunc(call.leaves, func(name string) bool {
			return table == name || strings.HasPrefix(table, name+".") || strings.HasPrefix(table, name+"_") || table == "x"
		})
		if extra < 0 || extra > 0 && (!kept || !mayLeave) {
			t.Errorf("%s has %d rows, and %d after one call without a fault", table, got[table], want[table])
		}
	}
}

func merged(a, b map[string]int) map[string]int {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// wantUnknown checks that the caller is told, in the form of its API, that the outcome is unknown and when to ask
// again.
func wantUnknown(t *testing.T, r reply) {
	t.Helper()
	if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
		t.Fatalf("an unknown outcome is %d, Retry-After %q: %s", r.status, r.header.Get("Retry-After"), r.body)
	}
	if strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		if !strings.Contains(string(r.body), "We could not see whether that worked") {
			t.Errorf("the page says %s", r.body)
		}
		return
	}
	if r.member("errorCode") != "unknown_outcome" && r.member("error") != "unknown_outcome" {
		t.Errorf("the body is %s", r.body)
	}
}

// wantAllTried fails for a call that writes and was not tried. The routes are the server's own.
func wantAllTried(t *testing.T, m *mounted, tried map[string]bool) {
	t.Helper()
	elsewhere := []string{
		"POST /api/v2/users/mfa-reset", // TestUnknownOutcome_OfOneOfManyResets
		"DELETE /api/v2/user-blocks",   // the same domain call as by id
		"POST /api/send-sms",           // refused, as the next
		"POST /api/device-accounts/:id/sms-enroll",
	}
	for _, route := range m.routes() {
		elsewhereToo := route.isPage() && !strings.HasPrefix(route.path, "/mfa/enrollment/") // the tests of the domain repeat what forms do
		if route.method == http.MethodGet || slices.Contains(elsewhere, route.String()) || elsewhereToo {
			continue
		}
		isThis := func(call string) bool {
			method, path, _ := strings.Cut(call, " ")
			return method == route.method && matchesRoute(path, route.path)
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(tried)), isThis) {
			t.Errorf("%s: what does the same request again do when the outcome of the first is not known?", route)
		}
	}
}

func matchesRoute(path, route string) bool {
	parts := strings.Split(path, "/")
	pattern := strings.Split(route, "/")
	if len(parts) != len(pattern) {
		return false
	}
	for i := range parts {
		if parts[i] != pattern[i] && !strings.HasPrefix(pattern[i], ":") {
			return false
		}
	}
	return true
}

// noting is a transport that notes which paths are called.
type noting struct {
	http.RoundTripper
	paths map[string]bool
}

func (n noting) RoundTrip(r *http.Request) (*http.Response, error) {
	n.paths[r.Method+" "+r.URL.EscapedPath()] = true
	return n.RoundTripper.RoundTrip(r)
}

func TestUnknownOutcome_OfOneOfManyResets(t *testing.T) {
	m, engine := doubtful(t)
	engine.Next(0, true)
	r := m.ok(m.json("POST", "/api/v2/users/mfa-reset", map[string]any{"reason": "lost phones", "user_ids": []string{"maria"}}, m.managing()...))
	if !engine.Doubted() || !strings.Contains(string(r.body), `"statusCode":503`) || !strings.Contains(string(r.body), `"errorCode":"unknown_outcome"`) {
		t.Errorf("the answer says %s", r.body)
	}
	if strings.Contains(m.log.String(), "reset one of several users") {
		t.Errorf("it is logged as an error of ours")
	}
}

// made returns the error of a call whose result does not matter.
func made[T any](_ T, err error) error { return err }

// The operator's calls keep code and message over the socket, and the command says what to do.
func TestUnknownOutcome_OfTheOperatorsCalls(t *testing.T) {
	m, engine := doubtful(t)
	ctx := t.Context()
	s := operator.NewLocal(m.house.operators(), 0)
	for name, do := range map[string]func() error{
		"client add": func() error {
			return made(operator.AddClient.Do(ctx, s, operator.NewClient{Name: "x", Scopes: []string{"openid"}}))
		},
		"user role": func() error {
			return made(operator.SetRole.Do(ctx, s, operator.RoleChange{UserID: "maria", Role: user.Helpdesk}))
		},
		"user block": func() error {
			return made(operator.SetBlocked.Do(ctx, s, operator.BlockChange{UserID: "ida", Blocked: true}))
		},
		"unlock": func() error { return made(operator.UnlockUser.Do(ctx, s, "maria")) },
		"reset": func() error {
			return made(operator.ResetUser.Do(ctx, s, operator.Reset{UserID: "maria", Reason: "lost"}))
		},
		"ticket": func() error { return made(operator.MakeTicket.Do(ctx, s, operator.TicketRequest{UserID: "anna"})) },
		"policy set": func() error {
			return made(operator.SetPolicy.Do(ctx, s, operator.PolicyChange{Name: "restore.veto", Value: "on"}))
		},
		"key rotate": func() error { return made(operator.RotateKeys.Do(ctx, s, operator.None{})) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, kept := range []bool{true, false} {
				engine.Next(0, kept)
				if err := do(); storage.CodeOf(err) != storage.OutcomeUnknown || !engine.Doubted() {
					t.Errorf("kept %v: %v", kept, err)
				}
				if err := do(); err != nil {
					t.Errorf("kept %v, again: %v", kept, err)
				}
			}
		})
	}
	said := lineOf(fmt.Errorf("reset: %w: %w", storage.ErrOutcomeUnknown, errors.New("EIO")))
	if said != "it is not known whether this was done: look first (tutela user show, client list, policy list), then run it again" {
		t.Errorf("the command says %q", said)
	}
}

// ofStream sends a call about the client's stream, with one member more.
func ofStream(method, path, name string, value any) func(*mounted) func() reply {
	return func(m *mounted) func() reply {
		return sent(method, path, object("stream_id", m.stream, name, value), bearer(managed))(m)
	}
}

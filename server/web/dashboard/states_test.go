package dashboard

import (
	"net/url"

	"tutela/recovery/admin/signin"
	"tutela/recovery/user"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/check"
)

// What a page shows: something; nothing, since there is nothing yet; that something is wrong; that something is closed, by a limit or to
// a role.
const (
	filled  = "filled"
	empty   = "empty"
	wrong   = "error"
	limited = "limited"
)

// A state is a page as somebody finds it. Every page of the dashboard has its rows below, and a page without one fails the test.
type state struct {
	page  string // the pattern of its route
	is    string // filled, empty, error or limited
	name  string // of its pictures: see webtest.Shots
	as    user.Role
	of    string // the user whom it is about: in the place of :uid, :receipt and :device
	what  string // in the place of :act, :policy and :id
	query string
	begin func(l *lane)      // what happens before the page is opened
	do    func(l *lane)      // what is done on the page until the state is reached
	shows string             // a selector of what is there then
	house func(*lane) *house // which one it is seen in
	stale bool               // more than five minutes after signing in
}

// twins are addresses at which a browser is that comes back to a form: each shows what another does.
var twins = map[string]string{
	"/admin/signout":            "/admin/overview",
	"/admin/team/invite":        "/admin/team",
	"/admin/team/end":           "/admin/team",
	"/admin/team/passkey":       "/admin/team",
	"/admin/push/apns":          "/admin/push",
	"/admin/push/fcm":           "/admin/push",
	"/admin/push/test":          "/admin/push",
	"/admin/clients/:id/secret": "/admin/clients/:id",

	"/admin/webhooks/:id/switch": "/admin/webhooks/:id",
	"/admin/webhooks/:id/test":   "/admin/webhooks/:id",
	"/admin/webhooks/:id/retry":  "/admin/webhooks/:id",
	"/admin/webhooks/:id/secret": "/admin/webhooks/:id",
}

// downloads are files, which nobody looks at in a browser.
var downloads = []string{
	"/admin/events/export.csv", "/admin/events/export.jsonl", "/admin/users/:uid/receipts/:receipt/download",
}

// Those who look, beside the roles.
const (
	nobody = user.Role("nobody") // is signed out
	ended  = user.Role("ended")  // has a session that is over
)

// on is a state of a page that an owner sees in the furnished house; what is empty, in the new one.
func on(page, is, name string) state {
	s := state{
		page:  page,
		is:    is,
		name:  name,
		as:    user.Owner,
		shows: "h1, dialog h2",
		house: (*lane).furnished,
	}
	if is == empty {
		s.house = (*lane).fresh
	}
	return s
}

func (s state) by(who user.Role) state {
	s.as = who
	return s
}

func (s state) about(id string) state {
	s.of = id
	s.house = (*lane).furnished
	return s
}

func (s state) with(what string) state {
	s.what = what
	return s
}

func (s state) asked(query string) state {
	s.query = query
	return s
}

func (s state) after(begin func(l *lane)) state {
	s.begin = begin
	return s
}

// once is the state when something was done on the page, and what a selector finds is there.
func (s state) once(do func(l *lane), shows string) state {
	s.do = do
	s.shows = shows
	return s
}

func (s state) later() state {
	s.stale = true
	return s
}

func (s state) at(house func(*lane) *house) state {
	s.house = house
	return s
}

// sends has the page's form sent with fields, as a browser would that holds nothing back. form is its selector.
func sends(form string, fields url.Values) func(l *lane) {
	return func(l *lane) { l.send(form, fields) }
}

const (
	mainForm = "main form[method=post]"
	someNote = "main .note.bad, main .note.warn"
)

var frameStates = []state{
	on("/admin", filled, "signin").by(nobody),
	on("/admin", wrong, "signin-fault").by(nobody).once(sends("form[data-passkey]", url.Values{"credential": {"{}"}}), ".note.bad"),
	on("/admin", limited, "signin-address").by(nobody).at((*lane).nameless),
	on("/admin/prove", filled, "prove"),
	on("/admin/prove", wrong, "prove-fault").once(sends("form[data-passkey]", url.Values{"credential": {"{}"}}), ".note.bad"),
	on("/admin/invite", filled, "invite").by(nobody).after(func(l *lane) { l.invites("ida") }),
	on("/admin/invite", wrong, "invite-gone").by(nobody).asked("?invite=nothing"),
	on("/admin/invite", limited, "invite-elsewhere").by(nobody).after(func(l *lane) {
		l.invites("ina")
		_, err := l.filled.SignIn.SpendInvite(l.t.Context(), l.invite, signin.NewSecret())
		check.Must(l.t, err)
	}),
	on("/admin/invite", filled, "invite-again").by(nobody).after(func(l *lane) { l.invites("ilse") }).
		once(sends("main form", nil), "form[data-passkey=create]"),
	on("/admin/invite/passkey", filled, "invite-make").by(nobody).asked("?invite={invite}"),
	on("/admin/invite/passkey", wrong, "invite-make-fault").by(nobody).asked("?invite={invite}").
		once(sends(mainForm, url.Values{"credential": {"{}"}}), ".note.bad"),
	on("/admin/overview", filled, "overview"),
	on("/admin/overview", empty, "overview-first-day"),
	on("/admin/overview", wrong, "overview-wrong").after(func(l *lane) {
		l.filled.wrong = map[string]string{"disk": "the data's disk has 12 MB left", "clock": "the clock has jumped by 2h"}
		l.filled.state = inTrouble(l.filled)
	}),
	on("/admin/overview", limited, "overview-viewer").by(user.Viewer).after(func(l *lane) {
		l.filled.wrong = nil
		l.filled.state = outbox.Status{}
	}),
	on("/admin/team", filled, "team"),
	on("/admin/team", empty, "team-alone"),
	on("/admin/team", limited, "team-viewer").by(user.Viewer),
	on("/admin/team", limited, "signin-ended").by(ended),
	on("/admin/team", filled, "team-link").once(sends(`form[action$="team/invite"]`, url.Values{"user": {"bob"}, "role": {"helpdesk"}}), "#the-link"),
	on("/admin/team", wrong, "team-no-user").once(sends(`form[action$="team/invite"]`, url.Values{"user": {""}, "role": {"helpdesk"}}), someNote),
	on("/admin/team/add", filled, "passkey-add"),
	on("/admin/team/add", wrong, "passkey-add-fault").once(sends(mainForm, url.Values{"credential": {"{}"}}), ".note.bad"),
	on("/admin/team/add", limited, "passkey-add-prove").later(),
}

var userStates = []state{
	on("/admin/users", filled, "admin-users"),
	on("/admin/users", empty, "admin-users-empty").asked("?risk=no_code"),
	on("/admin/users", empty, "admin-users-none").asked("?q=nobody"),
	on("/admin/users", filled, "admin-users-risk").asked("?risk=one_device"),
	on("/admin/users", wrong, "admin-users-no-page").asked("?after=x"),
	on("/admin/users", limited, "admin-users-viewer").by(user.Viewer),
	on("/admin/users/ticket", filled, "admin-users-new"),
	on("/admin/users/ticket", wrong, "admin-users-new-fault").once(sends(mainForm, nil), "#fault"),
	on("/admin/users/ticket", limited, "admin-users-new-viewer").by(user.Viewer),
	on("/admin/users/:uid", filled, "admin-user").about("maria"),
	on("/admin/users/:uid", empty, "admin-user-new").about("nina"),
	on("/admin/users/:uid", limited, "admin-user-locked").about("mark"),
	on("/admin/users/:uid", limited, "admin-user-blocked").about("blake").by(user.Viewer),
	on("/admin/users/:uid", wrong, "admin-user-unknown").about("nobody"),
	on("/admin/users/:uid/mfa", filled, "admin-user-mfa").about("maria"),
	on("/admin/users/:uid/mfa", empty, "admin-user-mfa-new").about("nina"),
	on("/admin/users/:uid/mfa", limited, "admin-user-mfa-suspended").about("otto").by(user.Viewer),
	on("/admin/users/:uid/backups", filled, "admin-user-backups").about("maria"),
	on("/admin/users/:uid/backups", empty, "admin-user-backups-new").about("nina"),
	on("/admin/users/:uid/history", filled, "admin-user-history").about("mark"),
	on("/admin/users/:uid/history", empty, "admin-user-history-new").about("eva"),
	on("/admin/users/:uid/reset", filled, "admin-user-reset").about("maria"),
	on("/admin/users/:uid/reset", empty, "admin-user-reset-nothing").about("nina"),
	on("/admin/users/:uid/reset", wrong, "admin-user-reset-reason").about("maria").once(sends("dialog form", nil), "dialog [role=alert]"),
	on("/admin/users/:uid/reset", limited, "admin-user-refused").about("ada").by(user.Admin),
	on("/admin/users/:uid/reset", limited, "admin-user-reset-prove").about("maria").later(),
	on("/admin/users/:uid/receipts/:receipt", filled, "admin-user-receipt").about("rita"),
	on("/admin/users/:uid/receipts/:receipt", wrong, "admin-user-receipt-none").about("nina"),
	on("/admin/users/:uid/ticket", filled, "admin-user-ticket").about("maria"),
	on("/admin/users/:uid/ticket", filled, "admin-user-ticket-made").about("maria").once(sends(mainForm, nil), "#ticket"),
	on("/admin/users/:uid/ticket", limited, "admin-user-ticket-viewer").about("maria").by(user.Viewer),
	on("/admin/users/:uid/code", filled, "admin-user-code").about("eva"),
	on("/admin/users/:uid/code", filled, "admin-user-code-shown").about("eva").once(sends(mainForm, nil), "#new-code"),
	on("/admin/users/:uid/code", wrong, "admin-user-code-again").about("eva").once(sends(mainForm, url.Values{"mark": {"another"}}), someNote),
	on("/admin/users/:uid/code", limited, "admin-user-code-viewer").about("eva").by(user.Viewer),
	on("/admin/users/:uid/caller", filled, "admin-user-caller").about("maria"),
	on("/admin/users/:uid/caller", wrong, "admin-user-caller-no-phone").about("nina").once(sends(mainForm, nil), someNote),
	on("/admin/users/:uid/caller", limited, "admin-user-caller-viewer").about("maria").by(user.Viewer),
	on("/admin/users/:uid/do/:act", filled, "admin-user-do-block").about("maria").with("block"),
	on("/admin/users/:uid/do/:act", filled, "admin-user-do-unblock").about("blake").with("unblock"),
	on("/admin/users/:uid/do/:act", filled, "admin-user-do-unlock").about("mark").with("unlock"),
	on("/admin/users/:uid/do/:act", empty, "admin-user-do-forget").about("maria").with("forget"),
	on("/admin/users/:uid/do/:act", filled, "admin-user-do-role").about("maria").with("role"),
	on("/admin/users/:uid/do/:act", limited, "admin-user-do-helpdesk").about("maria").with("block").by(user.Helpdesk),
	on("/admin/users/:uid/do/:act", wrong, "admin-user-do-nothing").about("maria").with("nothing"),
	on("/admin/users/:uid/do/:act/:device", filled, "admin-user-do-suspend").about("maria").with("suspend"),
	on("/admin/users/:uid/do/:act/:device", filled, "admin-user-do-resume").about("otto").with("resume"),
	on("/admin/users/:uid/do/:act/:device", filled, "admin-user-do-remove").about("maria").with("remove"),
	on("/admin/users/:uid/do/:act/:device", wrong, "admin-user-do-no-device").about("nina").with("remove"),
	on("/admin/users/:uid/do/:act/:device", limited, "admin-user-do-viewer").about("maria").with("remove").by(user.Viewer),
}

var houseStates = []state{
	on("/admin/events", filled, "events"),
	on("/admin/events", filled, "events-paused").asked("?pause=1&kind=recovery"),
	on("/admin/events", empty, "events-none").asked("?kind=recovery"),
	on("/admin/events", limited, "events-viewer").by(user.Viewer).asked("?q=maria"),
	on("/admin/events", wrong, "events-nobody").asked("?q=nobody&kind=nothing"),
	on("/admin/clients", filled, "clients"),
	on("/admin/clients", empty, "clients-none"),
	on("/admin/clients", limited, "clients-viewer").by(user.Viewer),
	on("/admin/clients", wrong, "clients-fault").once(sends(mainForm, url.Values{"name": {"x"}, "redirect_uris": {"nowhere"}}), someNote),
	on("/admin/clients/:id", filled, "client"),
	on("/admin/clients/:id", filled, "client-secret").once(sends(`form[action$="/secret"]`, nil), "#the-secret"),
	on("/admin/clients/:id", limited, "client-viewer").by(user.Viewer),
	on("/admin/clients/:id", wrong, "client-none").with("nothing"),
	on("/admin/clients/:id/remove", filled, "client-remove"),
	on("/admin/clients/:id/remove", limited, "client-remove-viewer").by(user.Viewer),
	on("/admin/webhooks", filled, "webhooks"),
	on("/admin/webhooks", empty, "webhooks-none"),
	on("/admin/webhooks", wrong, "webhooks-fault").once(sends(mainForm, url.Values{"url": {"ftp://nowhere"}}), "#fault"),
	on("/admin/webhooks", limited, "webhooks-viewer").by(user.Viewer),
	on("/admin/webhooks/:id", filled, "webhook").with("{webhook}"),
	on("/admin/webhooks/:id", filled, "webhook-tried").with("{webhook}").once(sends(`form[action$="/test"]`, nil), "#tried"),
	on("/admin/webhooks/:id", filled, "webhook-secret").with("{webhook}").once(sends(`form[action$="/secret"]`, nil), "#the-secret"),
	on("/admin/webhooks/:id", limited, "webhook-paused").with("{paused}"),
	on("/admin/webhooks/:id", wrong, "webhook-unknown").with("whk_none"),
	on("/admin/webhooks/:id/remove", filled, "webhook-remove").with("{webhook}"),
	on("/admin/settings", filled, "settings"),
	on("/admin/settings", empty, "settings-new"),
	on("/admin/settings", limited, "settings-viewer").by(user.Viewer),
	on("/admin/settings/:policy", filled, "policy").with("restore.veto"),
	on("/admin/settings/:policy", filled, "policy-factor").with("factor.otp"),
	on("/admin/settings/:policy", wrong, "policy-fault").with("restore.wait").once(sends(mainForm, url.Values{"value": {"30m"}}), "#fault"),
	on("/admin/settings/:policy", wrong, "policy-none").with("no.such"),
	on("/admin/settings/:policy", limited, "policy-viewer").with("restore.wait").by(user.Viewer),
	on("/admin/push", filled, "push").asked("?user=maria"),
	on("/admin/push", filled, "push-taken").asked("?user=maria").once(sends(`form[action$="push/test"]`, nil), "#tried-title"),
	on("/admin/push", empty, "push-none"),
	on("/admin/push", wrong, "push-open").asked("?user=somebody-else").after(func(l *lane) { l.filled.state = inTrouble(l.filled) }),
	on("/admin/push", wrong, "push-fault").once(sends(`form[action$="push/apns"]`, url.Values{"p12": {"nothing"}}), "#fault"),
	on("/admin/push", limited, "push-viewer").by(user.Viewer).after(func(l *lane) { l.filled.state = outbox.Status{} }),
}

// inTrouble is how an outbox stands whose push service does not answer.
func inTrouble(h *house) outbox.Status {
	return outbox.Status{Providers: []outbox.ProviderStatus{{Name: "FCM", State: outbox.Open, Since: h.Store.Now(), Word: "UNAVAILABLE"}}}
}

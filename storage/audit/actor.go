package audit

import (
	"slices"
	"strconv"
	"strings"

	"tutela/storage"
	"tutela/storage/legible"
)

// Actor says who makes a call and where it comes from. The edge (API, page or command) makes one for each call. Every
// use case takes it, checks by it what the caller may do, and passes it to [Record].
//
// There are five kinds: the operator on the machine ([ByOperator]), a client by a management call ([ByClient]), a person
// who is signed in as an admin ([ByAdmin]), the user by phone or browser ([ByUser]), and nobody: the zero Actor, for what
// the house does by itself.
//
// An Actor is a value: With… and In return a changed copy. It is safe to share between goroutines.
type Actor struct {
	kind    actorKind
	osUser  int           // of the operator
	sudo    string        // of the operator: the person behind sudo, at most MaxAgentBytes
	client  string        // of a client; of a user, the login system through which the call came
	scopes  []string      // of a client and of an admin; never changed
	actsAs  storage.UID   // of a client: the user for whom it acts; of an admin: who is signed in
	tokens  int           // of a client: the version of the management token of this call
	behind  []storage.UID // of a client: persons who can act as it; never changed
	address string        // IP address
	agent   string        // at most MaxAgentBytes
	call    Word          // the management call
}

type actorKind uint8

const (
	nobody actorKind = iota
	operator
	client
	admin
	person
)

// MaxAgentBytes bounds what is kept of a User-Agent.
const MaxAgentBytes = 512

// ByOperator is the operator of the machine, known by the user id of the operating system.
func ByOperator(osUserID int) Actor { return Actor{kind: operator, osUser: osUserID} }

// ByClient is a client that makes a management call with some scopes. actsAs is the user for whom it acts, or
// storage.House when it acts for nobody.
func ByClient(id string, scopes []string, actsAs storage.UID) Actor {
	return Actor{
		kind:   client,
		client: id,
		scopes: slices.Clone(scopes),
		actsAs: actsAs,
	}
}

// WithTokens adds to a client the version of its management token. When the stored version differs, the token of the
// call has been revoked.
func (a Actor) WithTokens(version int) Actor {
	a.tokens = version
	return a
}

// WithBehind adds to a client the persons who can act as it: whose session made it, or who saw its secret.
func (a Actor) WithBehind(uids ...storage.UID) Actor {
	a.behind = slices.Concat(a.behind, uids)
	return a
}

// ByAdmin is a person who is signed in as an admin, with the scopes of that session.
func ByAdmin(uid storage.UID, scopes []string) Actor {
	return Actor{kind: admin, actsAs: uid, scopes: slices.Clone(scopes)}
}

// ByUser is the user, by a phone or a browser. What such a call may do follows from what it has proven, never from
// its Actor.
func ByUser() Actor { return Actor{kind: person} }

// WithClient adds the login system through which a user's call came.
func (a Actor) WithClient(id string) Actor {
	a.client = id
	return a
}

// WithOrigin adds where the call came from: an IP address, and a User-Agent, of which at most MaxAgentBytes are kept.
func (a Actor) WithOrigin(address, agent string) Actor {
	a.address = address
	a.agent = ClipAgent(agent)
	return a
}

// BySudo adds the person who acts as the operator by sudo, as the environment of the command names her (SUDO_USER). It
// helps colleagues to ask each other and proves nothing: whoever may act as the operator can set it. A person's name
// proves nothing, so it stands only in details of class account and settings, never in By or in facts.
func (a Actor) BySudo(name string) Actor {
	a.sudo = ClipAgent(name)
	return a
}

// WithoutOrigin removes where the call came from and who is behind sudo, for an event about a user of whom nothing may
// stay.
func (a Actor) WithoutOrigin() Actor {
	a.sudo = ""
	a.address = ""
	a.agent = ""
	return a
}

// In adds the management call that the actor makes: one of the Call words.
func (a Actor) In(call Word) Actor {
	a.call = call
	return a
}

// By names the actor in events and receipts: "operator:<os uid>", "client:<id>", "user:<uid>" for an admin, or "" for the
// user herself and for nobody.
func (a Actor) By() string {
	switch a.kind {
	case operator:
		return "operator:" + strconv.Itoa(a.osUser)
	case client:
		return "client:" + a.client
	case admin:
		return byAdmin + a.actsAs.String()
	default:
		return ""
	}
}

// byAdmin begins the name of an admin who is signed in.
const byAdmin = "user:"

// AdminOf returns the uid of the admin that a By value names; is is false when it names another kind of actor, or
// nobody.
func AdminOf(by string) (uid storage.UID, is bool) {
	text, is := strings.CutPrefix(by, byAdmin)
	return uid, is && uid.UnmarshalText([]byte(text)) == nil
}

// IsNobody reports whether the house acts by itself.
func (a Actor) IsNobody() bool { return a.kind == nobody }

// IsOperator reports whether the operator of the machine acts.
func (a Actor) IsOperator() bool { return a.kind == operator }

// IsClient reports whether a client acts by a management call.
func (a Actor) IsClient() bool { return a.kind == client }

// IsAdmin reports whether a person acts who is signed in as an admin.
func (a Actor) IsAdmin() bool { return a.kind == admin }

// Client returns the id of a client that acts, or of the login system through which a user's call came.
func (a Actor) Client() string { return a.client }

// ActsAs returns the user who is signed in as an admin, or for whom a client acts; storage.House for a client that acts for
// nobody, and for every other actor.
func (a Actor) ActsAs() storage.UID { return a.actsAs }

// Persons returns the persons who can see the answer to this call: the admin who is signed in, the user for whom a
// client acts, and those who can act as the client.
func (a Actor) Persons() []storage.UID {
	if a.actsAs.IsZero() {
		return slices.Clone(a.behind)
	}
	return append([]storage.UID{a.actsAs}, a.behind...)
}

// Tokens returns the version of a client's management tokens when its call was let in.
func (a Actor) Tokens() int { return a.tokens }

// ActsFor reports whether the actor is this user: as the signed-in admin, as the user for whom a client acts, or as one
// who can act as the client.
func (a Actor) ActsFor(uid storage.UID) bool {
	return !a.actsAs.IsZero() && a.actsAs == uid || slices.Contains(a.behind, uid)
}

// Has reports whether the actor has a scope. The operator has every scope; a user and nobody have none.
func (a Actor) Has(scope string) bool { return a.IsOperator() || slices.Contains(a.scopes, scope) }

// Origin returns where the call came from.
func (a Actor) Origin() (address, agent string) { return a.address, a.agent }

// RecordCall records that a management call has changed something of a user. The detail about the caller outlives a
// reset. It records nothing for an actor without a management call.
func RecordCall(tx *storage.Tx, a Actor, uid storage.UID) error {
	if a.call == "" {
		return nil
	}
	return RecordAccount(tx, a, Event{Type: ManagementCall, UID: uid, Facts: Facts{FactCall: a.call}}, Detail{})
}

// sign writes the actor into an event. An event about a client already names that client, and keeps it.
func (a Actor) sign(e Event) Event {
	e.By = a.By()
	if e.Client == "" {
		e.Client = a.client
	}
	return e
}

// describe writes the actor's address and browser into an event's detail.
func (a Actor) describe(d Detail) Detail {
	d.IP = a.address
	d.UserAgent = a.agent
	return d
}

// ClipAgent makes a User-Agent fit to be kept and shown, in at most MaxAgentBytes.
func ClipAgent(agent string) string { return legible.Clean(agent, MaxAgentBytes) }

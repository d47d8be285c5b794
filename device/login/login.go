// Package login decides whether a person may log in. A login system asks, the user's phones show the approval, one of them
// answers with a signature, and the login system collects the outcome, once.
package login

import (
	"encoding/json"
	"errors"
	"time"

	"tutela/device"
	"tutela/device/passkey"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/outbox"
	"tutela/storage/setting"
)

// Service is the use cases of logins. Safe for concurrent use.
type Service struct {
	store   *storage.Store
	ring    *keyring.Ring
	devices *device.Service
	codes   *recovery.Service
	bases   device.Bases
	deliver *push.Gateway
	polls   *polls

	passkeys *passkey.Service // nil: logins take none
	pings    *outbox.Poster

	flowPolls *flowPolls
}

// New makes the service. deliver is nil without a push service: apps pull.
func New(store *storage.Store, ring *keyring.Ring, devices *device.Service, codes *recovery.Service, bases device.Bases, deliver *push.Gateway) *Service {
	return &Service{
		store:   store,
		ring:    ring,
		devices: devices,
		codes:   codes,
		bases:   bases,
		deliver: deliver,
		polls:   newPolls(store.Now),
		pings:   newPinger(nil),

		flowPolls: newFlowPolls(store),
	}
}

var (
	digits     = setting.Int("approval.digits", "how many digits a login shows for number matching; NIST asks for 6", 6, 2, 8)
	pushBudget = setting.Int("push.budget", "pushes per user and client, which come back slower each time; past it approvals are silent", 5, 1, 100)
	afterReset = setting.OneOf("enrollment.after_reset",
		"whether a user who is new, or was reset, sets up alone (open) or needs a ticket", "open", "ticket")
)

// State is the state of a login.
type State string

// The states of a login. It leaves Pending once.
const (
	Pending  State = "pending"
	Approved State = "approved"
	Denied   State = "denied"
)

// Method is what satisfied a login, as in amr (RFC 8176; rc is tutela's).
type Method string

// The methods.
const (
	ByKey          Method = "swk" // a signature of the key on the phone
	ByOTP          Method = "otp" // a one-time code
	ByRecoveryCode Method = "rc"
	ByPasskey      Method = "pop" // a signature of a passkey's key
)

const (
	collectFor   = 60 * time.Second // how long after its expiry a login that was decided in time can be collected
	mfaTokenLife = 10 * time.Minute
)

// Purpose is what an approval allows beyond a login.
type Purpose string

// The purposes.
const (
	ToAddDevice Purpose = "add_device" // after it another phone can be enrolled
	ToManage    Purpose = "manage"     // after it a person's own page opens
)

// Delivery is how the phones of a user learn of an approval.
type Delivery string

// The deliveries.
const (
	Push   Delivery = "push"
	Pull   Delivery = "pull"
	Silent Delivery = "silent" // the push budget is used up: only the app's own list shows it
)

// Login is one authentication in progress. It is one row, so that every change of it is one write.
type Login struct {
	Client     string          `json:"client"`
	ClientName string          `json:"client_name,omitempty"` // as it was called when it asked
	LoginID    string          `json:"login_id,omitempty"`    // the client's own, one a browser session
	Params     string          `json:"params,omitempty"`      // hash of the request, to tell a repeat under the same LoginID
	Scope      string          `json:"scope,omitempty"`
	Audience   string          `json:"audience,omitempty"`
	Message    string          `json:"message,omitempty"` // the binding message
	Details    json.RawMessage `json:"details,omitempty"` // RFC 9396 authorization_details
	IP         string          `json:"ip,omitempty"`      // of the browser
	Agent      string          `json:"agent,omitempty"`
	TapOnly    bool            `json:"tap_only,omitempty"` // of a login by grant: its client can show no number
	Ticket     string          `json:"ticket,omitempty"`   // of a login by grant: key of the ticket that lets its user set up
	Created    time.Time       `json:"created"`
	Expires    time.Time       `json:"expires"`

	// The approval; none in a login that only a code can satisfy.
	Challenge string   `json:"challenge,omitempty"` // base64url of 32 random bytes
	Number    string   `json:"number,omitempty"`    // to be typed on the phone; empty: the approval is tapped
	Asked     []string `json:"asked,omitempty"`     // the phones that may answer, by enrollment
	Delivery  Delivery `json:"delivery,omitempty"`
	Flow      string   `json:"flow,omitempty"` // key of the login by grant that the approval satisfies
	Purpose   Purpose  `json:"purpose,omitempty"`

	Approval string `json:"approval,omitempty"` // of a login by grant: key of the approval that its page has asked for last

	Shown map[string]shown `json:"shown,omitempty"` // what phones were shown of its details, by enrollment

	State     State     `json:"state"`
	Decided   time.Time `json:"decided,omitzero"`
	By        string    `json:"by,omitempty"`    // the enrollment that decided
	Wrong     bool      `json:"wrong,omitempty"` // denied for a wrong number
	Method    Method    `json:"method,omitempty"`
	Collected time.Time `json:"collected,omitzero"`
	ByOOB     bool      `json:"by_oob,omitempty"` // of a login by grant: its client has collected an approval or an enrolment by a grant

	Ping       string `json:"ping,omitempty"`        // the URL to call when it is decided: see ping.go
	PingSealed []byte `json:"ping_sealed,omitempty"` // the token that names the login's client there; sealed

	Page       *page  `json:"page,omitempty"`        // of a login by a hosted page: the state of that page
	PageSealed []byte `json:"page_sealed,omitempty"` // the secret part of Page, as pageSecrets; sealed

	// Of a login by grant that has given an enrolment token, or that a recovery code has satisfied.
	EnrolUntil time.Time `json:"enrol_until,omitzero"` // when that is over
	CodeMark   string    `json:"code_mark,omitempty"`  // of the recovery code that followed the one that has proven the user

	CodeSince time.Time `json:"code_since,omitzero"` // when the recovery code was issued that has satisfied the login
	StepUp    bool      `json:"step_up,omitempty"`   // of a user who proves more on her own page; it logs her in nowhere
}

var logins = storage.Declare(storage.Spec[Login]{
	Name:  "login",
	Class: storage.MFA,
	Most:  mostLogins,
	Expires: func(l *Login) time.Time {
		if l.Purpose == purposeCaller {
			return l.Expires.Add(callerCounts)
		}
		over := later(l.Expires.Add(collectFor), l.EnrolUntil)
		if l.Page != nil {
			over = later(over, l.Page.Until)
		}
		return over
	},
	Sealed: func(l *Login) []storage.Field {
		return []storage.Field{{Name: "page_sealed", Value: &l.PageSealed}, {Name: "ping_sealed", Value: &l.PingSealed}}
	},
	Lapsed: func(tx *storage.Tx, l *Login) {
		if l.State == Pending && l.Purpose != purposeCaller {
			l.count(tx, OutcomeExpired, methodNone)
		}
	},
})

// row is a login with its place in the store.
type row = storage.Row[Login]

// pending reports whether the login can still be decided.
func (l *Login) pending(now time.Time) bool { return l.State == Pending && now.Before(l.Expires) }

// Errors of logins.
var (
	ErrUnknownUser     = storage.NewError(storage.NotFound, "the user is unknown or has nothing enrolled")
	ErrRecovery        = storage.NewError(storage.Conflict, "the user has no phone that can be asked: offer the recovery code")
	ErrNoPhone         = storage.NewError(storage.Denied, "the user has no phone that answers approvals: offer another factor")
	ErrBlocked         = storage.NewError(storage.Denied, "the user is blocked")
	ErrPresence        = storage.NewError(storage.Denied, "no phone of the user can match numbers, which this installation asks for")
	ErrTapOnly         = storage.NewError(storage.Invalid, "this installation asks for number matching, which the client cannot show")
	ErrLife            = storage.NewError(storage.Invalid, "a login lives for at most five minutes")
	ErrLoginID         = storage.NewError(storage.Invalid, "the login_id is in use for a login with other parameters")
	ErrTooMany         = storage.NewError(storage.Limited, "too many logins of this user; wait before you try again, or offer a code")
	ErrTooManyStarts   = storage.NewError(storage.Limited, "too many logins of this user from this network; wait before you try again")
	ErrNoLogin         = storage.NewError(storage.NotFound, "there is no such login, it is too late, or somebody decided it first")
	ErrGrant           = storage.NewError(storage.Denied, "the id is not of a login of this client, or was used already")
	ErrUndecided       = storage.NewError(storage.Unavailable, "the login is not decided yet")
	ErrSlowDown        = storage.NewError(storage.Limited, "polled too fast: the interval is longer now")
	ErrExpired         = storage.NewError(storage.Expired, "the login is over")
	ErrDenied          = storage.NewError(storage.Denied, "the login was denied")
	ErrAnswer          = storage.NewError(storage.Denied, "the answer does not verify")
	ErrNumberMissing   = storage.NewError(storage.Invalid, "the answer lacks the number that the login shows (tutela_number)")
	ErrNumber          = storage.NewError(storage.Denied, "the number is not the one that the login shows: the login was denied")
	ErrMFAToken        = storage.NewError(storage.Denied, "the mfa_token is not valid for this client")
	ErrMFATokenExpired = storage.NewError(storage.Expired, "the mfa_token has expired: start again")
	ErrNoFactor        = storage.NewError(storage.Denied, "every factor that this user could use is switched off here")
	ErrRejected        = storage.NewError(storage.Denied, "MFA Authorization rejected.")
	ErrTicketRequired  = storage.NewError(storage.Denied, "a user with nothing enrolled needs a ticket to set up here")
)

// The prefixes of the ids of a login: the one that its client gets for an approval, the one that phones get, the one in the
// mfa_token of a login by grant, and those of what a grant polls.
const (
	requestPrefix     = "arq_"
	transactionPrefix = "txn_"
	mfaPrefix         = "mfa_"
	approvalPrefix    = "oob_" // the oob_code of an approval
	setUpPrefix       = "oos_" // of an association by the mfa_token of a new user
	enrolmentPrefix   = "ooe_" // of one by an enrolment token; of the token itself it is the cause
)

// find reads the login with an id.
//
// Errors: ErrGrant for an id that this server did not make; ErrExpired when the row is gone: swept, reset, user deleted.
func (s *Service) find(tx *storage.Tx, prefix, id string) (row, error) {
	uid, key, ok := s.ring.ParseID(prefix, id)
	if !ok {
		return row{}, ErrGrant
	}
	l, err := read(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		err = ErrExpired
	}
	return l, err
}

// read reads the login under a key.
//
// Errors: storage.ErrNotFound.
func read(tx *storage.Tx, uid storage.UID, key string) (row, error) {
	l, err := logins.Get(tx, uid, key)
	if err != nil {
		return row{}, err
	}
	return row{UID: uid, Key: key, Record: l}, nil
}

// eventOf makes an event about a login.
func eventOf(l row, t audit.Type, facts audit.Facts) audit.Event {
	return audit.Event{
		Type:   t,
		UID:    l.UID,
		Client: l.Record.Client,
		Facts:  facts,
	}
}

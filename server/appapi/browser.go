package appapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"tutela/device"
	"tutela/device/login"
	"tutela/server"
	"tutela/server/access"
	"tutela/storage"
)

// Errors of the browser client's calls.
var (
	errTransport = storage.NewError(storage.Invalid, "state_transport is polling: there is no socket here; leave stateCheckingMechanism out")
	errMethod    = storage.NewError(storage.Invalid, "SMS is not a factor here: use push, otp or recovery-code")
)

// The guards of the browser client's calls: its page shows a request token or a ticket first, and then the transaction token that
// it was given. A transaction ends with its client.
var (
	byStart = guard{schemeStart, func(a *api, asked server.Asked, c *caller) (err error) {
		field := asked.Header("Authorization")
		if _, isTicket := credentials(field, "Ticket"); isTicket {
			c.byTicket = true
			return byTicket.admit(a, asked, c)
		}
		if c.credential, err = bearer(field); err != nil {
			return err
		}
		return a.Logins.CheckRequestToken(c.credential)
	}}
	byFlow = guard{schemeFlow, func(a *api, asked server.Asked, c *caller) (err error) {
		if c.credential, err = bearer(asked.Header("Authorization")); err != nil {
			return err
		}
		client, err := a.Logins.CheckFlow(c.credential)
		if err == nil && client != "" {
			_, err = a.Access.Client(asked.Context(), client)
		}
		return err
	}}
)

func (a *api) mountBrowser() {
	post := func(id, path, summary, description string) huma.Operation {
		return huma.Operation{
			OperationID: id,
			Method:      http.MethodPost,
			Path:        "/api/" + path,
			Summary:     summary,
			Description: description,
		}
	}
	register(a, byStart, post("start-flow", "start-flow", "Start the transaction of a page of auth0-guardian.js",
		"With a request token it is a login, or the enrolment of a new user; the same token gets the same answer again. With a ticket it enrols alone."), a.startFlow)
	register(a, byFlow, post("transaction-state", "transaction-state", "Ask how a transaction stands",
		"The token of a login that was accepted is the same for a minute, to every page of the transaction; then the transaction is over (401)."), a.transactionState)
	register(a, byFlow, post("send-push-notification", "send-push-notification", "Ask the user's phones for an approval",
		"While one is pending its phones are rung again; after a denial they are asked for a new one."), a.sendPush)
	register(a, byFlow, post("recover-account", "recover-account", "Log in with the recovery code",
		"The code is spent, and the answer has the next one. The same call again gets the same answer."), a.recoverAccount)
	otp := post("verify-otp", "verify-otp", "Confirm an enrolment by a one-time code, or log in with one",
		"The code that confirms an enrolment is spent for the login too. The same call again has the same outcome.")
	otp.DefaultStatus = http.StatusNoContent
	register(a, byFlow, otp, a.verifyOTP)
	register(a, byFlow, post("send-sms", "send-sms", "Refused: SMS is not a factor here", ""), refuseSMS[struct{}])
	register(a, byFlow, post("sms-enroll", "device-accounts/{id}/sms-enroll", "Refused: SMS is not a factor here", ""), refuseSMS[AccountPath])
}

// refuseSMS answers the calls for a factor that there is not.
func refuseSMS[I any](context.Context, *caller, *I) (*struct{}, error) { return nil, errMethod }

// startFlowInput is what a page starts with.
//
// Source: guardian-wire.md §5.2.
type startFlowInput struct {
	Body *struct {
		Transport string `json:"state_transport,omitempty" doc:"polling; there is no socket."`
	}
}

// flowStarted is what a page is told when it starts.
type flowStarted struct {
	Body struct {
		Token          string         `json:"transaction_token" doc:"A JWT with txid and exp."`
		Account        browserAccount `json:"device_account"`
		EnrollmentTxID string         `json:"enrollment_tx_id,omitempty" doc:"There only when the user must enrol: the ticket that the QR code carries."`
		Enroll         []string       `json:"available_enrollment_methods" nullable:"false"`
		Authenticate   []string       `json:"available_authentication_methods" nullable:"false"`
	}
}

// browserAccount is a device account as the browser client reads it.
//
// Source: guardian-wire.md §5.3.
type browserAccount struct {
	ID           string   `json:"id,omitempty" doc:"Of the enrollment that was used last, or that is to come; left out when there is none."`
	Status       string   `json:"status" enum:"confirmation_pending,confirmed"`
	Name         string   `json:"name,omitempty" doc:"Of the phone."`
	Methods      []string `json:"methods,omitempty"`
	Available    []string `json:"available_methods,omitempty"`
	Types        []string `json:"available_authenticator_types,omitempty" doc:"The first is the default. A user who has lost every phone has recovery-code alone."`
	Secret       string   `json:"otp_secret,omitempty" doc:"Base32, of an enrolment to come."`
	RecoveryCode string   `json:"recovery_code,omitempty" doc:"Counts from the moment when the enrolment is confirmed. Left out when the user keeps the one that she has."`
}

func (a *api) startFlow(ctx context.Context, c *caller, in *startFlowInput) (*flowStarted, error) {
	if in.Body != nil && in.Body.Transport != "" && in.Body.Transport != "polling" {
		return nil, errTransport
	}
	start := a.Logins.StartFlow
	if c.byTicket {
		start = a.Logins.StartFlowByTicket
	}
	f, err := start(ctx, c.credential)
	if err != nil {
		return nil, err
	}
	out := &flowStarted{}
	out.Body.Token = f.Token
	out.Body.Enroll = wayNames(f.Enroll)
	out.Body.Authenticate = wayNames(f.LogIn)
	if f.Offer != nil {
		out.offer(f.Offer)
		return out, nil
	}
	out.Body.Account = confirmed(f.Account)
	return out, nil
}

// offer says what a user may enrol.
func (out *flowStarted) offer(o *device.Offer) {
	out.Body.Account = browserAccount{
		ID:           o.ID,
		Status:       "confirmation_pending",
		Secret:       o.Secret,
		RecoveryCode: string(o.Code),
	}
	out.Body.EnrollmentTxID = o.TxID
}

// confirmed describes an enrolled user.
func confirmed(of login.Account) browserAccount {
	return browserAccount{
		ID:        of.ID,
		Status:    "confirmed",
		Name:      of.Name,
		Methods:   wayNames(of.Methods),
		Available: wayNames(of.Methods),
		Types:     wayNames(of.Types),
	}
}

func wayNames(ways []login.Way) []string {
	list := make([]string, 0, len(ways))
	for _, w := range ways {
		list = append(list, string(w))
	}
	return list
}

// flowState is how a transaction stands.
//
// Source: guardian-wire.md §5.4.
type flowState struct {
	PollHeader
	Body struct {
		ID         string          `json:"id" doc:"The txid of the transaction token."`
		State      string          `json:"state" enum:"pending,accepted,rejected"`
		Enrollment *browserAccount `json:"enrollment,omitempty" doc:"Once the enrolment that was offered is confirmed."`
		Token      string          `json:"token,omitempty" doc:"When accepted: a JWT for the login system, which lives a minute."`
		Number     string          `json:"number,omitempty" doc:"The digits to show, while an approval is pending that matches numbers."`
		Delivery   string          `json:"delivery,omitempty" enum:"push,pull,silent" doc:"How the phones learn of the pending approval."`
	}
}

// PollHeader says how often a transaction may ask.
type PollHeader struct {
	Limit     int   `header:"X-RateLimit-Limit"`
	Remaining int   `header:"X-RateLimit-Remaining"`
	Reset     int64 `header:"X-RateLimit-Reset"`
}

// states are the wire's words for the states of a login.
var states = map[login.State]string{login.Pending: "pending", login.Approved: "accepted", login.Denied: "rejected"}

func (a *api) transactionState(ctx context.Context, c *caller, _ *struct{}) (*flowState, error) {
	state, polls, err := a.Logins.LookAtFlow(ctx, c.credential, func(r login.Result) (string, error) { return a.sign(ctx, r) })
	limit := PollHeader{
		Limit:     login.PollsPerMinute,
		Remaining: polls.Left,
		Reset:     polls.Reset.Unix(),
	}
	if errors.Is(err, login.ErrTooManyPolls) {
		limit.write(server.CallOf(ctx))
	}
	if err != nil {
		return nil, err
	}
	out := &flowState{PollHeader: limit}
	out.Body.ID = state.ID
	out.Body.State = states[state.State]
	if state.Enrolled != nil {
		enrolled := confirmed(*state.Enrolled)
		out.Body.Enrollment = &enrolled
	}
	out.Body.Token = state.Token
	out.Body.Number = state.Number
	out.Body.Delivery = string(state.Delivery)
	return out, nil
}

// write puts the header fields on an answer that is an error.
func (h PollHeader) write(call *server.Call) {
	call.SetHeader("X-RateLimit-Limit", strconv.Itoa(h.Limit))
	call.SetHeader("X-RateLimit-Remaining", strconv.Itoa(h.Remaining))
	call.SetHeader("X-RateLimit-Reset", strconv.FormatInt(h.Reset, 10))
}

// sign makes the token of a login that the browser client has completed.
func (a *api) sign(ctx context.Context, r login.Result) (string, error) {
	client, err := a.Access.Client(ctx, r.Client)
	if err != nil {
		return "", err
	}
	l := access.Login{UserID: r.UserID, At: r.At, AMR: []string{"mfa", string(r.Method)}}
	return a.Access.ResultToken(ctx, client, l, r.ID, login.ResultLife)
}

// pushSent is what a page is told of an approval. The client as it is drops it.
type pushSent struct {
	Body struct {
		Number   string `json:"number,omitempty" doc:"The digits to show, when the approval matches numbers."`
		Delivery string `json:"delivery" enum:"push,pull,silent" doc:"How the phones learn of it."`
	}
}

func (a *api) sendPush(ctx context.Context, c *caller, _ *struct{}) (*pushSent, error) {
	asked, err := a.Logins.AskPhone(ctx, c.credential)
	if err != nil {
		return nil, err
	}
	out := &pushSent{}
	out.Body.Number = asked.Number
	out.Body.Delivery = string(asked.Delivery)
	return out, nil
}

// typedOTP is a one-time code as the person typed it.
type typedOTP struct {
	Body struct {
		Type string `json:"type" enum:"manual_input"`
		Code string `json:"code" doc:"Six digits; blanks do not matter."`
	}
}

func (a *api) verifyOTP(ctx context.Context, c *caller, in *typedOTP) (*struct{}, error) {
	return nil, a.Logins.VerifyOTP(ctx, c.credential, in.Body.Code, c.actor)
}

type recovered struct {
	Body struct {
		RecoveryCode string `json:"recovery_code" doc:"The next one: have it saved."`
	}
}

func (a *api) recoverAccount(ctx context.Context, c *caller, in *struct{ Body typedCode }) (*recovered, error) {
	next, err := a.Logins.Recover(ctx, c.credential, in.Body.RecoveryCode, c.actor)
	if err != nil {
		return nil, err
	}
	out := &recovered{}
	out.Body.RecoveryCode = string(next)
	return out, nil
}

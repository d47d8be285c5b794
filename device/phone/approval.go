package phone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Approval is the question of a login, as a push message or a pull brought it. As JSON it has the keys of the message.
type Approval struct {
	Token          string    `json:"txtkn"` // the bearer that answers it
	EnrollmentID   string    `json:"dai"`
	Challenge      string    `json:"c"`
	Started        time.Time `json:"d"`
	Server         string    `json:"sh"`
	Source         Source    `json:"s,omitzero"`
	Location       *Location `json:"l,omitempty"`
	ConsentID      string    `json:"txlnkid,omitempty"`
	NumberMatching bool      `json:"nm,omitempty"` // the answer must hold the digits of the login screen
	ClientName     string    `json:"cn,omitempty"` // the login system that asks
	BindingMessage string    `json:"bm,omitempty"` // what it asks for; the login screen shows the same
	Purpose        string    `json:"pu,omitempty"` // CallerCheck, AddDevice, Manage, or "" for a login
}

// The purposes of approvals that ask something else than a login.
const (
	CallerCheck = "caller_check" // whether it is the person who rings the help desk
	AddDevice   = "add_device"   // whether the person adds another phone
	Manage      = "manage"       // whether the person opens her own page
)

// Source is where the login was started.
type Source struct {
	Browser Product `json:"b,omitzero"`
	System  Product `json:"os,omitzero"`
}

// Product is a program and its version.
type Product struct {
	Name    string `json:"n,omitempty"`
	Version string `json:"v,omitempty"`
}

// String returns the product as a person reads it: "Firefox 145".
func (p Product) String() string { return strings.TrimSpace(p.Name + " " + p.Version) }

// Location is a place; latitude and longitude in degrees, as the server wrote them.
type Location struct {
	Name      string      `json:"n"`
	Latitude  json.Number `json:"lat,omitempty"`
	Longitude json.Number `json:"long,omitempty"`
}

// UnmarshalJSON reads an approval in each of its shapes. In a push for Android every value is a string, and the strings
// s and l hold JSON. In a push for iOS and in a pull, s and l are objects.
//
// Source: guardian-wire.md §3.1.
func (a *Approval) UnmarshalJSON(data []byte) error {
	var wire struct {
		Token     string  `json:"txtkn"`
		Device    string  `json:"dai"`
		Challenge string  `json:"c"`
		Started   string  `json:"d"`
		Server    string  `json:"sh"`
		Source    wrapped `json:"s"`
		Location  wrapped `json:"l"`
		Consent   string  `json:"txlnkid"`
		Number    wrapped `json:"nm"`
		Client    string  `json:"cn"`
		Binding   string  `json:"bm"`
		Purpose   string  `json:"pu"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return fmt.Errorf("approval: %w", err)
	}
	started, err := time.Parse("2006-01-02T15:04:05.000Z", wire.Started)
	if err != nil {
		return errors.New("approval: d is not a time with milliseconds and Z")
	}
	*a = Approval{
		Token:          wire.Token,
		EnrollmentID:   wire.Device,
		Challenge:      wire.Challenge,
		Started:        started,
		Server:         wire.Server,
		ConsentID:      wire.Consent,
		ClientName:     wire.Client,
		BindingMessage: wire.Binding,
		Purpose:        wire.Purpose,
	}
	return errors.Join(wire.Source.into(&a.Source), wire.Location.into(&a.Location), wire.Number.into(&a.NumberMatching))
}

// wrapped is a JSON value that may come inside a string.
type wrapped json.RawMessage

// UnmarshalJSON keeps the value for into.
func (w *wrapped) UnmarshalJSON(data []byte) error {
	*w = append((*w)[:0], data...)
	return nil
}

func (w wrapped) into(out any) error {
	if len(w) == 0 {
		return nil
	}
	var text string
	if json.Unmarshal(w, &text) == nil {
		w = wrapped(text)
	}
	if err := json.Unmarshal(w, out); err != nil {
		return fmt.Errorf("approval: %w", err)
	}
	return nil
}

// Expires returns when the approval's token expires: after that nobody can answer it. It is zero when the token names no time.
func (a Approval) Expires() time.Time {
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if payloadOf(a.Token, &claims) != nil || claims.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0).UTC()
}

// Approvals pulls the pending approvals of this phone. It returns at once when there are some, else it waits for one, at
// most wait (and 60 s). It does not count approvals whose challenge is in seen: so an app that shows one can wait for the next.
//
// Its *Error is device_account_not_found when the enrollment is retired or reset, before the call or during the wait.
func (p *Phone) Approvals(ctx context.Context, wait time.Duration, seen []string) ([]Approval, error) {
	e, err := p.enrolled()
	if err != nil {
		return nil, err
	}
	path := e.devicePath("/approvals")
	query := url.Values{}
	if wait > 0 {
		query.Set("wait", strconv.Itoa(int(wait/time.Second)))
	}
	if len(seen) > 0 {
		query.Set("seen", strings.Join(seen, ","))
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	response, err := p.deviceCall(ctx, Call{Method: http.MethodGet, Path: path, Wait: wait})
	if err != nil {
		return nil, err
	}
	var approvals []Approval
	err = response.decode(&approvals)
	return approvals, err
}

// Approve answers yes. number is what the person reads on the login screen; it is empty when the approval asks for none.
//
// Its *Error is login_transaction_not_found (too late, or somebody decided first), invalid_otp (the number was wrong, and
// the login is denied), invalid_body (a number was missing, and nothing is decided), invalid_token.
//
// Source: guardian-wire.md §4.1, §4.2.
func (p *Phone) Approve(ctx context.Context, a Approval, number string) error {
	claims := map[string]any{"auth0_guardian_accepted": true}
	if number != "" {
		claims["tutela_number"] = number
	}
	return p.answer(ctx, a, claims)
}

// Deny answers no. reason may be empty; not_me and hack stop further pushes of that kind for an hour. It returns the same
// errors as Approve.
func (p *Phone) Deny(ctx context.Context, a Approval, reason string) error {
	claims := map[string]any{"auth0_guardian_accepted": false}
	if reason != "" {
		claims["auth0_guardian_reason"] = reason
	}
	return p.answer(ctx, a, claims)
}

func (p *Phone) answer(ctx context.Context, a Approval, claims map[string]any) error {
	response, err := p.challengeResponse(a, claims)
	if err != nil {
		return err
	}
	_, err = p.Do(ctx, Call{
		Method:        http.MethodPost,
		Path:          "/api/resolve-transaction",
		Authorization: "Bearer " + a.Token,
		JSON:          map[string]string{"challenge_response": response},
	})
	return err
}

func (p *Phone) challengeResponse(a Approval, claims map[string]any) (string, error) {
	s := p.snapshot()
	if s.hardware.Enrollment == nil {
		return "", ErrNotEnrolled
	}
	now := p.now()
	claims["iss"] = s.device.Identifier
	claims["sub"] = a.Challenge
	claims["aud"] = p.Base() + "/api/resolve-transaction"
	claims["iat"] = p.seconds(now)
	claims["exp"] = p.seconds(now.Add(30 * time.Second))
	claims["auth0_guardian_method"] = "push"
	return p.sign(ChallengeResponse, s.hardware.Enrollment.Key, claims)
}

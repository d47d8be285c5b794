package phone

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// Enrollment is the binding of this installation to a user. Its key never leaves the phone.
type Enrollment struct {
	ID     string `json:"id"`
	UserID string `json:"user_id"`
	Issuer string `json:"issuer"` // what the server calls itself
	Token  string `json:"token"`  // the device token: reads, renames and suspends the enrollment, nothing else
	Key    *Key   `json:"key"`
	TOTP   *TOTP  `json:"totp,omitempty"`
}

// TOTP is the one-time-code secret that comes with an enrollment. Secret is Base32; Period is in seconds.
type TOTP struct {
	Secret    string `json:"secret"`
	Algorithm string `json:"algorithm"`
	Digits    int    `json:"digits"`
	Period    int    `json:"period"`
}

// enrolling is an enrolment that was sent, or is about to be. The phone keeps the key from before the first try, because
// the same ticket with the same key gets the same answer again.
type enrolling struct {
	Ticket  string `json:"ticket"`
	BaseURL string `json:"base_url"`
	Key     *Key   `json:"key"`
}

// installation is what a new installation says of itself, at enrolment and at a restore.
type installation struct {
	Identifier   string           `json:"identifier"`
	Name         string           `json:"name"`
	Push         *PushCredentials `json:"push_credentials,omitempty"`
	PublicKey    JWK              `json:"public_key"`
	Capabilities []string         `json:"capabilities,omitempty"`
	Platform     string           `json:"platform,omitempty"`
}

// enrolmentResponse is what the server says to an enrolment, and to a restore that succeeded.
type enrolmentResponse struct {
	ID            string   `json:"id"`
	URL           string   `json:"url"`
	Issuer        string   `json:"issuer"`
	UserID        string   `json:"user_id"`
	Token         string   `json:"token"`
	RecoveryCode  string   `json:"recovery_code"`
	TOTP          *TOTP    `json:"totp"`
	RestoreHandle string   `json:"restore_handle"` // only of a restore
	Backup        *Version `json:"backup"`         // only of a restore
}

func (r *enrolmentResponse) enrollment(key *Key) (*Enrollment, error) {
	if r.ID == "" || r.UserID == "" || r.Token == "" || r.Issuer == "" || r.URL == "" {
		return nil, errors.New("server's answer to the enrolment lacks one of id, url, issuer, user_id, token")
	}
	return &Enrollment{
		ID:     r.ID,
		UserID: r.UserID,
		Issuer: r.Issuer,
		Token:  r.Token,
		Key:    key,
		TOTP:   r.TOTP,
	}, nil
}

// ticketOf finds the ticket, and the server's address if it is there, in what a person scans or pastes: the text of a QR
// code, the link of a ticket, or the ticket itself.
//
// Source: guardian-wire.md §1.1.
func ticketOf(text string) (ticket, baseURL string, err error) {
	text = strings.TrimSpace(text)
	if !strings.Contains(text, "://") {
		if text == "" {
			return "", "", errors.New("there is no ticket in an empty text")
		}
		return text, "", nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", "", errors.New("this address cannot be read")
	}
	q := u.Query()
	if ticket := q.Get("enrollment_tx_id"); ticket != "" {
		return ticket, q.Get("base_url"), nil
	}
	if ticket := q.Get("ticket"); ticket != "" {
		prefix, _, _ := strings.Cut(u.Path, "/mfa/")
		return ticket, u.Scheme + "://" + u.Host + prefix, nil
	}
	return "", "", errors.New("there is no ticket in this address")
}

// Enrolled is what the person sees after an enrolment.
type Enrolled struct {
	EnrollmentID string
	UserID       string
	RecoveryCode string // to be saved by the person; empty when an earlier one still holds
}

// Enroll binds this installation to a user. uriOrTicket is the text of the QR code, the link of a ticket, or a bare ticket.
//
// The new key is on disk before the call: when the answer was lost, Enroll with the same ticket gets it again. The phone
// replaces its earlier enrollment, and so does the server, since the identifier is the same. Errors: ErrNoServer; an error
// about the text; *Error with enrollment_transaction_not_found (the ticket is unknown, spent or expired),
// device_account_conflict, invalid_body.
//
// Source: guardian-wire.md §1.4, §1.5.
func (p *Phone) Enroll(ctx context.Context, uriOrTicket string) (Enrolled, error) {
	ticket, baseURL, err := ticketOf(uriOrTicket)
	if err != nil {
		return Enrolled{}, err
	}
	end, err := p.begin()
	if err != nil {
		return Enrolled{}, err
	}
	defer end()
	trying, err := p.prepareEnrolment(ticket, baseURL)
	if err != nil {
		return Enrolled{}, err
	}
	body, err := p.installation(trying.Key)
	if err != nil {
		return Enrolled{}, err
	}
	response, err := p.Do(ctx, Call{
		Method:        http.MethodPost,
		Path:          "/api/enroll",
		URL:           trying.BaseURL + "/api/enroll",
		Authorization: `Ticket id="` + ticket + `"`,
		JSON:          body,
	})
	if err != nil {
		return Enrolled{}, err
	}
	var got enrolmentResponse
	if err := response.decode(&got); err != nil {
		return Enrolled{}, err
	}
	return p.finishEnrolment(trying, &got)
}

// prepareEnrolment draws the key for the enrolment and writes it down, or finds the key of an earlier try with this ticket.
func (p *Phone) prepareEnrolment(ticket, baseURL string) (*enrolling, error) {
	s := p.snapshot()
	base := p.fixed
	if base == "" && baseURL != "" {
		base = apiBase(baseURL)
	}
	if base == "" {
		base = s.platform.BaseURL
	}
	if base == "" {
		return nil, ErrNoServer
	}
	if earlier := s.hardware.Enrolling; earlier != nil && earlier.Ticket == ticket {
		return &enrolling{Ticket: ticket, BaseURL: base, Key: earlier.Key}, nil
	}
	key, err := NewKey(s.device.Algorithm)
	if err != nil {
		return nil, err
	}
	trying := &enrolling{Ticket: ticket, BaseURL: base, Key: key}
	return trying, p.change(func(s *state) { s.hardware.Enrolling = trying })
}

// finishEnrolment keeps the answer. It drops the key and handle of an earlier enrollment's backup: a new enrollment starts
// a backup of its own.
func (p *Phone) finishEnrolment(trying *enrolling, got *enrolmentResponse) (Enrolled, error) {
	e, err := got.enrollment(trying.Key)
	if err != nil {
		return Enrolled{}, err
	}
	err = p.change(func(s *state) {
		s.platform = PlatformBackup{
			BaseURL:            trying.BaseURL,
			UserID:             e.UserID,
			Issuer:             e.Issuer,
			NoAutomaticRestore: s.platform.NoAutomaticRestore,
		}
		s.hardware = hardware{Enrollment: e, Accounts: s.hardware.Accounts, UnseenRecoveryCode: got.RecoveryCode}
	})
	return Enrolled{EnrollmentID: e.ID, UserID: e.UserID, RecoveryCode: got.RecoveryCode}, err
}

func (p *Phone) installation(key *Key) (installation, error) {
	public, err := key.Public(p.quirk().LeadingZero)
	if err != nil {
		return installation{}, err
	}
	d := p.snapshot().device
	return installation{
		Identifier:   d.Identifier,
		Name:         d.Name,
		Push:         d.Push,
		PublicKey:    public,
		Capabilities: d.Capabilities,
		Platform:     d.Platform,
	}, nil
}

// DeviceAccount is what the server knows of this phone.
type DeviceAccount struct {
	ID         string           `json:"id"`
	Identifier string           `json:"identifier"`
	Name       string           `json:"name"`
	Push       *PushCredentials `json:"push_credentials,omitempty"`
	PushState  string           `json:"push"` // ok, lost or none

	next string // the device token that replaces the present one; never shown
}

// Status asks the server what it knows of this phone. Its *Error is device_account_not_found when the enrollment was
// retired or reset, and enrollment_suspended when an admin has suspended it: then the app keeps the enrollment and waits.
func (p *Phone) Status(ctx context.Context) (DeviceAccount, error) {
	account, err := p.deviceAccount(ctx, http.MethodGet, nil)
	if err != nil || account.next == "" {
		return account, err
	}
	end, err := p.begin()
	if err != nil {
		return account, err
	}
	defer end()
	return account, p.change(func(s *state) { s.takeToken(account) })
}

// takeToken replaces the device token, if the server has sent a new one.
func (s *state) takeToken(account DeviceAccount) {
	if e := s.hardware.Enrollment; e != nil && e.ID == account.ID && account.next != "" {
		next := *e
		next.Token = account.next
		s.hardware.Enrollment = &next
	}
}

// Changes are what an app tells the server of itself. An empty field changes nothing; Capabilities that are empty but not
// nil remove all capabilities.
type Changes struct {
	Identifier   string           `json:"identifier,omitempty"`
	Name         string           `json:"name,omitempty"`
	Push         *PushCredentials `json:"push_credentials,omitempty"`
	Capabilities []string         `json:"capabilities,omitzero"`
}

// Patch tells the server of a new push token, name, identifier or capabilities, and keeps them once the server has them.
func (p *Phone) Patch(ctx context.Context, c Changes) (DeviceAccount, error) {
	end, err := p.begin()
	if err != nil {
		return DeviceAccount{}, err
	}
	defer end()
	account, err := p.deviceAccount(ctx, http.MethodPatch, c)
	if err != nil {
		return DeviceAccount{}, err
	}
	return account, p.change(func(s *state) {
		s.device.apply(c)
		s.takeToken(account)
	})
}

func (d *device) apply(c Changes) {
	if c.Identifier != "" {
		d.Identifier = c.Identifier
	}
	if c.Name != "" {
		d.Name = c.Name
	}
	if c.Push != nil {
		d.Push = c.Push
	}
	if c.Capabilities != nil {
		d.Capabilities = c.Capabilities
	}
}

func (p *Phone) deviceAccount(ctx context.Context, method string, body any) (DeviceAccount, error) {
	e, err := p.enrolled()
	if err != nil {
		return DeviceAccount{}, err
	}
	response, err := p.deviceCall(ctx, Call{Method: method, Path: e.devicePath(""), JSON: body})
	if err != nil {
		return DeviceAccount{}, err
	}
	var got struct {
		DeviceAccount
		Token string `json:"token"`
	}
	err = response.decode(&got)
	got.next = got.Token
	return got.DeviceAccount, err
}

// Unenroll removes the enrollment from the server, and then from the phone. The accounts stay on the phone.
func (p *Phone) Unenroll(ctx context.Context) error {
	end, err := p.begin()
	if err != nil {
		return err
	}
	defer end()
	e, err := p.enrolled()
	if err != nil {
		return err
	}
	_, err = p.deviceCall(ctx, Call{Method: http.MethodDelete, Path: e.devicePath("")})
	if err != nil && CodeOf(err) != "device_account_not_found" {
		return err
	}
	return p.change(func(s *state) { s.hardware.Enrollment = nil })
}

// LeaveByToken deletes the enrollment with the device token alone, as a thief of that token might. The phone keeps its
// enrollment: any call that the device's key signs within seven days brings it back. A token can do this once; the second
// time the *Error is insufficient_scope.
func (p *Phone) LeaveByToken(ctx context.Context) error {
	e, err := p.enrolled()
	if err != nil {
		return err
	}
	_, err = p.Do(ctx, Call{Method: http.MethodDelete, Path: e.devicePath(""), Authorization: "Bearer " + e.Token})
	return err
}

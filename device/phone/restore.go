package phone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// The steps of a restore: what comes next.
const (
	StepFirstTimeSetup = "first_time_setup"
	StepRecoveryCode   = "recovery_code"
	StepAskAdmin       = "ask_admin"
	StepDone           = "done"
)

// OldDeviceAsked is the reason of a restore that waits: it takes a code from WaitUntil on, or once the old installation
// allows it.
const OldDeviceAsked = "old_device_asked"

// Restore is the server's decision on a restore; the server decides anew at every call. Times stay as the server wrote them.
type Restore struct {
	ID        string `json:"id"`
	Step      string `json:"step"`
	Reason    string `json:"reason"`
	ExpiresAt string `json:"expires_at"`
	WaitUntil string `json:"wait_until,omitempty"` // the server does not look at a code that comes earlier
	Help      string `json:"help,omitempty"`       // the page for a person whom the app cannot help
}

// restoring is a restore under way. The phone keeps the new installation's key from before the first call. It never keeps
// the recovery code: a proof of the key is enough to ask for a lost answer again.
type restoring struct {
	Key   *Key   `json:"key"`
	ID    string `json:"id,omitempty"`
	Token string `json:"token,omitempty"`
}

// Restored is what the person sees when the phone is restored.
type Restored struct {
	EnrollmentID string
	UserID       string
	RecoveryCode string   // the next one, to be saved by the person
	Backup       *Version // what FetchBackup will read; nil when the server named none
}

// Restoring returns the id of the restore under way, or empty.
func (p *Phone) Restoring() string {
	if r := p.snapshot().hardware.Restoring; r != nil {
		return r.ID
	}
	return ""
}

// StartRestore begins to restore this installation, with the handle from the platform backup. cleanStart says that the
// person wants to start over. Each start draws a new key, since the server accepts a key only once.
//
// Source: app-api.md "Restore after a reinstall".
func (p *Phone) StartRestore(ctx context.Context, cleanStart bool) (Restore, error) {
	end, err := p.begin()
	if err != nil {
		return Restore{}, err
	}
	defer end()
	key, err := NewKey(p.snapshot().device.Algorithm)
	if err != nil {
		return Restore{}, err
	}
	if err := p.change(func(s *state) { s.hardware.Restoring = &restoring{Key: key} }); err != nil {
		return Restore{}, err
	}
	call, err := p.startCall(key, cleanStart)
	if err != nil {
		return Restore{}, err
	}
	response, err := p.Do(ctx, call)
	if err != nil {
		return Restore{}, err
	}
	var got struct {
		Restore
		Token string `json:"token"`
	}
	if err := response.decode(&got); err != nil {
		return Restore{}, err
	}
	if got.ID == "" || got.Token == "" || got.Step == "" {
		return Restore{}, errors.New("server's answer to the restore lacks one of id, token, step")
	}
	return got.Restore, p.change(func(s *state) {
		s.hardware.Restoring = &restoring{Key: key, ID: got.ID, Token: got.Token}
	})
}

// startCall makes the request that starts a restore. It always carries the proof of the new key: the server wants it when
// there were many starts with the handle.
func (p *Phone) startCall(key *Key, cleanStart bool) (Call, error) {
	about, err := p.installation(key)
	if err != nil {
		return Call{}, err
	}
	platform := p.snapshot().platform
	body := struct {
		installation
		RestoreHandle    string `json:"restore_handle,omitempty"`
		AutomaticRestore bool   `json:"automatic_restore"`
	}{about, platform.RestoreHandle, !platform.NoAutomaticRestore && !cleanStart}
	call := Call{Method: http.MethodPost, Path: "/api/restores", JSON: body}
	if platform.RestoreHandle != "" {
		sum := sha256.Sum256([]byte(platform.RestoreHandle))
		proof, err := p.sign(RestoreProof, key, map[string]any{"handle": hex.EncodeToString(sum[:]), "iat": p.seconds(p.now())})
		if err != nil {
			return Call{}, err
		}
		call.Header = map[string]string{"Restore-Proof": proof}
	}
	return call, nil
}

// RestoreWithCode redeems the recovery code: this installation takes over, the old one is retired, and another code
// replaces the spent one. When the answer is lost, the same call or RestoreState gets it again for fifteen minutes.
//
// Errors: ErrNoRestore; *Error with invalid_recovery_code, too_many_attempts (RetryAfter says how long),
// restore_not_ready (the step asks for something else or, with RetryAfter, for a later time), restore_not_found (too late,
// or another restore won).
func (p *Phone) RestoreWithCode(ctx context.Context, code string) (Restored, error) {
	end, err := p.begin()
	if err != nil {
		return Restored{}, err
	}
	defer end()
	r := p.snapshot().hardware.Restoring
	if r == nil || r.Token == "" {
		return Restored{}, ErrNoRestore
	}
	response, err := p.restoreCall(ctx, r, http.MethodPost, "/recovery-code", map[string]string{"recovery_code": code})
	if err != nil {
		return Restored{}, err
	}
	var got enrolmentResponse
	if err := response.decode(&got); err != nil {
		return Restored{}, err
	}
	return p.finishRestore(r, &got)
}

// RestoreState asks how the restore stands. When the restore is done and its answer was lost, the server repeats the answer
// for thirty days: the phone is then restored, and restored is not nil. After a quarter of an hour the repeated answer has
// another token, another restore handle and, unless the person got a recovery code elsewhere, another code. Its *Error is
// restore_not_found when the restore is over.
func (p *Phone) RestoreState(ctx context.Context) (r Restore, restored *Restored, err error) {
	end, err := p.begin()
	if err != nil {
		return Restore{}, nil, err
	}
	defer end()
	under := p.snapshot().hardware.Restoring
	if under == nil || under.Token == "" {
		return Restore{}, nil, ErrNoRestore
	}
	response, err := p.restoreCall(ctx, under, http.MethodGet, "", nil)
	if CodeOf(err) == "clock_skew" && !p.quirk().KeepClock && p.learnClock(err) {
		response, err = p.restoreCall(ctx, under, http.MethodGet, "", nil) // for a late answer the server wants a fresh proof
	}
	if err != nil {
		return Restore{}, nil, err
	}
	var got struct {
		Restore
		Result *enrolmentResponse `json:"result"`
	}
	if err := response.decode(&got); err != nil || got.Result == nil {
		return got.Restore, nil, err
	}
	done, err := p.finishRestore(under, got.Result)
	return got.Restore, &done, err
}

// pollRestore is how often a phone asks whether the old installation has allowed the restore.
const pollRestore = time.Second

// AwaitTurn waits until the restore takes a code, or asks for another step: until the time has come or the old
// installation has allowed it. It returns what RestoreState returns.
func (p *Phone) AwaitTurn(ctx context.Context) (r Restore, restored *Restored, err error) {
	for {
		r, restored, err = p.RestoreState(ctx)
		if err != nil || restored != nil || r.Reason != OldDeviceAsked {
			return r, restored, err
		}
		pause := pollRestore
		if until, err := time.Parse(time.RFC3339, r.WaitUntil); err == nil {
			pause = min(pause, max(until.Sub(p.now()), pollRestore/10))
		}
		if err := p.pause(ctx, pause); err != nil {
			return r, nil, err
		}
	}
}

// pauseFor waits for a time or the end of ctx.
func pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// FirstTimeSetup ends the restore without success: the person lost the code, or wants a clean start. The old installation
// stays as it is; this one needs a ticket.
func (p *Phone) FirstTimeSetup(ctx context.Context) (Restore, error) {
	end, err := p.begin()
	if err != nil {
		return Restore{}, err
	}
	defer end()
	r := p.snapshot().hardware.Restoring
	if r == nil || r.Token == "" {
		return Restore{}, ErrNoRestore
	}
	response, err := p.restoreCall(ctx, r, http.MethodPost, "/first-time-setup", nil)
	if err != nil {
		return Restore{}, err
	}
	var got Restore
	if err := response.decode(&got); err != nil {
		return Restore{}, err
	}
	return got, p.change(func(s *state) { s.hardware.Restoring = nil })
}

// restoreCall makes a call about the restore under way, with its token and the proof of the new key.
func (p *Phone) restoreCall(ctx context.Context, r *restoring, method, below string, body any) (*Response, error) {
	proof, err := p.sign(RestoreProof, r.Key, map[string]any{"restore": r.ID, "iat": p.seconds(p.now())})
	if err != nil {
		return nil, err
	}
	return p.Do(ctx, Call{
		Method:        method,
		Path:          "/api/restores/" + url.PathEscape(r.ID) + below,
		Authorization: "Bearer " + r.Token,
		Header:        map[string]string{"Restore-Proof": proof},
		JSON:          body,
	})
}

// finishRestore keeps the answer. The phone still remembers its last generation: FetchBackup compares the server's with it.
func (p *Phone) finishRestore(r *restoring, got *enrolmentResponse) (Restored, error) {
	e, err := got.enrollment(r.Key)
	if err != nil {
		return Restored{}, err
	}
	base := p.Base()
	err = p.change(func(s *state) {
		s.platform.BaseURL = base
		s.platform.UserID = e.UserID
		s.platform.Issuer = e.Issuer
		if got.RestoreHandle != "" {
			s.platform.RestoreHandle = got.RestoreHandle
		}
		s.hardware = hardware{Enrollment: e, Accounts: s.hardware.Accounts, UnseenRecoveryCode: got.RecoveryCode}
	})
	return Restored{
		EnrollmentID: e.ID,
		UserID:       e.UserID,
		RecoveryCode: got.RecoveryCode,
		Backup:       got.Backup,
	}, err
}

// OpenRestore is a restore that another installation has started to take over from one of the user's phones.
type OpenRestore struct {
	Restore
	MayAllow  bool   `json:"may_allow"` // from this one, which ends its wait by Allow
	Name      string `json:"name"`
	StartedAt string `json:"started_at"`
}

// OpenRestoresOfMine lists the user's open restores, which this installation may veto. It returns at once when there are
// some, else it waits for one, at most wait (and 60 s).
func (p *Phone) OpenRestoresOfMine(ctx context.Context, wait time.Duration) ([]OpenRestore, error) {
	e, err := p.enrolled()
	if err != nil {
		return nil, err
	}
	path := e.devicePath("/restores")
	if wait > 0 {
		path += "?wait=" + strconv.Itoa(int(wait/time.Second))
	}
	response, err := p.deviceCall(ctx, Call{Method: http.MethodGet, Path: path, Wait: wait})
	if err != nil {
		return nil, err
	}
	var open []OpenRestore
	err = response.decode(&open)
	return open, err
}

// Allow says from the old installation, this one, that a restore may go on at once: "that is me, on my new phone".
func (p *Phone) Allow(ctx context.Context, restoreID string) error {
	_, err := p.deviceCall(ctx, Call{Method: http.MethodPost, Path: "/api/restores/" + url.PathEscape(restoreID) + "/allow"})
	return err
}

// Veto stops a restore. This phone is the old one, or another of the user's: "that is not me".
func (p *Phone) Veto(ctx context.Context, restoreID string) error {
	_, err := p.deviceCall(ctx, Call{Method: http.MethodPost, Path: "/api/restores/" + url.PathEscape(restoreID) + "/veto"})
	return err
}

// Dispute says that a stranger took over. It works from a phone that was retired less than a day ago. id is the RestoreID
// of that phone's last notice.
func (p *Phone) Dispute(ctx context.Context, id string) error {
	_, err := p.deviceCall(ctx, Call{Method: http.MethodPost, Path: "/api/restores/" + url.PathEscape(id) + "/dispute"})
	return err
}

// CheckCode reports whether the saved recovery code is right, without spending it. It returns false for a typo. Its *Error
// is too_many_attempts.
func (p *Phone) CheckCode(ctx context.Context, code string) (bool, error) {
	e, err := p.enrolled()
	if err != nil {
		return false, err
	}
	response, err := p.deviceCall(ctx, Call{
		Method: http.MethodPost, Path: e.devicePath("/recovery-code/check"), JSON: map[string]string{"recovery_code": code},
	})
	if err != nil {
		return false, err
	}
	var got struct {
		Valid bool `json:"valid"`
	}
	err = response.decode(&got)
	return got.Valid, err
}

// LoseCode says that the person has lost the recovery code. The code stays valid until another replaces it.
func (p *Phone) LoseCode(ctx context.Context) error {
	e, err := p.enrolled()
	if err != nil {
		return err
	}
	_, err = p.deviceCall(ctx, Call{Method: http.MethodPost, Path: e.devicePath("/recovery-code/lost")})
	return err
}

// Package phone is a simulated authenticator app: the other side of the app API, for demonstration, tests and load.
//
// It is a foreign client on purpose. It shares no code with the server, imports nothing of this module, and speaks HTTP
// only, so what it needs is what any app needs. It keeps its state as a phone does, in a folder of three files:
//
//   - phone.json: the phone itself (identifier, name, push token, push service). A reinstall of the app does not change it.
//   - platform-backup.json: what iCloud or Google carry to the next installation: whose phone this is, the restore
//     handle, the key of the backups, the names of the accounts, the last generation seen.
//   - hardware-keys.json: what lives and dies with this installation: the device's private key, the enrollment, the
//     accounts' secrets, and the calls whose answer has not been seen yet.
//
// Two rules keep the person's accounts safe, and every method follows them. First, what must not be lost is on disk
// before the phone sends the call that needs it. Second, when an answer comes, the phone writes the platform backup first
// and the hardware keys last: after a crash between the two it can make the call again and gets the same answer.
//
// Without a folder a Phone lives in memory and costs little: thousands of them fit into one load generator.
package phone

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Errors of a call that the phone's state does not allow. The phone has sent nothing.
var (
	ErrNotEnrolled = errors.New("this phone is not enrolled")
	ErrNoRestore   = errors.New("no restore is under way on this phone")
	ErrNoServer    = errors.New("no server is known: give its address, or enrol with a QR code's text")
	ErrNoBlobKey   = errors.New("this phone does not hold the key of the backup")
)

// Capabilities: what an app can do beyond the Guardian protocol, as it tells the server.
const (
	NumberMatching = "number-matching" // it asks for the digits on the login screen
	ShowsCode      = "recovery-code"   // it shows the person the recovery code that it gets
)

// Options say what a phone is. The zero value is a pull-only phone in memory with a P-256 key, which matches numbers and shows
// recovery codes.
// An option that is set wins over what an existing folder says.
type Options struct {
	BaseURL      string           // public URL of the server, with or without /appliance-mfa; empty: from the QR code or the folder
	Folder       string           // where the state is kept; empty: in memory
	Client       *http.Client     // empty: one shared pool of connections, sized for load
	Algorithm    Algorithm        // of new keys; empty: ES256
	Name         string           // shown to the person and to admins; empty: "Simulated phone"
	Identifier   string           // the app's own id of the phone; empty: drawn at random
	Capabilities []string         // nil: number matching and recovery codes; empty: an older app, which can only be tapped
	Push         *PushCredentials // nil: the app only pulls
	Platform     string           // what it says that it runs on; empty: it does not say
	Now          func() time.Time // nil: time.Now
	Quirks       Quirks
}

// PushCredentials is where the phone's push service finds it. Service is GCM, FCM, APNS or WEBPUSH.
type PushCredentials struct {
	Service string `json:"service"`
	Token   string `json:"token"`
}

// Phone is one simulated phone with one installation of the app. It is safe for concurrent use; methods that change the
// installation (enrol, back up, restore, …) run one after another, also across processes that share a folder.
type Phone struct {
	client *http.Client
	wall   func() time.Time
	folder folder
	fixed  string // Options.BaseURL, which wins over every other address
	pause  func(ctx context.Context, d time.Duration) error

	changing sync.Mutex // held by begin: one change of the installation at a time

	mu       sync.Mutex // guards what follows
	state    state
	quirks   Quirks
	offset   time.Duration // what the server's Date header taught us about our clock
	jwt      string        // the cached device JWT
	jwtUntil time.Time     // by our clock: when to sign another
}

// New opens the phone of o.Folder, or makes a new one. It makes no call. A state file that it cannot read is an error,
// and stays as it is.
func New(o Options) (*Phone, error) {
	p := &Phone{
		client: o.Client,
		quirks: o.Quirks,
		wall:   o.Now,
		folder: folder{path: o.Folder},
		pause:  pauseFor,
	}
	if p.client == nil {
		p.client = sharedClient()
	}
	if p.wall == nil {
		p.wall = time.Now
	}
	if o.BaseURL != "" {
		p.fixed = apiBase(o.BaseURL)
	}
	if err := p.folder.load(&p.state); err != nil {
		return nil, err
	}
	p.state.device.configure(o)
	return p, nil
}

// configure applies the options to what the folder said, and sets what neither names to its default.
func (d *device) configure(o Options) {
	for _, v := range []struct {
		field            *string
		option, fallback string
	}{
		{&d.Name, o.Name, "Simulated phone"},
		{&d.Identifier, o.Identifier, ""},
		{(*string)(&d.Algorithm), string(o.Algorithm), string(ES256)},
	} {
		if v.option != "" {
			*v.field = v.option
		} else if *v.field == "" {
			*v.field = v.fallback
		}
	}
	if d.Identifier == "" {
		d.Identifier = newIdentifier()
	}
	if o.Platform != "" {
		d.Platform = o.Platform
	}
	if o.Capabilities != nil {
		d.Capabilities = o.Capabilities
	} else if d.Capabilities == nil {
		d.Capabilities = []string{NumberMatching, ShowsCode}
	}
	if o.Push != nil {
		d.Push = o.Push
	}
}

func newIdentifier() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand.Read crashes the program rather than return an error
	return hex.EncodeToString(b[:])
}

// begin starts a change of the installation: it waits for other changes, reads the folder again, and returns the
// function that ends it.
func (p *Phone) begin() (end func(), err error) {
	p.changing.Lock()
	unlock, err := p.folder.lock()
	if err != nil {
		p.changing.Unlock()
		return nil, err
	}
	end = func() {
		unlock()
		p.changing.Unlock()
	}
	if err := p.reload(); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// reload takes over what another process wrote. The phone's own settings stay as New configured them.
func (p *Phone) reload() error {
	if p.folder.path == "" {
		return nil
	}
	var fresh state
	if err := p.folder.load(&fresh); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !sameEnrollment(fresh.hardware.Enrollment, p.state.hardware.Enrollment) {
		p.jwt = ""
	}
	p.state.platform = fresh.platform
	p.state.hardware = fresh.hardware
	return nil
}

func sameEnrollment(a, b *Enrollment) bool {
	return a == b || a != nil && b != nil && a.ID == b.ID
}

// change applies f to a copy of the state, writes the copy, and only then uses it. The caller is between begin and end.
func (p *Phone) change(f func(*state)) error {
	p.mu.Lock()
	next := p.state
	p.mu.Unlock()
	f(&next)
	if err := p.folder.save(&next); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !sameEnrollment(next.hardware.Enrollment, p.state.hardware.Enrollment) {
		p.jwt = ""
	}
	p.state = next
	return nil
}

func (p *Phone) snapshot() state {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// now returns the time of the phone's clock, corrected by the server's.
func (p *Phone) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wall().Add(p.offset + p.quirks.ClockOffset)
}

func (p *Phone) quirk() Quirks {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.quirks
}

// SetQuirks changes how the phone behaves from now on. The phone also forgets how far its clock is wrong.
func (p *Phone) SetQuirks(q Quirks) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.quirks = q
	p.offset = 0
	p.jwt = ""
}

// Base returns the address that calls go to: the public URL with /appliance-mfa, or empty when no server is known yet.
func (p *Phone) Base() string {
	if p.fixed != "" {
		return p.fixed
	}
	return p.snapshot().platform.BaseURL
}

// Enrollment returns the phone's binding to a user, or nil. The caller must not change it.
func (p *Phone) Enrollment() *Enrollment { return p.snapshot().hardware.Enrollment }

// PlatformBackup returns a copy of what the platform would carry to the next installation.
func (p *Phone) PlatformBackup() PlatformBackup { return p.snapshot().platform }

// Identifier returns the app's own id of this phone, the issuer of its answers.
func (p *Phone) Identifier() string { return p.snapshot().device.Identifier }

// Name returns the phone's name.
func (p *Phone) Name() string { return p.snapshot().device.Name }

// Accounts returns the one-time-code accounts of the app on this phone. The caller must not change them.
func (p *Phone) Accounts() []Account { return p.snapshot().hardware.Accounts }

// UnseenRecoveryCode returns the recovery code that came last, until RecoveryCodeSeen is called: so a crash between the
// answer and the screen loses no code. It is empty when there is none.
func (p *Phone) UnseenRecoveryCode() string { return p.snapshot().hardware.UnseenRecoveryCode }

// RecoveryCodeSeen says that the person has seen the recovery code. The phone forgets it.
func (p *Phone) RecoveryCodeSeen() error {
	end, err := p.begin()
	if err != nil {
		return err
	}
	defer end()
	return p.change(func(s *state) { s.hardware.UnseenRecoveryCode = "" })
}

// Reinstallation says what happens when a person removes the app and installs it again.
type Reinstallation struct {
	WithoutBackup bool // no platform backup comes back
	NewPhone      bool // the app comes to another phone, which has another identifier
}

// Reinstall removes the app and installs it again: the hardware keys are gone, and the platform backup comes back unless r
// says otherwise. It makes no call.
func (p *Phone) Reinstall(r Reinstallation) error {
	end, err := p.begin()
	if err != nil {
		return err
	}
	defer end()
	return p.change(func(s *state) {
		s.hardware = hardware{}
		if r.WithoutBackup {
			s.platform = PlatformBackup{}
		}
		if r.NewPhone {
			s.device.Identifier = newIdentifier()
			s.device.Distributor = nil
			if s.device.Push != nil && s.device.Push.Service == "WEBPUSH" {
				s.device.Push = nil // another phone has another push service
			}
		}
	})
}

// SetAutomaticRestore sets the switch in the phone's settings that lets the platform backup come back by itself.
func (p *Phone) SetAutomaticRestore(on bool) error {
	end, err := p.begin()
	if err != nil {
		return err
	}
	defer end()
	return p.change(func(s *state) { s.platform.NoAutomaticRestore = !on })
}

// enrolled returns the enrollment or ErrNotEnrolled.
func (p *Phone) enrolled() (*Enrollment, error) {
	e := p.Enrollment()
	if e == nil {
		return nil, ErrNotEnrolled
	}
	return e, nil
}

// apiBase returns the address below which the API lies. Source: guardian-wire.md §1.3.
func apiBase(url string) string {
	url = strings.TrimRight(url, "/")
	if !strings.Contains(url, "://") {
		url = "https://" + url
	}
	if strings.Contains(url, "/appliance-mfa") {
		return url
	}
	return url + "/appliance-mfa"
}

// DeviceJWT returns the bearer token for the device's own calls. The device's key signs it; it is valid for two hours, and
// the phone uses it for half an hour.
//
// Errors: ErrNotEnrolled; the error of signing.
//
// Source: guardian-wire.md §2.1.
func (p *Phone) DeviceJWT() (string, error) {
	e, err := p.enrolled()
	if err != nil {
		return "", err
	}
	now := p.now()
	p.mu.Lock()
	cached := p.jwt
	until := p.jwtUntil
	p.mu.Unlock()
	if cached != "" && now.Before(until) {
		return cached, nil
	}
	token, err := p.sign(DeviceToken, e.Key, map[string]any{
		"iss": e.ID, "sub": e.UserID, "aud": p.Base() + "/api/device-accounts",
		"iat": p.seconds(now), "exp": p.seconds(now.Add(2 * time.Hour)),
	})
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if sameEnrollment(e, p.state.hardware.Enrollment) {
		p.jwt = token
		p.jwtUntil = now.Add(30 * time.Minute)
	}
	return token, nil
}

// deviceCall makes a call with the device JWT. When the server says that our clock is wrong, deviceCall takes the time
// from the answer's Date header and makes the call once more.
func (p *Phone) deviceCall(ctx context.Context, c Call) (*Response, error) {
	for attempt := 0; ; attempt++ {
		token, err := p.DeviceJWT()
		if err != nil {
			return nil, err
		}
		c.Authorization = "Bearer " + token
		response, err := p.Do(ctx, c)
		if attempt > 0 || CodeOf(err) != "clock_skew" || p.quirk().KeepClock || !p.learnClock(err) {
			return response, err
		}
	}
}

func (p *Phone) learnClock(err error) bool {
	var refused *Error
	if !errors.As(err, &refused) || refused.Date.IsZero() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offset = refused.Date.Sub(p.wall().Add(p.quirks.ClockOffset))
	p.jwt = ""
	return true
}

// devicePath returns the path of the enrollment, followed by below.
func (e *Enrollment) devicePath(below string) string {
	return fmt.Sprintf("/api/device-accounts/%s%s", e.ID, below)
}

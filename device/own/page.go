package own

import (
	"cmp"
	"context"
	"slices"
	"time"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/recovery/ways"
	"tutela/storage"
	"tutela/storage/audit"
)

// Page is what a person's own page shows.
type Page struct {
	User     user.User
	Client   string    // the name of the login system that she came from
	Back     string    // where her browser goes when she leaves
	Expires  time.Time // of the session
	Strong   bool      // what was proven lets her add and remove authenticators now
	Enrolled bool      // and it has added one already: another asks for another proof
	StepUp   login.StepUpWays
	Waits    login.Waits // of the ways to prove more, where codes are typed
	Practise time.Time   // until then wrong codes of practice are not looked at; zero: they are
	Proven   login.Proof

	Devices  []Device // in the order in which they were added
	Lost     Lost
	Code     Code
	Backups  []backup.Tracked
	Restores []restore.Listed // that are under way, newest first
	Browsers int              // that are remembered
	ToSave   bool             // a recovery code is waiting to be confirmed

	CanAdd CanAdd
}

// CanAdd says which authenticators can be added here.
type CanAdd struct{ Phone, App, Passkey bool }

// Device is one of the user's authenticators.
type Device struct {
	ID       string
	Type     device.Type
	Name     string
	Status   device.Status
	Disowned bool // suspended by her own word
	Enrolled time.Time
	Used     time.Time // the last login that it has satisfied; zero: none
	IP       string    // from where that was; "" when nobody knows any more
	Agent    string
	Here     bool // what this session has proven
	Synced   bool // a passkey that is copied to other devices
	CodesToo bool // a phone that shows one-time codes
}

// Lost is the answer to "if I lose it?": what she would lose, and what she would get back in with.
type Lost struct {
	Device string // the name of the authenticator that she used last; "" when she has none
	With   []Device
	Code   bool // her recovery code, which she has shown to have saved
	Risks  []ways.Risk
}

// Code is how the user's recovery code stands.
type Code struct {
	Holds     bool
	Confirmed bool
	Lost      bool // it was declared lost
	ByAdmin   bool
	Issued    time.Time
	Until     time.Time // zero: for ever
	Off       bool      // recovery codes are switched off here
}

// look reads the session of a token.
//
// Errors: ErrSession.
func (s *Service) look(ctx context.Context, token string) (h *held, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		h, err = s.enter(tx, token)
		return err
	})
	return h, err
}

// Look returns what the page shows. It writes nothing.
//
// Errors: ErrSession.
func (s *Service) Look(ctx context.Context, token string) (p Page, err error) {
	var uid storage.UID
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		h, err := s.enter(tx, token)
		if err != nil {
			return err
		}
		uid = h.uid
		p, err = s.page(tx, h)
		return err
	})
	if err != nil {
		return Page{}, err
	}
	return p, s.locate(ctx, uid, p.Devices)
}

func (s *Service) page(tx *storage.Tx, h *held) (p Page, err error) {
	p = Page{
		User:    *h.user,
		Client:  h.Name,
		Back:    h.session.Back,
		Expires: h.Expires,
		Strong:  h.isStrong(tx.Now()),
		Proven:  h.Proven,
	}
	_, notShown := h.shown(tx.Now())
	p.ToSave = notShown == nil
	set, err := device.All(tx, h.uid)
	if err != nil {
		return p, err
	}
	p.Devices = h.devices(set.Kept())
	if p.StepUp, err = s.logins.StepUpWays(tx, h.uid); err != nil {
		return p, err
	}
	if err := p.waits(tx, h.uid); err != nil {
		return p, err
	}
	if p.Enrolled, err = login.HasEnrolled(tx, h.uid, h.Proven.Login); err != nil {
		return p, err
	}
	if p.Code, err = code(tx, h.uid); err != nil {
		return p, err
	}
	if p.Lost, err = lost(tx, h.uid, set, p); err != nil {
		return p, err
	}
	if p.Backups, err = backup.List(tx, h.uid); err != nil {
		return p, err
	}
	if p.Restores, err = s.underWay(tx, h.uid); err != nil {
		return p, err
	}
	if p.CanAdd, err = canAdd(tx); err != nil {
		return p, err
	}
	p.Browsers, err = recovery.CountBrowsers(tx, h.uid)
	return p, err
}

// waits reads what waits since too many wrong codes were typed.
func (p *Page) waits(tx *storage.Tx, uid storage.UID) (err error) {
	if p.Waits, err = login.CodeWaits(tx, uid); err != nil {
		return err
	}
	blocks, err := recovery.Blocks(tx, uid)
	for _, b := range blocks {
		if b.Channel == recovery.PracticeChannel {
			p.Practise = b.Until
		}
	}
	return err
}

func (h *held) devices(set device.Set) []Device {
	list := make([]Device, 0, len(set))
	for _, e := range set {
		list = append(list, Device{
			ID:       e.ID,
			Type:     e.Type,
			Name:     e.Name,
			Status:   e.Status,
			Disowned: !e.Disowned.IsZero(),
			Enrolled: e.Enrolled,
			Used:     e.LastAuth,
			Here:     e.ID == h.Opened.By || e.ID == h.Proven.By,
			Synced:   e.WebAuthn.BackedUp,
			CodesToo: e.Type == device.TypePush && len(e.OTP.Secret) > 0,
		})
	}
	return list
}

// lost answers "if I lose it?".
func lost(tx *storage.Tx, uid storage.UID, set device.Set, p Page) (l Lost, err error) {
	standing, err := ways.Of(tx, uid)
	if err != nil {
		return l, err
	}
	l.Risks = standing.Risks
	l.Code = p.Code.Holds && p.Code.Confirmed && !p.Code.Lost && !p.Code.Off
	active := set.Active()
	if len(active) == 0 {
		return l, nil
	}
	last := slices.MaxFunc(active, func(a, b *device.Enrollment) int {
		return cmp.Or(a.LastAuth.Compare(b.LastAuth), a.Enrolled.Compare(b.Enrolled))
	})
	l.Device = last.Name
	for _, d := range p.Devices {
		other := active.Only(d.ID)
		if len(other) > 0 && d.ID != last.ID && (d.Type == device.TypePush || other[0].Survives()) {
			l.With = append(l.With, d)
		}
	}
	return l, nil
}

// code reads how the user's recovery code stands.
func code(tx *storage.Tx, uid storage.UID) (c Code, err error) {
	on, err := device.FactorOn(tx, device.FactorCode)
	if err != nil {
		return c, err
	}
	holding, err := recovery.HoldingOf(tx, uid)
	if err != nil {
		return c, err
	}
	is, until, err := recovery.CodeStanding(tx, uid)
	if err != nil {
		return c, err
	}
	c = Code{
		Holds:     holding.Counts,
		Confirmed: holding.Counts && is == ways.CodeConfirmed,
		Lost:      holding.Lost,
		ByAdmin:   holding.ByAdmin,
		Until:     until,
		Off:       !on,
	}
	c.Issued, err = recovery.CodeIssuedAt(tx, uid)
	return c, err
}

// underWay returns the restores that are neither over nor closed.
func (s *Service) underWay(tx *storage.Tx, uid storage.UID) ([]restore.Listed, error) {
	all, err := s.restores.List(tx, uid)
	return slices.DeleteFunc(all, func(l restore.Listed) bool { return l.End != "" || l.Vetoed }), err
}

func canAdd(tx *storage.Tx) (c CanAdd, err error) {
	on, err := device.FactorsOn(tx, device.FactorPush, device.FactorOTP, device.FactorPlatform, device.FactorRoaming)
	for _, f := range on {
		switch f {
		case device.FactorPush:
			c.Phone = true
		case device.FactorOTP:
			c.App = true
		default:
			c.Passkey = true
		}
	}
	return c, err
}

// lookedBack is how many of the user's last logins are looked at for where each authenticator was used.
const lookedBack = 256

// locate notes from where each authenticator was used last.
func (s *Service) locate(ctx context.Context, uid storage.UID, list []Device) error {
	entries, _, err := audit.List(ctx, s.store, audit.Query{
		UID:    uid,
		Types:  []audit.Type{audit.AuthSucceed},
		Take:   lookedBack,
		Within: 4 * lookedBack,
	}, false)
	if err != nil {
		return err
	}
	for i := range list {
		at := slices.IndexFunc(entries, func(e audit.Entry) bool { return e.Detail.Enrollment == list[i].ID })
		if at >= 0 {
			list[i].IP = entries[at].Detail.IP
			list[i].Agent = entries[at].Detail.UserAgent
		}
	}
	return nil
}

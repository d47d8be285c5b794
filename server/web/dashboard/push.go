package dashboard

import (
	"cmp"
	"encoding/base64"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tutela/device"
	"tutela/device/push"
	"tutela/device/push/provider"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/web/page"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
)

const pushPath = "admin/push"

func (p *pages) mountPush() {
	const (
		read = "read:guardian_factors"
		set  = "update:guardian_factors"
	)
	p.get("/admin/push", read, p.push)
	p.form("/admin/push/apns", set, p.setAPNs, p.push)
	p.form("/admin/push/fcm", set, p.setFCM, p.push)
	p.form("/admin/push/test", set, p.testPush, p.push)
}

// pushPage is the page of push services.
type pushPage struct {
	Shell
	List  []pushService
	Rules bool // what is set here counts, and not the command line
	May   bool
	Fault string // below admin_push.fault in the catalogue; "": nothing is wrong
	User  string // whose phones can be sent a test
	Known bool   // there is such a user
	Phone []*device.Enrollment
	Tried *device.Trial // what became of a test
	To    string        // the phone that it went to
	At    time.Time
}

// pushService is a push service as it stands now.
type pushService struct {
	pushed
	Service push.Service
	Kept    provider.Kept
	Line    bool // the command line has credentials
	Carried bool // messages to it leave this server
	Breaker outbox.ProviderStatus
}

// Open reports whether messages wait, since the service is in trouble.
func (s pushService) Open() bool { return s.Breaker.State != "" && s.Breaker.State != outbox.Closed }

// Set reports whether the service's credentials can be set here.
func (s pushService) Settable() bool { return s.Service != push.WebPush }

func (p *pages) push(c *Call) (page.Reply, error) {
	return p.pushPage(c, pushPage{User: strings.TrimSpace(c.Query("user"))}, http.StatusOK)
}

// pushPage shows the services, and the phones that can be sent a test.
func (p *pages) pushPage(c *Call, shown pushPage, status int) (page.Reply, error) {
	shown.Shell = c.Shell(pushPath)
	shown.May = c.Session.Has("update:guardian_factors")
	shown.User = cmp.Or(shown.User, c.Session.User.ID)
	shown.At = p.Now()
	if err := p.pushServices(c, &shown); err != nil {
		return page.Reply{}, err
	}
	seen, err := p.Admins.SeenBy(c.UserContext(), shown.User, c.Session.Actor())
	if err != nil && !errors.Is(err, user.ErrUnknown) {
		return page.Reply{}, err
	}
	shown.Known = err == nil
	for _, e := range seen.Enrollments {
		if e.Type == device.TypePush && len(e.Routes()) > 0 {
			shown.Phone = append(shown.Phone, e)
		}
	}
	return page.Reply{Status: status, Template: "push.html", Data: shown}, nil
}

// pushServices says how each service stands: today's messages, credentials, breaker.
func (p *pages) pushServices(c *Call, shown *pushPage) error {
	ctx := c.UserContext()
	kept, rules, err := p.Push.Kept(ctx)
	if err != nil {
		return err
	}
	shown.Rules = rules
	now := p.Now()
	stats, err := p.Admins.Stats(ctx, now.UTC().AddDate(0, 0, 1-overviewDays), now)
	if err != nil {
		return err
	}
	sums := pushedBy(stats)
	state, err := p.Outbox(ctx)
	if err != nil {
		return err
	}
	for _, service := range []push.Service{push.APNs, push.FCM, push.WebPush} {
		s := pushService{
			pushed:  sums[push.ProviderOf(string(service))],
			Service: service,
			Kept:    kept[service],
			Line:    p.Gateway.HasCarrier(service),
		}
		s.Carried = s.Line
		if rules && s.Settable() {
			s.Carried = s.Kept.Set
		}
		for _, one := range state.Providers {
			if push.ProviderOf(one.Name) == push.ProviderOf(string(service)) && one.State != outbox.Closed {
				s.Breaker = one
			}
		}
		shown.List = append(shown.List, s)
	}
	return nil
}

// refusedPush shows the page with why something was not done.
func (p *pages) refusedPush(c *Call, shown pushPage, err error) (page.Reply, error) {
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, provider.ErrCertificate):
		shown.Fault = "certificate"
	case errors.Is(err, device.ErrNoEnrollment), errors.Is(err, device.ErrNoPushAddress), errors.Is(err, user.ErrUnknown):
		shown.Fault = "phone"
	case errors.Is(err, provider.ErrRole), errors.Is(err, admin.ErrRefused):
		shown.Fault = "role"
		status = http.StatusForbidden
	case errors.Is(err, admin.ErrTestsOften):
		shown.Fault = "often"
		r, pageErr := p.pushPage(c, shown, http.StatusTooManyRequests)
		r.Header = map[string]string{"Retry-After": strconv.Itoa(int(math.Ceil(storage.RetryAfter(err).Seconds())))}
		return r, pageErr
	default:
		return page.Reply{}, err
	}
	return p.pushPage(c, shown, status)
}

// setAPNs sets the certificate for APNs, as the Management API does. What is left empty stays as it is.
func (p *pages) setAPNs(c *Call) (page.Reply, error) {
	bundle := strings.TrimSpace(c.Posted("bundle"))
	sandbox := c.Posted("sandbox") != ""
	change := provider.APNsChange{Bundle: &bundle, Sandbox: &sandbox}
	if pasted := strings.Join(strings.Fields(c.Posted("p12")), ""); pasted != "" {
		decoded, err := base64.StdEncoding.DecodeString(pasted)
		if err != nil {
			return p.refusedPush(c, pushPage{}, provider.ErrCertificate)
		}
		change.P12 = decoded
	}
	_, err := p.Push.SetAPNs(c.UserContext(), c.Session.Actor().In(audit.CallPatchPushAPNs), change)
	if err != nil {
		return p.refusedPush(c, pushPage{}, err)
	}
	return c.GoTo(pushPath, nil), nil
}

// setFCM sets the key file for FCM. One that cannot be used is kept all the same, and the page says so.
func (p *pages) setFCM(c *Call) (page.Reply, error) {
	file := strings.TrimSpace(c.Posted("account"))
	if err := p.Push.SetFCM(c.UserContext(), c.Session.Actor().In(audit.CallPatchPushFCM), &file); err != nil {
		return p.refusedPush(c, pushPage{}, err)
	}
	return c.GoTo(pushPath, nil), nil
}

// testPush sends a test, and shows what the service says of it.
func (p *pages) testPush(c *Call) (page.Reply, error) {
	shown := pushPage{User: c.Posted("user"), To: c.Posted("phone")}
	tried, err := p.Admins.TestPush(c.UserContext(), shown.User, shown.To, c.Session.Actor())
	if err != nil && storage.CodeOf(err) != "" {
		return p.refusedPush(c, shown, err)
	}
	if err != nil {
		return page.Reply{}, err
	}
	shown.Tried = &tried
	return p.pushPage(c, shown, http.StatusOK)
}

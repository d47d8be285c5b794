package dashboard

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"tutela/device/login"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/server/web/page"
	"tutela/storage/audit"
)

// resetPage is the dialog that asks whether to reset a user.
type resetPage struct {
	userPage
	Gone   []recovery.RemovedCount // what a reset would remove now
	Check  login.CallerShown       // the latest question who rings
	Asked  bool                    // there is one
	Ways   []string                // in which a caller can be checked, beside the phone
	Reason string                  // as it was sent
	How    string                  // as it was sent
	Fault  string                  // what is wrong with what was sent: a text's name
}

// Nothing reports whether a reset would remove nothing.
func (p resetPage) Nothing() bool { return len(p.Gone) == 0 }

// foreseen is the reason of a dry run, which keeps nothing.
const foreseen = "dry run"

// showReset shows the dialog, or who may do it instead.
func (p *pages) showReset(c *Call) (page.Reply, error) {
	u, err := p.userPage(c, tabMFA)
	if err != nil {
		return page.Reply{}, err
	}
	return p.resetDialog(c, resetPage{userPage: u})
}

func (p *pages) resetDialog(c *Call, shown resetPage) (page.Reply, error) {
	if why := shown.Refusals[admin.ChangeFactors]; why != "" && why != admin.NotFresh {
		return p.askOther(c, shown.userPage, admin.ChangeFactors, why)
	}
	if !c.Session.Fresh {
		return page.Reply{}, admin.ErrProveAgain
	}
	ctx := c.UserContext()
	actor := c.Session.Actor()
	would, err := p.Admins.Reset(ctx, shown.User.ID, recovery.ResetRequest{Reason: foreseen, DryRun: true}, actor)
	if err != nil {
		return page.Reply{}, err
	}
	shown.Gone = would.Removed
	shown.Dialog = true
	if shown.Check, shown.Asked, err = p.Admins.LatestCallerCheck(ctx, shown.User.ID, actor); err != nil {
		return page.Reply{}, err
	}
	shown.Ways = slices.DeleteFunc(slices.Clone(recovery.CallerChecks), func(way string) bool { return way == recovery.DeviceAnswered })
	status := http.StatusOK
	if shown.Fault != "" {
		status = http.StatusBadRequest
	}
	return page.Reply{Status: status, Template: "user_reset.html", Data: shown}, nil
}

// reset does what the dialog asks, and leads to the receipt. Sent again, it leads to a receipt that says that nothing was left.
func (p *pages) reset(c *Call) (page.Reply, error) {
	u, err := p.userPage(c, tabMFA)
	if err != nil {
		return page.Reply{}, err
	}
	shown := resetPage{
		userPage: u,
		Reason:   strings.TrimSpace(c.Posted("reason")),
		How:      c.Posted("how"),
	}
	req := recovery.ResetRequest{Reason: strings.Join(strings.Fields(shown.Reason), " "), CallerCheck: shown.How}
	if shown.How == recovery.DeviceAnswered {
		req.Check = c.Posted("check")
	}
	receipt, err := p.Admins.Reset(c.UserContext(), u.User.ID, req, c.Session.Actor().In(audit.CallReset))
	switch {
	case errors.Is(err, admin.ErrProveAgain):
		return page.Reply{}, admin.ErrProveAgain
	case errors.Is(err, admin.ErrRefused):
		return p.resetDialog(c, shown) // which says who may
	case errors.Is(err, recovery.ErrReason):
		shown.Fault = "reason"
	case errors.Is(err, recovery.ErrCallerCheck), errors.Is(err, login.ErrNoCallerCheck), errors.Is(err, login.ErrCallerUnsure):
		shown.Fault = "check"
	case err != nil:
		return page.Reply{}, err
	default:
		return c.GoTo(u.Path+"/receipts/"+receipt.ID, nil), nil
	}
	return p.resetDialog(c, shown)
}

// receiptPage shows the receipt of a reset.
type receiptPage struct {
	userPage
	Receipt recovery.Receipt
	By      user.User
	Wrong   string // why the receipt is not genuine, in the words of `tutela receipt verify`; "": it is
}

// Actor is who has reset the user.
func (p receiptPage) Actor() string {
	if p.By.UID.IsZero() {
		return p.Receipt.By
	}
	return nameOf(p.By)
}

func (p *pages) receiptOf(c *Call) (receiptPage, error) {
	u, err := p.userPage(c, tabMFA)
	if err != nil {
		return receiptPage{}, err
	}
	shown := receiptPage{userPage: u}
	shown.Receipt, shown.By, err = p.Admins.ReceiptOf(c.UserContext(), u.User.ID, c.Params("receipt"), c.Session.Actor())
	return shown, err
}

func (p *pages) showReceipt(c *Call) (page.Reply, error) {
	shown, err := p.receiptOf(c)
	if err != nil {
		return page.Reply{}, err
	}
	switch err = p.Access.VerifyOwn(c.UserContext(), shown.Receipt); {
	case errors.Is(err, access.ErrReceipt):
		shown.Wrong = err.Error()
	case err != nil:
		return page.Reply{}, err
	}
	return page.Reply{Template: "user_receipt.html", Data: shown}, nil
}

// sendReceipt sends the receipt as `tutela receipt verify` takes it.
func (p *pages) sendReceipt(c *Call) (page.Reply, error) {
	shown, err := p.receiptOf(c)
	if err != nil {
		return page.Reply{}, err
	}
	body, err := json.MarshalIndent(shown.Receipt, "", "  ")
	if err != nil {
		return page.Reply{}, err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	c.Set(fiber.HeaderContentDisposition, `attachment; filename="`+shown.Receipt.ID+`.json"`)
	return page.Reply{Written: true}, c.Send(append(body, '\n'))
}

package own

import (
	"strconv"
	"strings"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/own"
	"tutela/server/web/page"
	"tutela/storage/audit"
)

// line is something that happened, in plain words.
type line struct {
	own.Line
	What  string // a sentence
	From  string // from where and by what; "" when nobody knows
	Quiet bool   // nothing to say no to
	Warn  bool   // to be looked at
}

// words are the texts of the types of events, below own.line. Those in named speak of a device.
var words = map[audit.Type]string{
	audit.EnrollComplete:    "enrolled",
	audit.Unenroll:          "removed",
	audit.DeviceMoved:       "moved",
	audit.PasskeyChanged:    "passkey_odd",
	audit.AuthRejected:      "refused",
	audit.OTPRateLimit:      "otp_guessed",
	audit.CallerChecked:     "caller",
	audit.RecoverySucceed:   "code_used",
	audit.RecoveryFailed:    "code_wrong",
	audit.RecoveryRateLimit: "code_guessed",
	audit.CodeLost:          "code_lost",
	audit.CodeReplaced:      "code_replaced",
	audit.BackupPut:         "backup",
	audit.BackupDeleted:     "backup_deleted",
	audit.BackupUndeleted:   "backup_back",
	audit.BackupHandle:      "backup_handle",
	audit.RestoreStarted:    "restore_started",
	audit.RestoreDone:       "restore_done",
	audit.RestoreVetoed:     "restore_stopped",
	audit.RestoreAllowed:    "restore_allowed",
	audit.RestoreGivenUp:    "restore_given_up",
	audit.RestoreDisputed:   "restore_disputed",
	audit.Reset:             "reset",
	audit.ManagementCall:    "admin",
	audit.OwnPageOpened:     "opened",
	audit.NotMe:             "said_no",
}

// named are the texts that name a device.
var named = map[string]bool{
	"enrolled": true, "removed": true, "renamed": true, "address": true, "capabilities": true, "suspended": true, "resumed": true,
	"refused": true, "backup": true, "backup_deleted": true, "number": true,
}

// alarming are the texts to be looked at.
var alarming = map[string]bool{
	"otp_guessed": true, "code_wrong": true, "code_guessed": true, "passkey_odd": true, "restore_started": true, "restore_disputed": true, "failed": true,
	"code_lost": true,
}

// wordOf returns the text of a line, below own.line.
func wordOf(l own.Line) string {
	switch l.Type {
	case audit.AuthSucceed:
		switch login.Method(l.Facts[audit.FactMethod]) {
		case login.Method(audit.MethodRemembered):
			return "remembered"
		case login.ByKey:
			return "number"
		case login.ByPasskey:
			return "passkey"
		case login.ByRecoveryCode:
			return "code"
		}
		return "otp"
	case audit.AuthFailed:
		return "failed"
	case audit.UpdateDevice:
		switch {
		case l.Facts[audit.FactDevice] == audit.DeviceName:
			return "renamed"
		case l.Facts[audit.FactDevice] == audit.DeviceAddress:
			return "address"
		case l.Facts[audit.FactStatus] == audit.Word(device.Suspended):
			return "suspended"
		case l.Facts[audit.FactStatus] == audit.Word(device.Active):
			return "resumed"
		}
		return "capabilities"
	}
	return words[l.Type]
}

func linesOf(f page.Frame, list []own.Line) []line {
	lines := make([]line, 0, len(list))
	for _, l := range list {
		word := wordOf(l)
		shown := line{Line: l, Quiet: l.Here || l.Type == audit.NotMe, Warn: alarming[word]}
		if named[word] {
			name := l.Device
			if name == "" {
				name = f.T("own.line.some_device")
			}
			shown.What = f.T("own.line."+word, page.Short(name))
		} else {
			shown.What = f.T("own.line." + word)
		}
		shown.From = from(f, l)
		lines = append(lines, shown)
	}
	return lines
}

// from says by what browser, from where, and how often.
func from(f page.Frame, l own.Line) string {
	var parts []string
	if l.Admin {
		parts = append(parts, f.T("own.line.by_admin"))
	}
	if l.Times > 1 {
		parts = append(parts, f.T("own.line.times", strconv.Itoa(l.Times)))
	}
	if browser := browserOf(l.Agent); browser != "" && !l.Admin {
		parts = append(parts, browser)
	}
	if l.IP != "" && !l.Admin {
		parts = append(parts, f.T("own.line.from", l.IP))
	}
	return strings.Join(parts, " · ")
}

// browsers are the names by which people know browsers, in the order in which a User-Agent is read.
var browsers = [][2]string{{"Edg/", "Edge"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}}

// browserOf returns the browser of a User-Agent, in a word; "" when it is none of the usual.
func browserOf(agent string) string {
	for _, b := range browsers {
		if strings.Contains(agent, b[0]) {
			return b[1]
		}
	}
	return ""
}

// Where says from where a device was used last; "" when nobody knows.
func (o overview) Where(d own.Device) string {
	var parts []string
	if browser := browserOf(d.Agent); browser != "" {
		parts = append(parts, browser)
	}
	if d.IP != "" {
		parts = append(parts, o.T("own.line.from", d.IP))
	}
	return strings.Join(parts, " · ")
}

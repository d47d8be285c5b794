package appapi

import (
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/server"
)

// guarded are the errors with which each guard, or the domain for it, refuses a call.
var guarded = map[string][]error{
	"":           {},
	schemeBearer: {errAuthorization},

	schemePossession: {errAuthorization, device.ErrPossession},

	schemeTicket:    {errAuthorization, device.ErrTicket},
	schemeStart:     {errAuthorization, device.ErrTicket},
	schemeFlow:      {errAuthorization},
	schemeDevice:    {errAuthorization, device.ErrClockSkew, device.ErrUnsigned, device.ErrSuspended, device.ErrNoEnrollment},
	schemeAnyDevice: {errAuthorization, device.ErrClockSkew, device.ErrSuspended, device.ErrNoEnrollment},
}

// refusals are the errors of the domain with which each operation refuses, beside those of its guard.
var refusals = map[string][]error{
	"enroll":                {device.ErrInstallation, device.ErrKeyInUse},
	"get-device-account":    {},
	"change-device-account": {device.ErrUnsigned, push.ErrAddress, device.ErrTooOften},
	"delete-device-account": {device.ErrUnsigned},
	"check-recovery-code":   {recovery.ErrLimited},
	"resolve-transaction":   {login.ErrAnswer, device.ErrClockSkew, device.ErrSuspended, login.ErrNumber, login.ErrNoLogin},
	"list-approvals":        {},
	"get-rich-consent":      {login.ErrNoLogin, login.ErrNoConsent, device.ErrSuspended, login.ErrConsentOften},
	"list-notices":          {},
	"put-backup":            {backup.ErrInvalid, backup.ErrShrinks, backup.ErrConflict, backup.ErrTooLarge, device.ErrTooOften},
	"get-backup":            {backup.ErrNone},
	"delete-backup":         {backup.ErrNone},
	"undelete-backup":       {backup.ErrNone, backup.ErrAnother},
	"new-restore-handle":    {backup.ErrNone, device.ErrTooOften},
	"list-generations":      {backup.ErrNone},
	"get-generation":        {backup.ErrNone},
	"start-restore":         {device.ErrKeyInUse, restore.ErrProof},
	"get-restore":           {restore.ErrNone, restore.ErrToken, restore.ErrNotReady, restore.ErrOften, device.ErrClockSkew, device.ErrSuspended, device.ErrKeyInUse},
	"restore-with-code":     {restore.ErrNone, restore.ErrToken, restore.ErrNotReady, recovery.ErrWrongCode, recovery.ErrLimited, device.ErrKeyInUse},
	"restore-as-new":        {restore.ErrNone, restore.ErrToken, restore.ErrNotReady},
	"veto-restore":          {restore.ErrNone, restore.ErrNotReady},
	"dispute-restore":       {restore.ErrNone},
	"allow-restore":         {restore.ErrNone, restore.ErrNotReady},
	"list-restores":         {},

	"start-flow":             {errTransport, login.ErrBlocked, login.ErrTicketRequired},
	"transaction-state":      {login.ErrBlocked, login.ErrTooManyPolls},
	"send-push-notification": {errMethod, login.ErrEnrolsOnly, login.ErrNoLogin, login.ErrNoPhone, login.ErrTooMany},
	"recover-account":        {login.ErrEnrolsOnly, login.ErrNoLogin, recovery.ErrWrongCode, recovery.ErrLimited},
	"verify-otp":             {login.ErrNoLogin, device.ErrTicket, device.ErrWrongOTP, recovery.ErrLimited},
	"send-sms":               {errMethod},
	"sms-enroll":             {errMethod},
}

// refusalsOf returns how an operation behind a guard refuses, as its callers are told.
func refusalsOf(g guard, operation string) (list []server.Refusal) {
	for _, err := range append(guarded[g.scheme], refusals[operation]...) {
		if row := rowOf(err); row != nil {
			list = append(list, server.Refusal{Status: row.status, Code: row.code})
		}
	}
	return list
}

// ciphertext is the answer of the operations that give a generation back: Huma would describe its bytes as JSON.
func ciphertext() map[string]*huma.Response {
	return map[string]*huma.Response{
		strconv.Itoa(http.StatusOK): {
			Description: "The ciphertext",
			Content: map[string]*huma.MediaType{
				"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
			},
		},
	}
}

// pulled is an approval as a pulling app gets it: the keys of a push message, nested objects as objects.
type pulled struct {
	Token    string         `json:"txtkn,omitempty" doc:"Opens the answer to this approval."`
	Device   string         `json:"dai,omitempty" doc:"The enrollment's id."`
	Nonce    string         `json:"c,omitempty" doc:"The challenge, which the phone signs."`
	Started  string         `json:"d,omitempty" format:"date-time" doc:"When the login began."`
	Server   string         `json:"sh,omitempty" doc:"The server's first public URL."`
	Source   *push.Source   `json:"s,omitempty" doc:"Browser and system of the login."`
	Location *push.Location `json:"l,omitempty" doc:"Where it comes from."`
	Consent  string         `json:"txlnkid,omitempty" doc:"Of the details, when there are some."`
	Number   bool           `json:"nm,omitempty" doc:"The app asks for the number on the other screen."`
	Message  string         `json:"bm,omitempty" doc:"The binding message."`
	Client   string         `json:"cn,omitempty" doc:"Who asks."`
	Purpose  string         `json:"pu,omitempty" doc:"caller_check: not a login, but whether it is the person who rings the help desk. add_device: whether she adds a phone. More may come: show cn and bm."`
}

func pulledOf(m push.Message) pulled {
	return pulled{
		Token:    m.TransactionToken,
		Device:   m.Enrollment,
		Nonce:    m.Challenge,
		Started:  m.Started,
		Server:   m.Server,
		Source:   m.Source,
		Location: m.Location,
		Consent:  m.ConsentID,
		Number:   m.NumberMatching,
		Message:  m.BindingMessage,
		Client:   m.ClientName,
		Purpose:  m.Purpose,
	}
}

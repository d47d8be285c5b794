package managementapi

import (
	"github.com/danielgtaylor/huma/v2"

	"tutela/backup"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/passkey"
	"tutela/recovery/admin"
	"tutela/recovery/signal"
	"tutela/recovery/user"
	"tutela/recovery/webhook"
	"tutela/server"
	"tutela/server/access"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// schemeToken is what every call is authorized by, as the description of the API names it.
const schemeToken = "managementToken"

// describeScheme adds it to the description.
func describeScheme(api huma.API) {
	components := api.OpenAPI().Components
	if components.SecuritySchemes == nil {
		components.SecuritySchemes = map[string]*huma.SecurityScheme{}
	}
	components.SecuritySchemes[schemeToken] = &huma.SecurityScheme{
		Type:         "http",
		Scheme:       "bearer",
		BearerFormat: "JWT",
		Description:  "The access token of the grant client_credentials, for the audience {base}/api/v2/. Any of the scopes opens the call.",
	}
}

// refusals are the errors of the domain with which each call refuses, beside those of every call.
var refusals = map[audit.Word][]error{
	audit.CallCreateTicket:         {device.ErrFactor, admin.ErrRefused, admin.ErrEnrolled, device.ErrNoEnrollment},
	audit.CallDeleteEnrollment:     {device.ErrNoEnrollment, admin.ErrRefused},
	audit.CallGetEnrollment:        {device.ErrNoEnrollment},
	audit.CallSuspendEnrollment:    {device.ErrNoEnrollment, admin.ErrRefused},
	audit.CallResumeEnrollment:     {device.ErrNoEnrollment, admin.ErrRefused},
	audit.CallListLogs:             {errPaging},
	audit.CallGetLog:               {audit.ErrNotFound},
	audit.CallListUserLogs:         {user.ErrUnknown, errPaging},
	audit.CallGetBlocks:            {user.ErrUnknown},
	audit.CallGetBlocksBy:          {user.ErrUnknown},
	audit.CallUnlock:               {user.ErrUnknown, admin.ErrRefused},
	audit.CallUnlockBy:             {user.ErrUnknown, admin.ErrRefused},
	audit.CallListUsers:            {errPaging},
	audit.CallListUsersAtRisk:      {errPaging},
	audit.CallCreateUser:           {user.ErrExists},
	audit.CallListUsersByEmail:     {},
	audit.CallGetUser:              {user.ErrUnknown},
	audit.CallUpdateUser:           {user.ErrUnknown, user.ErrExists, admin.ErrRefused},
	audit.CallDeleteUser:           {admin.ErrRefused},
	audit.CallGetEnrollments:       {user.ErrUnknown},
	audit.CallListMethods:          {user.ErrUnknown, errPaging},
	audit.CallGetMethod:            {user.ErrUnknown, admin.ErrNoMethod},
	audit.CallUpdateMethod:         {user.ErrUnknown, admin.ErrNoMethod, admin.ErrRefused},
	audit.CallDeleteMethod:         {user.ErrUnknown, admin.ErrNoMethod, admin.ErrRefused},
	audit.CallCreateMethod:         {user.ErrUnknown, device.ErrFactor, device.ErrFactorOff, device.ErrTooMany, admin.ErrRefused},
	audit.CallReplaceMethods:       {user.ErrUnknown, admin.ErrNoMethod, device.ErrFactor, device.ErrFactorOff, device.ErrTooMany, admin.ErrRefused},
	audit.CallDeleteMethods:        {user.ErrUnknown, admin.ErrRefused},
	audit.CallDeleteAuthenticators: {user.ErrUnknown, admin.ErrRefused},
	audit.CallDeleteProvider:       {user.ErrUnknown, device.ErrFactor, errPath, admin.ErrRefused},
	audit.CallReset:                {user.ErrUnknown, admin.ErrRefused, login.ErrNoCallerCheck, login.ErrCallerUnsure},
	audit.CallCheckCaller:          {user.ErrUnknown, admin.ErrRefused, login.ErrNoCallerPhone, login.ErrCallersOften, login.ErrBlocked},
	audit.CallGetCallerCheck:       {user.ErrUnknown, login.ErrNoCallerCheck},
	audit.CallResetSeveral:         {},
	audit.CallGetRestores:          {user.ErrUnknown},
	audit.CallExportUser:           {user.ErrUnknown},
	audit.CallGetBackups:           {user.ErrUnknown},
	audit.CallUndeleteBackup:       {user.ErrUnknown, admin.ErrRefused, backup.ErrNone},
	audit.CallListFactors:          {},
	audit.CallSetFactor:            {device.ErrFactor},
	audit.CallRegenerateCode:       {user.ErrUnknown, admin.ErrRefused},

	audit.CallGetPushProvider: {},
	audit.CallSetPushProvider: {device.ErrFactor},
	audit.CallGetPushAPNs:     {},
	audit.CallSetPushAPNs:     {},
	audit.CallPatchPushAPNs:   {},
	audit.CallSetPushFCM:      {},
	audit.CallPatchPushFCM:    {},

	audit.CallGetPasskeyRoaming:   {},
	audit.CallSetPasskeyRoaming:   {access.ErrWeakens, passkey.ErrInUse},
	audit.CallGetPasskeyPlatform:  {},
	audit.CallSetPasskeyPlatform:  {passkey.ErrInUse},
	audit.CallGetGuardianSettings: {},
	audit.CallSetGuardianSettings: {},

	audit.CallGetMFAPush:   {},
	audit.CallPatchMFAPush: {},

	audit.CallListClients:        {},
	audit.CallCreateClient:       {access.ErrBeyondCaller, user.ErrUnknown},
	audit.CallGetClient:          {access.ErrNoClient},
	audit.CallChangeClient:       {access.ErrNoClient, access.ErrBeyondCaller, user.ErrUnknown},
	audit.CallDeleteClient:       {access.ErrNoClient, access.ErrBeyondCaller},
	audit.CallRotateClientSecret: {access.ErrNoClient, access.ErrBeyondCaller, access.ErrSecrets},

	audit.CallListWebhooks:   {},
	audit.CallCreateWebhook:  {webhook.ErrRefused, webhook.ErrTooMany},
	audit.CallGetWebhook:     {webhook.ErrNone},
	audit.CallUpdateWebhook:  {webhook.ErrNone, webhook.ErrRefused},
	audit.CallDeleteWebhook:  {webhook.ErrNone, webhook.ErrRefused},
	audit.CallTestWebhook:    {webhook.ErrNone, webhook.ErrRefused},
	audit.CallRotateWebhook:  {webhook.ErrNone, webhook.ErrRefused},
	audit.CallListDeliveries: {webhook.ErrNone},
	audit.CallRetryDelivery:  {webhook.ErrNone, webhook.ErrNoDelivery, webhook.ErrRefused},

	audit.CallGetStreams:      {signal.ErrNone},
	audit.CallCreateStream:    {signal.ErrTooMany},
	audit.CallUpdateStream:    {signal.ErrNone},
	audit.CallReplaceStream:   {signal.ErrNone},
	audit.CallDeleteStream:    {signal.ErrNone},
	audit.CallGetStreamStatus: {signal.ErrNone},
	audit.CallSetStreamStatus: {signal.ErrNone},
	audit.CallAddSubject:      {signal.ErrNone, signal.ErrSubject},
	audit.CallRemoveSubject:   {signal.ErrNone, signal.ErrSubject},
	audit.CallVerifyStream:    {signal.ErrNone, signal.ErrDisabled, signal.ErrTooSoon},
	audit.CallPollStream:      {signal.ErrNone},

	audit.CallListPolicies:   {},
	audit.CallChangePolicies: {setting.ErrUnknown, access.ErrWeakens, passkey.ErrInUse},

	audit.CallGetGuardianPolicies: {},
	audit.CallSetGuardianPolicies: {},
	audit.CallForgetBrowsers:      {user.ErrUnknown, admin.ErrRefused},
}

// refusalsOf returns how a call refuses, as its callers are told.
func refusalsOf(word audit.Word) (list []server.Refusal) {
	for _, err := range append([]error{access.ErrToken, access.ErrScope}, refusals[word]...) {
		if p := translate(err); p != nil {
			list = append(list, server.Refusal{Status: p.Status, Code: p.Code})
		}
	}
	return list
}

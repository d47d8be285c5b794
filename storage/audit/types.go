package audit

import "slices"

// types lists all types of events, in the order in which people are shown them.
var types = []Type{
	StartEnroll, EnrollComplete, UpdateDevice, Unenroll,
	StartAuth, SendPush, SendPushFailure, AuthSucceed, AuthFailed, AuthRejected, OTPRateLimit,
	RecoverySucceed, RecoveryFailed, RecoveryRateLimit, CodeLost, CodeReplaced, PasskeyChanged, CallerChecked,
	OwnPageOpened, NotMe, AdminLogin,
	UserDelete, TenantUpdate,
	ManagementCall, ManagementFailed, TokenGiven, TokenRefused,
	BackupPut, BackupDeleted, BackupUndeleted, BackupHandle, RestoreStarted, RestoreDone, RestoreVetoed,
	RestoreAllowed, RestoreGivenUp, RestoreRepeated, RestoreDisputed,
	Reset, PushMuted, PushLost, PushSetup, PushWave, TapApproval, ConcurrentLogin, DeviceMoved, ClientAdded, KeyRotated, WebhookParked, StreamDisabled,
	Damaged,
}

// Types returns all types of events, [Damaged] included.
func Types() []Type { return slices.Clone(types) }

// IsType reports whether there are events of a type.
func IsType(t Type) bool { return slices.Contains(types, t) }

package device_test

import (
	"testing"
	"time"

	"tutela/device"
	"tutela/storage"
	"tutela/storage/audit"
)

func TestCountingPasskeys_AfterSevenDaysOrAtOnceAndNotWhileUnused(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		by    device.AddedBy
		after time.Duration
		used  time.Duration // after it was added; 0: never
		want  bool
	}{
		"by a number, at once":              {device.AddedByNumber, 0, 0, false},
		"by a number, before seven days":    {device.AddedByNumber, 7*day - 1, day, false},
		"by a number, after seven days":     {device.AddedByNumber, 7 * day, 0, true},
		"by a one-time code, at once":       {device.AddedByOTP, 0, 0, false},
		"by a one-time code, after a week":  {device.AddedByOTP, 7 * day, 0, true},
		"by nobody knows what":              {"", day, 0, false},
		"by a passkey":                      {device.AddedByPasskey, 0, 0, true},
		"by a recovery code":                {device.AddedByRecovery, 0, 0, true},
		"at first set-up":                   {device.AddedAtSetup, 0, 0, true},
		"never used since":                  {device.AddedAtSetup, 30 * day, 0, false},
		"not used for long":                 {device.AddedAtSetup, 40 * day, 10 * day, false},
		"used again":                        {device.AddedByNumber, 100 * day, 80 * day, true},
		"used just before it would be long": {device.AddedAtSetup, 40*day - 1, 10 * day, true},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				h.ticket("ada")
				uid := h.uid("ada")
				var e *device.Enrollment
				h.update(func(tx *storage.Tx) (err error) {
					p := device.Passkey{CredentialID: []byte("a"), AddedBy: c.by}
					e, err = h.BindPasskey(tx, uid, device.TypeRoaming, "", p, device.Binding{Via: device.ViaEnrolmentToken}, audit.ByUser())
					return err
				})
				if c.used > 0 {
					e.LastAuth = e.Enrolled.Add(c.used)
				}
				h.clock.Advance(c.after)
				h.view(func(tx *storage.Tx) error {
					counting, err := device.Set{e}.CountingPasskeys(tx)
					if (len(counting) > 0) != c.want {
						h.t.Errorf("%s: %v", name, counting)
					}
					return err
				})
			})
		})
	}
}

func TestSurvives_ASecurityKeyOrACopiedPasskey(t *testing.T) {
	for name, c := range map[string]struct {
		e    device.Enrollment
		want bool
	}{
		"a security key":       {device.Enrollment{Type: device.TypeRoaming, Status: device.Active}, true},
		"a suspended one":      {device.Enrollment{Type: device.TypeRoaming, Status: device.Suspended}, false},
		"of one computer":      {device.Enrollment{Type: device.TypePlatform, Status: device.Active}, false},
		"that could be copied": {device.Enrollment{Type: device.TypePlatform, Status: device.Active, WebAuthn: device.Passkey{BackupEligible: true}}, false},
		"that is copied":       {device.Enrollment{Type: device.TypePlatform, Status: device.Active, WebAuthn: device.Passkey{BackedUp: true}}, true},
		"a phone":              {device.Enrollment{Type: device.TypePush, Status: device.Active}, false},
	} {
		if got := c.e.Survives(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

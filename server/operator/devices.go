package operator

import (
	"context"
	"errors"

	"tutela/device"
)

// The calls about the phones of users. Each takes the id of an enrollment, and returns device.ErrNoEnrollment for an unknown id.
var (
	// ShowDevice returns an enrollment with its user.
	ShowDevice = declare("device/show", (*Local).showDevice)

	// SuspendDevice takes an enrollment out of use until it is resumed.
	SuspendDevice = declare("device/suspend", (*Local).suspendDevice)

	// ResumeDevice ends a suspension.
	ResumeDevice = declare("device/resume", (*Local).resumeDevice)

	// RemoveDevice retires an enrollment. To remove a user's last enrollment is a reset.
	RemoveDevice = declare("device/remove", (*Local).removeDevice)
)

// Device is an enrollment with its user.
type Device struct {
	Enrollment
	UserID string `json:"user_id"`
	Last   bool   `json:"last"` // the user has no other enrollment
}

// ofDevice makes an error about an enrollment name the id as the operator typed it, and say what to do.
func ofDevice(id string, err error) error {
	if errors.Is(err, device.ErrNoEnrollment) {
		return device.ErrNoEnrollment.With("there is no phone %q: tutela device list USER shows the ids", id)
	}
	return err
}

func (l *Local) showDevice(ctx context.Context, id string) (Device, error) {
	owner, set, err := l.Admins.OwnerOf(ctx, id)
	if err != nil {
		return Device{}, ofDevice(id, err)
	}
	d := Device{UserID: owner.ID, Last: len(set) == 1}
	for _, e := range set {
		if e.ID == id {
			d.Enrollment = enrollmentOf(e)
		}
	}
	return d, nil
}

func (l *Local) suspendDevice(ctx context.Context, id string) (None, error) {
	return None{}, ofDevice(id, l.Admins.Suspend(ctx, id, l.actor))
}

func (l *Local) resumeDevice(ctx context.Context, id string) (None, error) {
	return None{}, ofDevice(id, l.Admins.Resume(ctx, id, l.actor))
}

func (l *Local) removeDevice(ctx context.Context, id string) (None, error) {
	return None{}, ofDevice(id, l.Admins.RemoveEnrollment(ctx, id, l.actor))
}

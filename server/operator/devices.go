package operator

import (
	"context"
	"errors"

	"tutela/device"
)

// The calls about the phones of users, by their enrollment. Of an unknown id all are device.ErrNoEnrollment.
var (
	// ShowDevice returns an enrollment with its user.
	ShowDevice = declare("device/show", (*Local).showDevice)

	// SuspendDevice takes an enrollment out of use until it is resumed.
	SuspendDevice = declare("device/suspend", (*Local).suspendDevice)

	// ResumeDevice ends a suspension.
	ResumeDevice = declare("device/resume", (*Local).resumeDevice)

	// RemoveDevice retires an enrollment. The removal of a user's last is a reset.
	RemoveDevice = declare("device/remove", (*Local).removeDevice)
)

// Device is an enrollment with its user.
type Device struct {
	Enrollment
	UserID string `json:"user_id"`
	Last   bool   `json:"last"` // the user has no other
}

// ofDevice makes errors about an enrollment name its id as it was typed, and the way out.
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

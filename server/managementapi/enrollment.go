package managementapi

import (
	"context"
	"net/http"

	"tutela/device"
	"tutela/storage/audit"
)

// EnrollmentPath names an enrollment.
type EnrollmentPath struct {
	ID string `path:"id" doc:"dev_ and 16 characters."`
}

// enrollment is an enrollment by itself. Times are left out while they are unknown.
type enrollment struct {
	ID         string  `json:"id"`
	Status     string  `json:"status" enum:"pending,confirmed,left"`
	Suspended  bool    `json:"suspended,omitempty" doc:"By an admin: it is not asked."`
	Name       string  `json:"name,omitempty"`
	Identifier string  `json:"identifier,omitempty"`
	EnrolledAt instant `json:"enrolled_at,omitzero"`
	LastAuth   instant `json:"last_auth,omitzero"`
	Via        string  `json:"via,omitempty" enum:"page,ticket,enrolment_token,restore,import" doc:"How it came about."`
	Platform   string  `json:"platform,omitempty" doc:"What the app runs on, by its own word."`
	Push       string  `json:"push,omitempty" enum:"ok,lost,none" doc:"Of an app. lost: its push service says that the address is gone; the app pulls until it names one."`
	LostAt     instant `json:"push_lost_at,omitzero"`
	LostReason string  `json:"push_lost_reason,omitempty" doc:"The push service's own word, such as UNREGISTERED."`
}

// usersEnrollment is an enrollment among those of its user.
type usersEnrollment struct {
	enrollment
	Type       string `json:"type" enum:"push,otp,webauthn-roaming,webauthn-platform"`
	AuthMethod string `json:"auth_method" enum:"guardian,authenticator,webauthn-roaming,webauthn-platform"`
}

// enrollmentOf shows an enrollment. Only an app has an identifier.
func enrollmentOf(e *device.Enrollment) enrollment {
	var reach device.Reach
	if e.Type == device.TypePush {
		reach = e.Reach()
	}
	return enrollment{
		ID:         e.ID,
		Status:     statusOf(e),
		Suspended:  e.Status == device.Suspended,
		Name:       e.Name,
		Identifier: e.Push.Identifier,
		EnrolledAt: instant{e.Enrolled},
		LastAuth:   instant{e.LastAuth},
		Via:        string(e.Via),
		Platform:   e.Push.Platform,
		Push:       string(reach.State),
		LostAt:     instant{reach.Since},
		LostReason: reach.Why,
	}
}

// statusOf is how an enrollment stands: confirmed, or left for seven days when its device token alone has deleted it.
func statusOf(e *device.Enrollment) string {
	if e.Status == device.Left {
		return "left"
	}
	return "confirmed"
}

// authMethods are Auth0's names for how an enrollment of a type authenticates.
var authMethods = map[device.Type]string{
	device.TypePush:     "guardian",
	device.TypeOTP:      "authenticator",
	device.TypeRoaming:  "webauthn-roaming",
	device.TypePlatform: "webauthn-platform",
}

type enrollmentOutput struct{ Body enrollment }

type enrollmentsOutput struct{ Body []usersEnrollment }

func (a *api) mountEnrollments() {
	const path = "/guardian/enrollments/{id}"
	register(a, call{
		Word:    audit.CallGetEnrollment,
		Method:  http.MethodGet,
		Path:    path,
		Summary: "Get a Guardian Enrollment",
		Scopes:  []string{"read:guardian_enrollments"},
	}, a.readEnrollment)
	register(a, call{
		Word:        audit.CallDeleteEnrollment,
		Method:      http.MethodDelete,
		Path:        path,
		Summary:     "Delete a Guardian Enrollment",
		Description: "With the last one the whole of the user's MFA goes, as by a reset.",
		Scopes:      []string{"delete:guardian_enrollments"},
		Status:      http.StatusNoContent,
	}, a.deleteEnrollment)
	register(a, call{
		Word:        audit.CallSuspendEnrollment,
		Method:      http.MethodPost,
		Path:        path + "/suspend",
		Summary:     "Suspend an Enrollment",
		Description: "At once and reversibly, as when a phone is reported lost. When a veto of its own stands, the answer is 200 with the restores.",
		Scopes:      []string{"update:users"},
		OrNothing:   "It is suspended, and no veto of its own stands.",
	}, a.suspendEnrollment)
	register(a, call{
		Word:    audit.CallResumeEnrollment,
		Method:  http.MethodPost,
		Path:    path + "/resume",
		Summary: "Resume an Enrollment",
		Scopes:  []string{"update:users"},
		Status:  http.StatusNoContent,
	}, a.resumeEnrollment)
	register(a, call{
		Word:    audit.CallGetEnrollments,
		Method:  http.MethodGet,
		Path:    "/users/{id}/enrollments",
		Summary: "Get a User's Enrollments",
		Scopes:  []string{"read:users"},
	}, a.listEnrollments)
}

func (a *api) readEnrollment(ctx context.Context, _ audit.Actor, in *EnrollmentPath) (*enrollmentOutput, error) {
	e, err := a.Admins.ReadEnrollment(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &enrollmentOutput{enrollmentOf(e)}, nil
}

func (a *api) deleteEnrollment(ctx context.Context, actor audit.Actor, in *EnrollmentPath) (*nothing, error) {
	return nil, a.Admins.RemoveEnrollment(ctx, in.ID, actor)
}

// suspendOutput says what a suspended phone has left behind. Auth0 has no such call, so 200 surprises no client of its own.
type suspendOutput struct {
	Status int
	Body   struct {
		Vetoed []string `json:"vetoed" doc:"Ids of restores that stay closed by the phone's veto; user-blocks lifts it."`
	}
}

func (a *api) suspendEnrollment(ctx context.Context, actor audit.Actor, in *EnrollmentPath) (*suspendOutput, error) {
	if err := a.Admins.Suspend(ctx, in.ID, actor); err != nil {
		return nil, err
	}
	out := &suspendOutput{Status: http.StatusNoContent}
	vetoed, err := a.Admins.VetoedBy(ctx, in.ID)
	if len(vetoed) > 0 {
		out.Status = http.StatusOK
		out.Body.Vetoed = vetoed
	}
	return out, err
}

func (a *api) resumeEnrollment(ctx context.Context, actor audit.Actor, in *EnrollmentPath) (*nothing, error) {
	return nil, a.Admins.Resume(ctx, in.ID, actor)
}

func (a *api) listEnrollments(ctx context.Context, _ audit.Actor, in *UserPath) (*enrollmentsOutput, error) {
	all, err := a.Admins.EnrollmentsOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &enrollmentsOutput{Body: make([]usersEnrollment, 0, len(all))}
	for _, e := range all {
		out.Body = append(out.Body, usersEnrollment{
			enrollment: enrollmentOf(e),
			Type:       string(e.Type),
			AuthMethod: authMethods[e.Type],
		})
	}
	return out, nil
}

package managementapi

import (
	"context"
	"net/http"

	"tutela/backup/restore"
	"tutela/recovery/admin"
	"tutela/storage/audit"
)

// tracedRestore is a restore as an admin sees it.
type tracedRestore struct {
	ID         string  `json:"id"`
	Step       string  `json:"step" doc:"When it is over: the step at its start, but for done and first_time_setup."`
	Reason     string  `json:"reason"`
	Outcome    string  `json:"outcome,omitempty" doc:"How it ended; left out while it is open."`
	Device     string  `json:"device,omitempty" doc:"The name of the phone that wants to take over."`
	StartedAt  instant `json:"started_at"`
	ExpiresAt  instant `json:"expires_at"`
	WaitUntil  instant `json:"wait_until,omitzero"`
	Backup     string  `json:"backup_id,omitempty"`
	Enrollment string  `json:"enrollment_id,omitempty" doc:"The new one, when it is done."`
	Disputed   bool    `json:"disputed,omitempty" doc:"The phone that was replaced says that it was not its person."`
	Vetoed     bool    `json:"vetoed,omitempty" doc:"A veto bars restores of the backup now."`
}

func tracedOf(l restore.Listed) tracedRestore {
	return tracedRestore{
		ID:         l.ID,
		Step:       string(l.Step),
		Reason:     string(l.Reason),
		Outcome:    string(l.End),
		Device:     l.Name,
		StartedAt:  instant{l.Started},
		ExpiresAt:  instant{l.Expires},
		WaitUntil:  instant{l.WaitUntil},
		Backup:     l.Backup,
		Enrollment: l.Enrollment,
		Disputed:   l.Disputed,
		Vetoed:     l.Vetoed,
	}
}

func (a *api) mountHeld() {
	register(a, call{
		Word:        audit.CallGetRestores,
		Method:      http.MethodGet,
		Path:        "/users/{id}/restores",
		Summary:     "Get a User's Restores",
		Description: "Of the last day, and those that are done or were vetoed of the last thirty days, newest first.",
		Scopes:      []string{"read:users"},
	}, a.listRestores)
	register(a, call{
		Word:        audit.CallExportUser,
		Method:      http.MethodGet,
		Path:        "/users/{id}/export",
		Summary:     "Export Everything that Is Held about a User",
		Description: "Secrets and the ciphertext of backups are left out. It also needs read:logs or read:logs_users.",
		Scopes:      []string{"read:users"},
		Beside:      []string{"read:logs", "read:logs_users"},
	}, a.exportUser)
}

func (a *api) listRestores(ctx context.Context, _ audit.Actor, in *UserPath) (*struct{ Body []tracedRestore }, error) {
	all, err := a.Admins.Restores(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &struct{ Body []tracedRestore }{make([]tracedRestore, 0, len(all))}
	for _, l := range all {
		out.Body = append(out.Body, tracedOf(l))
	}
	return out, nil
}

func (a *api) exportUser(ctx context.Context, _ audit.Actor, in *UserPath) (*struct{ Body admin.Export }, error) {
	document, err := a.Admins.ExportUser(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &struct{ Body admin.Export }{document}, nil
}

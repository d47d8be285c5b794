package managementapi

import (
	"context"
	"net/http"

	"tutela/backup"
	"tutela/storage/audit"
)

// BackupPath names a backup of a user.
type BackupPath struct {
	UserPath
	Backup string `path:"bid" doc:"bkp_ and 16 characters."`
}

// tracked is a backup by its latest generation. What it is unknown of is left out.
type tracked struct {
	ID               string  `json:"id"`
	Generation       int64   `json:"generation"`
	Size             int     `json:"size" doc:"Bytes of the latest generation."`
	Items            int     `json:"items" doc:"Accounts inside, as the phone says."`
	Provider         string  `json:"provider" enum:"server,icloud,google"`
	AutomaticRestore bool    `json:"automatic_restore"`
	CreatedAt        instant `json:"created_at"`
	UpdatedAt        instant `json:"updated_at"`
	Enrollment       string  `json:"enrollment_id,omitempty" doc:"That writes to it, or did last."`
	Device           string  `json:"device,omitempty" doc:"That phone's name."`
	Orphaned         bool    `json:"orphaned" doc:"No phone writes to it any more. It is restorable by its handle all the same."`
	DeletedAt        instant `json:"deleted_at,omitzero" doc:"It can be undeleted for 7 days after."`
}

type trackedOutput struct{ Body []tracked }

func trackedOf(b backup.Tracked) tracked {
	return tracked{
		ID:               b.ID,
		Generation:       b.Generation,
		Size:             b.Size,
		Items:            b.Items,
		Provider:         string(b.Provider),
		AutomaticRestore: b.AutomaticRestore,
		CreatedAt:        instant{b.Created},
		UpdatedAt:        instant{b.Updated},
		Enrollment:       b.Enrollment,
		Device:           b.Device,
		Orphaned:         b.Orphaned,
		DeletedAt:        instant{b.Deleted},
	}
}

func (a *api) mountBackups() {
	register(a, call{
		Word:    audit.CallGetBackups,
		Method:  http.MethodGet,
		Path:    "/users/{id}/backups",
		Summary: "Get a User's Backups",
		Scopes:  []string{"read:users"},
	}, a.listBackups)
	register(a, call{
		Word:        audit.CallUndeleteBackup,
		Method:      http.MethodPost,
		Path:        "/users/{id}/backups/{bid}/undelete",
		Summary:     "Undelete a Backup",
		Description: "Within 7 days of its deletion by the phone. Its handles return with it.",
		Scopes:      []string{"update:users"},
		Status:      http.StatusNoContent,
	}, a.undeleteBackup)
}

func (a *api) listBackups(ctx context.Context, _ audit.Actor, in *UserPath) (*trackedOutput, error) {
	list, err := a.Admins.Backups(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &trackedOutput{Body: make([]tracked, 0, len(list))}
	for _, b := range list {
		out.Body = append(out.Body, trackedOf(b))
	}
	return out, nil
}

func (a *api) undeleteBackup(ctx context.Context, actor audit.Actor, in *BackupPath) (*nothing, error) {
	return nil, a.Admins.Undelete(ctx, in.ID, in.Backup, actor)
}
